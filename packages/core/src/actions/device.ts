/** The host's PCI devices: what there is, who has which, and virtual functions in pools. */
import { type HostDevice, type HostDeviceListQuery, type VirtualFunctions, WirtError } from '@wirt/api';
import { lendingRefusal } from '../domain/devices/lending.ts';
import type { PciDevice } from '../domain/devices/pci-device.ts';
import { noSuchDevice, requireDevice } from '../domain/devices/refusals.ts';
import type { DeviceActions, Page, Request } from './actions.ts';
import { deviceDeadlineMs, devicesLane, sourceOf, withSource } from './device-pool.ts';
import { holdersOf } from './instance-devices.ts';
import type { Shared } from './parts.ts';
import { commit } from './records.ts';

export function createDeviceActions(shared: Shared): DeviceActions {
  return {
    list: (request, query) => list(shared, request, query),
    get: (request, address) => get(shared, request.signal, address),
    createVfs: async (_request, address, input) => {
      await createVfs(shared, address, input);
      return get(shared, AbortSignal.timeout(deviceDeadlineMs), address);
    },
    removeVfs: (_request, address) => removeVfs(shared, address),
  };
}

async function list(
  shared: Shared,
  { signal }: Request,
  { cursor = '', limit, kind, pool }: HostDeviceListQuery,
): Promise<Page<HostDevice>> {
  const inventory = await shared.devices.inventory(deadline(signal));
  const all = inventory
    .filter((device) => device.address > cursor && (kind === undefined || device.kind === kind))
    .map((device) => viewOf(shared, device, inventory))
    .filter((view) => pool === undefined || (view.pool?.name === pool && view.pool.count === undefined));
  const items = all.slice(0, limit);
  const last = items.at(-1);
  return { items, ...(last === undefined || all.length <= limit ? {} : { next: last.address }) };
}

async function get(shared: Shared, signal: AbortSignal, address: string): Promise<HostDevice> {
  const inventory = await shared.devices.inventory(deadline(signal));
  return viewOf(shared, requireDevice(address, inventory), inventory);
}

const deadline = (signal: AbortSignal): AbortSignal =>
  AbortSignal.any([signal, AbortSignal.timeout(deviceDeadlineMs)]);

function viewOf(shared: Shared, device: PciDevice, inventory: readonly PciDevice[]): HostDevice {
  const { address, sriov, mediatedTypes, mediatedDevices, inUse, groupMembers } = device;
  const holders = holdersOf(shared);
  const refusal = lendingRefusal(device, { inventory, holders });
  const { totalVfs, numVfs, physicalFunction } = sriov;
  const pool = poolOf(shared, device);
  const { classCode, kind, vendorId, deviceId, driver, iommuGroup, numaNode, resettable } = device;
  return {
    ...{ address, kind, classCode, vendorId, deviceId, resettable },
    ...(driver === undefined ? {} : { driver }),
    ...(iommuGroup === undefined ? {} : { iommuGroup }),
    ...(numaNode === undefined ? {} : { numaNode }),
    groupMembers: [...groupMembers],
    sriov: {
      ...{ totalVfs, numVfs, vfs: [...sriov.vfs] },
      ...(physicalFunction === undefined ? {} : { physicalFunction }),
    },
    mediatedTypes: [...mediatedTypes],
    mediatedDevices: mediatedDevices.map(({ uuid, type = 'unknown' }) => ({ uuid, type })),
    inUse: [...inUse],
    ...(device.stuck === undefined ? {} : { stuck: device.stuck }),
    usable: refusal === undefined,
    ...(refusal === undefined ? {} : { why: refusal.message, hint: refusal.hint }),
    ...(pool === undefined ? {} : { pool }),
    leasedTo: holders
      .filter(({ lease }) => lease.address === address)
      .map(({ id, instance, lease: { name, mdev } }) => ({
        ...{ instance, id, device: name },
        ...(mdev === undefined ? {} : { mdev }),
      })),
  };
}

function poolOf(shared: Shared, { address, sriov }: PciDevice): HostDevice['pool'] {
  const own = sourceOf(shared, address);
  if (own === undefined) {
    const parent = sriov.physicalFunction && sourceOf(shared, sriov.physicalFunction);
    return parent ? { name: parent.pool } : undefined;
  }
  const { pool: name, count } = own;
  const problem = `has ${sriov.numVfs} of ${count} virtual functions: \`wirt host device create-vfs ${address} --count ${count} --pool ${name}\` says why`;
  return { name, count, ...(sriov.numVfs < count ? { problem } : {}) };
}

/** Recorded first, so that a daemon that dies in between leaves it to the next to make them. */
async function createVfs(shared: Shared, address: string, { count, pool }: VirtualFunctions): Promise<void> {
  const { devices, lanes, store, faults } = shared;
  await lanes.run(devicesLane, async () => {
    const inventory = await devices.inventory(AbortSignal.timeout(deviceDeadlineMs));
    const device = requireDevice(address, inventory);
    if (device.sriov.numVfs !== count) requireUnlent(shared, device);
    const before = sourceOf(shared, address);
    await faults.at('device.create-vfs/record');
    await commit(store, withSource(shared, address, { pool, count }));
    try {
      await faults.at('device.create-vfs/make');
      await devices.createVfs(address, count, AbortSignal.timeout(deviceDeadlineMs));
    } catch (error) {
      await commit(store, withSource(shared, address, before));
      throw error;
    }
  });
}

/** Taken away first: what a daemon that dies in between has not answered, the next one makes again. */
async function removeVfs(shared: Shared, address: string): Promise<void> {
  const { devices, lanes, store, faults } = shared;
  await lanes.run(devicesLane, async () => {
    const inventory = await devices.inventory(AbortSignal.timeout(deviceDeadlineMs));
    const device = inventory.find((each) => each.address === address);
    // Of a device that is gone for good, the record can still go.
    if (device === undefined && sourceOf(shared, address) === undefined) throw noSuchDevice(address);
    if (device !== undefined) {
      requireUnlent(shared, device);
      await devices.removeVfs(address, AbortSignal.timeout(deviceDeadlineMs));
    }
    await faults.at('device.remove-vfs/record');
    await commit(store, withSource(shared, address, undefined));
  });
}

function requireUnlent(shared: Shared, { address, sriov }: PciDevice): void {
  const lent = holdersOf(shared).filter(({ lease }) => sriov.vfs.includes(lease.address));
  const [first] = lent;
  if (first === undefined) return;
  const phrases = lent.map(({ instance, lease }) => `${lease.address} is lent to instance ${instance}`);
  throw new WirtError(
    'device.in_use',
    `Virtual functions of PCI device ${address} are in use: ${phrases.join(', ')}.`,
    {
      hint: `Stop it first: \`wirt stop ${first.instance}\`.`,
      details: { address, functions: lent.map(({ lease }) => lease.address) },
    },
  );
}
