// What a driver's test lends the suite of VolumePool: storage, QEMU to write and read through, and a daemon that dies.
import { afterEach, beforeEach, expect } from 'vitest';
import type { DiskSource } from '../domain/disk-source.ts';
import type { Confinement } from './hypervisor.ts';
import type { Identity } from './sandbox.ts';
import type { CopyWork, PoolDriver, StoredLayer, VolumePool } from './volume-pool.ts';

/** A part of a disk, filled with one byte. */
export interface Pattern {
  readonly offset: number;
  readonly length: number;
  readonly byte: number;
}

export interface SmallStorage {
  /** Some 16 to 32 MiB, nobody else's. */
  readonly path: string;
  /** Takes what is free, to the last block. */
  fill(): Promise<void>;
  /** Gives that back. */
  makeRoom(): Promise<void>;
}

export type InterruptedWork =
  | { readonly kind: 'copy'; readonly layer: StoredLayer; readonly source: DiskSource }
  | { readonly kind: 'pull'; readonly chain: DiskSource; readonly base: DiskSource | undefined };

export interface VolumePoolHarness extends AsyncDisposable {
  /** The driver of a daemon of this tag, just started. */
  driver(owner: string): PoolDriver;
  /** Storage for one pool, with nothing on it. */
  readonly path: string;
  /** Undefined where none can be had. */
  smallStorage(): Promise<SmallStorage | undefined>;
  readonly confinement: Confinement;
  /** As a guest does, through QEMU. */
  write(disk: DiskSource, pattern: Pattern): Promise<void>;
  /** Whether QEMU reads just that there. */
  reads(disk: DiskSource, pattern: Pattern): Promise<boolean>;
  /** What a guest sees. */
  sizeBytes(disk: DiskSource): Promise<number>;
  /** QEMU's own check of an image finds nothing; formats without one are fine. */
  isSound(disk: DiskSource): Promise<boolean>;
  /** Has a daemon of this tag do that in a process of its own and kills it, and that alone, when it has begun to write. */
  dieDuring(owner: string, pool: { id: string; path: string }, work: InterruptedWork): Promise<void>;
  /** Two users that are not the daemon; undefined where nobody can become another. */
  readonly guests: readonly [Identity, Identity] | undefined;
  /** Whether a process of this identity can open the layer. */
  canOpen(identity: Identity, layer: DiskSource['layers'][number], how: 'read' | 'write'): Promise<boolean>;
}

export const MIB = 1024 ** 2;
export const owner = 'aaaa';
export const poolId = idOf(0);

export function idOf(index: number): string {
  return `01J9ZK3W8Y7Q5T2R4M6N8P${String(1000 + index)}`;
}

export interface Bench {
  readonly harness: VolumePoolHarness;
  readonly pool: VolumePool;
  /** A layer with an id of its own, of a volume of its own unless one is given. */
  layer(changes?: Partial<StoredLayer>): StoredLayer;
  /** The layers, from the base on, as the disk that QEMU opens. */
  disk(...layers: readonly StoredLayer[]): DiskSource;
  /** A new layer with this in it. */
  filled(pattern: Pattern, changes?: Partial<StoredLayer>): Promise<StoredLayer>;
  overlay(below: readonly StoredLayer[], changes?: Partial<StoredLayer>): Promise<StoredLayer>;
  work(changes?: Partial<CopyWork>): CopyWork;
}

/** A pool of its own for every test. */
export function benchEach(create: () => Promise<VolumePoolHarness>): () => Bench {
  let bench: Bench | undefined;
  beforeEach(async () => {
    const harness = await create();
    try {
      bench = benchOf(harness, await harness.driver(owner).open({ id: poolId, path: harness.path }));
    } catch (error) {
      await harness[Symbol.asyncDispose]();
      throw error;
    }
  });
  afterEach(async () => {
    await bench?.harness[Symbol.asyncDispose]();
    bench = undefined;
  });
  return () => {
    if (bench === undefined) throw new Error('There is no pool outside of a test.');
    return bench;
  };
}

export function benchOf(harness: VolumePoolHarness, pool: VolumePool): Bench {
  let count = 0;
  const layer: Bench['layer'] = (changes) => {
    count += 2;
    const fresh = {
      volume: idOf(count),
      layer: idOf(count + 1),
      format: 'qcow2',
      sizeBytes: 16 * MIB,
    } as const;
    return { ...fresh, ...changes };
  };
  // Storage with moments of its own has each of them as a whole disk.
  const disk: Bench['disk'] = (...layers) => ({
    layers: (pool.snapshots === 'layered' ? layers : layers.slice(-1)).map((one) => pool.locate(one)),
  });
  return {
    harness,
    pool,
    layer,
    disk,
    async filled(pattern, changes) {
      const made = layer(changes);
      await pool.create(made);
      await harness.write(disk(made), pattern);
      return made;
    },
    async overlay(below, changes) {
      const made = layer({ sizeBytes: Math.max(...below.map(({ sizeBytes }) => sizeBytes)), ...changes });
      await pool.createOverlay(made, disk(...below));
      return made;
    },
    work: (changes) => ({
      confinement: harness.confinement,
      signal: new AbortController().signal,
      onProgress: () => {},
      ...changes,
    }),
  };
}

type Progress = readonly [done: number, total: number];

/** Work whose progress is written down. */
export function watched(bench: Bench) {
  const seen: Progress[] = [];
  return { seen, work: bench.work({ onProgress: (done, total) => void seen.push([done, total]) }) };
}

/** It grew, and came to its end. */
export function expectComplete(seen: readonly Progress[]): void {
  const last = seen.at(-1);
  expect(last?.[0]).toBe(last?.[1]);
  expect(last?.[1]).toBeGreaterThan(0);
  const done = seen.map(([count]) => count);
  expect(done).toEqual(done.toSorted((a, b) => a - b));
}
