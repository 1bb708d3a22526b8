/**
 * Devices of the host, lent to a guest for the time that it runs. The lease is in the instance's record before the device is
 * taken from the host, and leaves it when the device is back: whoever dies in between leaves it to the next daemon to give back.
 */
import { type CpuTopology, type DeviceLease, type Instance, type InstanceDevice, WirtError } from '@wirt/api';
import { chooseLeases, findMediated, type Holder, noSuchMediated } from '../domain/devices/lending.ts';
import { devicesByNode } from '../domain/devices/near.ts';
import { noSuchDevice, refusalError } from '../domain/devices/refusals.ts';
import type { PlannedDevice } from '../domain/guest.ts';
import { needsWideApic } from '../domain/machine-limits/apic.ts';
import type { LentDevice } from '../domain/tuning/explain.ts';
import type { Identity } from '../ports/sandbox.ts';
import { deviceDeadlineMs, devicesLane, functionsOf, restoreFunctions } from './device-pool.ts';
import type { Shared } from './parts.ts';
import { commit } from './records.ts';

type Asking = Pick<Instance, 'name' | 'spec'>;

export function hasDevices({ spec }: Pick<Instance, 'spec'>): boolean {
  return (spec.devices ?? []).length > 0;
}

/** Throws `request.invalid` for what could never start. */
export function requireDevicesFit({ name, spec }: Asking): void {
  const { devices = [] } = spec;
  if (devices.length === 0) return;
  const refuse = (message: string, hint: string): WirtError =>
    new WirtError('request.invalid', message, { hint });
  if (spec.machine === 'microvm')
    throw refuse(
      `Instance ${name} is a microvm, which has no PCI bus for devices of the host.`,
      'Create it with `--machine q35`, or without `--device`.',
    );
  if (spec.overcommit)
    throw refuse(
      `Instance ${name} cannot have devices of the host and overcommit its memory: a device reaches all of it at any time, so the host holds all of it from the start.`,
      'Leave out `--overcommit` or `--device`.',
    );
  for (const [what, words] of [
    ['name', devices.map((each) => each.name)],
    ['device', devices.flatMap((each) => sourceText(each) ?? [])],
  ] as const) {
    const twice = words.find((word, at) => words.indexOf(word) !== at);
    if (twice !== undefined)
      throw refuse(`Two devices of instance ${name} have the same ${what}: ${twice}.`, 'Leave one out.');
  }
}

function sourceText(device: InstanceDevice): string | undefined {
  if ('pool' in device) return undefined;
  return 'mdev' in device ? device.mdev : device.address;
}

/** Looks for misspellings only: whether they are free is asked at the start. Throws `device.not_found`, `pool.not_found`. */
export async function requireDevicesKnown(shared: Shared, { spec }: Asking): Promise<void> {
  const { devices = [] } = spec;
  if (devices.length === 0) return;
  const inventory = await shared.devices.inventory(AbortSignal.timeout(deviceDeadlineMs));
  for (const device of devices) {
    if ('pool' in device) shared.devicePools.require(device.pool);
    else if ('mdev' in device) {
      if (findMediated(inventory, device.mdev) === undefined) throw refusalError(noSuchMediated(device.mdev));
    } else if (!inventory.some(({ address }) => address === device.address))
      throw noSuchDevice(device.address);
  }
}

/** All leases but those of `besides`. */
export function holdersOf(
  { instances }: Pick<Shared, 'instances'>,
  besides?: string,
): (Holder & { id: string })[] {
  return [...instances.after()].flatMap(({ id, name, status }) =>
    id === besides ? [] : (status.devices ?? []).map((lease) => ({ id, instance: name, lease })),
  );
}

/** What can be seen to be in the way before anything is made. `topology`: where one was planned. Throws as `lendDevices`. */
export async function requireDevices(
  shared: Shared,
  instance: Instance,
  topology: CpuTopology | undefined,
): Promise<void> {
  if (!hasDevices(instance)) return;
  requireDevicesFit(instance);
  await shared.lanes.run(devicesLane, async () => {
    const leases = chooseLeases(instance.spec.devices ?? [], await groundOf(shared, instance));
    requireOwnGroups(instance, leases, topology);
  });
}

