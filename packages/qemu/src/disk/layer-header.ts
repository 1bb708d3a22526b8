/**
 * The header of a qcow2 file of ours that a guest's QEMU has written since: its sizes, and why it must not be opened by anything, as one that
 * leads to another file. Names of backing files are not looked at: nobody follows them. Source: QEMU docs/interop/qcow2.txt.
 */

/** Bytes from the file's start that are looked at. */
export const LAYER_HEADER_BYTES = 104;

const V2_HEADER_BYTES = 72;
const DATA_FILE = 1n << 2n;
const EXTENDED_L2 = 1n << 4n;
/** Dirty, compression type, extended L2. */
const HARMLESS_FEATURES = 1n | (1n << 3n) | EXTENDED_L2;
const HAS_BITMAPS = 1n;

export interface LayerHeader {
  readonly sizeBytes: number;
  /** The largest disk that the L1 table has entries for. */
  readonly roomBytes: number;
  /** Something else in the file knows of the size: internal snapshots, bitmaps. */
  readonly sizeBound: boolean;
}

/** `refused` completes "The layer PATH …". */
export function readLayerHeader(
  header: Buffer,
  maxBytes: number,
): LayerHeader | { readonly refused: string } {
  if (header.length < V2_HEADER_BYTES || header.toString('latin1', 0, 4) !== 'QFI\xfb')
    return { refused: 'is no qcow2 image' };
  const version = header.readUInt32BE(4);
  if (version !== 2 && (version !== 3 || header.length < LAYER_HEADER_BYTES))
    return { refused: `says it is qcow2 of version ${version}` };
  const clusterBits = header.readUInt32BE(20);
  if (clusterBits < 9 || clusterBits > 21)
    return { refused: `says its clusters are of 2^${clusterBits} bytes` };
  if (header.readUInt32BE(32) !== 0) return { refused: 'says it is encrypted' };
  const features = version === 2 ? 0n : header.readBigUInt64BE(72);
  if ((features & DATA_FILE) !== 0n) return { refused: 'says its data are in another file' };
  if ((features & ~HARMLESS_FEATURES) !== 0n)
    return { refused: `needs the features 0x${features.toString(16)}` };
  const size = header.readBigUInt64BE(24);
  if (size > BigInt(maxBytes)) return { refused: `says it is a disk of ${size} bytes` };
  const entryBytes = (features & EXTENDED_L2) === 0n ? 8 : 16;
  return {
    sizeBytes: Number(size),
    roomBytes: header.readUInt32BE(36) * (2 ** clusterBits / entryBytes) * 2 ** clusterBits,
    sizeBound:
      header.readUInt32BE(60) !== 0 || (version === 3 && (header.readBigUInt64BE(88) & HAS_BITMAPS) !== 0n),
  };
}
