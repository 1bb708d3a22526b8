// Chains stay short by themselves: what only makes them longer is merged, and long ones are flattened, in the background.
import { describe, expect, it } from 'vitest';
import { chainOf } from '../domain/layers.ts';
import { waitDone } from '../fakes/fake-core.ts';
import { atEveryCall, createScene, everyDeath, type Scene } from '../fakes/scene.ts';
import { remove, set, shown, take } from './snapshot.fixture.ts';
import { longChain } from './volume-tidy.ts';

const linked = (volume: string) => ({ kind: 'volume', volume, mode: 'linked' }) as const;
const depth = async (scene: Scene, name: string) => (await scene.volumeOf(name)).status.layers.length;
const removed = ({ fake }: Scene, name: string) =>
  fake.core.actions.volume.remove(fake.request, name, waitDone);

describe.each([true, false])('with a guest that runs: %s,', (live) => {
  it('a linked clone that is removed leaves no layer in its source', async () => {
    const scene = await set(live);
    await scene.volume('twin', { source: linked('a') });
    await scene.write('a', 'q', 'second');
    expect(await depth(scene, 'a')).toBe(2);
    await removed(scene, 'twin');
    await scene.settled();
    expect(await depth(scene, 'a')).toBe(1);
    expect(await scene.content('a')).toEqual({ p: 'first', q: 'second' });
    expect(await scene.faults()).toEqual([]);
  });

  it('a snapshot that fails when all is frozen leaves no layer', async () => {
    const scene = await set(live);
    scene.fake.fault = { step: 'snapshot.create/record', kind: 'fail' };
    await expect(take(scene, 'one')).rejects.toThrow();
    scene.fake.fault = undefined;
    await scene.settled();
    for (const name of ['a', 'b']) expect(await depth(scene, name)).toBe(1);
    expect(await scene.content('a')).toEqual({ p: 'first' });
    expect(await scene.faults()).toEqual([]);
  });

  it('a snapshot that a death interrupts, and that is taken again, leaves its own layer and no other', async () => {
    await atEveryCall(
      everyDeath,
      async () => ({ scene: await set(live) }),
      ({ scene }) => take(scene, 'one'),
      async ({ scene }) => {
        const { items } = await scene.fake.core.actions.snapshot.list('web', { limit: 10 });
        for (const name of ['a', 'b']) expect(await depth(scene, name)).toBe(1 + items.length);
        if (items.length > 0) {
          const { disks } = (await shown(scene, 'one')).status;
          expect(await scene.content('a', disks[0]?.layer)).toEqual({ p: 'first' });
        }
        expect(await scene.content('a')).toEqual({ p: 'first' });
        expect(await scene.faults()).toEqual([]);
      },
    );
  });
});

/** `a` has three clones, the last of which a guest has open: what it reads is F1 ← F2 ← F3. */
async function clonedThrice(live: boolean, first: (scene: Scene) => Promise<unknown>): Promise<Scene> {
  const scene = await set(live);
  await first(scene);
  for (const name of ['twin2', 'twin3']) await scene.volume(name, { source: linked('a') });
  await scene.guest('db', ['twin3']);
  await removed(scene, 'twin2');
  return scene;
}

/** Every layer of `a` is there as before, and none that the clone's guest reads may be written. */
async function expectAllKept(scene: Scene): Promise<void> {
  await scene.settled();
  const { layers, active } = (await scene.volumeOf('a')).status;
  expect(layers.length).toBe(4);
  const { storage } = scene.fake.host;
  const writable = layers.filter(({ id }) => id !== active && storage.layers.get(id)?.writable);
  expect(writable).toEqual([]);
  expect(await scene.content('twin3')).toEqual({ p: 'first' });
  expect(await scene.faults()).toEqual([]);
}

