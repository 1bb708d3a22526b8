/** Foreign files by name and what becomes of them, in memory. */
import { WirtError } from '@wirt/api';
import type { Catalogue } from '../ports/catalogue.ts';
import type { DiskTransfer, OpenedDisk } from '../ports/disk-transfer.ts';
import type { Downloader } from '../ports/downloader.ts';
import { makeLayer, wordsOf } from './fake-pool.ts';
import { type FakeStorage, tornPlace } from './storage-state.ts';

const done = (): Promise<void> => Promise.resolve();

function notFound(path: string): WirtError {
  return new WirtError('disk.not_found', `There is no file ${path}.`);
}

export function createFakeTransfer(storage: FakeStorage): DiskTransfer {
  const { outputs, staged } = storage;
  const requireNew = (path: string): void => {
    if (outputs.has(path)) throw new WirtError('export.target_exists', `${path} is there already.`);
  };
  const write: DiskTransfer['fromSource'] = async (source, { path, format }, { signal }) => {
    signal.throwIfAborted();
    requireNew(path);
    const lent = source.layers.map(({ layer }) => layer);
    storage.lent.push(...lent);
    try {
      outputs.set(path, tornPlace);
      await storage.halfway();
      await storage.exporting;
    } finally {
      for (const layer of lent) storage.lent.splice(storage.lent.indexOf(layer), 1);
    }
    outputs.set(path, `${format} ${JSON.stringify(Object.fromEntries(wordsOf(storage, source)))}`);
    return { sizeBytes: 1 };
  };
  const writeText: DiskTransfer['writeText'] = async (path, text) => {
    requireNew(path);
    outputs.set(path, text);
  };
  return {
    compressionOf: ({ compression }) => Promise.resolve(compression ?? 'none'),
    head: async () => {
      if (storage.headFailure !== undefined) throw storage.headFailure;
      return undefined;
    },
    openDisk: ({ path, format, id, compression }) => {
      const found = storage.files.get(path);
      if (found instanceof WirtError) return Promise.reject(found);
      if (found === undefined) return Promise.reject(notFound(path));
      if (compression !== undefined && compression !== 'none') staged.add(id);
      const opened: OpenedDisk = {
        format: format ?? (path.endsWith('.iso') ? 'iso' : 'vmdk'),
        virtualSizeBytes: found,
        fileBytes: 1,
        unmarked: [],
        [Symbol.asyncDispose]: done,
      };
      return Promise.resolve(opened);
    },
    openMachine: ({ path, id, unpack }) => {
      const found = storage.machines.get(path);
      if (found === undefined) return Promise.reject(notFound(path));
      if (unpack) staged.add(id);
      return Promise.resolve({
        ...found,
        resolve: (file) => (file.startsWith('/') ? file : `${path.slice(0, path.lastIndexOf('/'))}/${file}`),
        files: new Map(),
        [Symbol.asyncDispose]: done,
      });
    },
    toLayer: async (_disk, _pool, layer, { signal }) => {
      signal.throwIfAborted();
      await makeLayer(storage, layer, new Map([['imported', 'yes']]));
    },
    toFile: async (disk, _target, { signal }) => {
      signal.throwIfAborted();
      return { sha256: disk.virtualSizeBytes.toString(16).padStart(64, '0'), sizeBytes: 1 };
    },
    digest: () => Promise.resolve('d'.repeat(64)),
    fromSource: write,
    writeOva: async (path, { text }, disks, work) => {
      requireNew(path);
      for (const { name, source } of disks) {
        await write(source, { path: `${path}#${name}`, format: 'vmdk' }, work);
        outputs.delete(`${path}#${name}`);
      }
      outputs.set(path, text(new Map(disks.map(({ name }) => [name, 1]))));
      return { sizeBytes: 1 };
    },
    writeText,
    makeDirectory: async (path) => writeText(path, ''),
    removeOutput: async (path) => {
      for (const one of [...outputs.keys()])
        if (one === path || one.startsWith(`${path}/`) || one.startsWith(`${path}#`)) outputs.delete(one);
    },
    stagePath: (id, name) => {
      staged.add(id);
      return Promise.resolve(`/staged/${id}/${name}`);
    },
    clean: async (id, { olderThanMs } = {}) => {
      if (olderThanMs !== undefined && storage.files.has(`/staged/${id}/download`)) return;
      storage.files.delete(`/staged/${id}/download`);
      staged.delete(id);
    },
    list: () => Promise.resolve([...staged]),
  };
}

export function createFakeDownloader(storage: FakeStorage): Downloader {
  return {
    fetch: async ({ url, target, signal }) => {
      signal.throwIfAborted();
      const found = storage.files.get(url);
      if (found === undefined) throw new WirtError('download.failed', `There is nothing at ${url}.`);
      storage.files.set(target, found);
      return { bytes: 1, sha256: 'e'.repeat(64) };
    },
  };
}

export function createFakeCatalogue(): Catalogue {
  return {
    sources: ['fake'],
    list: () => Promise.resolve([]),
    resolve: async (source, name) => {
      if (name !== 'debian/12') throw new WirtError('catalogue.not_found', `There is no ${name}.`);
      return {
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
      };
    },
  };
}
