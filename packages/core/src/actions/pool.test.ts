// Pools: what they show, refuse, and leave alone.
import { describe, expect, it } from 'vitest';
import { createScene, gib } from '../fakes/scene.ts';

const spec = { driver: 'dir', path: '/fast', reservePercent: 10 } as const;

describe('a pool', () => {
  it('is there from the first start on, and only once', async () => {
    const { fake } = await createScene();
    await fake.restart();
    const { items } = await fake.core.actions.pool.list({ limit: 10 });
    expect(items.map(({ name, spec: { path } }) => [name, path])).toEqual([['default', '/pool']]);
  });

  it('shows its room, its reserve, what its volumes take, and how far it is overcommitted', async () => {
    const scene = await createScene();
    await scene.volume('a', { sizeBytes: 1500 * gib });
    await scene.volume('b', { sizeBytes: 500 * gib });
    expect((await scene.fake.core.actions.pool.get('default')).status).toEqual({
      state: 'ready',
      capacityBytes: 1000 * gib,
      availableBytes: 900 * gib,
      reserveBytes: 50 * gib,
      allocatedBytes: 2 * 65_536,
      provisionedBytes: 2000 * gib,
      overcommit: 2,
      volumes: 2,
    });
  });

  it('is shown as unusable, with the reason, while its storage is not there', async () => {
    const scene = await createScene();
    const { fake } = scene;
    await scene.volume('a');
    fake.host.storage.unusable.add('/pool');
    await fake.restart();
    const { status } = await fake.core.actions.pool.get('default');
    expect(status).toMatchObject({ state: 'unusable', message: '/pool is not mounted.', volumes: 1 });
    await expect(scene.volume('b')).rejects.toMatchObject({ code: 'pool.unusable' });
    fake.host.storage.unusable.clear();
    expect((await fake.core.actions.pool.get('default')).status.state).toBe('ready');
  });

  it('holds volumes that name it, and goes only when it has none', async () => {
    const scene = await createScene();
    const { fake } = scene;
    const { pool, volume } = fake.core.actions;
    await pool.create(fake.request, { name: 'fast', spec });
    await expect(pool.create(fake.request, { name: 'fast', spec })).rejects.toMatchObject({
      code: 'pool.name_taken',
    });
    await scene.volume('a', { pool: 'fast' });
    await expect(pool.remove(fake.request, 'fast')).rejects.toMatchObject({
      code: 'pool.in_use',
      details: { volumes: ['a'] },
    });
    await volume.remove(fake.request, 'a', { wait: 'done', waitSeconds: 5 });
    await pool.remove(fake.request, 'fast');
    await expect(scene.volume('a', { pool: 'fast' })).rejects.toMatchObject({ code: 'pool.not_found' });
  });

  it('has no record when its storage cannot be taken', async () => {
    const { fake } = await createScene();
    fake.host.storage.unusable.add('/fast');
    const { pool } = fake.core.actions;
    await expect(pool.create(fake.request, { name: 'fast', spec })).rejects.toMatchObject({
      code: 'pool.unusable',
    });
    expect((await pool.list({ limit: 10 })).items).toHaveLength(1);
  });

  it('does not go while a volume comes, at whatever moment', async () => {
    for (let turns = 0; turns < 40; turns += 1) {
      const scene = await createScene();
      // Long enough for each to look while the other writes.
      scene.fake.store.turns = 10;
      const { fake } = scene;
      const { pool } = fake.core.actions;
      await pool.create(fake.request, { name: 'fast', spec });
      const made = scene.volume('a', { pool: 'fast' });
      for (let turn = 0; turn < turns; turn += 1) await Promise.resolve();
      const ends = await Promise.allSettled([made, pool.remove(fake.request, 'fast')]);
      expect(ends.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
      expect(await scene.faults()).toEqual([]);
    }
  });
});
