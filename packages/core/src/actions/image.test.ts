// Images: imported, pulled, built, stored once for the same content, and never taken away from whom they serve.
import { type ImageImport, WirtError } from '@wirt/api';
import { describe, expect, it } from 'vitest';
import { waitDone } from '../fakes/fake-core.ts';
import { atEveryCall, createScene, everyDeath, gib, type Scene } from '../fakes/scene.ts';

function importImage({ fake }: Scene, name: string, input: Partial<ImageImport> = {}) {
  const source = input.url === undefined ? { path: '/files/disk.vmdk' } : {};
  return fake.core.actions.image.import(fake.request, { name, labels: {}, ...source, ...input }, waitDone);
}

function pull({ fake }: Scene, image = 'debian/12', name?: string) {
  const named = name === undefined ? {} : { name };
  return fake.core.actions.image.pull(fake.request, { image, ...named }, waitDone);
}

function remove({ fake }: Scene, name: string) {
  return fake.core.actions.image.remove(fake.request, name);
}

async function namesOf({ fake }: Scene): Promise<string[]> {
  return (await fake.core.actions.image.list({ limit: 100 })).items.map(({ name }) => name);
}

/** Files of images, by their keys, but those of `micro`. */
async function filesOf({ fake }: Scene): Promise<string[]> {
  const { id } = await fake.core.actions.image.get('micro');
  return (await fake.host.imageFiles.list()).filter((key) => key !== id);
}

async function withFiles(): Promise<Scene> {
  const scene = await createScene();
  const { files } = scene.fake.host.storage;
  files.set('/files/disk.vmdk', gib);
  files.set('/files/same.vmdk', gib);
  files.set('/files/other.vmdk', 2 * gib);
  files.set('/files/cd.iso', gib / 2);
  files.set('https://images.example/disk', 3 * gib);
  files.set('https://images.example/debian', 4 * gib);
  return scene;
}

