/** A pool in memory, whose layers hold words at places. What no driver may be asked to do is noted, so that a test can require none. */
import { WirtError } from '@wirt/api';
import type { DiskSource } from '../domain/disk-source.ts';
import type { LayerRef, StoredLayer, VolumePool } from '../ports/volume-pool.ts';
import { type FakeStorage, tornPlace } from './storage-state.ts';

/** Ids of images have no layer here: their content is the same for everybody. */
export function wordsOf(storage: FakeStorage, source: DiskSource | undefined): Map<string, string> {
  const words = new Map<string, string>();
  for (const { layer, location } of source?.layers ?? []) {
    const found = storage.layers.get(layer);
    if (found === undefined && location.path.startsWith('/pool/'))
      words.set(tornPlace, `${layer} is missing`);
    for (const [place, word] of found?.words ?? []) words.set(place, word);
  }
  return words;
}

/** Torn first and then whole, as a file is. */
export async function makeLayer(
  storage: FakeStorage,
  ref: LayerRef & { readonly sizeBytes: number },
  words = new Map<string, string>(),
): Promise<void> {
  const { volume, layer, sizeBytes } = ref;
  if (storage.useOf(layer) !== undefined) storage.broken.push(`${layer} was made anew while a guest has it`);
  const torn = new Map([[tornPlace, layer]]);
  storage.layers.set(layer, { volume, layer, sizeBytes, words: torn, granted: '', writable: false });
  await storage.halfway();
  storage.layers.set(layer, { volume, layer, sizeBytes, words, granted: '', writable: false });
}

export function createFakePool(storage: FakeStorage, path: string): VolumePool {
  const { layers, broken } = storage;
  const requireAtRest = (what: string, layer: string | undefined): void => {
    if (storage.useOf(layer ?? '') === 'written') broken.push(`${layer} was ${what} while a guest writes it`);
  };
  const requireThere = (layer: string): void => {
    if (!layers.has(layer)) throw new WirtError('volume.failed', `There is no layer ${layer}.`);
  };
  const requireOver = (layer: StoredLayer, backing: DiskSource): void => {
    const below = layers.get(backing.layers.at(-1)?.layer ?? '');
    if (below !== undefined && layer.sizeBytes < below.sizeBytes)
      broken.push(`${layer.layer} is smaller than what it lies on`);
  };
  return {
    get snapshots() {
      return storage.snapshots;
    },
    fileSystem: 'disk',
    capacity: async () => {
      if (storage.silent.has(path)) await new Promise<never>(() => {});
      return { capacityBytes: storage.capacityBytes, availableBytes: storage.availableBytes };
    },
    create: (layer) => makeLayer(storage, layer),
    createOverlay: async (layer, backing) => {
      requireOver(layer, backing);
      // Storage that keeps moments itself reads what is below by itself.
      const words = storage.snapshots === 'native' ? wordsOf(storage, backing) : new Map<string, string>();
      await makeLayer(storage, layer, words);
    },
    copy: async (layer, source, { signal, onProgress }) => {
      signal.throwIfAborted();
      requireAtRest('copied', source.layers.at(-1)?.layer);
      onProgress(1, 1);
      await makeLayer(storage, layer, wordsOf(storage, source));
    },
    freeze: async (active, frozen) => {
      const words = new Map(layers.get(active.layer)?.words);
      await makeLayer(storage, { ...frozen, sizeBytes: active.sizeBytes }, words);
    },
    grow: async ({ layer }, sizeBytes) => {
      requireAtRest('grown', layer);
      requireThere(layer);
      await storage.halfway();
      const found = layers.get(layer);
      if (found !== undefined) found.sizeBytes = sizeBytes;
    },
    pull: async (chain, base) => {
      const last = chain.layers.at(-1)?.layer ?? '';
      if (storage.snapshots === 'layered' && storage.useOf(last) !== undefined)
        broken.push(`${last} was pulled into while it is ${storage.useOf(last)}`);
      requireThere(last);
      const top = layers.get(last);
      const above = chain.layers.slice(base?.layers.length ?? 0);
      for (const [place, word] of wordsOf(storage, { layers: above })) {
        top?.words.set(place, word);
        await storage.halfway();
      }
    },
    remove: ({ layer }) => {
      const use = storage.useOf(layer);
      if (use !== undefined) broken.push(`${layer} was removed while it is ${use}`);
      layers.delete(layer);
      return Promise.resolve();
    },
    locate: ({ layer, format }) => ({
      layer,
      format,
      location: { driver: 'file', path: `/pool/${layer}` },
      direct: true,
    }),
    allocatedBytes: (refs) =>
      Promise.resolve(refs.filter(({ layer }) => layers.has(layer)).length * storage.layerBytes),
    grant: async ({ layer }, to) => {
      const found = layers.get(layer);
      if (found !== undefined) {
        found.granted = to === undefined ? '' : to === 'shared' ? 'shared' : 'guest';
        found.writable = typeof to === 'object' && to.write;
      } else if (to !== undefined) requireThere(layer);
    },
    list: () => Promise.resolve([...layers.values()].map(({ volume, layer }) => ({ volume, layer }))),
    release: () => Promise.resolve(),
  };
}
