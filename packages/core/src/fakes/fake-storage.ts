/**
 * Storage in memory, for tests of actions: pools whose layers hold words at places, so that a test reads what a chain reads; and the
 * files of images, seeds, firmware and transfers as names. Shared by everything that stands on one fake host.
 */
import { WirtError } from '@wirt/api';
import type { DiskSource } from '../domain/disk-source.ts';
import type { Catalogue } from '../ports/catalogue.ts';
import type { DiskTransfer, OpenedDisk } from '../ports/disk-transfer.ts';
import type { Downloader } from '../ports/downloader.ts';
import type { Firmware } from '../ports/firmware.ts';
import type { SeedFiles } from '../ports/seed-files.ts';
import type { LayerRef, PoolDriver, VolumePool } from '../ports/volume-pool.ts';

interface FakeLayer extends LayerRef {
  readonly words: Map<string, string>;
  sizeBytes: number;
  granted: string;
}

export interface FakeStorage {
  readonly poolDrivers: readonly PoolDriver[];
  readonly transfer: DiskTransfer;
  readonly downloader: Downloader;
  readonly catalogue: Catalogue;
  readonly firmware: Firmware;
  readonly seeds: SeedFiles;
  /** By id of the layer. */
  readonly layers: Map<string, FakeLayer>;
  /** Who may open a layer: `guest`, `shared` or ''. */
  grantOf(layer: string): string;
  write(layer: string, place: string, word: string): void;
  /** What a chain reads, the upper layers first. */
  read(layers: readonly string[]): Record<string, string>;
  snapshots: VolumePool['snapshots'];
  availableBytes: number;
  /** Foreign files by path: their guest-visible size, or why they are refused. */
  readonly files: Map<string, number | WirtError>;
  /** Machine descriptions by path. */
  readonly machines: Map<string, { readonly kind: 'ovf' | 'libvirt' | 'xl' | 'disk'; readonly text: string }>;
  /** Everything that was left somewhere. */
  remains(): string[];
}

