/**
 * Where volumes lie. Speaks of layers: one of a volume is written, the others are frozen. A driver knows no records,
 * instances or operations, and what it makes is found again by its ids; the contract suite is what actions rely on.
 */
import type { VolumeFormat } from '@wirt/api';
import type { DiskSource } from '../domain/disk-source.ts';
import type { Confinement } from './hypervisor.ts';
import type { Identity } from './sandbox.ts';

export interface LayerRef {
  readonly volume: string;
  readonly layer: string;
}

export interface StoredLayer extends LayerRef {
  readonly format: VolumeFormat;
  readonly sizeBytes: number;
}

export interface PoolCapacity {
  readonly capacityBytes: number;
  /** Free for this daemon now. */
  readonly availableBytes: number;
}

/** Copying that takes long: confined as its bytes deserve, cancelled by the signal, with bytes done of all. */
export interface CopyWork {
  readonly confinement: Confinement;
  readonly signal: AbortSignal;
  onProgress(doneBytes: number, totalBytes: number): void;
}

export interface VolumePool {
  /**
   * How a moment is kept. `layered`: by a new layer on top, to which a running guest is switched. `native`: by the storage
   * itself (LVM, ZFS, RBD), in place, while the guest stands still.
   */
  readonly snapshots: 'layered' | 'native';

  /** Pools that give the same share their space. */
  readonly fileSystem: string;

  /** Throws `pool.unusable`. */
  capacity(): Promise<PoolCapacity>;

  /** Makes an empty layer, durable on return. Throws `host.storage_full`, `volume.failed`; nothing is left then. An existing one is replaced. */
  create(layer: StoredLayer): Promise<void>;

  /** Makes, in a moment, a writable layer that reads as `backing` until it is written. At least as large as its backing. As `create`. */
  createOverlay(layer: StoredLayer, backing: DiskSource): Promise<void>;

  /** Makes a layer that is a whole copy of `source`, with nothing shared. Throws as `create`, and the signal's reason; nothing is left then. */
  copy(layer: StoredLayer, source: DiskSource, work: CopyWork): Promise<void>;

  /**
   * Only `native`: keeps what `active` holds now as the frozen layer `frozen`; `active` stays the one that is written.
   */
  freeze(active: StoredLayer, frozen: LayerRef): Promise<void>;

  /** Makes an active layer larger that no guest has open; what was there stays. Throws `volume.failed`. */
  grow(layer: StoredLayer, sizeBytes: number): Promise<void>;

  /**
   * Copies what the last layer of `chain` reads from the layers between `base` and itself into it, so that it needs `base` only (undefined: nothing).
   * No guest has the last layer open, but where snapshots are `native`. Interrupted, the chain reads as before and it can be done again.
   */
  pull(chain: DiskSource, base: DiskSource | undefined, work: CopyWork): Promise<void>;

  /** Removes a layer that nothing lies on. Nothing to remove is fine; the folder of a volume goes with its last layer. */
  remove(ref: LayerRef): Promise<void>;

  /** How QEMU opens this layer. */
  locate(layer: StoredLayer): DiskSource['layers'][number];

  /** Space that the layers take now; 0 for what is not there. */
  allocatedBytes(refs: readonly LayerRef[]): Promise<number>;

  /**
   * Who may open a layer: the guest's process writes or reads it; `shared`: every guest's process reads it (frozen, in use by several);
   * undefined: the daemon alone. Missing is an error only when something is granted (`volume.failed`), and so is a layer in
   * which a guest has left what leads elsewhere. The guest may never change who else may open it.
   */
  grant(
    ref: LayerRef,
    to: { readonly identity: Identity; readonly write: boolean } | 'shared' | undefined,
  ): Promise<void>;

  /** Every layer that is there, whole or not. */
  list(): Promise<LayerRef[]>;

  /** Gives the storage up, so that another wirtd may take it as a pool. Volumes are left alone. */
  release(): Promise<void>;
}

export interface PoolDriver {
  readonly driver: 'dir';
  /**
   * Takes the storage as the pool of this wirtd, makes it when it is not there. Throws `pool.unusable`, `pool.owned` (another wirtd has it).
   */
  open(pool: { readonly id: string; readonly path: string }): Promise<VolumePool>;
}
