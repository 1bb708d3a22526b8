/**
 * Which of the host's devices a guest is lent, of those that it asks for: the named ones, then of pools what is free. Pure; over
 * an inventory that was just read. Two guests never have devices of one IOMMU group.
 */
import type { DeviceLease, InstanceDevice } from '@wirt/api';
import type { MediatedDevice, PciDevice } from './pci-device.ts';
import { bindRefusal, type DeviceRefusal, noSuchDevice, refusalError, stuckRefusal } from './refusals.ts';

/** A lease, and who has it. */
export interface Holder {
  readonly instance: string;
  readonly lease: DeviceLease;
}

export interface LendingGround {
  readonly inventory: readonly PciDevice[];
  /** Leases of all other instances. */
  readonly holders: readonly Holder[];
  /** Addresses of the virtual functions that a pool has now. Throws when there is no such pool. */
  functionsOf(pool: string): readonly string[];
  /** Nodes of the host that the guest is on; absent or empty: on none in particular. */
  readonly nodes?: readonly number[];
}

type Named = Exclude<InstanceDevice, { pool: string }>;

/** In the order in which they were asked for. Throws `device.*` with the reason; nothing is made. */
export function chooseLeases(asked: readonly InstanceDevice[], ground: LendingGround): DeviceLease[] {
  const named = asked.filter((each): each is Named => !('pool' in each));
  const together = named.flatMap((each) => ('address' in each ? [each.address] : []));
  const byName = new Map(named.map((each) => [each.name, namedLease(each, ground, together)]));
  for (const each of asked)
    if ('pool' in each) byName.set(each.name, freeOf(each, ground, [...byName.values()]));
  return asked.flatMap(({ name }) => byName.get(name) ?? []);
}

/** Why nobody else can have it: another instance has it, or one of its group. */
function holderRefusal(device: PciDevice, holders: readonly Holder[]): DeviceRefusal | undefined {
  const { address, groupMembers, iommuGroup } = device;
  const holder = holders.find(
    ({ lease }) =>
      lease.mdev === undefined && (lease.address === address || groupMembers.includes(lease.address)),
  );
  if (holder === undefined) return undefined;
  const { instance, lease } = holder;
  const isItself = lease.address === address;
  return takenRefusal(
    isItself
      ? `PCI device ${address} is lent to instance ${instance}.`
      : `PCI device ${address} is in IOMMU group ${iommuGroup} with ${lease.address}, which is lent to instance ${instance}.`,
    holder,
  );
}

function takenRefusal(message: string, { instance, lease }: Holder): DeviceRefusal {
  return {
    code: 'device.in_use',
    message,
    hint: `Stop that one first: \`wirt stop ${instance}\`; or choose another device: \`wirt host device ls\`.`,
    details: { instance, address: lease.address },
  };
}

function namedLease(asked: Named, ground: LendingGround, together: readonly string[]): DeviceLease {
  if ('mdev' in asked) return mediatedLease(asked, ground);
  const device = ground.inventory.find(({ address }) => address === asked.address);
  if (device === undefined) throw noSuchDevice(asked.address);
  const refusal = lendingRefusal(device, ground, together);
  if (refusal !== undefined) throw refusalError(refusal);
  return leaseOf(asked.name, device);
}

/** Lent before bound: a device that another guest has is also bound, and what is bound is told in the other's words. Stuck before both. */
export function lendingRefusal(
  device: PciDevice,
  { inventory, holders }: Pick<LendingGround, 'inventory' | 'holders'>,
  together: readonly string[] = [],
): DeviceRefusal | undefined {
  if (device.stuck !== undefined) return stuckRefusal(device.address, device.stuck);
  return holderRefusal(device, holders) ?? bindRefusal(device, inventory, together);
}

function leaseOf(name: string, { address, iommuGroup, driver }: PciDevice): DeviceLease {
  if (iommuGroup === undefined) throw new Error(`${address} was refused for its lack of a group`);
  return { name, address, iommuGroup, ...(driver === undefined ? {} : { formerDriver: driver }) };
}

export function findMediated(inventory: readonly PciDevice[], uuid: string): MediatedDevice | undefined {
  return inventory.flatMap(({ mediatedDevices }) => mediatedDevices).find((each) => each.uuid === uuid);
}

export function noSuchMediated(uuid: string): DeviceRefusal {
  return {
    code: 'device.not_found',
    message: `The host has no PCI device with a mediated device ${uuid}.`,
    hint: 'Make it first: `echo UUID > /sys/bus/pci/devices/ADDRESS/mdev_supported_types/TYPE/create`.',
    details: { mdev: uuid },
  };
}

