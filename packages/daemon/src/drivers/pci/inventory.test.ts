import { mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { removeFiles, writeTable } from '../../platform/host-files.fixture.ts';
import type { ReadClaims } from './disk-claims.ts';
import { type FakeBus, fakeBus } from './fake-bus.fixture.ts';
import { readInventory } from './inventory.ts';
import { createStuckDevices } from './stuck.ts';

afterEach(removeFiles);

const [card, disk] = ['0000:03:00.0', '0000:04:00.0'];
const signal = (): AbortSignal => AbortSignal.timeout(5_000);
const none: ReadClaims = async () => new Map();
const inventoryOf = (bus: FakeBus, addresses: Record<string, string[]> = {}, claims = none) =>
  readInventory(
    { files: bus.files, addresses: () => addresses, claims, stuck: createStuckDevices(), granted: new Set() },
    signal(),
  );
async function read(bus: FakeBus, addresses: Record<string, string[]> = {}, claims = none) {
  const inventory = await inventoryOf(bus, addresses, claims);
  return (address: string) => inventory.find((device) => device.address === address);
}

describe('the inventory', () => {
  it('has what the kernel says of a device', async () => {
    const bus = await fakeBus();
    bus.add({
      address: card,
      class: '0x020000',
      driver: 'igb',
      group: 12,
      node: 1,
      reset: 'flr bus',
      totalVfs: 7,
    });
    bus.add({ address: '0000:03:00.1', class: '0x0c0330', group: 12 });
    const at = await read(bus);
    expect(at(card)).toEqual({
      address: card,
      classCode: 0x020000,
      kind: 'network',
      vendorId: '8086',
      deviceId: '10c9',
      driver: 'igb',
      iommuGroup: 12,
      groupMembers: ['0000:03:00.1'],
      numaNode: 1,
      sriov: { totalVfs: 7, numVfs: 0, isVf: false, vfs: [] },
      mediatedTypes: [],
      mediatedDevices: [],
      resettable: true,
      resetMethods: ['flr', 'bus'],
      inUse: [],
    });
    expect(at('0000:03:00.1')).toMatchObject({ kind: 'other', resettable: false, groupMembers: [card] });
    expect(at('0000:03:00.1')).not.toHaveProperty('numaNode');
  });

  it('has virtual functions in the order of their numbers', async () => {
    const bus = await fakeBus();
    bus.add({ address: card, class: '0x020000', driver: 'igb', totalVfs: 16 });
    await bus.writes.write(`/sys/bus/pci/devices/${card}/sriov_numvfs`, '12', AbortSignal.timeout(1000));
    const at = await read(bus);
    expect(at(card)?.sriov).toMatchObject({ totalVfs: 16, numVfs: 12 });
    expect(at(card)?.sriov.vfs.slice(1, 3)).toEqual(['0000:03:10.1', '0000:03:10.2']);
    expect(at(card)?.sriov.vfs[11]).toBe('0000:03:11.3');
    expect(at(card)?.inUse).toEqual([{ kind: 'functions', name: card, reason: 'has 12 virtual functions' }]);
    expect(at('0000:03:10.1')?.sriov).toMatchObject({ isVf: true, physicalFunction: card });
  });

  it('has kinds of mediated devices, and those that were made', async () => {
    const bus = await fakeBus();
    const uuid = '83b8f4f2-509f-382f-3c1e-e6bfe0fa1001';
    const type = 'mdev_supported_types/i915-GVTg_V5_4';
    bus.add({
      address: '0000:00:02.0',
      class: '0x030000',
      driver: 'igb',
      files: {
        [`${type}/name`]: 'GVTg_V5_4',
        [`${type}/available_instances`]: '1',
        [`${type}/device_api`]: 'vfio-pci',
        [`${uuid}/mdev_type`]: `-> ../${type}`,
        [`${uuid}/iommu_group`]: '-> ../../../../kernel/iommu_groups/40',
      },
    });
    const devices = join(bus.root, 'sys/bus/mdev/devices');
    mkdirSync(devices, { recursive: true });
    symlinkSync(`../../../devices/pci0000:00/0000:00:02.0/${uuid}`, join(devices, uuid));
    const graphics = (await read(bus))('0000:00:02.0');
    const kind = { id: 'i915-GVTg_V5_4', name: 'GVTg_V5_4', available: 1, deviceApi: 'vfio-pci' };
    expect(graphics).toMatchObject({
      mediatedTypes: [kind],
      mediatedDevices: [
        { uuid, type: 'i915-GVTg_V5_4', parent: '0000:00:02.0', iommuGroup: 40, isOpen: false },
      ],
      inUse: [{ kind: 'mediated', name: uuid }],
    });
  });

  it('has mediated devices with what they lack, and those that a program has open; and none of other parents', async () => {
    const bus = await fakeBus();
    const uuids = [1, 2, 3].map((at) => `83b8f4f2-509f-382f-3c1e-e6bfe0fa100${at}`);
    const [whole, typeless, other] = uuids as [string, string, string];
    bus.add({
      address: card,
      class: '0x030000',
      driver: 'igb',
      files: {
        'mdev_supported_types/nvidia-35/device_api': 'vfio-pci',
        [`${whole}/mdev_type`]: '-> ../mdev_supported_types/nvidia-35',
        [`${whole}/iommu_group`]: '-> ../../../../kernel/iommu_groups/41',
        [`${typeless}/uevent`]: '',
      },
    });
    const devices = '/sys/bus/mdev/devices';
    writeTable(bus.root, {
      [`/sys/devices/virtual/mtty/mtty/${other}/mdev_type`]: '-> ../mdev_supported_types/mtty-1',
      [`${devices}/${whole}`]: `-> ../../../devices/pci0000:00/${card}/${whole}`,
      [`${devices}/${typeless}`]: `-> ../../../devices/pci0000:00/${card}/${typeless}`,
      [`${devices}/${other}`]: `-> ../../../devices/virtual/mtty/mtty/${other}`,
    });
    const inventory = await readInventory(
      {
        files: { ...bus.files, opens: async (path) => (path === '/dev/vfio/41' ? 'EBUSY' : true) },
        ...{ addresses: () => ({}), claims: none, stuck: createStuckDevices(), granted: new Set<number>() },
      },
      signal(),
    );
    expect(inventory.map(({ address, mediatedDevices }) => [address, mediatedDevices])).toEqual([
      [
        card,
        [
          { uuid: whole, type: 'nvidia-35', parent: card, iommuGroup: 41, isOpen: true },
          { uuid: typeless, parent: card, isOpen: false },
        ],
      ],
    ]);
  });

  it('opens no door of a group that a guest was granted: it opens once, and its QEMU would fail', async () => {
    const bus = await fakeBus();
    bus.add({ address: card, class: '0x020000', driver: 'vfio-pci', group: 40 });
    bus.add({ address: disk, class: '0x020000', driver: 'vfio-pci', group: 42 });
    bus.add({
      address: '0000:05:00.0',
      class: '0x030000',
      driver: 'igb',
      files: { 'mdev/iommu_group': '-> ../../../../kernel/iommu_groups/41' },
    });
    writeTable(bus.root, {
      '/sys/bus/mdev/devices/mdev': '-> ../../../devices/pci0000:00/0000:05:00.0/mdev',
    });
    const opened: string[] = [];
    const opens = async (path: string) => {
      opened.push(path);
      return true as const;
    };
    const inventory = await readInventory(
      {
        files: { ...bus.files, opens },
        ...{ addresses: () => ({}), claims: none, stuck: createStuckDevices(), granted: new Set([40, 41]) },
      },
      signal(),
    );
    expect(opened).toEqual(['/dev/vfio/42']);
    const at = (address: string) => inventory.find((device) => device.address === address);
    expect(at(card)?.inUse).toEqual([{ kind: 'vfio', name: '/dev/vfio/40', reason: 'is open in a program' }]);
    expect(at(disk)?.inUse).toEqual([]);
    expect(at('0000:05:00.0')?.mediatedDevices).toMatchObject([{ uuid: 'mdev', isOpen: true }]);
  });

  it('says what the host works with: cards', async () => {
    const bus = await fakeBus();
    const cards = [0, 1, 2, 3, 4].map((at) => `0000:03:00.${at}`);
    cards.forEach((address, at) => {
      bus.add({ address, class: '0x020000', driver: 'igb' });
      bus.addChild(address, `net/eth${at}`, at === 2 ? { master: '-> ../br0' } : {});
    });
    writeTable(bus.root, {
      '/proc/net/route':
        'Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\neth1\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\neth4\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\n',
      '/proc/net/ipv6_route': `${'0'.repeat(32)} 00 ${'0'.repeat(32)} 00 fe800000000000000000000000000001 00000400 1 0 00000003     eth3\n${'0'.repeat(32)} 00 ${'0'.repeat(32)} 00 ${'0'.repeat(32)} ffffffff 1 0 00200200       lo\n`,
    });
    const at = await read(bus, { eth0: ['192.0.2.7'], eth4: [] });
    expect(cards.map((address) => at(address)?.inUse.map(({ reason }) => reason))).toEqual([
      ['has the address 192.0.2.7'],
      ['has a default route'],
      ['is part of br0'],
      ['has a default route'],
      [],
    ]);
  });

  it('says what the host works with: disks', async () => {
    const bus = await fakeBus();
    bus.add({ address: disk, class: '0x010601', driver: 'ahci' });
    bus.addChild(disk, 'ata1/block/sda', { dev: '8:0\n', 'holders/': '' });
    bus.addChild(disk, 'ata1/block/sda/sda1', { dev: '8:1\n', 'holders/': '' });
    bus.addChild(disk, 'ata1/block/sda/sda2', { dev: '8:2\n', 'holders/': '' });
    bus.addChild(disk, 'ata1/block/sda/sda3', { dev: '8:3\n', 'holders/dm-0': '' });
    bus.addChild(disk, 'ata1/block/sda/sda4', { dev: '8:4\n', 'holders/': '' });
    writeTable(bus.root, {
      '/proc/self/mountinfo': '22 1 8:1 / / rw - ext4 /dev/root rw\n',
      '/proc/1/mountinfo': '30 1 0:45 / /srv rw - btrfs /dev/sda4 rw\n',
      '/proc/swaps': 'Filename\t\tType\n/dev/sda2                partition\t100\t0\t-2\n/sda4 file 1 0 -3\n',
    });
    const uses = (await read(bus))(disk)?.inUse ?? [];
    expect(uses.map(({ kind, name, reason }) => `${kind}: ${name} ${reason}`)).toEqual([
      'root: sda1 is mounted at /',
      'disk: sda2 is swap',
      'disk: sda3 is part of dm-0',
      'disk: sda4 is mounted at /srv',
    ]);
  });

  it('asks of disks that nothing speaks for whether they are in use after all', async () => {
    const bus = await fakeBus();
    const idle = '0000:05:00.0';
    for (const address of [disk, idle]) bus.add({ address, class: '0x010601', driver: 'ahci' });
    bus.addChild(disk, 'ata1/block/sda', { dev: '8:0\n' });
    bus.addChild(disk, 'ata1/block/sda/sda1', { dev: '8:1\n', partition: '1\n' });
    bus.addChild(idle, 'ata2/block/sdb', { dev: '8:16\n' });
    bus.addChild(idle, 'ata2/block/sdb/sdb1', { dev: '8:17\n', partition: '1\n' });
    writeTable(bus.root, { '/proc/self/mountinfo': '22 1 8:1 / / rw - ext4 /dev/root rw\n' });
    const asked: string[] = [];
    const claims: ReadClaims = async (blocks) => {
      for (const { name, dev, isPartition } of blocks) asked.push(`${name} ${dev} ${isPartition}`);
      return new Map([['sdb', 'is claimed']]);
    };
    const at = await read(bus, {}, claims);
    expect(asked).toEqual(['sdb 8:16 false', 'sdb1 8:17 true']);
    expect(at(idle)?.inUse).toEqual([{ kind: 'disk', name: 'sdb', reason: 'is claimed' }]);
  });

  it('finds all ways to an NVMe disk that has several, and members of a file system of several disks', async () => {
    const bus = await fakeBus();
    const ways = [disk, '0000:05:00.0'];
    for (const [at, address] of ways.entries())
      bus.add({ address, class: '0x010802', files: { [`nvme/nvme${at}/address`]: address } });
    const subsystem = '/sys/devices/virtual/nvme-subsystem/nvme-subsys0';
    writeTable(bus.root, {
      [`${subsystem}/nvme0`]: `-> ../../../pci0000:00/${disk}/nvme/nvme0`,
      [`${subsystem}/nvme1`]: '-> ../../../pci0000:00/0000:05:00.0/nvme/nvme1',
      [`${subsystem}/nvme0n1/dev`]: '259:0\n',
      '/sys/class/block/nvme0n1': '-> ../../devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1',
      '/sys/fs/btrfs/9bb8/devices/nvme0n1': '-> nowhere',
    });
    const at = await read(bus);
    for (const address of ways)
      expect(at(address)?.inUse).toEqual([
        { kind: 'disk', name: 'nvme0n1', reason: 'is part of a mounted file system' },
      ]);
  });

  it('leaves out a device that goes while it is read', async () => {
    const bus = await fakeBus();
    bus.add({ address: card, class: '0x020000' });
    writeTable(bus.root, { [`/sys/bus/pci/devices/${disk}`]: '-> ../../../devices/gone' });
    expect((await inventoryOf(bus)).map(({ address }) => address)).toEqual([card]);
  });
});
