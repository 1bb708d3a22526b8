// How much of a pool is promised to volumes, what would be too much, and that nobody who runs is touched by it.
import type { Volume } from '@wirt/api';
import { describe, expect, it } from 'vitest';
import { waitDone } from '../fakes/fake-core.ts';
import { createScene, gib, type Scene } from '../fakes/scene.ts';
import { poolPromises } from './pool-promise.ts';

const capacityBytes = 100 * gib;
const force = { mode: 'force', graceSeconds: 0 } as const;

/** A pool of 100 GiB, of which as much may be promised as there is. */
async function createHost(poolOvercommit = 1): Promise<Scene> {
  const scene = await createScene();
  const { fake } = scene;
  fake.host.storage.capacityBytes = capacityBytes;
  await set(scene, poolOvercommit);
  return scene;
}

const set = ({ fake }: Scene, poolOvercommit: number) =>
  fake.core.actions.host.updateSettings(fake.request, { poolOvercommit });
const poolsOf = async ({ fake }: Scene) => (await fake.core.actions.host.capacity(fake.request)).pools;
const start = ({ fake }: Scene, name: string) =>
  fake.core.actions.instance.start(fake.request, name, { paused: false }, waitDone);
const stop = ({ fake }: Scene, name: string) =>
  fake.core.actions.instance.stop(fake.request, name, force, waitDone);
const resize = ({ fake }: Scene, name: string, sizeBytes: number) =>
  fake.core.actions.volume.resize(fake.request, name, { sizeBytes }, waitDone);
const disk = (name: string, sizeBytes: number, pool = 'default') =>
  ({ name, device: 'disk', bus: 'virtio', pool, format: 'qcow2', sizeBytes, readOnly: false }) as const;
const refusal = { code: 'pool.overcommitted' };

describe('a volume', () => {
  it('beyond what its pool may promise is refused with the sum, and nothing is left of it', async () => {
    const scene = await createHost();
    await scene.volume('a', { sizeBytes: 60 * gib });
    const made = scene.volume('b', { sizeBytes: 40 * gib + 1 });
    await expect(made).rejects.toMatchObject({
      ...refusal,
      hint: expect.stringContaining('pool-overcommit=2'),
      details: {
        ...{ pool: 'default', capacityBytes, promisableBytes: capacityBytes },
        ...{ neededBytes: 40 * gib + 1, promisedBytes: capacityBytes + 1 },
      },
    });
    await expect(made).rejects.toThrow(
      /^Volume b needs 42949672961 bytes of pool default, which may promise/,
    );
    expect((await scene.all()).map(({ name }) => name)).toEqual(['a']);
    await scene.volume('b', { sizeBytes: 40 * gib });
    expect(await poolsOf(scene)).toMatchObject([
      { promisableBytes: capacityBytes, promisedBytes: capacityBytes, runningBytes: 0 },
    ]);
  });

  it('that grows, is cloned, or is made for a guest, counts as well', async () => {
    const scene = await createHost();
    await scene.volume('a', { sizeBytes: 60 * gib });
    await expect(resize(scene, 'a', capacityBytes + 1)).rejects.toMatchObject(refusal);
    expect((await scene.volumeOf('a')).spec.sizeBytes).toBe(60 * gib);
    const source = { kind: 'volume', volume: 'a', mode: 'linked' } as const;
    await expect(scene.volume('clone', { source })).rejects.toMatchObject(refusal);
    const spec = { disks: [disk('one', 20 * gib), disk('two', 21 * gib)] };
    await expect(scene.fake.create({ name: 'web', spec })).rejects.toMatchObject({
      ...refusal,
      details: { neededBytes: 41 * gib },
    });
    await resize(scene, 'a', capacityBytes);
    expect(await scene.faults()).toEqual([]);
  });

  it('is promised once: of those that are asked for at the same moment as many are made as fit', async () => {
    const scene = await createHost();
    const { fake } = scene;
    const { pool } = fake.core.actions;
    await pool.create(fake.request, {
      name: 'fast',
      spec: { driver: 'dir', path: '/fast', reservePercent: 5 },
    });
    await scene.volume('a', { sizeBytes: gib });
    const asked = await Promise.allSettled([
      scene.volume('b', { sizeBytes: 40 * gib }),
      scene.volume('c', { sizeBytes: 40 * gib, pool: 'fast' }),
      resize(scene, 'a', 41 * gib),
      fake.create({ name: 'web', spec: { disks: [disk('data', 40 * gib)] } }),
    ]);
    expect(asked.filter(({ status }) => status === 'fulfilled')).toHaveLength(2);
    // Both pools lie on one file system.
    const sums = (await poolsOf(scene)).map(({ promisedBytes }) => promisedBytes);
    expect(sums).toEqual([81 * gib, 81 * gib]);
  });

  it('may be larger than its pool twenty times, where nothing is set', async () => {
    const scene = await createScene();
    scene.fake.host.storage.capacityBytes = capacityBytes;
    await scene.volume('a', { sizeBytes: 20 * capacityBytes });
    await expect(scene.volume('b', { sizeBytes: 512 })).rejects.toMatchObject(refusal);
  });

  it('is made for a guest that takes the risk', async () => {
    const scene = await createHost();
    const spec = { disks: [disk('data', 2 * capacityBytes)], overcommit: true };
    await scene.fake.create({ name: 'web', start: true, spec });
    expect(await poolsOf(scene)).toMatchObject([
      { promisedBytes: 2 * capacityBytes, runningBytes: 2 * capacityBytes },
    ]);
  });
});

