/**
 * Writes a qcow2 image (version 3, refcounts of 16 bits) without any data, empty or over a backing image: what
 * `qemu-img create` makes, without a process. Pure; its few chunks go into a new file that is then made `fileSizeBytes`
 * long, so that the rest stays a hole that reads as zeros. Source: QEMU docs/interop/qcow2.txt.
 */

export interface EmptyQcow2Options {
  /** Virtual size in bytes, a multiple of 512. */
  sizeBytes: number;
  /** Clusters are of 2^clusterBits bytes, 9 to 21. Default 16, which is 64 KiB. */
  clusterBits?: number | undefined;
  /**
   * Name and format written into the header. Leave it out where QEMU is given the chain by -blockdev: an explicit
   * `backing` node serves an image that names none.
   */
  backing?: { path: string; format: 'qcow2' | 'raw' } | undefined;
  /** Allocation in 32 parts of a cluster; needs clusters of at least 2^14 bytes. */
  extendedL2?: boolean | undefined;
}

export interface Qcow2Chunk {
  offset: number;
  bytes: Uint8Array;
}

export interface EmptyQcow2 {
  fileSizeBytes: number;
  chunks: Qcow2Chunk[];
}

interface Layout {
  clusterBits: number;
  clusterBytes: number;
  /** Counted in clusters; one header cluster goes first, the L1 table last. */
  refcountTableClusters: number;
  refcountBlocks: number;
  l1Clusters: number;
  l1Entries: number;
}

const HEADER_BYTES = 112;
const REFCOUNT_ORDER = 4;
const REFCOUNT_BYTES = 2;
const EXTENDED_L2 = 1 << 4;
const EXTENSION_BACKING_FORMAT = 0xe2792aca;
const MAX_L1_BYTES = 32 * 1024 * 1024;
const MAX_NAME_BYTES = 1023;

/** Throws RangeError for a size, cluster or name that QEMU would not take. */
export function emptyQcow2(options: EmptyQcow2Options): EmptyQcow2 {
  const layout = planLayout(options);
  const { clusterBytes, refcountTableClusters, refcountBlocks, l1Clusters } = layout;
  const clusters = 1 + refcountTableClusters + refcountBlocks + l1Clusters;
  const blocksAt = (1 + refcountTableClusters) * clusterBytes;
  return {
    fileSizeBytes: clusters * clusterBytes,
    chunks: [
      { offset: 0, bytes: header(options, layout) },
      { offset: clusterBytes, bytes: refcountTable(blocksAt, refcountBlocks, clusterBytes) },
      { offset: blocksAt, bytes: refcounts(clusters) },
    ],
  };
}

function planLayout({ sizeBytes, clusterBits = 16, extendedL2 = false }: EmptyQcow2Options): Layout {
  if (!Number.isInteger(clusterBits) || clusterBits < (extendedL2 ? 14 : 9) || clusterBits > 21) {
    throw new RangeError(`clusters of 2^${clusterBits} bytes are not possible`);
  }
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes <= 0 || sizeBytes % 512 !== 0) {
    throw new RangeError(`a disk must be of whole sectors of 512 bytes, not ${sizeBytes} bytes`);
  }
  const clusterBytes = 2 ** clusterBits;
  const l1Entries = Math.ceil(sizeBytes / ((clusterBytes / (extendedL2 ? 16 : 8)) * clusterBytes));
  if (l1Entries * 8 > MAX_L1_BYTES) {
    throw new RangeError(`${sizeBytes} bytes are too many for clusters of ${clusterBytes}`);
  }
  const l1Clusters = Math.ceil((l1Entries * 8) / clusterBytes);
  return { clusterBits, clusterBytes, l1Entries, l1Clusters, ...planRefcounts(clusterBytes, 1 + l1Clusters) };
}

