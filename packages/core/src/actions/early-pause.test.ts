// Guests on NVMe, which cannot be told to wait by QEMU: they stand still before their pool is full.
import { describe, expect, it } from 'vitest';
import { createScene, gib, mib, pass, type Scene, statusOf } from '../fakes/scene.ts';

async function onNvme(): Promise<Scene> {
  const scene = await createScene();
  await scene.volume('data');
  await scene.volume('other');
  const disk = {
    device: 'disk',
    name: 'disk1',
    bus: 'nvme',
    volume: 'data',
    readOnly: false,
    pool: 'default',
    format: 'qcow2',
  } as const;
  await scene.fake.create({ name: 'web', start: true, spec: { disks: [disk] } });
  await scene.guest('db', ['other']);
  return scene;
}

/** A pool of its own, which hangs while `answers` says so; how often it was asked. */
async function withSlowPool(scene: Scene) {
  const { fake } = scene;
  const slow = { answers: Promise.resolve(), asked: 0 };
  fake.host.storage.poolDrivers = fake.host.storage.poolDrivers.map(({ driver, open }) => ({
    driver,
    open: async (place) => {
      const pool = await open(place);
      if (place.path !== '/slow') return pool;
      const capacity = async () => {
        slow.asked += 1;
        await slow.answers;
        return pool.capacity();
      };
      return new Proxy(pool, {
        get: (target, key) => (key === 'capacity' ? capacity : Reflect.get(target, key)),
      });
    },
  }));
  await fake.restart();
  const spec = { driver: 'dir', path: '/slow', reservePercent: 0 } as const;
  await fake.core.actions.pool.create(fake.request, { name: 'slow', spec });
  return slow;
}

async function guestOn(scene: Scene, name: string, pools: readonly string[]): Promise<void> {
  const disks = pools.map((pool, index) => {
    const place = { name: `disk${index + 1}`, volume: `${name}-${index}`, pool };
    return { device: 'disk', bus: 'nvme', readOnly: false, format: 'qcow2', ...place } as const;
  });
  for (const { volume, pool } of disks) await scene.volume(volume, { pool });
  await scene.fake.create({ name, start: true, spec: { disks } });
}

async function processOf({ fake }: Scene, name: string) {
  const { id } = await fake.core.actions.instance.get(name);
  const process = fake.host.processes.get(id);
  if (process === undefined) throw new Error(`${name} does not run`);
  return process;
}

const waits = { state: 'paused', pauseReason: 'no-space' };

