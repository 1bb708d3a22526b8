import { describe, expect, it } from 'vitest';
import { aDevice } from '../../fakes/fake-devices.ts';
import { chooseLeases } from './lending.ts';
import { devicesByNode } from './near.ts';
import type { MediatedDevice, PciDevice } from './pci-device.ts';

const uuid = '83b8f4f2-509f-382f-3c1e-e6bfe0fa1001';
const parent = '0000:01:00.0';
const kind = { id: 'nvidia-35', available: 3, deviceApi: 'vfio-pci' };
const whole: MediatedDevice = { uuid, type: kind.id, parent, iommuGroup: 40, isOpen: false };
const vgpu = { name: 'vgpu', mdev: uuid };
const none = () => [];

function lent(mediated: MediatedDevice, more: Partial<PciDevice> = {}) {
  const device = aDevice(parent, { mediatedTypes: [kind], mediatedDevices: [mediated], ...more });
  return chooseLeases([vgpu], { inventory: [device], holders: [], functionsOf: none });
}

describe('a mediated device', () => {
  const { type: _type, ...typeless } = whole;
  const { iommuGroup: _group, ...groupless } = whole;

  it('is lent by its UUID, and its parent stays with its driver', () => {
    expect(lent(whole)).toEqual([{ name: 'vgpu', address: parent, mdev: uuid, iommuGroup: 40 }]);
  });

  it.each([
    ['without a type', typeless, {}, 'device.unsupported', 'has no type.'],
    [
      'of a type that its parent lacks',
      whole,
      { mediatedTypes: [] },
      'device.unsupported',
      'nvidia-35, which its parent does not have',
    ],
    [
      'of another bus',
      whole,
      { mediatedTypes: [{ ...kind, deviceApi: 'vfio-ccw' }] },
      'device.unsupported',
      'vfio-ccw',
    ],
    ['without a group', groupless, {}, 'device.unsupported', 'no IOMMU group'],
    ['that a program has open', { ...whole, isOpen: true }, {}, 'device.in_use', 'no guest of Wirt’s'],
    ['whose parent hangs', whole, { stuck: 'unbound from nvidia' }, 'device.bind_failed', 'is stuck'],
  ] as const)('%s is refused with the reason', (_what, mediated, more, code, reason) => {
    expect(() => lent(mediated, more)).toThrow(
      expect.objectContaining({ code, message: expect.stringContaining(reason) }),
    );
  });

  it('without a parent that is a PCI device is none', () => {
    expect(() =>
      chooseLeases([vgpu], { inventory: [aDevice(parent)], holders: [], functionsOf: none }),
    ).toThrow(
      expect.objectContaining({
        code: 'device.not_found',
        message: `The host has no PCI device with a mediated device ${uuid}.`,
      }),
    );
  });

  it('that another has is told by that one’s name, also when it is open for it', () => {
    const lease = { name: 'x', address: parent, mdev: uuid, iommuGroup: 40 };
    const device = aDevice(parent, { mediatedTypes: [kind], mediatedDevices: [{ ...whole, isOpen: true }] });
    const ground = { inventory: [device], holders: [{ instance: 'web', lease }], functionsOf: none };
    expect(() => chooseLeases([vgpu], ground)).toThrow(`Mediated device ${uuid} is lent to instance web.`);
  });
});

describe('a function of a pool', () => {
  const functions = ['0000:03:10.0', '0000:03:10.1', '0000:83:10.0', '0000:83:10.1'];
  const nodes = [0, undefined, 1, 1];
  const inventory = functions.map((address, at) =>
    aDevice(address, { iommuGroup: 100 + at, ...(nodes[at] === undefined ? {} : { numaNode: nodes[at] }) }),
  );
  const vf = (name: string) => ({ name, pool: 'fast' });
  const choose = (on: readonly number[], ...names: string[]) =>
    chooseLeases(names.map(vf), { inventory, holders: [], functionsOf: () => functions, nodes: on }).map(
      ({ address }) => functions.indexOf(address),
    );

  it('is one near the guest first, then one of which nobody knows, then one far away', () => {
    expect(choose([], 'a', 'b')).toEqual([0, 1]);
    expect(choose([1], 'a', 'b', 'c', 'd')).toEqual([2, 3, 1, 0]);
    expect(choose([0], 'a', 'b', 'c')).toEqual([0, 1, 2]);
  });

  it('can be had on every node that has a free one', () => {
    const ground = { inventory, functionsOf: () => functions };
    expect(devicesByNode([vf('a')], { ...ground, holders: [] })).toEqual({ 0: 1, 1: 1 });
    const lease = { name: 'x', address: functions[0] ?? '', iommuGroup: 100 };
    const holders = [{ instance: 'web', lease }];
    expect(devicesByNode([vf('a')], { ...ground, holders })).toEqual({ 1: 1 });
    expect(
      devicesByNode([{ name: 'b', address: functions[2] ?? '' }, vf('a')], { ...ground, holders }),
    ).toEqual({
      1: 2,
    });
    expect(devicesByNode([{ name: 'b', address: '0000:ff:00.0' }], { ...ground, holders })).toEqual({});
  });
});