describe.each([true, false])('under the running guest of a clone, with one of the source: %s,', (live) => {
  it('no layer is merged, however far below the clone it lies', async () => {
    const scene = await clonedThrice(live, (one) => one.volume('twin1', { source: linked('a') }));
    await removed(scene, 'twin1');
    await expectAllKept(scene);
    const { items } = await scene.fake.core.actions.operation.list({ limit: 100 });
    expect(items.filter(({ state }) => state === 'failed')).toEqual([]);
  });

  it('nor is that of a snapshot, which is removed all the same', async () => {
    const scene = await clonedThrice(live, (one) => take(one, 'one'));
    await remove(scene, 'one');
    expect((await scene.fake.core.actions.snapshot.list('web', { limit: 10 })).items).toEqual([]);
    await expectAllKept(scene);
  });
});

describe('a merge under a running guest that fails', () => {
  it('leaves no frozen layer that the guest may write', async () => {
    const stage = async (): Promise<Scene> => {
      const scene = await set(true);
      await take(scene, 'one');
      await take(scene, 'two');
      return scene;
    };
    const whole = await stage();
    whole.fake.cut(undefined);
    await remove(whole, 'one');
    const call = whole.fake.calls.indexOf('guest.disks.pull');
    const scene = await stage();
    scene.fake.cut({ call, how: 'fail' });
    await expect(remove(scene, 'one')).rejects.toThrow();
    expect(scene.fake.calls[call]).toBe('guest.disks.pull');
    const volumes = await scene.all();
    const active = volumes.map(({ status }) => status.active);
    const { layers } = scene.fake.host.storage;
    const writable = [...layers.values()].filter((one) => one.writable).map(({ layer }) => layer);
    expect(writable.filter((layer) => !active.includes(layer))).toEqual([]);
    expect(await scene.faults()).toEqual([]);
  });
});

describe('what is spent', () => {
  it('stays while it would take long to copy, and goes when a person flattens', async () => {
    const scene = await set(false);
    const { storage } = scene.fake.host;
    await scene.volume('twin', { source: linked('a') });
    storage.layerBytes = 1024 ** 3;
    await removed(scene, 'twin');
    await scene.settled();
    expect(await depth(scene, 'a')).toBe(2);
    const { items } = await scene.fake.core.actions.operation.list({ limit: 100 });
    expect(items.filter(({ kind }) => kind === 'volume.flatten')).toEqual([]);
    await scene.fake.core.actions.volume.flatten(scene.fake.request, 'a', waitDone);
    expect(await depth(scene, 'a')).toBe(1);
    expect(await scene.faults()).toEqual([]);
  });

  it('stays where the copy has no room, and nothing else suffers', async () => {
    const scene = await set(true);
    await scene.volume('twin', { source: linked('a') });
    scene.fake.host.storage.availableBytes = 0;
    await removed(scene, 'twin');
    await scene.settled();
    expect(await scene.content('a')).toEqual({ p: 'first' });
    expect(await scene.faults()).toEqual([]);
  });

  it('is no layer that a snapshot holds, or that two need', async () => {
    const scene = await set(false);
    await take(scene, 'one');
    await scene.volume('twin', { source: linked('a') });
    await scene.settled();
    const before = await depth(scene, 'a');
    await scene.fake.restart();
    await scene.settled();
    expect(await depth(scene, 'a')).toBe(before);
    expect(await scene.content('twin')).toEqual({ p: 'first' });
  });
});

describe('a volume that is cloned again and again', () => {
  it('keeps a short chain, and so do its clones and their clones', async () => {
    const scene = await createScene();
    await scene.volume('data');
    await scene.write('data', 'p', 'first');
    let last = 'data';
    for (let number = 0; number < longChain + 3; number += 1) {
      await scene.volume(`of-data-${number}`, { source: linked('data') });
      await scene.volume(`of-last-${number}`, { source: linked(last) });
      last = `of-last-${number}`;
    }
    await scene.settled();
    const all = await scene.all();
    const find = (id: string) => all.find((one) => one.id === id);
    for (const { id, status } of all) {
      const chain = chainOf(find, { volume: id, layer: status.active });
      expect(chain.length).toBeLessThanOrEqual(longChain + 1);
    }
    expect(await scene.content(last)).toEqual({ p: 'first' });
    expect(await scene.faults()).toEqual([]);
  });
});
