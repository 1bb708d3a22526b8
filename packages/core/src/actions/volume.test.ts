// Volumes over a fake storage: what each action promises and refuses, with a guest and without.
import { WirtError } from '@wirt/api';
import { describe, expect, it } from 'vitest';
import { waitDone } from '../fakes/fake-core.ts';
import { createScene, gib, type Scene } from '../fakes/scene.ts';

const force = { mode: 'force', graceSeconds: 0 } as const;
const none = { wait: 'none', waitSeconds: 5 } as const;

function actionsOf({ fake }: Scene) {
  return fake.core.actions;
}

function linked(volume: string) {
  return { kind: 'volume', volume, mode: 'linked' } as const;
}

function full(volume: string) {
  return { kind: 'volume', volume, mode: 'full' } as const;
}

async function withBase(): Promise<Scene> {
  const scene = await createScene();
  await scene.image('base', 2 * gib);
  return scene;
}

describe('a new volume', () => {
  it('is empty, of the size and format asked for, in its pool', async () => {
    const scene = await createScene();
    const { spec, status } = await scene.volume('data', { sizeBytes: 3 * gib, format: 'raw' });
    expect(spec).toEqual({ pool: 'default', format: 'raw', sizeBytes: 3 * gib, origin: { kind: 'empty' } });
    expect(status).toMatchObject({ state: 'ready', allocatedBytes: 65_536 });
    expect(await scene.content('data')).toEqual({});
    expect(await scene.faults()).toEqual([]);
  });

  it('lies on its image when linked, and is of the image’s size where none is said', async () => {
    const scene = await withBase();
    const { spec, status } = await scene.volume('root', {
      source: { kind: 'image', image: 'base', mode: 'linked' },
      format: 'raw',
    });
    expect(spec).toMatchObject({ sizeBytes: 2 * gib, format: 'qcow2' });
    const { id } = await actionsOf(scene).image.get('base');
    expect(status.layers).toMatchObject([{ parent: { image: id } }]);
  });

  it('shares nothing with its image when it is a full copy', async () => {
    const scene = await withBase();
    const source = { kind: 'image', image: 'base', mode: 'full' } as const;
    const { status } = await scene.volume('root', { source, sizeBytes: 4 * gib, format: 'raw' });
    expect(status.layers[0]).toMatchObject({ sizeBytes: 4 * gib, format: 'raw' });
    expect(status.layers[0]?.parent).toBeUndefined();
    await actionsOf(scene).image.remove(scene.fake.request, 'base');
    expect(await scene.faults()).toEqual([]);
  });

  it.each([
    ['request.invalid', {}],
    ['volume.cannot_shrink', { sizeBytes: gib, source: { kind: 'image', image: 'base', mode: 'linked' } }],
    ['image.not_found', { source: { kind: 'image', image: 'nothing', mode: 'linked' } }],
    ['image.wrong_kind', { source: { kind: 'image', image: 'micro', mode: 'linked' } }],
    ['volume.not_found', { source: linked('nothing') }],
    ['pool.not_found', { pool: 'nothing', sizeBytes: gib }],
    ['volume.name_taken', { name: 'taken', sizeBytes: gib }],
  ] as const)('is refused, and leaves nothing: %s', async (code, input) => {
    const scene = await withBase();
    await scene.volume('taken');
    const before = await scene.all();
    const whole = { name: 'data', project: 'default', labels: {}, pool: 'default', format: 'qcow2' } as const;
    const { volume } = actionsOf(scene);
    const source = { kind: 'empty' } as const;
    const create = volume.create(scene.fake.request, { ...whole, source, ...input }, waitDone);
    await expect(create).rejects.toMatchObject({ code });
    expect(await scene.all()).toEqual(before);
    expect(await scene.faults()).toEqual([]);
  });

  it('has its name alone, also when two are asked for at the same moment', async () => {
    const scene = await createScene();
    const made = await Promise.allSettled([scene.volume('data'), scene.volume('data')]);
    const refused = made.find((one) => one.status === 'rejected');
    expect(refused?.reason).toMatchObject({ code: 'volume.name_taken' });
    expect(await scene.all()).toHaveLength(1);
    expect(await scene.faults()).toEqual([]);
  });

  it('is refused with the sum when its pool would have less free than its reserve', async () => {
    const scene = await createScene();
    scene.fake.host.storage.availableBytes = 50 * gib - 1;
    const details = { availableBytes: 50 * gib - 1, reserveBytes: 50 * gib, neededBytes: 0 };
    await expect(scene.volume('data')).rejects.toMatchObject({ code: 'pool.full', details });
    expect(await scene.all()).toEqual([]);
    scene.fake.host.storage.availableBytes = 50 * gib;
    await scene.volume('data');
  });

  it('keeps its image from being removed while it is being made', async () => {
    const source = { kind: 'image', image: 'base', mode: 'linked' } as const;
    for (let turns = 0; turns < 40; turns += 1) {
      const scene = await withBase();
      // Long enough for each to look while the other writes.
      scene.fake.store.turns = 10;
      const made = scene.volume('root', { source });
      for (let turn = 0; turn < turns; turn += 1) await Promise.resolve();
      const removed = actionsOf(scene).image.remove(scene.fake.request, 'base');
      const ends = await Promise.allSettled([made, removed]);
      expect(ends.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
      expect(await scene.faults()).toEqual([]);
    }
  });
});

describe('a clone', () => {
  it('reads what its source held, and from then on each goes its own way', async () => {
    const scene = await createScene();
    await scene.volume('data');
    await scene.write('data', 'p', 'first');
    await scene.volume('twin', { source: linked('data') });
    await scene.write('data', 'p', 'second');
    await scene.write('twin', 'q', 'own');
    expect(await scene.content('data')).toEqual({ p: 'second' });
    expect(await scene.content('twin')).toEqual({ p: 'first', q: 'own' });
    expect(await scene.faults()).toEqual([]);
  });

  it.each(['linked', 'full'] as const)(
    'is taken %s of a volume that a running guest writes',
    async (mode) => {
      const scene = await createScene();
      await scene.volume('data');
      const { id } = await scene.guest('web', ['data']);
      await scene.write('data', 'p', 'first');
      await scene.volume('twin', { source: { kind: 'volume', volume: 'data', mode } });
      await scene.write('data', 'p', 'second');
      expect(scene.fake.host.read(id, 'disk1')).toEqual({ p: 'second' });
      expect(await scene.content('twin')).toEqual({ p: 'first' });
      expect(await scene.faults()).toEqual([]);
      // A full one leaves its source as it found it, and shares nothing with it.
      const { status } = await scene.volumeOf('data');
      expect(status.layers).toHaveLength(mode === 'full' ? 1 : 2);
    },
  );

  it('is taken of a volume of a stopped instance, which is not started meanwhile', async () => {
    const scene = await createScene();
    await scene.volume('data');
    await scene.write('data', 'p', 'first');
    await scene.guest('web', ['data'], false);
    const start = actionsOf(scene).instance.start(scene.fake.request, 'web', { paused: false }, waitDone);
    await Promise.all([scene.volume('twin', { source: full('data') }), start]);
    expect(await scene.content('twin')).toEqual({ p: 'first' });
    expect(await scene.faults()).toEqual([]);
  });

  it('is refused when its source has grown beyond it meanwhile', async () => {
    const scene = await createScene();
    await scene.volume('data');
    const { volume } = actionsOf(scene);
    const grown = volume.resize(scene.fake.request, 'data', { sizeBytes: 2 * gib }, none);
    const twin = scene.volume('twin', { source: linked('data') });
    await grown;
    await expect(twin).rejects.toMatchObject({ code: 'volume.cannot_shrink' });
    expect(await scene.faults()).toEqual([]);
  });

  it('follows its source that is attached while the clone waits', async () => {
    const scene = await createScene();
    await scene.volume('data');
    await scene.guest('web', []).catch(() => undefined);
    await scene.volume('other');
    await scene.guest('db', ['other']);
    const attach = actionsOf(scene).disk.attach(
      scene.fake.request,
      'db',
      { volume: 'data', bus: 'virtio', readOnly: false, deleteOnTermination: false },
      waitDone,
    );
    const twin = scene.volume('twin', { source: linked('data') });
    await Promise.all([attach, twin]);
    expect(await scene.faults()).toEqual([]);
  });

  it('lets its source drop what only the clone needed, once it stands alone', async () => {
    const scene = await createScene();
    await scene.volume('data');
    await scene.guest('web', ['data'], false);
    const { snapshot, volume } = actionsOf(scene);
    const { request } = scene.fake;
    await snapshot.create(request, 'web', { name: 's', labels: {}, freeze: 'auto' }, waitDone);
    await scene.write('data', 'p', 'lost');
    await scene.volume('twin', { source: linked('data') });
    await snapshot.restore(request, 'web', 's', waitDone);
    expect((await scene.volumeOf('data')).status.layers).toHaveLength(3);
    await volume.flatten(request, 'twin', waitDone);
    await scene.settled();
    expect((await scene.volumeOf('data')).status.layers).toHaveLength(2);
    expect(await scene.content('twin')).toEqual({ p: 'lost' });
    expect(await scene.faults()).toEqual([]);
  });
});

describe('growing', () => {
  it.each(['live', 'at rest'])('shows in volume and storage: %s', async (how) => {
    const scene = await createScene();
    await scene.volume('data');
    await scene.guest('web', ['data'], how === 'live');
    const { volume } = actionsOf(scene);
    await volume.resize(scene.fake.request, 'data', { sizeBytes: 5 * gib }, waitDone);
    const { spec, status } = await scene.volumeOf('data');
    expect([spec.sizeBytes, status.layers[0]?.sizeBytes]).toEqual([5 * gib, 5 * gib]);
    expect(scene.fake.host.storage.layers.get(status.active)?.sizeBytes).toBe(5 * gib);
    expect(await scene.faults()).toEqual([]);
  });

  it('never shrinks', async () => {
    const scene = await createScene();
    await scene.volume('data');
    const { volume } = actionsOf(scene);
    const shrink = volume.resize(scene.fake.request, 'data', { sizeBytes: 512 }, waitDone);
    await expect(shrink).rejects.toMatchObject({ code: 'volume.cannot_shrink' });
  });
});

describe('flattening', () => {
  it.each(['live', 'at rest'])('lets a clone stand alone, and its source be removed: %s', async (how) => {
    const scene = await createScene();
    await scene.volume('data');
    await scene.write('data', 'p', 'first');
    await scene.volume('twin', { source: linked('data') });
    await scene.guest('web', ['twin'], how === 'live');
    const { volume } = actionsOf(scene);
    await volume.flatten(scene.fake.request, 'twin', waitDone);
    await volume.remove(scene.fake.request, 'data', waitDone);
    expect(await scene.content('twin')).toEqual({ p: 'first' });
    expect(await scene.faults()).toEqual([]);
  });

  it('needs room in its pool', async () => {
    const scene = await createScene();
    await scene.volume('data');
    await scene.volume('twin', { source: linked('data') });
    scene.fake.host.storage.availableBytes = 50 * gib;
    const { volume } = actionsOf(scene);
    await expect(volume.flatten(scene.fake.request, 'twin', waitDone)).rejects.toMatchObject({
      code: 'pool.full',
      details: { neededBytes: 65_536 },
    });
    expect(await scene.faults()).toEqual([]);
  });
});

describe('removing', () => {
  it('takes record and files', async () => {
    const scene = await createScene();
    await scene.volume('data');
    await actionsOf(scene).volume.remove(scene.fake.request, 'data', waitDone);
    expect(await scene.all()).toEqual([]);
    expect(scene.fake.host.storage.remains()).toEqual([]);
  });

  it('is refused while a guest, clones or snapshots have it, and says which', async () => {
    const scene = await createScene();
    const { request } = scene.fake;
    const { volume, snapshot, instance } = actionsOf(scene);
    await scene.volume('data');
    await scene.guest('web', ['data'], false);
    const remove = () => volume.remove(request, 'data', waitDone);
    await expect(remove()).rejects.toMatchObject({ code: 'volume.in_use', details: { instance: 'web' } });
    await snapshot.create(request, 'web', { name: 's', labels: {}, freeze: 'auto' }, waitDone);
    await expect(instance.remove(request, 'web', { force: false }, waitDone)).rejects.toThrow(
      'snapshots s of web',
    );
    await snapshot.remove(request, 'web', 's', waitDone);
    await instance.remove(request, 'web', { force: false }, waitDone);
    await scene.volume('twin', { source: linked('data') });
    await expect(remove()).rejects.toMatchObject({ code: 'volume.in_use', details: { volumes: ['twin'] } });
    await volume.remove(request, 'twin', waitDone);
    await remove();
    await scene.settled();
    expect(scene.fake.host.storage.remains()).toEqual([]);
  });
});

describe('renaming', () => {
  it('frees the old name, and is refused for one that is taken', async () => {
    const scene = await createScene();
    const { volume } = actionsOf(scene);
    await scene.volume('data');
    await scene.volume('other');
    const rename = (name: string) => volume.update(scene.fake.request, 'data', { name });
    await expect(rename('other')).rejects.toMatchObject({ code: 'volume.name_taken' });
    expect((await rename('logs')).name).toBe('logs');
    await expect(scene.volumeOf('data')).rejects.toMatchObject({ code: 'volume.not_found' });
  });
});

describe('exporting', () => {
  it('writes what the volume reads, and is refused while a guest writes it', async () => {
    const scene = await createScene();
    const { request, host } = scene.fake;
    const { volume, instance } = actionsOf(scene);
    await scene.volume('data');
    await scene.guest('web', ['data']);
    await scene.write('data', 'p', 'first');
    const exported = () =>
      volume.export(request, 'data', { format: 'vmdk', path: '/out/data.vmdk' }, waitDone);
    await expect(exported()).rejects.toMatchObject({ code: 'volume.in_use' });
    await instance.stop(request, 'web', force, waitDone);
    expect((await exported()).result).toEqual({ files: ['/out/data.vmdk'] });
    expect(host.storage.outputs.get('/out/data.vmdk')).toBe('vmdk {"p":"first"}');
    await expect(exported()).rejects.toMatchObject({ code: 'export.target_exists' });
    expect(await scene.faults()).toEqual([]);
  });
});

describe('a volume whose pool is not there', () => {
  it('is listed, and can be removed when its pool is there again', async () => {
    const scene = await createScene();
    const { request, host } = scene.fake;
    await scene.volume('data');
    host.storage.unusable.add('/pool');
    await scene.fake.restart();
    expect(await scene.all()).toMatchObject([{ name: 'data' }]);
    const { volume } = actionsOf(scene);
    await expect(volume.remove(request, 'data', waitDone)).rejects.toBeInstanceOf(WirtError);
    host.storage.unusable.clear();
    await volume.remove(request, 'data', waitDone);
    expect(host.storage.remains()).toEqual([]);
  });
});