/** Refcounts are counted themselves: more blocks until they cover all. */
function planRefcounts(
  clusterBytes: number,
  otherClusters: number,
): Pick<Layout, 'refcountBlocks' | 'refcountTableClusters'> {
  let refcountBlocks = 1;
  for (;;) {
    const refcountTableClusters = Math.ceil((refcountBlocks * 8) / clusterBytes);
    const clusters = otherClusters + refcountTableClusters + refcountBlocks;
    const needed = Math.ceil((clusters * REFCOUNT_BYTES) / clusterBytes);
    if (needed <= refcountBlocks) return { refcountBlocks, refcountTableClusters };
    refcountBlocks = needed;
  }
}

function header({ sizeBytes, backing, extendedL2 }: EmptyQcow2Options, layout: Layout): Uint8Array {
  const { clusterBits, clusterBytes, refcountTableClusters, refcountBlocks, l1Entries } = layout;
  const name = backingName(backing?.path);
  const extensions = backing ? extension(EXTENSION_BACKING_FORMAT, backing.format) : Buffer.alloc(0);
  const nameAt = HEADER_BYTES + extensions.length + 8;
  if (nameAt + name.length > clusterBytes)
    throw new RangeError('the backing name is too long for the cluster');
  const bytes = Buffer.alloc(nameAt + name.length);
  bytes.write('QFI\xfb', 'latin1');
  bytes.writeUInt32BE(3, 4); // version
  if (backing) {
    bytes.writeBigUInt64BE(BigInt(nameAt), 8); // backing_file_offset
    bytes.writeUInt32BE(name.length, 16); // backing_file_size
  }
  bytes.writeUInt32BE(clusterBits, 20);
  bytes.writeBigUInt64BE(BigInt(sizeBytes), 24);
  bytes.writeUInt32BE(l1Entries, 36);
  const l1At = (1 + refcountTableClusters + refcountBlocks) * clusterBytes;
  bytes.writeBigUInt64BE(BigInt(l1At), 40); // l1_table_offset
  bytes.writeBigUInt64BE(BigInt(clusterBytes), 48); // refcount_table_offset
  bytes.writeUInt32BE(refcountTableClusters, 56);
  bytes.writeBigUInt64BE(BigInt(extendedL2 ? EXTENDED_L2 : 0), 72); // incompatible_features
  bytes.writeUInt32BE(REFCOUNT_ORDER, 96);
  bytes.writeUInt32BE(HEADER_BYTES, 100);
  extensions.copy(bytes, HEADER_BYTES); // the eight zero bytes after them end the list
  name.copy(bytes, nameAt);
  return bytes;
}

function backingName(path: string | undefined): Buffer {
  const name = Buffer.from(path ?? '');
  if (path === undefined) return name;
  if (name.length === 0 || name.length > MAX_NAME_BYTES || path.includes('\0')) {
    throw new RangeError(`a backing name must be of 1 to ${MAX_NAME_BYTES} bytes, without NUL`);
  }
  if (/^[^/]*:/.test(path)) throw new RangeError(`QEMU takes the backing name ${path} for a protocol`);
  return name;
}

function extension(type: number, text: string): Buffer {
  const bytes = Buffer.alloc(8 + Math.ceil(text.length / 8) * 8);
  bytes.writeUInt32BE(type, 0);
  bytes.writeUInt32BE(text.length, 4);
  bytes.write(text, 8, 'latin1');
  return bytes;
}

function refcountTable(blocksAt: number, blocks: number, clusterBytes: number): Uint8Array {
  const table = Buffer.alloc(blocks * 8);
  for (let i = 0; i < blocks; i++) table.writeBigUInt64BE(BigInt(blocksAt + i * clusterBytes), i * 8);
  return table;
}

/** Every cluster of the new file is used once. The blocks lie one after the other. */
function refcounts(clusters: number): Uint8Array {
  const counts = Buffer.alloc(clusters * REFCOUNT_BYTES);
  for (let i = 0; i < clusters; i++) counts.writeUInt16BE(1, i * REFCOUNT_BYTES);
  return counts;
}
