import { describe, expect, it } from 'vitest';
import { parseMounts } from './block-facts.ts';
import { devicesOfPath } from './sysfs-paths.ts';
import { type BlockFacts, type InterfaceFacts, usesOf } from './uses.ts';

const address = '0000:03:00.0';
const plainCard: InterfaceFacts = {
  name: 'eth7',
  devices: [address],
  addresses: [],
  hasDefaultRoute: false,
  uppers: [],
};
const plainDisk: BlockFacts = {
  name: 'sda',
  devices: [address],
  mountPoints: [],
  isSwap: false,
  isMember: false,
  holders: [],
};
const card = (facts: Partial<InterfaceFacts>) =>
  usesOf(address, { interfaces: [{ ...plainCard, ...facts }], blocks: [] });
const disks = (...facts: readonly Partial<BlockFacts>[]) =>
  usesOf(address, { interfaces: [], blocks: facts.map((each) => ({ ...plainDisk, ...each })) });

describe('a network card', () => {
  it('is free when nothing goes over it', () => {
    expect(card({})).toEqual([]);
    expect(card({ devices: ['0000:04:00.0'], addresses: ['192.0.2.1'] })).toEqual([]);
  });

  it.each([
    [{ addresses: ['192.0.2.1', '192.0.2.2'] }, 'has the address 192.0.2.1'],
    [{ hasDefaultRoute: true }, 'has a default route'],
    [{ master: 'br0' }, 'is part of br0'],
    [{ uppers: ['eth7.5'] }, 'carries eth7.5'],
    [{ addresses: ['2001:db8::1'], master: 'bond0' }, 'has the address 2001:db8::1 and is part of bond0'],
  ])('is in use when the host works over it: %o', (facts, reason) => {
    expect(card(facts)).toEqual([{ kind: 'network', name: 'eth7', reason }]);
  });
});

describe('a disk', () => {
  it('is free when nothing is on it that is in use', () => {
    expect(disks({}, { name: 'sda1' })).toEqual([]);
    expect(disks({ devices: [], mountPoints: ['/'] })).toEqual([]);
  });

  it.each([
    [{ mountPoints: ['/var'] }, 'disk', 'is mounted at /var'],
    [{ mountPoints: ['/boot', '/'] }, 'root', 'is mounted at /'],
    [{ isSwap: true }, 'disk', 'is swap'],
    [{ holders: ['md0'] }, 'disk', 'is part of md0'],
    [{ isMember: true }, 'disk', 'is part of a mounted file system'],
  ])('is in use: %o', (facts, kind, reason) => {
    expect(disks(facts)).toEqual([{ kind, name: 'sda', reason }]);
  });

  it('is the root’s when the root is on what is made of what is made of it', () => {
    const uses = disks(
      { name: 'sda' },
      { name: 'sda2', holders: ['md0'] },
      { name: 'md0', devices: [], holders: ['dm-0', 'dm-1'] },
      { name: 'dm-0', devices: [], isSwap: true },
      { name: 'dm-1', devices: [], mountPoints: ['/'] },
    );
    expect(uses).toEqual([{ kind: 'root', name: 'sda2', reason: 'is part of md0' }]);
  });
});

describe('the table of mounts', () => {
  it('has devices, points and sources, and names with blanks in them', () => {
    const text = [
      '22 1 254:0 / / rw,relatime shared:1 master:2 - ext4 /dev/vda rw',
      '30 22 0:45 /@home /srv/my\\040disk rw - btrfs /dev/sdb1 rw',
      'garbage',
      '',
    ].join('\n');
    expect(parseMounts(text)).toEqual([
      { dev: '254:0', point: '/', source: '/dev/vda' },
      { dev: '0:45', point: '/srv/my disk', source: '/dev/sdb1' },
    ]);
  });
});

describe('the device that something hangs on', () => {
  it('is the last on its way, behind bridges', () => {
    const way = '/sys/devices/pci0000:00/0000:00:1c.0/0000:03:00.0/virtio2/net/eth0';
    expect(devicesOfPath(way)).toEqual([address]);
    expect(devicesOfPath('/sys/devices/virtual/net/lo')).toEqual([]);
    expect(devicesOfPath(undefined)).toEqual([]);
  });
});
