// Guests on NVMe, which cannot be told to wait by QEMU: they stand still before their pool is full.
import type { Instance } from '@wirt/api';
import { describe, expect, it } from 'vitest';
import { createScene, gib, mib, type Scene } from '../fakes/scene.ts';

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

async function statusOf({ fake, settled }: Scene, name = 'web'): Promise<Instance['status']> {
  await settled();
  return (await fake.core.actions.instance.get(name)).status;
}

async function pass(scene: Scene, seconds: number): Promise<void> {
  for (let second = 0; second < seconds; second += 1) {
    scene.fake.clock.advance(1_000);
    await scene.settled();
  }
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
