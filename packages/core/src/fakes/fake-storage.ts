/**
 * Storage in memory, for tests of actions: pools whose layers hold words at places, so that a test reads what a chain reads; and the
 * files of images, seeds, firmware and transfers as names. Shared by everything that stands on one fake host.
 */
import { WirtError } from '@wirt/api';
import type { Firmware } from '../ports/firmware.ts';
import type { SeedFiles } from '../ports/seed-files.ts';
import type { PoolDriver } from '../ports/volume-pool.ts';
import { createFakePool } from './fake-pool.ts';
import { createFakeCatalogue, createFakeDownloader, createFakeTransfer } from './fake-transfer.ts';
import { type FakeLayer, type FakeStorage, tornPlace } from './storage-state.ts';

const done = (): Promise<void> => Promise.resolve();

function createFakeFirmware(vars: Set<string>, saved: Set<string>): Firmware {
  return {
    prepare: (id) => {
      vars.add(id);
      return Promise.resolve({ code: '/code.fd', vars: `/vars/${id}` });
    },
    grant: done,
    save: async (id, snapshot) => {
      if (vars.has(id)) saved.add(`${id}/${snapshot}`);
    },
    restore: done,
    forget: async (id, snapshot) => {
      saved.delete(`${id}/${snapshot}`);
    },
    remove: async (id) => {
      vars.delete(id);
      for (const one of [...saved]) if (one.startsWith(`${id}/`)) saved.delete(one);
    },
    list: () => Promise.resolve([...vars]),
    variables: (id) => Promise.resolve(vars.has(id) ? `/vars/${id}` : undefined),
  };
}

function createFakeSeeds(seeds: Set<string>): SeedFiles {
  const kept = new Map<string, string>();
  return {
    keepUserData: async (id, userData) => {
      seeds.add(id);
      kept.set(id, userData);
    },
    // Core has no encoder; the words of tests are ASCII.
    userData: async (id) => {
      const text = kept.get(id);
      return text === undefined ? undefined : Uint8Array.from(text, (letter) => letter.charCodeAt(0));
    },
    write: (id) => {
      seeds.add(id);
      return Promise.resolve(`/seeds/${id}.iso`);
    },
    path: (id) => `/seeds/${id}.iso`,
    grant: done,
    remove: async (id) => {
      seeds.delete(id);
      kept.delete(id);
    },
    list: () => Promise.resolve([...seeds]),
  };
}

export type { FakeStorage } from './storage-state.ts';

export function createFakeStorage(): FakeStorage {
  const layers = new Map<string, FakeLayer>();
  const staged = new Set<string>();
  const seeds = new Set<string>();
  const vars = new Set<string>();
  const savedVariables = new Set<string>();
  const whole = {
    catalogue: createFakeCatalogue(),
    firmware: createFakeFirmware(vars, savedVariables),
    seeds: createFakeSeeds(seeds),
    layers,
    grantOf: (layer: string) => layers.get(layer)?.granted ?? 'missing',
    write: (layer: string, place: string, word: string) => {
      layers.get(layer)?.words.set(place, word);
    },
    read: (ids: readonly string[]) => {
      const words = new Map<string, string>();
      for (const id of ids) {
        const found = layers.get(id);
        if (found === undefined) words.set(tornPlace, `${id} is missing`);
        for (const [place, word] of found?.words ?? []) words.set(place, word);
      }
      return Object.fromEntries(words);
    },
    snapshots: 'layered' as const,
    capacityBytes: 1000 * 2 ** 30,
    availableBytes: 900 * 2 ** 30,
    layerBytes: 65_536,
    unusable: new Set<string>(),
    silent: new Set<string>(),
    files: new Map<string, number | WirtError>(),
    machines: new Map(),
    outputs: new Map<string, string>(),
    exporting: done(),
    staged,
    lent: [],
    savedVariables,
    broken: [],
    useOf: () => undefined,
    halfway: done,
    remains: () => [
      ...[...layers.keys()].map((id) => `layer ${id}`),
      ...[...staged].map((id) => `staged ${id}`),
      ...[...seeds].map((id) => `seed ${id}`),
      ...[...vars].map((id) => `variables ${id}`),
      ...[...savedVariables].map((id) => `saved variables ${id}`),
    ],
  };
  // The three that need the whole are put in below, before anybody has it.
  const storage = whole as typeof whole & FakeStorage;
  const open: PoolDriver['open'] = async ({ path }) => {
    // A daemon that is gone lends nothing any more.
    storage.lent.length = 0;
    if (storage.unusable.has(path)) throw new WirtError('pool.unusable', `${path} is not mounted.`);
    return createFakePool(storage, path);
  };
  storage.poolDrivers = [{ driver: 'dir', open }];
  storage.transfer = createFakeTransfer(storage);
  storage.downloader = createFakeDownloader(storage);
  return storage;
}
