// Snapshots: their tree, what lies on them, exporting them, and the steps of their operations.
import { describe, expect, it } from 'vitest';
import { waitDone } from '../fakes/fake-core.ts';
import { createScene, gib, type Scene } from '../fakes/scene.ts';
import { remove, restore, set, shown, stop, take } from './snapshot.fixture.ts';
import { longChain } from './volume-tidy.ts';

describe('the tree of snapshots', () => {
  it('branches where one was restored, and heals where one is removed', async () => {
    const scene = await set(false);
    const tree = async () => {
      const { items } = await scene.fake.core.actions.snapshot.list('web', { limit: 10 });
      const nameOf = (id: string | undefined) => items.find((one) => one.id === id)?.name;
      const { status } = await scene.fake.core.actions.instance.get('web');
      return [...items.map((one) => `${nameOf(one.status.parent)} > ${one.name}`), nameOf(status.snapshot)];
    };
    await take(scene, 'root');
    await scene.write('a', 'p', 'second');
    await take(scene, 'left');
    await restore(scene, 'root');
    await scene.write('a', 'p', 'third');
    await take(scene, 'right');
    expect(await tree()).toEqual(['undefined > root', 'root > left', 'root > right', 'right']);
    await remove(scene, 'root');
    expect(await tree()).toEqual(['undefined > left', 'undefined > right', 'right']);
    await restore(scene, 'left');
    expect(await scene.content('a')).toEqual({ p: 'second' });
    await remove(scene, 'left');
    expect(await tree()).toEqual(['undefined > right', undefined]);
    expect(await scene.content('a')).toEqual({ p: 'second' });
    await restore(scene, 'right');
    expect(await scene.content('a')).toEqual({ p: 'third' });
    expect(await scene.faults()).toEqual([]);
  });

  it('has the parents that were there when it was its turn, not when it was asked for', async () => {
    const scene = await set(false);
    await Promise.all([take(scene, 'one'), take(scene, 'two')]);
    const [one, two] = [await shown(scene, 'one'), await shown(scene, 'two')];
    expect([one.status.parent, two.status.parent]).toEqual([undefined, one.id]);
  });

  it('names those that have none by their time, each differently', async () => {
    const { fake } = await set(false);
    const { snapshot } = fake.core.actions;
    for (const _ of [1, 2])
      await snapshot.create(fake.request, 'web', { labels: {}, freeze: 'auto' }, waitDone);
    const { items } = await snapshot.list('web', { limit: 10 });
    expect(items.map(({ name }) => name)).toEqual([
      expect.stringMatching(/^at-2030-01-01t000000$/),
      expect.stringMatching(/^at-2030-01-01t000000-[0-9a-z]{6}$/),
    ]);
  });

  it.each([
    ['snapshot.name_taken', (scene: Scene) => take(scene, 'one')],
    ['snapshot.not_found', (scene: Scene) => remove(scene, 'two')],
    ['instance.state_conflict', (scene: Scene) => restore(scene, 'one')],
  ] as const)('refuses what cannot be: %s', async (code, act) => {
    const scene = await set(true);
    await take(scene, 'one');
    await expect(act(scene)).rejects.toMatchObject({ code });
    expect(await scene.faults()).toEqual([]);
  });

  it('is refused where there is no disk, where it would fill the pool, and of an unknown instance', async () => {
    const { fake, ...scene } = await createScene();
    await fake.create({ name: 'web' });
    await expect(take({ fake, ...scene }, 'one')).rejects.toMatchObject({ code: 'snapshot.failed' });
    const full = await set(true);
    full.fake.host.storage.availableBytes = gib;
    await expect(take(full, 'one')).rejects.toMatchObject({ code: 'pool.full' });
    await full.settled();
    expect(await full.faults()).toEqual([]);
    expect((await full.fake.core.actions.snapshot.list('web', { limit: 10 })).items).toEqual([]);
  });
});

describe('a long chain', () => {
  it('is flattened in the background, and every snapshot still reads as it did', async () => {
    const scene = await set(true);
    const names = Array.from({ length: longChain + 2 }, (_, index) => `s${index}`);
    for (const name of names) {
      await scene.write('a', 'p', name);
      await take(scene, name);
    }
    await scene.settled();
    const { items } = await scene.fake.core.actions.operation.list({ limit: 1000 });
    expect(
      items.some(({ kind, requestedBy }) => kind === 'volume.flatten' && requestedBy === 'long-chain'),
    ).toBe(true);
    await stop(scene);
    for (const name of names) {
      await restore(scene, name);
      expect(await scene.content('a')).toEqual({ p: name });
    }
    expect(await scene.faults()).toEqual([]);
  });
});

