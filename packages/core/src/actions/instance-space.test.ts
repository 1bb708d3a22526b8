// Guests that QEMU has paused because a pool was full: they go on by themselves when there is room.
import { describe, expect, it } from 'vitest';
import { createScene, gib, mib, pass, type Scene, statusOf } from '../fakes/scene.ts';

async function paused(...names: string[]): Promise<Scene> {
  const scene = await createScene();
  const { storage } = scene.fake.host;
  for (const name of names) {
    await scene.volume(`${name}-data`);
    await scene.guest(name, [`${name}-data`]);
  }
  storage.availableBytes = 0;
  for (const name of names) await standStill(scene, name, 'no-space');
  return scene;
}

async function standStill({ fake }: Scene, name: string, error: 'no-space' | 'io-error'): Promise<void> {
  const { id } = await fake.core.actions.instance.get(name);
  const process = fake.host.processes.get(id);
  if (process === undefined) throw new Error(`${name} does not run`);
  process.processors = 'paused';
  process.diskError = error;
  fake.host.emit(id, { kind: 'disk-error', disk: 'disk1', noSpace: error === 'no-space' });
  fake.host.emit(id, { kind: 'paused' });
}

describe('a guest that stands still because its pool is full', () => {
  it('says so, and goes on when there is room', async () => {
    const scene = await paused('web');
    expect(await statusOf(scene, 'web')).toMatchObject({ state: 'paused', pauseReason: 'no-space' });
    await pass(scene, 10);
    expect((await statusOf(scene, 'web')).state).toBe('paused');
    scene.fake.host.storage.availableBytes = 8 * mib;
    await pass(scene, 10);
    expect((await statusOf(scene, 'web')).state).toBe('paused');
    scene.fake.host.storage.availableBytes = gib;
    await pass(scene, 2);
    const status = await statusOf(scene, 'web');
    expect(status.state).toBe('running');
    expect(status.pauseReason).toBeUndefined();
  });

  it('goes on under the next daemon, too', async () => {
    const scene = await paused('web');
    await scene.fake.restart();
    expect(await statusOf(scene, 'web')).toMatchObject({ state: 'paused', pauseReason: 'no-space' });
    scene.fake.host.storage.availableBytes = gib;
    await pass(scene, 2);
    expect((await statusOf(scene, 'web')).state).toBe('running');
  });

  it('is not kept by another whose pool is not there', async () => {
    const scene = await createScene();
    const { fake } = scene;
    const spec = { driver: 'dir', path: '/fast', reservePercent: 0 } as const;
    await fake.core.actions.pool.create(fake.request, { name: 'fast', spec });
    await scene.volume('a', { pool: 'fast' });
    await scene.volume('b');
    await scene.guest('lost', ['a']);
    await scene.guest('web', ['b']);
    await fake.restart();
    fake.host.storage.unusable.add('/fast');
    await fake.restart();
    await standStill(scene, 'lost', 'no-space');
    await standStill(scene, 'web', 'no-space');
    await pass(scene, 4);
    expect((await statusOf(scene, 'web')).state).toBe('running');
    expect((await statusOf(scene, 'lost')).state).toBe('paused');
    fake.host.storage.unusable.clear();
    await pass(scene, 4);
    expect((await statusOf(scene, 'lost')).state).toBe('running');
  });

  it('is not kept by another whose pool does not answer', async () => {
    const scene = await createScene();
    const { fake } = scene;
    const spec = { driver: 'dir', path: '/fast', reservePercent: 0 } as const;
    await fake.core.actions.pool.create(fake.request, { name: 'fast', spec });
    await scene.volume('a', { pool: 'fast' });
    await scene.volume('b');
    await scene.guest('stuck', ['a']);
    await scene.guest('web', ['b']);
    const { storage } = fake.host;
    storage.availableBytes = 0;
    storage.silent.add('/fast');
    await standStill(scene, 'stuck', 'no-space');
    await standStill(scene, 'web', 'no-space');
    await pass(scene, 4);
    storage.availableBytes = gib;
    await pass(scene, 4);
    expect((await statusOf(scene, 'web')).state).toBe('running');
    expect((await statusOf(scene, 'stuck')).state).toBe('paused');
  });

  it('all go on, and one that comes later, too', async () => {
    const scene = await paused('web', 'db');
    await scene.settled();
    scene.fake.host.storage.availableBytes = gib;
    await pass(scene, 2);
    expect([(await statusOf(scene, 'web')).state, (await statusOf(scene, 'db')).state]).toEqual([
      'running',
      'running',
    ]);
    await standStill(scene, 'web', 'no-space');
    await pass(scene, 4);
    expect((await statusOf(scene, 'web')).state).toBe('running');
  });

  it('is left alone when it has been ended or resumed by a person', async () => {
    const scene = await paused('web', 'db');
    const { instance } = scene.fake.core.actions;
    const force = { mode: 'force', graceSeconds: 0 } as const;
    await instance.stop(scene.fake.request, 'web', force, { wait: 'done', waitSeconds: 5 });
    await instance.resume(scene.fake.request, 'db');
    await instance.pause(scene.fake.request, 'db');
    scene.fake.host.storage.availableBytes = gib;
    await pass(scene, 6);
    expect((await statusOf(scene, 'web')).state).toBe('stopped');
    expect(await statusOf(scene, 'db')).toMatchObject({ state: 'paused' });
    expect(await scene.faults()).toEqual([]);
  });
});

describe('a guest that stands still for another error of its disk', () => {
  it('says so, and waits for a person', async () => {
    const scene = await createScene();
    await scene.volume('data');
    await scene.guest('web', ['data']);
    await standStill(scene, 'web', 'io-error');
    await pass(scene, 10);
    expect(await statusOf(scene, 'web')).toMatchObject({ state: 'paused', pauseReason: 'io-error' });
    await scene.fake.core.actions.instance.resume(scene.fake.request, 'web');
    expect((await statusOf(scene, 'web')).pauseReason).toBeUndefined();
  });
});
