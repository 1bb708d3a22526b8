// Reads all PCI devices of the host: what the kernel says of each, who is in its IOMMU group, and what the host needs it for.
// Source: Linux, Documentation/ABI/testing/sysfs-bus-pci, sysfs-bus-vfio-mdev.
import { type DeviceUse, isPciAddress, isVfioDriver, type PciDevice, pciKind } from '@wirt/core';
import type { HostFiles } from '../../platform/host-files.ts';
import { readBlocks } from './block-facts.ts';
import { type ReadAddresses, readInterfaces } from './interface-facts.ts';
import { readMediatedDevices, readMediatedTypes } from './mediated.ts';
import { deviceDirectory, devicePath } from './sysfs-paths.ts';
import { usesOf } from './uses.ts';

/** What one device's files say. */
type OwnFacts = Omit<PciDevice, 'groupMembers' | 'mediatedDevices' | 'inUse'>;

export async function readInventory(
  files: HostFiles,
  addresses: ReadAddresses,
): Promise<readonly PciDevice[]> {
  const found = (await files.list(deviceDirectory)).filter(isPciAddress);
  const [read, interfaces, blocks, mediated] = await Promise.all([
    Promise.all(found.map((address) => readDevice(files, address))),
    readInterfaces(files, addresses),
    readBlocks(files),
    readMediatedDevices(files),
  ]);
  const devices = read.filter((device) => device !== undefined);
  const byGroup = Map.groupBy(devices, ({ iommuGroup }) => iommuGroup);
  const open = await openGroups(files, devices);
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
    return {
      ...device,
      groupMembers: group.map((member) => member.address).filter((member) => member !== address),
      mediatedDevices,
      inUse: [...usesOf(address, { interfaces, blocks }), ...made],
    };
  });
}

const doorOf = (group: number): string => `/dev/vfio/${group}`;

/** IOMMU groups that a process has open: a group opens once (Linux, driver-api/vfio.rst). */
async function openGroups(files: HostFiles, devices: readonly OwnFacts[]): Promise<ReadonlySet<number>> {
  const groups = new Set(
    devices.flatMap(({ driver, iommuGroup }) =>
      isVfioDriver(driver) && iommuGroup !== undefined ? [iommuGroup] : [],
    ),
  );
  const open = new Set<number>();
  for (const group of groups) if ((await files.opens(doorOf(group))) === 'EBUSY') open.add(group);
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
  const [totalVfs, numVfs, physicalFunction] = await Promise.all([
    files.number(`${path}/sriov_totalvfs`),
    files.number(`${path}/sriov_numvfs`),
    files.linkName(`${path}/physfn`),
  ]);
  return {
    totalVfs: totalVfs ?? 0,
    numVfs: numVfs ?? 0,
    isVf: physicalFunction !== undefined,
    ...(physicalFunction === undefined ? {} : { physicalFunction }),
    vfs: totalVfs === undefined ? [] : await readVfs(files, path),
  };
}

/** In the order of their numbers, which is not that of their names: virtfn10 comes after virtfn2. */
export async function readVfs(files: HostFiles, path: string): Promise<readonly string[]> {
  const numbers = (await files.list(path)).flatMap((name) => /^virtfn(\d+)$/.exec(name)?.[1] ?? []);
  const inOrder = numbers.map(Number).toSorted((a, b) => a - b);
  const vfs = await Promise.all(inOrder.map((number) => files.linkName(`${path}/virtfn${number}`)));
  return vfs.filter((address) => address !== undefined);
}