/** A guest with an IOMMU has an address space for each device, and a group can only be in one (QEMU hw/vfio/common.c, vfio_get_group). */
function requireOwnGroups(
  { name, spec }: Instance,
  leases: readonly DeviceLease[],
  topology: CpuTopology = { sockets: 1, cores: Math.max(spec.cpus, spec.maxCpus ?? 0), threads: 1 },
): void {
  if (!needsWideApic(topology)) return;
  for (const { address, iommuGroup } of leases) {
    const other = leases.find((lease) => lease.iommuGroup === iommuGroup && lease.address !== address);
    if (other === undefined) continue;
    throw new WirtError(
      'device.group_shared',
      `Instance ${name} has more than 255 vCPUs, and so an IOMMU, with which ${address} and ${other.address} cannot both be its own: they share IOMMU group ${iommuGroup}.`,
      {
        hint: 'Give it 255 vCPUs or fewer, or only one of them.',
        details: { addresses: [address, other.address], group: iommuGroup },
      },
    );
  }
}

async function groundOf(shared: Shared, { id, spec, status }: Instance) {
  const pools = (spec.devices ?? []).flatMap((each) => ('pool' in each ? each.pool : []));
  for (const pool of pools) shared.devicePools.require(pool);
  if (pools.length > 0) await restoreFunctions(shared, pools);
  const inventory = await shared.devices.inventory(AbortSignal.timeout(deviceDeadlineMs));
  return {
    inventory,
    holders: holdersOf(shared, id),
    functionsOf: (pool: string) => functionsOf(shared, pool, inventory),
    nodes: status.placement?.nodes ?? [],
  };
}

/** How many of the devices that it asks for are on each node of the host. What is not there is refused where it is lent. */
export async function deviceNodes(
  shared: Pick<Shared, 'devices' | 'devicePools' | 'instances'>,
  instance: Instance,
): Promise<Readonly<Record<number, number>>> {
  const { devices, devicePools } = shared;
  if (!hasDevices(instance)) return {};
  const inventory = await devices.inventory(AbortSignal.timeout(deviceDeadlineMs));
  return devicesByNode(instance.spec.devices ?? [], {
    inventory,
    holders: holdersOf(shared, instance.id),
    functionsOf: (pool) => (devicePools.find(pool) === undefined ? [] : functionsOf(shared, pool, inventory)),
  });
}

/** What of the host's devices it has, or would be lent if it started now on these nodes. Throws as `lendDevices`. */
export async function devicesToTell(
  shared: Shared,
  instance: Instance,
  nodes: readonly number[],
): Promise<LentDevice[]> {
  const { spec, status } = instance;
  if (!hasDevices(instance) && (status.devices ?? []).length === 0) return [];
  const inventory = await shared.devices.inventory(AbortSignal.timeout(deviceDeadlineMs));
  const leases =
    status.devices ??
    (status.process === undefined
      ? chooseLeases(spec.devices ?? [], {
          inventory,
          holders: holdersOf(shared, instance.id),
          functionsOf: (pool) => functionsOf(shared, pool, inventory),
          nodes,
        })
      : []);
  return leases.map(({ name, address, mdev }) => {
    const numaNode = inventory.find((device) => device.address === address)?.numaNode;
    const asked = spec.devices?.find((each) => each.name === name);
    return {
      name,
      what: mdev ?? address,
      ...(numaNode === undefined ? {} : { node: numaNode }),
      ...(asked !== undefined && 'pool' in asked ? { pool: asked.pool } : {}),
    };
  });
}

/**
 * Lends, binds and grants what the instance asks for; none where it asks for none. `topology`: where one was planned. Taken back by
 * `giveDevicesBack`, also when it failed half-way. Throws `device.*`, `pool.not_found`, `host.permission_denied`.
 */
