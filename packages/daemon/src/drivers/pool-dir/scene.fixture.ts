// For tests: a pool in a directory that is new for each of them, and the layers that they make in it.
import type { DiskSource, StoredLayer, VolumePool } from '@wirt/core';
import { afterEach, beforeEach } from 'vitest';
import { createHarness } from './harness.fixture.ts';

export const MIB = 1024 ** 2;
export const idOf = (index: number): string => `01J9ZK3W8Y7Q5T2R4M6N8P${1000 + index}`;
export const id = idOf(0);
export const layer: StoredLayer = { volume: idOf(1), layer: idOf(2), format: 'qcow2', sizeBytes: 16 * MIB };
export const other: StoredLayer = { ...layer, layer: idOf(3) };

export const pathOf = (pool: VolumePool, one: StoredLayer): string => pool.locate(one).location.path;
export const diskOf = (pool: VolumePool, ...layers: StoredLayer[]): DiskSource => ({
  layers: layers.map((one) => pool.locate(one)),
});

export type Harness = Awaited<ReturnType<typeof createHarness>>;

/** `given` gets the harness of each test before it begins. */
export function createScene(given: (harness: Harness) => void) {
  let harness: Harness;
  beforeEach(async () => {
    harness = await createHarness();
    given(harness);
  });
  afterEach(() => harness[Symbol.asyncDispose]());
  return {
    openPool: (path = harness.path): Promise<VolumePool> => harness.driver('aaaa').open({ id, path }),
    work: () => ({
      confinement: harness.confinement,
      signal: AbortSignal.timeout(50_000),
      onProgress: () => {},
    }),
  };
}
