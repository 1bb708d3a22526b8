// Reads all PCI devices of the host: what the kernel says of each, who is in its IOMMU group, and what the host needs it for.
// Nothing is read for which the kernel takes a device's lock (driver_override, sriov_numvfs): a driver that hangs holds it for ever.
// Source: Linux, Documentation/ABI/testing/sysfs-bus-pci, sysfs-bus-vfio-mdev; drivers/pci/{iov,pci-sysfs}.c.
import { type DeviceUse, isPciAddress, isVfioDriver, type PciDevice, pciKind } from '@wirt/core';
import type { HostFiles } from '../../platform/host-files.ts';
import { readBlocks } from './block-facts.ts';
import type { ReadClaims } from './disk-claims.ts';
import { type ReadAddresses, readInterfaces } from './interface-facts.ts';
import { readMediatedDevices, readMediatedTypes } from './mediated.ts';
import type { StuckDevices } from './stuck.ts';
import { deviceDirectory, devicePath, doorOf } from './sysfs-paths.ts';
import { type BlockFacts, type UseFacts, usesOf } from './uses.ts';

/** What one device's files say. */
type OwnFacts = Omit<PciDevice, 'groupMembers' | 'mediatedDevices' | 'inUse' | 'stuck'>;

export interface InventoryGround {
  readonly files: HostFiles;
  readonly addresses: ReadAddresses;
  readonly claims: ReadClaims;
  readonly stuck: StuckDevices;
  /** IOMMU groups that a guest was granted, and whose doors are its QEMU's to open: they open once. */
  readonly granted: ReadonlySet<number>;
}

export async function readInventory(
  { files, addresses, claims, stuck, granted }: InventoryGround,
  signal: AbortSignal,
): Promise<readonly PciDevice[]> {
  const found = (await files.list(deviceDirectory)).filter(isPciAddress);
  const isOpen = async (group: number): Promise<boolean> =>
    granted.has(group) || (await files.opens(doorOf(group))) === 'EBUSY';
  const [read, interfaces, blocks, mediated] = await Promise.all([
    Promise.all(found.map((address) => readDevice(files, address))),
    readInterfaces(files, addresses),
    readBlocks(files),
    readMediatedDevices(files, isOpen),
  ]);
  const devices = read.filter((device) => device !== undefined);
  const facts = await withClaims({ interfaces, blocks }, { claims, stuck }, signal);
  const byGroup = Map.groupBy(devices, ({ iommuGroup }) => iommuGroup);
  const open = await openGroups(
    devices.filter(({ address }) => stuck.of(address) === undefined),
    isOpen,
  );
  return devices.map((device): PciDevice => {
    const { address, iommuGroup, sriov } = device;
    const group = iommuGroup === undefined ? [] : (byGroup.get(iommuGroup) ?? []);
    const mediatedDevices = mediated.filter(({ parent }) => parent === address);
    const made: DeviceUse[] = [
      ...(sriov.numVfs === 0 ? [] : [madeOf('functions', address, `has ${sriov.numVfs} virtual functions`)]),
      ...mediatedDevices.map(({ uuid }) => madeOf('mediated', uuid, 'is made of it')),
      ...(isVfioDriver(device.driver) && iommuGroup !== undefined && open.has(iommuGroup)
        ? [madeOf('vfio', doorOf(iommuGroup), 'is open in a program')]
        : []),
    ];
    const waits = stuck.of(address);
    return {
      ...device,
      ...(waits === undefined ? {} : { stuck: waits }),
      groupMembers: group.map((member) => member.address).filter((member) => member !== address),
      mediatedDevices,
      inUse: [...usesOf(address, facts), ...made],
    };
  });
}

/** Asked only of disks whose devices nothing else speaks for: it takes a program. */
async function withClaims(
  facts: UseFacts,
  { claims, stuck }: Pick<InventoryGround, 'claims' | 'stuck'>,
  signal: AbortSignal,
): Promise<UseFacts> {
  const isFree = ({ devices }: BlockFacts): boolean =>
    devices.length > 0 &&
    devices.every((address) => stuck.of(address) === undefined && usesOf(address, facts).length === 0);
  const free = facts.blocks.filter(isFree);
  if (free.length === 0) return facts;
  const reasons = await claims(free, signal);
  const blocks = facts.blocks.map((block) => {
    const claim = reasons.get(block.name);
    return claim === undefined ? block : { ...block, claim };
  });
  return { ...facts, blocks };
}

/** IOMMU groups that a process has open: a group opens once (Linux, driver-api/vfio.rst). */
async function openGroups(
  devices: readonly OwnFacts[],
  isOpen: (group: number) => Promise<boolean>,
): Promise<ReadonlySet<number>> {
  const groups = new Set(
    devices.flatMap(({ driver, iommuGroup }) =>
      isVfioDriver(driver) && iommuGroup !== undefined ? [iommuGroup] : [],
    ),
  );
  const open = new Set<number>();
  for (const group of groups) if (await isOpen(group)) open.add(group);
  return open;
}

const madeOf = (kind: DeviceUse['kind'], name: string, reason: string): DeviceUse => ({ kind, name, reason });

/** Undefined: gone since the list was read. */
async function readDevice(files: HostFiles, address: string): Promise<OwnFacts | undefined> {
  const path = devicePath(address);
  const classCode = await files.number(`${path}/class`);
  if (classCode === undefined) return undefined;
  const id = async (name: string): Promise<string> =>
    ((await files.line(`${path}/${name}`)) ?? '').replace(/^0x/, '');
  const [driver, group, numaNode, methods, hasReset] = await Promise.all([
    files.linkName(`${path}/driver`),
    files.linkName(`${path}/iommu_group`),
    files.number(`${path}/numa_node`),
    files.line(`${path}/reset_method`),
    files.exists(`${path}/reset`),
  ]);
  const resetMethods = (methods ?? '').split(' ').filter(Boolean);
  return {
    address,
    classCode,
    kind: pciKind(classCode),
    vendorId: await id('vendor'),
    deviceId: await id('device'),
    ...(driver === undefined ? {} : { driver }),
    ...(group === undefined ? {} : { iommuGroup: Number(group) }),
    ...(numaNode === undefined || numaNode < 0 ? {} : { numaNode }),
    sriov: await readSriov(files, path),
    mediatedTypes: await readMediatedTypes(files, path),
    resettable: hasReset,
    resetMethods,
  };
}

async function readSriov(files: HostFiles, path: string): Promise<PciDevice['sriov']> {
  const [totalVfs, physicalFunction] = await Promise.all([
    files.number(`${path}/sriov_totalvfs`),
    files.linkName(`${path}/physfn`),
  ]);
  const vfs = totalVfs === undefined ? [] : await readVfs(files, path);
  return {
    totalVfs: totalVfs ?? 0,
    numVfs: vfs.length,
    isVf: physicalFunction !== undefined,
    ...(physicalFunction === undefined ? {} : { physicalFunction }),
    vfs,
  };
}

/** In the order of their numbers, which is not that of their names: virtfn10 comes after virtfn2. */
export async function readVfs(files: HostFiles, path: string): Promise<readonly string[]> {
  const numbers = (await files.list(path)).flatMap((name) => /^virtfn(\d+)$/.exec(name)?.[1] ?? []);
  const inOrder = numbers.map(Number).toSorted((a, b) => a - b);
  const vfs = await Promise.all(inOrder.map((number) => files.linkName(`${path}/virtfn${number}`)));
  return vfs.filter((address) => address !== undefined);
}
