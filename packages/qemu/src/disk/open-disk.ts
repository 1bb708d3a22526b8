/**
 * A disk file under inspection: exact reads, bounded walks over its tables, and refusals in one form. However large
 * the file says it is, no more than MAX_TABLE_BYTES of its tables are read, and never more than CHUNK_BYTES at once.
 */

import { type ByteFields, type ByteOrder, byteFields } from './byte-fields.ts';
import { DiskRefused, type DiskRefusedReason } from './refused.ts';

/** Reads a file that is open already. Fewer bytes than asked for only at the end of the file. */
export interface DiskReader {
  readonly sizeBytes: number;
  read(offset: number, length: number): Promise<Uint8Array>;
}

export interface OpenDiskOptions {
  /** Virtual sizes over this are refused. Default 64 TiB. */
  maxVirtualSizeBytes?: number | undefined;
  signal?: AbortSignal | undefined;
}

export interface DiskTable {
  offset: number;
  entries: number;
  /** Bytes of one entry. */
  width: number;
  /** For messages: `its L1 table`. */
  what: string;
}

/** Gets entry `index`, which is at `at` of the view. */
export type EntryVisitor = (view: DataView, at: number, index: number) => void;

export interface OpenDisk {
  readonly sizeBytes: number;
  /** The error to throw. */
  refuse(reason: DiskRefusedReason, found: string): DiskRefused;
  /** As many of these bytes as the file has. */
  upTo(offset: number, length: number): Promise<Uint8Array>;
  /** Exactly these bytes; refused as truncated when the file ends before. `what` begins the message. */
  bytes(offset: number, length: number, what: string): Promise<Uint8Array>;
  fields(offset: number, length: number, order: ByteOrder, what: string): Promise<ByteFields>;
  /** Refuses what is not wholly in the file. */
  mustHold(offset: number, length: number, what: string): void;
  /** Refuses no size, and one over the limit. */
  checkVirtualSize(bytes: number): void;
  /** Walks a table that must be in the file; ends early, with false, when enough tables of this file were read. */
  walk(table: DiskTable, visit: EntryVisitor): Promise<boolean>;
  /** How many bytes of tables may still be read. */
  tableBytesLeft(): number;
}

/** Enough for every table of a 512 GiB qcow2 file with clusters of 64 KiB. */
export const MAX_TABLE_BYTES = 64 * 1024 * 1024;
const CHUNK_BYTES = 256 * 1024;
const DEFAULT_MAX_VIRTUAL_SIZE_BYTES = 64 * 2 ** 40;

export function openDisk(reader: DiskReader, format: string, options: OpenDiskOptions = {}): OpenDisk {
  const { maxVirtualSizeBytes = DEFAULT_MAX_VIRTUAL_SIZE_BYTES, signal } = options;
  const { sizeBytes } = reader;
  let tableBytesLeft = MAX_TABLE_BYTES;
  const disk: OpenDisk = {
    sizeBytes,
    refuse: (reason, found) => new DiskRefused(reason, format, found),
    async upTo(offset, length) {
      signal?.throwIfAborted();
      const fits = Math.max(0, Math.min(length, sizeBytes - offset));
      return fits === 0 ? new Uint8Array() : (await reader.read(offset, fits)).subarray(0, fits);
    },
    async bytes(offset, length, what) {
      disk.mustHold(offset, length, what);
      const bytes = await disk.upTo(offset, length);
      if (bytes.length < length)
        throw disk.refuse('truncated', `${what} ends early, at ${bytes.length} bytes`);
      return bytes;
    },
    fields: async (offset, length, order, what) =>
      byteFields(await disk.bytes(offset, length, what), order, format),
    mustHold(offset, length, what) {
      if (offset + length <= sizeBytes) return;
      const place = `${what} ends at byte ${offset + length}`;
      throw disk.refuse('truncated', `${place}, the file at ${sizeBytes}`);
    },
    checkVirtualSize(bytes) {
      if (bytes === 0) throw disk.refuse('absurd-geometry', 'its virtual size is 0');
      if (bytes <= maxVirtualSizeBytes) return;
      const found = `its virtual size is ${bytes} bytes, over the limit of ${maxVirtualSizeBytes}`;
      throw disk.refuse('absurd-geometry', found);
    },
    async walk({ offset, entries, width, what }, visit) {
      disk.mustHold(offset, entries * width, what);
      const perChunk = CHUNK_BYTES / width;
      for (let first = 0; first < entries; first += perChunk) {
        const count = Math.min(perChunk, entries - first);
        if (tableBytesLeft < count * width) return false;
        tableBytesLeft -= count * width;
        const chunk = await disk.bytes(offset + first * width, count * width, what);
        const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.byteLength);
        for (let i = 0; i < count; i++) visit(view, i * width, first + i);
      }
      return true;
    },
    tableBytesLeft: () => tableBytesLeft,
  };
  return disk;
}

export const isPowerOfTwo = (value: number): boolean => value > 0 && Number.isInteger(Math.log2(value));

export const roundUp = (value: number, unit: number): number => Math.ceil(value / unit) * unit;
