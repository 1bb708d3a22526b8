/**
 * Foreign files on their way in, and ours on the way out. What is opened is first read by Wirt's own parsers, which refuse
 * what is hostile; QEMU sees it only afterwards, confined, with every format said. Names files of the host by absolute paths.
 */
import type { Compression, DiskFileFormat } from '@wirt/api';
import type { DiskSource } from '../domain/disk-source.ts';
import type { CopyWork, StoredLayer, VolumePool } from './volume-pool.ts';

/** A disk file that was looked into and found harmless. Holds the file open; dispose gives it and what was unpacked back. */
export interface OpenedDisk extends AsyncDisposable {
  readonly format: DiskFileFormat;
  readonly virtualSizeBytes: number;
  /** What its files take where they are, or what was unpacked; holes take nothing. */
  readonly fileBytes: number;
  /** The block device that it is: its name below /dev, links followed. */
  readonly device?: string;
  /** Files whose bytes a guest gets as they are, without a partition table or a file system that tells that they are a disk's. */
  readonly unmarked: readonly string[];
}

export interface OpenDiskOptions {
  /** Absolute path of a regular file, no link at its end is followed; or of a block device below /dev, which is read raw. */
  readonly path: string;
  /** Said by the user: then it must be that. */
  readonly format?: DiskFileFormat | undefined;
  readonly compression?: Compression | undefined;
  /** Id under which unpacked files are staged, and found by `clean`. */
  readonly id: string;
  /** The guest-visible size may not be more. */
  readonly maxVirtualBytes: number;
  /** Where pools are: beside the state directory, a path that a description names may not lead there. */
  readonly poolDirectories?: readonly string[];
  /** For unpacking. */
  readonly work: CopyWork;
}

/** A description of a machine with the files that belong to it. */
export interface OpenedMachine extends AsyncDisposable {
  readonly kind: 'ovf' | 'libvirt' | 'xl' | 'disk';
  /** The text of the description; '' for a bare disk. */
  readonly text: string;
  /**
   * Absolute path for a file that the description names. Of an OVA or OVF: a file of the package. Of libvirt and xl: the file of that name
   * beside the description, else the absolute path as it is; while the machine is open, `openDisk` takes that one only when it has a
   * disk's header or, raw, a partition table or file system, and is none of Wirt's own: the description may be somebody else's.
   * Throws `import.malformed`, `disk.not_found`.
   */
  resolve(file: string): string;
  /** Sizes by name, of the files that came along. */
  readonly files: ReadonlyMap<string, number>;
}

export interface DiskTransfer {
  /** How the file is compressed; a device is not. Throws as `openDisk`. */
  compressionOf(asked: Pick<OpenDiskOptions, 'path' | 'compression'>): Promise<Compression>;

  /** Throws `disk.not_found`, `disk.refused`, `disk.format_mismatch`, `disk.too_large`, `host.storage_full`. */
  openDisk(options: OpenDiskOptions): Promise<OpenedDisk>;

  /**
   * The first `bytes` (whole sectors) that a guest would see, or as many as there are. Undefined where the file would have to be copied
   * for that. Throws `disk.convert_failed`.
   */
  head(disk: OpenedDisk, bytes: number, work: CopyWork): Promise<Uint8Array | undefined>;

  /**
   * Opens an OVA (a tar, members checked and unpacked under `id`), OVF, libvirt XML, xl.cfg or bare disk. With `unpack: false` only the
   * description is read, and its disks can be opened where they are, while the machine is open. Digests of a manifest are verified when
   * unpacking. Throws `import.malformed`, `import.digest_mismatch`, `disk.*`.
   */
  openMachine(options: {
    readonly path: string;
    readonly format: 'auto' | 'ova' | 'ovf' | 'libvirt' | 'xl' | 'disk';
    readonly id: string;
    readonly unpack: boolean;
    readonly maxBytes: number;
    readonly work: CopyWork;
  }): Promise<OpenedMachine>;

  /** Converts into a new layer of a pool, durable on return. Throws `disk.convert_failed`, `host.storage_full`; nothing is left then. */
  toLayer(disk: OpenedDisk, pool: VolumePool, layer: StoredLayer, work: CopyWork): Promise<void>;

  /** Converts (`iso`: copies) into a file of ours and gives back its digest. Throws as `toLayer`. */
  toFile(
    disk: OpenedDisk,
    target: { readonly path: string; readonly format: 'qcow2' | 'raw' },
    work: CopyWork,
  ): Promise<{ readonly sha256: string; readonly sizeBytes: number }>;

  /** Digest of a file of ours. */
  digest(path: string, work: Pick<CopyWork, 'signal' | 'onProgress'>): Promise<string>;

  /**
   * Writes our disk into a new file outside; durable, owned by the owner of its directory. Throws `export.target_exists`,
   * `export.failed`, `host.storage_full`; nothing is left then.
   */
  fromSource(
    source: DiskSource,
    target: {
      readonly path: string;
      readonly format: 'qcow2' | 'raw' | 'vmdk' | 'vpc' | 'vhdx' | 'vdi';
      readonly streamOptimized?: boolean;
    },
    work: CopyWork,
  ): Promise<{ readonly sizeBytes: number }>;

  /** Writes texts and disks into a new OVA, in this order, with a manifest (SHA-256) after the first. Throws as `fromSource`. */
  writeOva(
    target: string,
    description: { readonly name: string; text(sizes: ReadonlyMap<string, number>): string },
    disks: readonly { readonly name: string; readonly source: DiskSource }[],
    work: CopyWork & { readonly id: string },
  ): Promise<{ readonly sizeBytes: number }>;

  /** Writes a small text file outside, as `fromSource` does. */
  writeText(path: string, text: string): Promise<void>;

  /** Makes a directory outside for an export. Throws `export.target_exists`. */
  makeDirectory(path: string): Promise<void>;
  /** Takes back what an export has written, and the outputs in it; what was not made here stays. Nothing to remove is fine. */
  removeOutput(path: string): Promise<void>;

  /** A file to download into, for `id`; kept over restarts, so that a download is resumed. */
  stagePath(id: string, name: string): Promise<string>;
  /** Removes what was staged for `id`; `olderThanMs`: only when no file was written that lately, or there is none. */
  clean(id: string, options?: { readonly olderThanMs?: number }): Promise<void>;
  /** Ids that have staged files. The first call after a start also removes outputs that an earlier daemon left unfinished. */
  list(): Promise<string[]>;
}