export function createFakeStorage(): FakeStorage {
  const layers = new Map<string, FakeLayer>();
  const staged = new Set<string>();
  const seeds = new Set<string>();
  const vars = new Set<string>();
  const outputs = new Set<string>();

  const wordsOf = (source: DiskSource | undefined): Map<string, string> => {
    const words = new Map<string, string>();
    for (const { layer } of source?.layers ?? [])
      for (const [place, word] of layers.get(layer)?.words ?? []) words.set(place, word);
    return words;
  };
  const make = (
    ref: LayerRef & { readonly sizeBytes: number },
    words = new Map<string, string>(),
  ): Promise<void> => {
    layers.set(ref.layer, {
      volume: ref.volume,
      layer: ref.layer,
      sizeBytes: ref.sizeBytes,
      words,
      granted: '',
    });
    return Promise.resolve();
  };

  const pool: VolumePool = {
    get snapshots() {
      return storage.snapshots;
    },
    capacity: () =>
      Promise.resolve({ capacityBytes: 1000 * 2 ** 30, availableBytes: storage.availableBytes }),
    create: (layer) => make(layer),
    createOverlay: (layer) => make(layer),
    copy: async (layer, source, { signal, onProgress }) => {
      signal.throwIfAborted();
      onProgress(1, 1);
      await make(layer, wordsOf(source));
    },
    freeze: (active, frozen) =>
      make({ ...frozen, sizeBytes: active.sizeBytes }, new Map(layers.get(active.layer)?.words)),
    grow: ({ layer }, sizeBytes) => {
      const found = layers.get(layer);
      if (found !== undefined) found.sizeBytes = sizeBytes;
      return Promise.resolve();
    },
    pull: (chain, base) => {
      const top = layers.get(chain.layers.at(-1)?.layer ?? '');
      const above = chain.layers.slice(base?.layers.length ?? 0);
      for (const [place, word] of wordsOf({ layers: above })) top?.words.set(place, word);
      return Promise.resolve();
    },
    remove: ({ layer }) => {
      layers.delete(layer);
      return Promise.resolve();
    },
    locate: ({ layer, format }) => ({
      layer,
      format,
      location: { driver: 'file', path: `/pool/${layer}` },
      direct: true,
    }),
    allocatedBytes: (refs) => Promise.resolve(refs.filter(({ layer }) => layers.has(layer)).length * 65_536),
    grant: ({ layer }, to) => {
      const found = layers.get(layer);
      if (found !== undefined) found.granted = to === undefined ? '' : to === 'shared' ? 'shared' : 'guest';
      else if (to !== undefined)
        return Promise.reject(new WirtError('volume.failed', `There is no layer ${layer}.`));
      return Promise.resolve();
    },
    lend: () => Promise.resolve({ [Symbol.asyncDispose]: () => Promise.resolve() }),
    list: () => Promise.resolve([...layers.values()].map(({ volume, layer }) => ({ volume, layer }))),
    release: () => Promise.resolve(),
  };

  const openDisk: DiskTransfer['openDisk'] = ({ path, format = 'vmdk' }) => {
    const found = storage.files.get(path);
    if (found instanceof WirtError) return Promise.reject(found);
    if (found === undefined)
      return Promise.reject(new WirtError('disk.not_found', `There is no file ${path}.`));
    const opened: OpenedDisk = {
      format,
      virtualSizeBytes: found,
      fileBytes: 1,
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };
    return Promise.resolve(opened);
  };

  const storage: FakeStorage = {
    poolDrivers: [{ driver: 'dir', open: () => Promise.resolve(pool) }],
    transfer: {
      openDisk,
      openMachine: ({ path, id, unpack }) => {
        const found = storage.machines.get(path);
        if (found === undefined)
          return Promise.reject(new WirtError('disk.not_found', `There is no file ${path}.`));
        if (unpack) staged.add(id);
        return Promise.resolve({
          ...found,
          resolve: (file) =>
            file.startsWith('/') ? file : `${path.slice(0, path.lastIndexOf('/'))}/${file}`,
          files: new Map(),
          [Symbol.asyncDispose]: () => Promise.resolve(),
        });
      },
      toLayer: (_disk, _pool, layer, { signal }) => {
        signal.throwIfAborted();
        return make(layer, new Map([['imported', 'yes']]));
      },
      toFile: (disk) =>
        Promise.resolve({ sha256: disk.virtualSizeBytes.toString(16).padStart(64, '0'), sizeBytes: 1 }),
      digest: () => Promise.resolve('d'.repeat(64)),
      fromSource: (_source, { path }) => {
        outputs.add(path);
        return Promise.resolve({ sizeBytes: 1 });
      },
      writeOva: (path) => {
        outputs.add(path);
        return Promise.resolve({ sizeBytes: 1 });
      },
      writeText: (path) => {
        outputs.add(path);
        return Promise.resolve();
      },
      makeDirectory: (path) => {
        outputs.add(path);
        return Promise.resolve();
      },
      removeOutput: (path) => {
        outputs.delete(path);
        return Promise.resolve();
      },
      stagePath: (id, name) => {
        staged.add(id);
        return Promise.resolve(`/staged/${id}/${name}`);
      },
      clean: (id) => {
        staged.delete(id);
        return Promise.resolve();
      },
      list: () => Promise.resolve([...staged]),
    },
    downloader: {
      fetch: ({ url, target, signal }) => {
        signal.throwIfAborted();
        const found = storage.files.get(url);
        if (found === undefined)
          return Promise.reject(new WirtError('download.failed', `There is nothing at ${url}.`));
        storage.files.set(target, found);
        return Promise.resolve({ bytes: 1, sha256: 'e'.repeat(64) });
      },
    },
    catalogue: {
      sources: ['fake'],
      list: () => Promise.resolve([]),
      resolve: (source, name) =>
        name === 'debian/12'
          ? Promise.resolve({
              source,
              product: 'debian:12',
              version: '1',
              title: 'Debian 12',
              url: 'https://images.example/debian',
              sizeBytes: 1,
              sha256: 'e'.repeat(64),
              format: 'qcow2',
              firmware: ['uefi'],
              cloudInit: true,
            })
          : Promise.reject(new WirtError('catalogue.not_found', `There is no ${name}.`)),
    },
    firmware: {
      prepare: (id) => {
        vars.add(id);
        return Promise.resolve({ code: '/code.fd', vars: `/vars/${id}` });
      },
      grant: () => Promise.resolve(),
      save: () => Promise.resolve(),
      restore: () => Promise.resolve(),
      forget: () => Promise.resolve(),
      remove: (id) => {
        vars.delete(id);
        return Promise.resolve();
      },
      list: () => Promise.resolve([...vars]),
      variables: (id) => Promise.resolve(vars.has(id) ? `/vars/${id}` : undefined),
    },
    seeds: {
      write: (id) => {
        seeds.add(id);
        return Promise.resolve(`/seeds/${id}.iso`);
      },
      path: (id) => `/seeds/${id}.iso`,
      grant: () => Promise.resolve(),
      remove: (id) => {
        seeds.delete(id);
        return Promise.resolve();
      },
      list: () => Promise.resolve([...seeds]),
    },
    layers,
    grantOf: (layer) => layers.get(layer)?.granted ?? 'missing',
    write: (layer, place, word) => layers.get(layer)?.words.set(place, word),
    read: (ids) => {
      const words = new Map<string, string>();
      for (const id of ids) for (const [place, word] of layers.get(id)?.words ?? []) words.set(place, word);
      return Object.fromEntries(words);
    },
    snapshots: 'layered',
    availableBytes: 900 * 2 ** 30,
    files: new Map(),
    machines: new Map(),
    remains: () => [
      ...[...layers.keys()].map((id) => `layer ${id}`),
      ...[...staged].map((id) => `staged ${id}`),
      ...[...seeds].map((id) => `seed ${id}`),
      ...[...vars].map((id) => `variables ${id}`),
    ],
  };
  return storage;
}