describe('importing an image', () => {
  it('stores a disk of the host, and shows what it is', async () => {
    const scene = await withFiles();
    await importImage(scene, 'disk');
    const { spec, status } = await scene.fake.core.actions.image.get('disk');
    expect(spec).toEqual({ source: '/files/disk.vmdk', format: 'qcow2' });
    expect(status).toMatchObject({ state: 'ready', virtualSizeBytes: gib, file: 'disk.qcow2' });
    expect(await filesOf(scene)).toEqual([`sha256-${status.sha256}`]);
    expect(await scene.faults()).toEqual([]);
  });

  it('takes a medium as such', async () => {
    const scene = await withFiles();
    await importImage(scene, 'cd', { path: '/files/cd.iso' });
    expect((await scene.fake.core.actions.image.get('cd')).spec.format).toBe('iso');
  });

  it('fetches an address, and keeps no key that stands in it', async () => {
    const scene = await withFiles();
    const url = 'https://images.example/disk?token=secret';
    scene.fake.host.storage.files.set(url, gib);
    await importImage(scene, 'disk', { url });
    expect((await scene.fake.core.actions.image.get('disk')).spec.source).toBe('https://images.example/disk');
    expect(await scene.faults()).toEqual([]);
  });

  it('stores the same content once, and keeps it as long as one image has it', async () => {
    const scene = await withFiles();
    await importImage(scene, 'one');
    await importImage(scene, 'two', { path: '/files/same.vmdk' });
    expect(await filesOf(scene)).toHaveLength(1);
    await remove(scene, 'one');
    expect(await filesOf(scene)).toHaveLength(1);
    await scene.volume('root', { source: { kind: 'image', image: 'two', mode: 'full' } });
    await remove(scene, 'two');
    expect(await filesOf(scene)).toEqual([]);
  });

  it('keeps the content for one that comes while another goes, at whatever moment', async () => {
    for (let turns = 0; turns < 60; turns += 1) {
      const scene = await withFiles();
      // Long enough for each to look while the other writes.
      scene.fake.store.turns = 10;
      await importImage(scene, 'one');
      const coming = importImage(scene, 'two', { path: '/files/same.vmdk' });
      for (let turn = 0; turn < turns; turn += 1) await Promise.resolve();
      await Promise.all([coming, remove(scene, 'one')]);
      expect(await filesOf(scene)).toHaveLength(1);
    }
  });

  it.each([
    ['disk.not_found', { path: '/files/nothing' }],
    ['disk.refused', { path: '/files/hostile' }],
    ['download.failed', { url: 'https://images.example/nothing' }],
    ['download.checksum_mismatch', { sha256: 'a'.repeat(64) }],
    ['image.name_taken', { name: 'micro' }],
  ] as const)('leaves nothing when it is refused: %s', async (code, input) => {
    const scene = await withFiles();
    scene.fake.host.storage.files.set('/files/hostile', new WirtError('disk.refused', 'A backing file.'));
    await expect(importImage(scene, 'disk', input)).rejects.toMatchObject({ code });
    expect(await namesOf(scene)).toEqual(['micro']);
    expect(await filesOf(scene)).toEqual([]);
    expect(await scene.faults()).toEqual([]);
  });

  it('gives a name to one alone when two want it at once', async () => {
    const scene = await withFiles();
    const ends = await Promise.allSettled([importImage(scene, 'disk'), importImage(scene, 'disk')]);
    const refused = ends.find((one) => one.status === 'rejected');
    expect(refused?.reason).toMatchObject({ code: 'image.name_taken' });
    expect(await namesOf(scene)).toEqual(['micro', 'disk']);
  });

  it('goes on where an earlier download of the same file broke off, whatever image that was for', async () => {
    const scene = await withFiles();
    const { storage } = scene.fake.host;
    const original = storage.downloader.fetch;
    const targets: string[] = [];
    Object.assign(storage.downloader, {
      fetch: async (request: Parameters<typeof original>[0]) => {
        targets.push(request.target);
        if (targets.length > 1) return original(request);
        storage.files.set(request.target, 1);
        throw new WirtError('download.failed', 'The connection broke.');
      },
    });
    const url = 'https://images.example/disk';
    await expect(importImage(scene, 'first', { url })).rejects.toMatchObject({ code: 'download.failed' });
    expect(storage.staged.size).toBe(1);
    await importImage(scene, 'second', { url });
    expect(targets[1]).toBe(targets[0]);
    expect(await scene.faults()).toEqual([]);
  });

  it('leaves nothing when it is cancelled, nor can what is not whole be used', async () => {
    const scene = await withFiles();
    const { fake } = scene;
    const gate = Promise.withResolvers<void>();
    const original = fake.host.storage.downloader.fetch;
    Object.assign(fake.host.storage.downloader, {
      fetch: async (...given: Parameters<typeof original>) => {
        await gate.promise;
        return original(...given);
      },
    });
    const url = 'https://images.example/disk';
    const none = { wait: 'none', waitSeconds: 5 } as const;
    const { id } = await fake.core.actions.image.import(
      fake.request,
      { name: 'disk', labels: {}, url },
      none,
    );
    const root = scene.volume('root', { source: { kind: 'image', image: 'disk', mode: 'linked' } });
    await expect(root).rejects.toThrow('still being built');
    await fake.core.actions.operation.cancel(fake.request, id);
    gate.resolve();
    expect((await fake.core.actions.operation.get(fake.request, id, 5)).state).toBe('cancelled');
    expect(await namesOf(scene)).toEqual(['micro']);
    expect(await scene.faults()).toEqual([]);
  });
});

describe('pulling an image', () => {
  it('is named after its entry, and tells what the catalogue knows', async () => {
    const scene = await withFiles();
    await pull(scene, 'fake:debian/12');
    const { spec, status } = await scene.fake.core.actions.image.get('debian-12');
    expect(spec.source).toBe('fake:debian/12');
    expect(status).toMatchObject({ firmware: ['uefi'], cloudInit: true, description: 'Debian 12, 1' });
    await expect(pull(scene, 'nothing')).rejects.toMatchObject({ code: 'catalogue.not_found' });
    expect(await namesOf(scene)).toEqual(['micro', 'debian-12']);
    expect(await scene.faults()).toEqual([]);
  });
});