function mediatedLease({ name, mdev }: Extract<Named, { mdev: string }>, ground: LendingGround): DeviceLease {
  const found = findMediated(ground.inventory, mdev);
  if (found === undefined) throw refusalError(noSuchMediated(mdev));
  const { parent, iommuGroup } = found;
  const holder = ground.holders.find(({ lease }) => lease.mdev === mdev);
  if (holder !== undefined)
    throw refusalError(
      takenRefusal(`Mediated device ${mdev} is lent to instance ${holder.instance}.`, holder),
    );
  const refusal = mediatedRefusal(found, ground.inventory);
  if (refusal !== undefined) throw refusalError(refusal);
  if (iommuGroup === undefined) throw new Error(`${mdev} was refused for its lack of a group`);
  return { name, address: parent, mdev, iommuGroup };
}

/** What speaks against a mediated device that no other instance has. */
function mediatedRefusal(
  { uuid, type, parent, iommuGroup, isOpen }: MediatedDevice,
  inventory: readonly PciDevice[],
): DeviceRefusal | undefined {
  const device = inventory.find(({ address }) => address === parent);
  if (device?.stuck !== undefined) return stuckRefusal(parent, device.stuck);
  const details = { mdev: uuid, address: parent };
  const unsupported = (why: string, hint: string): DeviceRefusal => ({
    code: 'device.unsupported',
    message: `Mediated device ${uuid} of PCI device ${parent} ${why}.`,
    hint,
    details,
  });
  const kind = device?.mediatedTypes.find(({ id }) => id === type);
  if (kind === undefined)
    return unsupported(
      type === undefined ? 'has no type' : `has the type ${type}, which its parent does not have`,
      `It is being made or taken away, or its driver is gone; see \`wirt host device show ${parent}\`.`,
    );
  if (kind.deviceApi !== guestApi)
    return unsupported(
      `is none for a PCI bus: its type ${kind.id} says ${kind.deviceApi || 'nothing'} of how it is used`,
      `Make one of a type with ${guestApi}; see \`wirt host device show ${parent}\`.`,
    );
  if (iommuGroup === undefined)
    return unsupported(
      'has no IOMMU group: no driver hands it to guests',
      'Load the driver for it: modprobe vfio-mdev (before Linux 5.16: vfio_mdev).',
    );
  if (!isOpen) return undefined;
  return {
    code: 'device.in_use',
    message: `Mediated device ${uuid} of PCI device ${parent} is open in a program that is no guest of Wirt’s.`,
    hint: `End that first; \`fuser -v /dev/vfio/${iommuGroup}\` says which it is.`,
    details,
  };
}

/** What QEMU's vfio-pci takes (Linux, driver-api/vfio-mediated-device.rst: device_api). */
const guestApi = 'vfio-pci';

/** The first that nothing speaks against, of those near the guest before others. What this guest has by now of the pool is taken, too. */
function freeOf(
  { name, pool }: Extract<InstanceDevice, { pool: string }>,
  ground: LendingGround,
  own: readonly DeviceLease[],
): DeviceLease {
  const addresses = ground.functionsOf(pool);
  const refused: { address: string; why: string }[] = [];
  const functions = addresses.flatMap(
    (address) => ground.inventory.find((each) => each.address === address) ?? [],
  );
  for (const device of nearestFirst(functions, ground.nodes ?? [])) {
    const { address } = device;
    if (own.some((lease) => lease.address === address)) continue;
    const refusal = lendingRefusal(device, ground);
    if (refusal === undefined) return leaseOf(name, device);
    refused.push({ address, why: refusal.message });
  }
  const [first] = refused;
  throw refusalError({
    code: 'device.pool_exhausted',
    message:
      addresses.length === 0
        ? `Device pool ${pool} has no virtual functions now.`
        : `Device pool ${pool} has none of its ${addresses.length} virtual functions free${first === undefined ? '' : `: ${first.why.replace(/\.$/, '')}${refused.length > 1 ? ', and so on' : ''}`}.`,
    hint: `Stop a guest that has one, or make more: \`wirt host device create-vfs ADDRESS --count N --pool ${pool}\`; see \`wirt host device ls\`.`,
    details: { pool, functions: addresses.length, refused },
  });
}

/** Those on the nodes first, then those of which nobody knows; else in the order given. */
function nearestFirst(devices: readonly PciDevice[], nodes: readonly number[]): PciDevice[] {
  if (nodes.length === 0) return [...devices];
  const rank = ({ numaNode }: PciDevice): number =>
    numaNode === undefined ? 1 : nodes.includes(numaNode) ? 0 : 2;
  return devices.toSorted((a, b) => rank(a) - rank(b));
}
