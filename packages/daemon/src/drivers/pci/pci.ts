// HostDevices on sysfs. Remembers the devices that hang in the kernel, and which groups it has granted: nothing else.
import { type HostDevices, isPciAddress, noSuchDevice, requireDevice } from '@wirt/core';
import type { HostFiles } from '../../platform/host-files.ts';
import type { SysfsWrites } from '../../platform/sysfs-writes.ts';
import { bindToVfio, releaseFromVfio } from './binding.ts';
import { createDiskClaims, type ReadClaims } from './disk-claims.ts';
import { createDoors } from './doors.ts';
import { makeFunctions, removeFunctions } from './functions.ts';
import { hostAddresses, type ReadAddresses } from './interface-facts.ts';
import { readInventory } from './inventory.ts';
import { isGone } from './steps.ts';
import { createStuckDevices } from './stuck.ts';

export interface HostDevicesOptions {
  readonly files: HostFiles;
  readonly writes: SysfsWrites;
  /** Of the host's network interfaces; another's in tests. */
  readonly addresses?: ReadAddresses;
  /** What disks are used for that sysfs does not say; another's in tests. */
  readonly claims?: ReadClaims;
  /** Where VFIO has its doors; another in tests. */
  readonly vfioDirectory?: string;
}

export function createHostDevices({
  files,
  writes,
  addresses = hostAddresses,
  claims = createDiskClaims(),
  vfioDirectory,
}: HostDevicesOptions): HostDevices {
  const stuck = createStuckDevices();
  const sysfs = { files, writes, stuck };
  const doors = createDoors(vfioDirectory);
  /** By this daemon: whoever was granted one by an earlier one has it open by now. */
  const granted = new Set<number>();

  async function read(signal: AbortSignal) {
    signal.throwIfAborted();
    const devices = await readInventory({ files, addresses, claims, stuck, granted }, signal);
    signal.throwIfAborted();
    return devices;
  }
  async function find(address: string, signal: AbortSignal) {
    const inventory = await read(signal);
    return { inventory, device: requireDevice(address, inventory) };
  }

  return {
    inventory: read,
    async bind(address, signal, together) {
      const { inventory, device } = await find(address, signal);
      if (device.driver !== 'vfio-pci') await bindToVfio(sysfs, device, inventory, signal, together);
    },
    async release(address, formerDriver, signal) {
      // A record's address becomes a path.
      if (!isPciAddress(address)) throw noSuchDevice(address);
      await releaseFromVfio(sysfs, address, formerDriver, signal).catch((error: unknown) => {
        if (!isGone(error)) throw error;
      });
    },
    async grant(group, identity) {
      granted.add(group);
      await doors.grant(group, identity);
    },
    async revoke(group) {
      await doors.revoke(group);
      granted.delete(group);
    },
    async createVfs(address, count, signal) {
      const { inventory, device } = await find(address, signal);
      return makeFunctions(sysfs, device, inventory, count, signal);
    },
    async removeVfs(address, signal) {
      const { inventory, device } = await find(address, signal);
      await removeFunctions(sysfs, device, inventory, signal);
    },
  };
}
