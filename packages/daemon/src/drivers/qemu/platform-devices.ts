// What every guest is given beside processors, memory, disks and cards: a source of randomness, a watchdog, a way to say that its kernel
// has panicked, the number of its generation, and, where asked for, a socket to the host. Pure. Their places on the root bus are kept, whatever else is plugged in.
// Source: QEMU docs/specs/{pvpanic,vmgenid}.rst, hw/virtio/{virtio-rng,vhost-vsock}.c, hw/isa/lpc_ich9.c and hw/acpi/ich9_tco.c; qemu-options.hx (-action).
import { hasRandomness, type LaunchPlan } from '@wirt/core';
import type { DeviceProperties } from './disk-devices.ts';
import { inheritedFds } from './inherited-fds.ts';

type Plan = Pick<LaunchPlan, 'machine' | 'generation' | 'nics' | 'disks' | 'vsockCid'>;

const rngBackend = 'rng0';

/** A guest seeds its own generator and asks seldom; one that asks without end gets 64 KiB a second, and costs nobody else. */
const randomness = { 'max-bytes': 65_536, period: 1000 } as const;

export function platformDevices(plan: Plan): string[] {
  return [...rng(plan), ...(plan.machine === 'q35' ? q35Devices(plan) : []), ...vsock(plan)];
}

function rng({ machine, nics, disks, vsockCid }: Plan): string[] {
  if (!hasRandomness({ machine, nics, disks, vsock: vsockCid !== undefined })) return [];
  const onPci = machine === 'q35';
  // QEMU's own: no file to open, and none that a guest could drain.
  const backend = { 'qom-type': 'rng-builtin', id: rngBackend };
  const device: DeviceProperties = {
    driver: onPci ? 'virtio-rng-pci' : 'virtio-rng-device',
    id: 'random0',
    ...(onPci ? { 'disable-legacy': 'on', bus: 'pcie.0', addr: '0x5' } : {}),
    rng: rngBackend,
    ...randomness,
  };
  return ['-object', JSON.stringify(backend), '-device', JSON.stringify(device)];
}

/** QEMU may not open the kernel's device for it, and is given it open. */
function vsock({ machine, vsockCid }: Plan): string[] {
  if (vsockCid === undefined) return [];
  const onPci = machine === 'q35';
  const device: DeviceProperties = {
    driver: onPci ? 'vhost-vsock-pci' : 'vhost-vsock-device',
    id: 'vsock0',
    ...(onPci ? { 'disable-legacy': 'on', bus: 'pcie.0', addr: '0x7' } : {}),
    'guest-cid': vsockCid,
    vhostfd: String(inheritedFds.vsock),
  };
  return ['-device', JSON.stringify(device)];
}

function q35Devices({ generation }: Plan): string[] {
  return [
    // The chipset has a watchdog of its own (TCO), which every Linux knows; this lets it reset the guest when it is not fed.
    ...['-global', 'ICH9-LPC.noreboot=off'],
    ...['-device', JSON.stringify({ driver: 'pvpanic-pci', id: 'panic0', bus: 'pcie.0', addr: '0x6' })],
    ...['-device', JSON.stringify({ driver: 'vmgenid', id: 'generation0', guid: generation })],
    // Halted, it is seen to have panicked also when no daemon was there; what becomes of it is panic.ts' affair.
    ...['-action', 'watchdog=reset,panic=pause'],
  ];
}
