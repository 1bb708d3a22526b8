/**
 * Inspects a qcow2 file (versions 2 and 3): whatever leads outside of it, hides its content or lies about its size is
 * refused. Its active L1 and L2 tables are followed as far as the budget for tables goes; refcounts, and the tables of
 * internal snapshots (which a conversion drops), are not. Source: QEMU docs/interop/qcow2.txt; limits: QEMU's own.
 */

import { type ByteFields, byteFields } from './byte-fields.ts';
import type { DiskFactsOf } from './facts.ts';
import type { OpenDisk } from './open-disk.ts';
import { quoteBytes } from './refused.ts';

export interface Qcow2Details {
  version: 2 | 3;
  clusterSizeBytes: number;
  compression: 'zlib' | 'zstd';
  extendedL2: boolean;
  /** Refcounts may be out of date; its data are not. */
  dirty: boolean;
  internalSnapshots: number;
}

interface Header extends Qcow2Details {
  fields: ByteFields;
  headerLength: number;
}

const V2_HEADER_BYTES = 72;
const V3_HEADER_BYTES = 104;
const COMPRESSION_AT = 104;
const MAX_L1_BYTES = 32 * 1024 * 1024;
const MAX_REFCOUNT_TABLE_BYTES = 8 * 1024 * 1024;
const MAX_SNAPSHOTS = 65536;
const MAX_EXTENSIONS = 64;
const MAX_BITMAPS = 65535;

const DIRTY = 1n << 0n;
const CORRUPT = 1n << 1n;
const DATA_FILE = 1n << 2n;
const COMPRESSION = 1n << 3n;
const EXTENDED_L2 = 1n << 4n;
const KNOWN_FEATURES = DIRTY | CORRUPT | DATA_FILE | COMPRESSION | EXTENDED_L2;

const EXTENSION_END = 0;
const EXTENSION_BITMAPS = 0x23852875;
const EXTENSION_LUKS = 0x0537be77;
const EXTENSION_DATA_FILE = 0x44415441;

export async function inspectQcow2(disk: OpenDisk): Promise<DiskFactsOf<'qcow2', Qcow2Details>> {
  const { fields, headerLength, ...details } = await readHeader(disk);
  await refuseElsewhere(disk, fields);
  await readExtensions(disk, headerLength, details.clusterSizeBytes);
  const virtualSizeBytes = fields.u64(24, 'virtual size');
  disk.checkVirtualSize(virtualSizeBytes);
  checkRefcountTable(disk, fields, details.clusterSizeBytes);
  checkSnapshotTable(disk, fields, details);
  const l1 = checkL1(disk, fields, details, virtualSizeBytes);
  const tables = (await followTables(disk, l1, details)) ? 'checked' : 'partly';
  return { format: 'qcow2', virtualSizeBytes, tables, details };
}

async function readHeader(disk: OpenDisk): Promise<Header> {
  const start = await disk.bytes(0, V2_HEADER_BYTES, 'its header');
  const version = byteFields(start, 'big', 'qcow2').u32(4);
  if (version !== 2 && version !== 3) throw disk.refuse('unsupported-feature', `its version is ${version}`);
  const clusterBits = byteFields(start, 'big', 'qcow2').u32(20);
  if (clusterBits < 9 || clusterBits > 21) {
    throw disk.refuse(
      'absurd-geometry',
      `its clusters are of 2^${clusterBits} bytes; 2^9 to 2^21 are allowed`,
    );
  }
  const clusterSizeBytes = 2 ** clusterBits;
  if (version === 2) {
    const fields = byteFields(start, 'big', 'qcow2');
    const plain = { compression: 'zlib', extendedL2: false, dirty: false } as const;
    const internalSnapshots = fields.u32(60);
    return { fields, headerLength: V2_HEADER_BYTES, version, clusterSizeBytes, internalSnapshots, ...plain };
  }
  const fields = await disk.fields(0, V3_HEADER_BYTES, 'big', 'its header');
  const headerLength = fields.u32(100);
  if (headerLength < V3_HEADER_BYTES || headerLength > clusterSizeBytes || headerLength % 8 !== 0) {
    throw disk.refuse('malformed', `its header says it is ${headerLength} bytes long`);
  }
  const features = await readFeatures(disk, fields, { headerLength, clusterBits });
  return {
    fields,
    headerLength,
    version,
    clusterSizeBytes,
    internalSnapshots: fields.u32(60),
    ...features,
  };
}

