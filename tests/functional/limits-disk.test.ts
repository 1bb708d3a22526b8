// What is declared is in force, and what is in force is measured: what a real guest reads and writes, by its own clock, set, changed and
// taken away live.
import type { InstanceUpdate, Throttle } from '@wirt/api';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Networked, networked } from './harness/networked.ts';
import { diskRate } from './harness/truth.ts';
import { expectWithin, tenth } from './harness/within.ts';

const mib = 2 ** 20;
let net: Networked;

beforeAll(async () => {
  net = await networked();
  const shape = { device: 'disk', bus: 'virtio', pool: 'default', format: 'raw', readOnly: false } as const;
  const disks = ['one', 'two'].map((name) => ({ ...shape, name, sizeBytes: 64 * mib }));
  await net.guest('db', [], { spec: { image: 'micro', memoryMib: 96, disks } });
});

afterAll(async () => expect(await net.end()).toEqual([]));

const set = (spec: NonNullable<InstanceUpdate['spec']>) => net.set('db', spec);
const all = (limits: Throttle | null) => set({ limits: { disk: limits } });
const free = () => set({ limits: { disk: null, eachDisk: null }, disks: { one: { limits: null } } });

const bytes = (way: 'read' | 'write', count: number, device = '/dev/vda') =>
  diskRate(net, 'db', { way, blockKib: 256, count, device });
const operations = async (way: 'read' | 'write', count: number, device = '/dev/vda') =>
  (await diskRate(net, 'db', { way, blockKib: 4, count, device })) / 4096;

describe('bytes a second', () => {
  it('of one disk are what its limit says, before and after it is changed, and free when it is taken away', async () => {
    await set({ disks: { one: { limits: { readBytes: { rate: 4 * mib } } } } });
    expectWithin(await bytes('read', 48), tenth(4 * mib));
    await set({ disks: { one: { limits: { readBytes: { rate: 8 * mib } } } } });
    expectWithin(await bytes('read', 96), tenth(8 * mib));
    expect(await bytes('read', 96, '/dev/vdb')).toBeGreaterThan(16 * mib);
    await free();
    expect(await bytes('read', 96)).toBeGreaterThan(16 * mib);
  });

  it('of writes are limited by themselves', async () => {
    await all({ writeBytes: { rate: 4 * mib } });
    expectWithin(await bytes('write', 48), tenth(4 * mib));
    expect(await bytes('read', 96)).toBeGreaterThan(16 * mib);
    await free();
    expect(await bytes('write', 96)).toBeGreaterThan(16 * mib);
  });

  it('of all disks together are what the limit says, also when two are busy at once', async () => {
    await all({ totalBytes: { rate: 8 * mib } });
    const [one, two] = await Promise.all([bytes('read', 48), bytes('write', 48, '/dev/vdb')]);
    expectWithin((one ?? 0) + (two ?? 0), tenth(8 * mib));
    await free();
  });

  it('of each disk are what the limit for each says', async () => {
    await set({ limits: { eachDisk: { totalBytes: { rate: 4 * mib } } } });
    const both = await Promise.all([bytes('read', 48), bytes('read', 48, '/dev/vdb')]);
    for (const rate of both) expectWithin(rate, tenth(4 * mib));
    await free();
  });

  it('may be more for a burst as long as was said, and not longer', async () => {
    await all({ readBytes: { rate: 2 * mib, burst: 8 * mib, burstSeconds: 2 } });
    // 16 MiB are saved, of which 6 MiB/s are taken: it lasts for 21 MiB.
    expectWithin(await bytes('read', 64), tenth(8 * mib));
    await bytes('read', 32);
    expectWithin(await bytes('read', 24), tenth(2 * mib));
    await free();
  });
});

describe('operations a second', () => {
  it('are what the limit says, before and after it is changed, and free when it is taken away', async () => {
    await all({ totalOperations: { rate: 100 } });
    expectWithin(await operations('read', 400), tenth(100));
    await all({ totalOperations: { rate: 50 } });
    expectWithin(await operations('write', 200), tenth(50));
    await free();
    expect(await operations('read', 400)).toBeGreaterThan(200);
  });

  it('of writes are limited by themselves', async () => {
    await all({ writeOperations: { rate: 50 } });
    expectWithin(await operations('write', 200), tenth(50));
    expect(await operations('read', 400)).toBeGreaterThan(200);
    await free();
  });
});