describe('a guest', () => {
  /** Two guests of 60 GiB each, promised under a factor that is lowered afterwards; `a` runs. */
  async function createGuests(): Promise<Scene> {
    const scene = await createHost(2);
    for (const name of ['a', 'b']) {
      await scene.volume(`${name}-data`, { sizeBytes: 60 * gib });
      await scene.guest(name, [`${name}-data`], name === 'a');
    }
    await set(scene, 1);
    return scene;
  }

  it('that runs goes on when the factor is lowered; another is not started beyond it', async () => {
    const scene = await createGuests();
    const { fake } = scene;
    expect((await fake.core.actions.instance.get('a')).status.state).toBe('running');
    await expect(start(scene, 'b')).rejects.toMatchObject({
      ...refusal,
      hint: expect.stringMatching(/^Stop other guests.*pool-overcommit=2/),
      details: { neededBytes: 60 * gib, promisableBytes: capacityBytes, promisedBytes: 120 * gib },
    });
    expect(await poolsOf(scene)).toMatchObject([
      { promisableBytes: capacityBytes, promisedBytes: 120 * gib, runningBytes: 60 * gib },
    ]);
    await stop(scene, 'a');
    await start(scene, 'b');
    await expect(start(scene, 'a')).rejects.toMatchObject(refusal);
    await set(scene, 1.2);
    await start(scene, 'a');
    expect(await scene.faults()).toEqual([]);
  });

  it('is started as before when wirtd starts anew, as far as the factor goes', async () => {
    const scene = await createGuests();
    await stop(scene, 'a');
    const starts = await Promise.allSettled([start(scene, 'a'), start(scene, 'b')]);
    expect(starts.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
    await scene.fake.restart();
    expect((await poolsOf(scene))[0]?.runningBytes).toBe(60 * gib);
  });

  it('that runs is given no volume beyond it; one that does not run is', async () => {
    const scene = await createGuests();
    const { disk: disks } = scene.fake.core.actions;
    await set(scene, 2);
    await scene.volume('more', { sizeBytes: 41 * gib });
    await set(scene, 1);
    const attach = (name: string) =>
      disks.attach(
        scene.fake.request,
        name,
        { volume: 'more', bus: 'virtio', readOnly: false, deleteOnTermination: false },
        waitDone,
      );
    await expect(attach('a')).rejects.toMatchObject(refusal);
    await attach('b');
    expect(await scene.faults()).toEqual([]);
  });

  it('and another that are given a volume at the same moment are promised what is left once', async () => {
    const scene = await createHost(2);
    const { fake } = scene;
    for (const name of ['a', 'b']) {
      await scene.volume(`${name}-data`, { sizeBytes: 20 * gib });
      await scene.volume(`${name}-more`, { sizeBytes: 40 * gib });
      await scene.guest(name, [`${name}-data`], true);
    }
    await set(scene, 1);
    fake.store.turns = 10;
    const attach = (name: string) =>
      fake.core.actions.disk.attach(
        fake.request,
        name,
        { volume: `${name}-more`, bus: 'virtio', readOnly: false, deleteOnTermination: false },
        waitDone,
      );
    const ends = await Promise.allSettled([attach('a'), attach('b')]);
    expect(ends.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
    expect(ends.find(({ status }) => status === 'rejected')).toMatchObject({ reason: refusal });
    expect((await poolsOf(scene))[0]?.runningBytes).toBe(80 * gib);
    expect(await scene.faults()).toEqual([]);
  });

  it('without disks starts whatever is promised', async () => {
    const scene = await createGuests();
    await set(scene, 0.1);
    await scene.fake.create({ name: 'bare', start: true });
  });
});

describe('pools', () => {
  it('on one file system promise it together, and others by themselves', () => {
    // Only what is added up.
    const volume = (id: string, pool: string, sizeBytes: number) =>
      ({ id, name: id, spec: { pool, sizeBytes }, status: {} }) as unknown as Volume;
    const volumes = [volume('a', 'one', 10), volume('b', 'two', 20), volume('c', 'far', 5)];
    const shared = {
      volumes: { after: () => volumes },
      ...{ instances: new Map(), admitted: new Map(), admittedVolumes: new Map() },
      settings: { value: { poolOvercommit: 1.5 } },
    } as unknown as Parameters<typeof poolPromises>[0];
    const space = (name: string, fileSystem: string) => ({ name, capacityBytes: 100, fileSystem });
    const sums = poolPromises(shared, [space('one', '8'), space('two', '8'), space('far', '9')]);
    expect(sums.map(({ promisableBytes, promisedBytes }) => [promisableBytes, promisedBytes])).toEqual([
      [150, 30],
      [150, 30],
      [150, 5],
    ]);
  });
});