async function readFeatures(
  disk: OpenDisk,
  fields: ByteFields,
  { headerLength, clusterBits }: { headerLength: number; clusterBits: number },
): Promise<Pick<Header, 'compression' | 'extendedL2' | 'dirty'>> {
  const features = fields.bits64(72);
  const unknown = features & ~KNOWN_FEATURES;
  if (unknown !== 0n) {
    throw disk.refuse('unsupported-feature', `it needs unknown features (0x${unknown.toString(16)})`);
  }
  if (features & DATA_FILE) throw disk.refuse('data-file', 'its data are in an external file');
  if (features & CORRUPT) throw disk.refuse('malformed', 'it is marked as corrupt');
  const order = fields.u32(96);
  if (order > 6) throw disk.refuse('absurd-geometry', `its refcounts are of 2^${order} bits`);
  const extendedL2 = (features & EXTENDED_L2) !== 0n;
  if (extendedL2 && clusterBits < 14) {
    throw disk.refuse(
      'absurd-geometry',
      `it has extended L2 entries with clusters of 2^${clusterBits} bytes`,
    );
  }
  const type = headerLength > COMPRESSION_AT ? await disk.bytes(COMPRESSION_AT, 1, 'its header') : [0];
  const compression = type[0] === 0 ? 'zlib' : type[0] === 1 ? 'zstd' : undefined;
  if (!compression) throw disk.refuse('unsupported-feature', `its compression type is ${type[0]}`);
  if ((compression === 'zstd') !== ((features & COMPRESSION) !== 0n)) {
    throw disk.refuse('malformed', `its compression type is ${compression}, its features say otherwise`);
  }
  return { compression, extendedL2, dirty: (features & DIRTY) !== 0n };
}

async function refuseElsewhere(disk: OpenDisk, fields: ByteFields): Promise<void> {
  const nameLength = fields.u32(16);
  // After a merge QEMU leaves the place of a name that is no more: it is as long as it is, and empty is none.
  if (!fields.isZero(8, 8) && nameLength > 0) {
    const at = Number(fields.bits64(8));
    const name = await disk.upTo(at, Math.min(nameLength, 1023));
    throw disk.refuse('backing-file', `it names a backing file, ${quoteBytes(name)}`);
  }
  const method = fields.u32(32);
  if (method !== 0) throw disk.refuse('encrypted', `it is encrypted (method ${method})`);
}

async function readExtensions(disk: OpenDisk, start: number, clusterSizeBytes: number): Promise<void> {
  let at = start;
  for (let count = 0; at + 8 <= clusterSizeBytes; count++) {
    if (count > MAX_EXTENSIONS)
      throw disk.refuse('malformed', `it has over ${MAX_EXTENSIONS} header extensions`);
    const extension = await disk.fields(at, 8, 'big', 'its header');
    const [type, length] = [extension.u32(0), extension.u32(4)];
    if (type === EXTENSION_END) return;
    if (at + 8 + length > clusterSizeBytes) {
      throw disk.refuse('malformed', `a header extension says it is ${length} bytes long`);
    }
    await checkExtension(disk, type, at + 8, length);
    at += 8 + Math.ceil(length / 8) * 8;
  }
}

async function checkExtension(disk: OpenDisk, type: number, at: number, length: number): Promise<void> {
  if (type === EXTENSION_LUKS) throw disk.refuse('encrypted', 'it has an encryption header');
  if (type === EXTENSION_DATA_FILE) {
    const name = quoteBytes(await disk.upTo(at, Math.min(length, 1023)));
    throw disk.refuse('data-file', `it names an external data file, ${name}`);
  }
  if (type === EXTENSION_BITMAPS) {
    if (length !== 24) throw disk.refuse('malformed', `its bitmaps extension is ${length} bytes long`);
    const bitmaps = await disk.fields(at, 24, 'big', 'its bitmaps extension');
    const count = bitmaps.u32(0);
    if (count > MAX_BITMAPS) throw disk.refuse('absurd-geometry', `it has ${count} bitmaps`);
    const directory = bitmaps.u64(16, 'bitmap directory offset');
    disk.mustHold(directory, bitmaps.u64(8, 'bitmap directory size'), 'its bitmap directory');
  }
}

function checkRefcountTable(disk: OpenDisk, fields: ByteFields, clusterSizeBytes: number): void {
  const offset = fields.u64(48, 'refcount table offset');
  const bytes = fields.u32(56) * clusterSizeBytes;
  if (bytes > MAX_REFCOUNT_TABLE_BYTES) {
    throw disk.refuse('absurd-geometry', `its refcount table is of ${bytes} bytes`);
  }
  if (bytes === 0) throw disk.refuse('malformed', 'it has no refcount table');
  checkPlace(disk, offset, clusterSizeBytes, 'its refcount table');
  disk.mustHold(offset, bytes, 'its refcount table');
}