describe('exporting a snapshot', () => {
  it('writes what it holds while the guest writes on, one disk or all', async () => {
    const scene = await set(true);
    const { fake } = scene;
    await take(scene, 'one');
    await scene.write('a', 'p', 'second');
    const { snapshot } = fake.core.actions;
    const all = await snapshot.export(
      fake.request,
      'web',
      'one',
      { format: 'qcow2', path: '/out/all' },
      waitDone,
    );
    expect(all.result).toEqual({ files: ['/out/all/disk1.qcow2', '/out/all/disk2.qcow2'] });
    const input = { format: 'raw', path: '/out/a.raw', disk: 'disk1' } as const;
    await snapshot.export(fake.request, 'web', 'one', input, waitDone);
    expect(fake.host.storage.outputs.get('/out/a.raw')).toBe('raw {"p":"first"}');
    expect(await scene.faults()).toEqual([]);
  });

  it('is waited for by removals that would take it away, and by nothing else', async () => {
    const scene = await createScene();
    const { fake } = scene;
    const { snapshot, instance } = fake.core.actions;
    const disk = { name: 'disk1', device: 'disk', sizeBytes: gib, pool: 'default', format: 'qcow2' } as const;
    await fake.create({
      name: 'web',
      start: true,
      spec: { disks: [{ ...disk, bus: 'virtio', readOnly: false }] },
    });
    await take(scene, 'one');
    await scene.write('web-disk1', 'p', 'second');
    await take(scene, 'two');
    const gate = Promise.withResolvers<void>();
    fake.host.storage.exporting = gate.promise;
    const input = { format: 'raw', path: '/out/a.raw', disk: 'disk1' } as const;
    const exported = snapshot.export(fake.request, 'web', 'two', input, waitDone);
    await expect.poll(() => fake.host.storage.outputs.size).toBe(1);
    const removed = remove(scene, 'one');
    const gone = instance.remove(fake.request, 'web', { force: true }, waitDone);
    await instance.pause(fake.request, 'web');
    await instance.resume(fake.request, 'web');
    expect((await shown(scene, 'one')).status.state).toBe('ready');
    expect(fake.host.storage.broken).toEqual([]);
    gate.resolve();
    await exported;
    await removed;
    await gone;
    expect(fake.host.storage.outputs.get('/out/a.raw')).toBe('raw {"p":"second"}');
    await scene.settled();
    expect(fake.host.storage.broken).toEqual([]);
    expect(await scene.all()).toEqual([]);
  });
});

describe('a layer on which a clone lies', () => {
  it('is not written, although a snapshot below it is removed', async () => {
    const scene = await set(false);
    await take(scene, 'one');
    await scene.write('a', 'q', 'second');
    await scene.volume('twin', { source: { kind: 'volume', volume: 'a', mode: 'linked' } });
    await scene.fake.create({
      name: 'other',
      start: true,
      spec: {
        disks: [
          {
            name: 'root',
            device: 'disk',
            volume: 'twin',
            bus: 'virtio',
            pool: 'default',
            format: 'qcow2',
            readOnly: false,
          },
        ],
      },
    });
    await remove(scene, 'one');
    expect(await scene.content('twin')).toEqual({ p: 'first', q: 'second' });
    expect(await scene.content('a')).toEqual({ p: 'first', q: 'second' });
    expect(await scene.faults()).toEqual([]);
  });
});

describe('the steps of operations on snapshots', () => {
  it('are those that faults can be put into, and no others', async () => {
    const scene = await set(true);
    const { fake } = scene;
    const passed = async (act: Promise<unknown>): Promise<string[]> => {
      await act;
      return fake.steps.splice(0).filter((step) => !step.startsWith('instance.'));
    };
    const of = (action: string, ...steps: string[]) => steps.map((step) => `snapshot.${action}/${step}`);
    fake.steps.length = 0;
    expect(await passed(take(scene, 'one'))).toEqual(of('create', 'begin', 'layers', 'moment', 'record'));
    await stop(scene);
    fake.steps.length = 0;
    expect(await passed(restore(scene, 'one'))).toEqual(
      of('restore', 'layer', 'layer', 'firmware', 'record'),
    );
    const merge = ['volume.merge/copy', 'volume.merge/record'];
    expect(await passed(remove(scene, 'one'))).toEqual([
      ...of('remove', 'mark', 'merge'),
      ...merge,
      ...of('remove', 'merge'),
      ...merge,
      ...of('remove', 'record'),
    ]);
  });
});