export async function lendDevices(
  shared: Shared,
  id: string,
  identity: Identity,
  { topology, signal }: { readonly topology: CpuTopology | undefined; readonly signal: AbortSignal },
): Promise<PlannedDevice[]> {
  const { store, instances, devices, faults, lanes } = shared;
  if (!hasDevices(instances.require(id))) return [];
  // What an earlier run could not give back.
  await giveDevicesBack(shared, id);
  const leases = await lanes.run(devicesLane, async () => {
    const instance = instances.require(id);
    const chosen = chooseLeases(instance.spec.devices ?? [], await groundOf(shared, instance));
    // Others than were looked at before, where a pool has others free by now.
    requireOwnGroups(instance, chosen, topology);
    await commit(store, [instances.put({ ...instance, status: { ...instance.status, devices: chosen } })]);
    return chosen;
  });
  await faults.at('instance.start/bind-devices');
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(deviceDeadlineMs)]);
  const bound = leases.filter(({ mdev }) => mdev === undefined).map(({ address }) => address);
  // Out of the lane: the lease keeps others away, and a driver that does not let go holds up this guest and no other.
  for (const address of bound) await devices.bind(address, deadline, bound);
  await faults.at('instance.start/grant-devices');
  for (const group of new Set(leases.map(({ iommuGroup }) => iommuGroup)))
    await devices.grant(group, identity);
  return leases.map(({ name, address, mdev }, slot) => ({
    name,
    slot,
    source: mdev === undefined ? { kind: 'pci', address } : { kind: 'mdev', uuid: mdev },
  }));
}

/**
 * Gives back whatever is lent to the instance. There must be no process. What cannot be given back stays lent, where no driver
 * of the host meets what the guest left in it, and is tried again by `createDeviceReturns`, and by the next start, removal or daemon;
 * the first failure is thrown.
 */
export async function giveDevicesBack(shared: Shared, id: string): Promise<void> {
  const { store, instances, devices, faults, logger } = shared;
  const leases = instances.get(id)?.status.devices ?? [];
  if (leases.length === 0) return;
  const kept: typeof leases = [];
  const failures: unknown[] = [];
  for (const lease of leases) {
    const { address, mdev, formerDriver } = lease;
    try {
      await closeGroup(shared, id, lease);
      // Out of the lane, as it was bound.
      const deadline = AbortSignal.timeout(deviceDeadlineMs);
      if (mdev === undefined) await devices.release(address, formerDriver, deadline);
    } catch (error) {
      logger.error('device.not_given_back', { instance: id, address, error });
      kept.push(lease);
      failures.push(error);
    }
  }
  await faults.at('instance.end/record-devices');
  const instance = instances.get(id);
  if (instance === undefined) return;
  const { devices: _lent, ...status } = instance.status;
  const left = kept.length === 0 ? {} : { devices: kept };
  await commit(store, [instances.put({ ...instance, status: { ...status, ...left } })]);
  if (failures.length > 0) throw failures[0];
}

/** In the lane: nobody is lent the group meanwhile. After a boot its number may be another group's, which another guest has. */
async function closeGroup(shared: Shared, id: string, { iommuGroup }: DeviceLease): Promise<void> {
  await shared.lanes.run(devicesLane, async () => {
    const isAnothers = holdersOf(shared, id).some(({ lease }) => lease.iommuGroup === iommuGroup);
    if (!isAnothers) await shared.devices.revoke(iommuGroup);
  });
}

/** Refuses to forget what could not be given back, so that it can be tried again. Throws `device.bind_failed`. */
export function requireGivenBack({ name, status }: Pick<Instance, 'name' | 'status'>): void {
  const left = (status.devices ?? []).map(({ address }) => address);
  if (left.length === 0) return;
  throw new WirtError(
    'device.bind_failed',
    `Instance ${name} still has ${left.join(', ')}, which could not be given back to the host.`,
    {
      hint: `See \`dmesg | tail\`, and try again; \`wirt rm --force ${name}\` leaves it with vfio-pci until the host boots.`,
      details: { devices: left },
    },
  );
}