describe('a guest on NVMe', () => {
  it('is paused before its pool is full, and goes on by itself; others are left to QEMU', async () => {
    const scene = await onNvme();
    await pass(scene, 4);
    expect((await statusOf(scene)).state).toBe('running');
    scene.fake.host.storage.availableBytes = 50 * mib;
    await pass(scene, 4);
    expect(await statusOf(scene)).toMatchObject(waits);
    expect((await statusOf(scene, 'db')).state).toBe('running');
    scene.fake.host.storage.availableBytes = 100 * gib;
    await pass(scene, 4);
    const status = await statusOf(scene);
    expect([status.state, status.pauseReason]).toEqual(['running', undefined]);
  });

  it('goes on under the next daemon, too', async () => {
    const scene = await onNvme();
    scene.fake.host.storage.availableBytes = 50 * mib;
    await pass(scene, 4);
    await scene.fake.restart();
    expect(await statusOf(scene)).toMatchObject(waits);
    scene.fake.host.storage.availableBytes = 100 * gib;
    await pass(scene, 4);
    expect((await statusOf(scene)).state).toBe('running');
  });

  it('that a person has paused stays so', async () => {
    const scene = await onNvme();
    await scene.fake.core.actions.instance.pause(scene.fake.request, 'web');
    scene.fake.host.storage.availableBytes = 50 * mib;
    await pass(scene, 4);
    expect((await statusOf(scene)).pauseReason).toBeUndefined();
    scene.fake.host.storage.availableBytes = 100 * gib;
    await pass(scene, 4);
    expect((await statusOf(scene)).state).toBe('paused');
  });

  it('goes on when continuing it has failed once', async () => {
    const scene = await onNvme();
    scene.fake.host.storage.availableBytes = 50 * mib;
    await pass(scene, 4);
    let failed = 0;
    (await processOf(scene, 'web')).command = async () => {
      failed += 1;
      if (failed === 1) throw new Error('QEMU did not answer.');
    };
    scene.fake.host.storage.availableBytes = 100 * gib;
    await pass(scene, 2);
    expect([failed, (await statusOf(scene)).state]).toEqual([1, 'paused']);
    await pass(scene, 2);
    const status = await statusOf(scene);
    expect([status.state, status.pauseReason]).toEqual(['running', undefined]);
  });

  it('is paused while the pool of another hangs, and that is asked once until it answers', async () => {
    const scene = await createScene();
    const slow = await withSlowPool(scene);
    await guestOn(scene, 'lost', ['slow']);
    await guestOn(scene, 'both', ['slow', 'default']);
    await guestOn(scene, 'web', ['default']);
    await pass(scene, 2);
    const { promise, resolve } = Promise.withResolvers<void>();
    slow.answers = promise;
    slow.asked = 0;
    scene.fake.host.storage.availableBytes = 50 * mib;
    await pass(scene, 4);
    expect(await statusOf(scene, 'web')).toMatchObject(waits);
    expect(await statusOf(scene, 'both')).toMatchObject(waits);
    expect((await statusOf(scene, 'lost')).state).toBe('running');
    expect(scene.fake.warnings).not.toContain('instance.room_not_known');
    await pass(scene, 30);
    expect(slow.asked).toBe(1);
    expect(scene.fake.warnings).toContain('instance.room_not_known');
    resolve();
    await pass(scene, 4);
    expect(await statusOf(scene, 'lost')).toMatchObject(waits);
  });

  it('is paused while another does not answer, which is not told twice at once', async () => {
    const scene = await createScene();
    await guestOn(scene, 'lost', ['default']);
    await guestOn(scene, 'web', ['default']);
    let told = 0;
    (await processOf(scene, 'lost')).command = () => {
      told += 1;
      return new Promise(() => undefined);
    };
    scene.fake.host.storage.availableBytes = 50 * mib;
    await pass(scene, 8);
    expect(await statusOf(scene, 'web')).toMatchObject(waits);
    expect(told).toBe(1);
  });

  it('that another disk of it has stopped goes on with the same room', async () => {
    const scene = await createScene();
    await guestOn(scene, 'web', ['default']);
    await scene.volume('more');
    const { disk } = scene.fake.core.actions;
    const attached = { volume: 'more', bus: 'virtio', readOnly: false, deleteOnTermination: false } as const;
    await disk.attach(scene.fake.request, 'web', attached, { wait: 'done', waitSeconds: 5 });
    const { host } = scene.fake;
    host.storage.availableBytes = 0;
    const process = await processOf(scene, 'web');
    process.processors = 'paused';
    process.diskError = 'no-space';
    const { id } = await scene.fake.core.actions.instance.get('web');
    host.emit(id, { kind: 'disk-error', disk: 'disk2', noSpace: true });
    await scene.settled();
    host.storage.capacityBytes = gib;
    // Guests on NVMe alone are paused below 64 MiB, and go on 16 MiB above that.
    for (const free of [32 * mib, 70 * mib]) {
      host.storage.availableBytes = free;
      await pass(scene, 4);
      expect([free, process.diskError]).toEqual([free, 'no-space']);
    }
    host.storage.availableBytes = 90 * mib;
    await pass(scene, 4);
    expect((await statusOf(scene)).state).toBe('running');
  });

  it('that gets such a disk while it runs is looked after from then on', async () => {
    const scene = await onNvme();
    await scene.volume('more');
    const { disk } = scene.fake.core.actions;
    const attached = { volume: 'more', bus: 'nvme', readOnly: false, deleteOnTermination: false } as const;
    await disk.attach(scene.fake.request, 'db', attached, { wait: 'done', waitSeconds: 5 });
    scene.fake.host.storage.availableBytes = 50 * mib;
    await pass(scene, 4);
    expect(await statusOf(scene, 'db')).toMatchObject(waits);
    expect(await scene.faults()).toEqual([]);
  });
});
