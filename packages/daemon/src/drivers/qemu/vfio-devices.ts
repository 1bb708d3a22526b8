// Devices of the host in a guest, by VFIO: each in a root port of its own, which are there only for guests that have some. Pure.
// Source: QEMU hw/vfio/pci.c, docs/pcie.txt; Linux, driver-api/vfio.rst and vfio-mediated-device.rst.
import type { LaunchPlan, PlannedDevice } from '@wirt/core';
import type { DeviceProperties } from './disk-devices.ts';
import { isWide } from './many-vcpus.ts';

type Plan = Pick<LaunchPlan, 'devices' | 'machine'>;
type LockPlan = Plan & Pick<LaunchPlan, 'memoryMib' | 'maxMemoryMib' | 'cpus' | 'maxCpus' | 'placement'>;

/** All ports are functions of this slot of the root bus, eight at most. */
const portsSlot = '0x8';
/** Chassis numbers below are those of disks and cards. */
const firstChassis = 0x61;

const portOf = (slot: number): string => `hostport${slot}`;

export function vfioDevices({ devices = [], machine }: Plan): string[] {
  if (devices.length === 0) return [];
  if (machine !== 'q35') throw new Error(`A ${machine} has no PCI bus for devices of the host.`);
  const multifunction = devices.length > 1;
  return [...devices.map((each) => port(each, multifunction)), ...devices.map(vfio)].flatMap((properties) => [
    '-device',
    JSON.stringify(properties),
  ]);
}

/** The first function of a slot says that there are others. */
function port({ slot }: PlannedDevice, multifunction: boolean): DeviceProperties {
  return {
    driver: 'pcie-root-port',
    id: portOf(slot),
    bus: 'pcie.0',
    addr: `${portsSlot}.0x${slot}`,
    ...(slot === 0 && multifunction ? { multifunction: true } : {}),
    port: slot,
    chassis: firstChassis + slot,
  };
}

function vfio({ name, slot, source }: PlannedDevice): DeviceProperties {
  const place = { id: `host-${name}`, bus: portOf(slot), addr: '0x0' };
  switch (source.kind) {
    case 'pci':
      return { driver: 'vfio-pci', host: source.address, ...place };
    case 'mdev':
      return { driver: 'vfio-pci', sysfsdev: `/sys/bus/mdev/devices/${source.uuid}`, ...place };
  }
}

/** What a device may map besides the guest's memory: registers and memory of other devices. */
const besideMemoryMib = 1024;
const mib = 1024 * 1024;

/**
 * How much QEMU has to be allowed to lock (RLIMIT_MEMLOCK, setrlimit(2)): a device reaches all of the guest's memory at any time, so
 * the kernel holds all of it. Without an IOMMU of the guest all devices are in one container of VFIO, which holds it once. With one
 * (beyond 255 vCPUs) each has an address space and so a container of its own, and the kernel counts the same memory once for each
 * (QEMU hw/vfio/common.c, vfio_get_address_space; Linux drivers/vfio/vfio_iommu_type1.c, vfio_lock_acct). It is held once
 * all the same: only the limit is higher. Undefined: the guest has no such device.
 */
export function lockedBytes(plan: LockPlan): number | undefined {
  const { devices = [], memoryMib, maxMemoryMib } = plan;
  if (devices.length === 0) return undefined;
  const containers = isWide(plan) ? devices.length : 1;
  return (containers * Math.max(memoryMib, maxMemoryMib) + besideMemoryMib) * mib;
}