function checkSnapshotTable(disk: OpenDisk, fields: ByteFields, details: Qcow2Details): void {
  const { internalSnapshots, clusterSizeBytes } = details;
  if (internalSnapshots === 0) return;
  if (internalSnapshots > MAX_SNAPSHOTS) {
    throw disk.refuse('absurd-geometry', `it has ${internalSnapshots} internal snapshots`);
  }
  const offset = fields.u64(64, 'snapshot table offset');
  checkPlace(disk, offset, clusterSizeBytes, 'its snapshot table');
  disk.mustHold(offset, internalSnapshots * 40, 'its snapshot table');
}

function checkPlace(disk: OpenDisk, offset: number, clusterSizeBytes: number, what: string): void {
  if (offset !== 0 && offset % clusterSizeBytes === 0) return;
  throw disk.refuse('malformed', `${what} is at byte ${offset}, not at a cluster after the header`);
}

interface L1Table {
  offset: number;
  entries: number;
}

function checkL1(
  disk: OpenDisk,
  fields: ByteFields,
  details: Qcow2Details,
  virtualSizeBytes: number,
): L1Table {
  const { clusterSizeBytes, extendedL2 } = details;
  const entries = fields.u32(36);
  const covered = (clusterSizeBytes / (extendedL2 ? 16 : 8)) * clusterSizeBytes;
  const needed = Math.ceil(virtualSizeBytes / covered);
  if (entries < needed) {
    const lie = `its virtual size is ${virtualSizeBytes} bytes, its L1 table covers ${entries * covered}`;
    throw disk.refuse('size-lie', lie);
  }
  // Saved memory of internal snapshots lies behind the disk, and a table that grew has some to spare.
  if (entries * 8 > MAX_L1_BYTES || entries > 2 * needed + 16384) {
    throw disk.refuse('absurd-geometry', `its L1 table has ${entries} entries, ${needed} are needed`);
  }
  const offset = fields.u64(40, 'L1 table offset');
  checkPlace(disk, offset, clusterSizeBytes, 'its L1 table');
  disk.mustHold(offset, entries * 8, 'its L1 table');
  return { offset, entries };
}

/** QEMU reads zeros from tables and clusters beyond the end of the file: an unfinished download would pass. */
async function followTables(disk: OpenDisk, l1: L1Table, details: Qcow2Details): Promise<boolean> {
  const { clusterSizeBytes } = details;
  const l2Tables: number[] = [];
  const most = disk.tableBytesLeft() / clusterSizeBytes;
  let all = await disk.walk({ ...l1, width: 8, what: 'its L1 table' }, (view, at, index) => {
    const offset = standardOffset(view, at);
    if (offset === 0) return;
    checkPlace(disk, offset, clusterSizeBytes, `L2 table ${index}`);
    disk.mustHold(offset, clusterSizeBytes, `L2 table ${index}`);
    if (l2Tables.length <= most) l2Tables.push(offset);
  });
  const width = details.extendedL2 ? 16 : 8;
  const visit = clusterChecker(disk, clusterSizeBytes);
  for (const offset of l2Tables) {
    const table = { offset, entries: clusterSizeBytes / width, width, what: 'an L2 table' };
    all = all && (await disk.walk(table, visit));
    if (!all) return false;
  }
  return all;
}

function clusterChecker(disk: OpenDisk, clusterSizeBytes: number): (view: DataView, at: number) => void {
  // A compressed cluster's offset has fewer bits the larger a cluster may be: 62 - (cluster_bits - 8).
  const compressedHighMask = 2 ** (62 - (Math.log2(clusterSizeBytes) - 8) - 32) - 1;
  return (view, at) => {
    const high = view.getUint32(at);
    const compressed = (high & 0x4000_0000) !== 0;
    const offset = compressed
      ? (high & compressedHighMask) * 2 ** 32 + view.getUint32(at + 4)
      : standardOffset(view, at);
    if (offset === 0) return;
    if (!compressed) checkPlace(disk, offset, clusterSizeBytes, 'a cluster');
    disk.mustHold(offset, 1, 'a cluster');
  };
}

/** Bits 9 to 55. */
const standardOffset = (view: DataView, at: number): number =>
  (view.getUint32(at) & 0x00ff_ffff) * 2 ** 32 + ((view.getUint32(at + 4) & 0xffff_fe00) >>> 0);