describe('removing an image', () => {
  it('is refused while volumes lie on it, guests boot it, or drives hold it, and says which', async () => {
    const scene = await withFiles();
    const { fake } = scene;
    await importImage(scene, 'disk');
    await importImage(scene, 'cd', { path: '/files/cd.iso' });
    const drive = { name: 'cd', device: 'cdrom', bus: 'sata', image: 'cd' } as const;
    await fake.create({ name: 'web', spec: { image: 'disk' } });
    await fake.create({ name: 'live', spec: { disks: [drive] } });
    const used = (details: object) => ({ code: 'image.in_use', details });
    await expect(remove(scene, 'disk')).rejects.toMatchObject(used({ volumes: ['web-root'] }));
    await expect(remove(scene, 'cd')).rejects.toMatchObject(used({ instances: ['live'] }));
    await expect(remove(scene, 'micro')).rejects.toMatchObject(used({ instances: ['live'] }));
    await fake.core.actions.volume.flatten(fake.request, 'web-root', waitDone);
    await remove(scene, 'disk');
    expect(await scene.faults()).toEqual([]);
  });

  it('is never done under an instance that comes, at whatever moment', async () => {
    for (let turns = 0; turns < 40; turns += 1) {
      const scene = await withFiles();
      // Long enough for each to look while the other writes.
      scene.fake.store.turns = 10;
      await importImage(scene, 'disk');
      const made = scene.fake.create({ name: 'web', spec: { image: 'disk' } });
      for (let turn = 0; turn < turns; turn += 1) await Promise.resolve();
      const ends = await Promise.allSettled([made, remove(scene, 'disk')]);
      expect(ends.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
      expect(await scene.faults()).toEqual([]);
    }
  });
});

describe('exporting an image', () => {
  it('writes a disk, and refuses a kernel', async () => {
    const scene = await withFiles();
    await importImage(scene, 'disk');
    const { fake } = scene;
    const input = { format: 'vmdk', path: '/out/disk.vmdk' } as const;
    const { result } = await fake.core.actions.image.export(fake.request, 'disk', input, waitDone);
    expect(result).toEqual({ files: ['/out/disk.vmdk'] });
    const kernel = fake.core.actions.image.export(fake.request, 'micro', input, waitDone);
    await expect(kernel).rejects.toMatchObject({ code: 'image.wrong_kind' });
  });
});

describe('making an image', () => {
  const acts = {
    'import of a path': (scene: Scene) => importImage(scene, 'new', { path: '/files/same.vmdk' }),
    'import of an address': (scene: Scene) =>
      importImage(scene, 'new', { url: 'https://images.example/disk' }),
    pull: (scene: Scene) => pull(scene, 'debian/12', 'new'),
    build: ({ fake }: Scene) =>
      fake.core.actions.image.build(fake.request, { recipe: 'micro', name: 'new' }, waitDone),
  } as const;
  const names = Object.keys(acts) as (keyof typeof acts)[];

  /** The content of `first` is that of one of the imports. */
  async function withFirst(): Promise<{ scene: Scene }> {
    const scene = await withFiles();
    await importImage(scene, 'first');
    return { scene };
  }

  async function whole(scene: Scene): Promise<void> {
    const { items } = await scene.fake.core.actions.image.list({ limit: 100 });
    expect(items.filter(({ status }) => status.state !== 'ready')).toEqual([]);
    const keys = items
      .filter(({ name }) => name !== 'micro')
      .map(({ id, status }) => keyOf(id, status.sha256));
    expect((await filesOf(scene)).toSorted()).toEqual([...new Set(keys)].toSorted());
    expect(await scene.faults()).toEqual([]);
  }

  it.each(names)('is ended by the next daemon, or taken back: %s', async (name) => {
    await atEveryCall(
      everyDeath,
      withFirst,
      ({ scene }) => acts[name](scene),
      async ({ scene }) => {
        await whole(scene);
        const { items } = await scene.fake.core.actions.operation.list({ limit: 1000 });
        const last = items.at(-1);
        const isThere = (await namesOf(scene)).includes('new');
        if (name !== 'build') expect(items.filter(({ state }) => state !== 'done')).toEqual([]);
        else if (last?.target.name === 'new') expect(isThere).toBe(last.state === 'done');
      },
    );
  });

  it.each(names)('leaves nothing when a step fails, and can be done again: %s', async (name) => {
    await atEveryCall(
      ['fail'],
      withFirst,
      ({ scene }) => acts[name](scene),
      async ({ scene }, { error }) => {
        if (error !== undefined) await acts[name](scene);
        await scene.fake.restart();
        await whole(scene);
        expect(await namesOf(scene)).toContain('new');
      },
    );
  });
});

function keyOf(id: string, sha256: string | undefined): string {
  return sha256 === undefined ? id : `sha256-${sha256}`;
}
