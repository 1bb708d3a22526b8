/** What the fakes of storage hold, as a test sees and changes it. */
import type { WirtError } from '@wirt/api';
import type { Catalogue } from '../ports/catalogue.ts';
import type { DiskTransfer } from '../ports/disk-transfer.ts';
import type { Downloader } from '../ports/downloader.ts';
import type { Firmware } from '../ports/firmware.ts';
import type { SeedFiles } from '../ports/seed-files.ts';
import type { LayerRef, PoolDriver, VolumePool } from '../ports/volume-pool.ts';

/** Where a layer reads as one that was made only in part, or that is not there. */
export const tornPlace = 'torn';

export interface FakeLayer extends LayerRef {
  readonly words: Map<string, string>;
  sizeBytes: number;
  granted: string;
  /** Whether it is a guest's to write. */
  writable: boolean;
}

export interface FakeStorage {
  poolDrivers: readonly PoolDriver[];
  transfer: DiskTransfer;
  downloader: Downloader;
  readonly catalogue: Catalogue;
  readonly firmware: Firmware;
  readonly seeds: SeedFiles;
  /** By id of the layer. */
  readonly layers: Map<string, FakeLayer>;
  /** Who may open a layer: `guest`, `shared` or ''. */
  grantOf(layer: string): string;
  write(layer: string, place: string, word: string): void;
  /** What a chain of layers reads, the upper ones first. One that is missing reads as torn. */
  read(layers: readonly string[]): Record<string, string>;
  snapshots: VolumePool['snapshots'];
  capacityBytes: number;
  availableBytes: number;
  /** What each layer takes. */
  layerBytes: number;
  /** Paths of pools that cannot be used. */
  readonly unusable: Set<string>;
  /** Paths of pools that do not answer any more. */
  readonly silent: Set<string>;
  /** Foreign files by path: their guest-visible size, or why they are refused. */
  readonly files: Map<string, number | WirtError>;
  /** Why the first bytes of disks cannot be read. */
  headFailure?: WirtError;
  /** Machine descriptions by path. */
  readonly machines: Map<string, { readonly kind: 'ovf' | 'libvirt' | 'xl' | 'disk'; readonly text: string }>;
  /** What was exported, by path. */
  readonly outputs: Map<string, string>;
  /** Exports end when this does. */
  exporting: Promise<void>;
  /** Ids that have staged files. */
  readonly staged: Set<string>;
  /** Layers that are lent to a copy now. */
  readonly lent: string[];
  /** Saved firmware variables, `instance/snapshot`. */
  readonly savedVariables: Set<string>;
  /** What was done that must never be: empty in every test. */
  readonly broken: string[];
  /** What a guest or a copy does with a layer now; the host knows its guests. */
  useOf(layer: string): 'written' | 'read' | undefined;
  /** Awaited in the middle of every making. */
  halfway(): Promise<void>;
  /** Everything that was left somewhere. */
  remains(): string[];
}
