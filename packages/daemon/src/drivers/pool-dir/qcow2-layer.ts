/**
 * The header of a layer in qcow2: made with room to grow, and read with distrust, since a guest's QEMU has written it. Growing
 * is one write of eight bytes into it; nothing that QEMU would have to interpret is run over the file. Source: QEMU
 * docs/interop/qcow2.txt.
 */
import type { FileHandle } from 'node:fs/promises';
import { WirtError } from '@wirt/api';
import { type EmptyQcow2, type EmptyQcow2Options, emptyQcow2 } from '@wirt/qemu';

const CLUSTER_BYTES = 65_536;
/** What one cluster of L1 table covers with these clusters: 4 TiB. */
const L1_CLUSTER_COVERS = (CLUSTER_BYTES / 8) * (CLUSTER_BYTES / 8) * CLUSTER_BYTES;
const MOST_BYTES = 16 * L1_CLUSTER_COVERS;
const SIZE_AT = 24;
const HEADER_BYTES = 104;

const DATA_FILE = 1n << 2n;
const EXTENDED_L2 = 1n << 4n;
/** Dirty, compression type, extended L2. */
const HARMLESS_FEATURES = 1n | (1n << 3n) | EXTENDED_L2;
const HAS_BITMAPS = 1n;

export interface Qcow2Header {
  readonly sizeBytes: number;
  /** The largest disk that the L1 table has entries for. */
  readonly roomBytes: number;
  /** Something else in the file knows of the size: internal snapshots, bitmaps. */
  readonly sizeBound: boolean;
}

/**
 * The L1 table, which a larger disk needs more of, is made for the larger one: below 4 TiB
 * that costs nothing, since a table takes whole clusters, and they are holes.
 */
export function newQcow2(sizeBytes: number, backing: EmptyQcow2Options['backing']): EmptyQcow2 {
  const room = Math.max(sizeBytes, Math.min(MOST_BYTES, Math.max(L1_CLUSTER_COVERS, 2 * sizeBytes)));
  const made = emptyQcow2({ sizeBytes: room, backing });
  for (const { offset, bytes } of made.chunks) if (offset === 0) bytes.set(sizeField(sizeBytes), SIZE_AT);
  return made;
}

/** Throws `volume.failed` for what is no qcow2, or would make QEMU open another file. */
export async function readQcow2Header(file: FileHandle, path: string): Promise<Qcow2Header> {
  const { bytesRead, buffer } = await file.read(Buffer.alloc(HEADER_BYTES), 0, HEADER_BYTES, 0);
  return parseQcow2Header(buffer.subarray(0, bytesRead), path);
}

export function parseQcow2Header(header: Buffer, path: string): Qcow2Header {
  const damaged = (what: string): WirtError =>
    new WirtError('volume.failed', `The layer ${path} ${what}.`, {
      hint: 'It may have been damaged, or changed by a hostile guest. Do not use it; restore a snapshot or a copy.',
    });
  if (header.length < 72 || header.toString('latin1', 0, 4) !== 'QFI\xfb') throw damaged('is no qcow2 image');
  const version = header.readUInt32BE(4);
  if (version !== 2 && (version !== 3 || header.length < HEADER_BYTES))
    throw damaged(`says it is qcow2 of version ${version}`);
  const clusterBits = header.readUInt32BE(20);
  if (clusterBits < 9 || clusterBits > 21) throw damaged(`says its clusters are of 2^${clusterBits} bytes`);
  if (header.readUInt32BE(32) !== 0) throw damaged('says it is encrypted');
  const features = version === 2 ? 0n : header.readBigUInt64BE(72);
  if ((features & DATA_FILE) !== 0n) throw damaged('says its data are in another file');
  if ((features & ~HARMLESS_FEATURES) !== 0n) throw damaged(`needs the features 0x${features.toString(16)}`);
  const size = header.readBigUInt64BE(SIZE_AT);
  if (size > BigInt(MOST_BYTES)) throw damaged(`says it is a disk of ${size} bytes`);
  const entryBytes = (features & EXTENDED_L2) === 0n ? 8 : 16;
  return {
    sizeBytes: Number(size),
    roomBytes: header.readUInt32BE(36) * (2 ** clusterBits / entryBytes) * 2 ** clusterBits,
    sizeBound:
      header.readUInt32BE(60) !== 0 || (version === 3 && (header.readBigUInt64BE(88) & HAS_BITMAPS) !== 0n),
  };
}

/** Makes the disk larger; that size already is fine. The area that is new reads as zeros. Throws `volume.failed`. */
export async function growQcow2(file: FileHandle, path: string, sizeBytes: number): Promise<void> {
  const header = await readQcow2Header(file, path);
  const refuse = (why: string, hint?: string): WirtError =>
    new WirtError('volume.failed', `Could not grow ${path} to ${sizeBytes} bytes: ${why}.`, {
      ...(hint === undefined ? {} : { hint }),
      details: { sizeBytes: header.sizeBytes, roomBytes: header.roomBytes },
    });
  if (sizeBytes < header.sizeBytes) throw refuse(`it has ${header.sizeBytes}`);
  if (header.sizeBound) throw refuse('it has internal snapshots or bitmaps');
  if (sizeBytes > header.roomBytes)
    throw refuse(
      `its table has room for ${header.roomBytes}`,
      'Attach it to an instance and grow it while that runs, or clone it in full and grow the clone.',
    );
  await file.write(sizeField(sizeBytes), 0, 8, SIZE_AT);
}

function sizeField(sizeBytes: number): Buffer {
  const field = Buffer.alloc(8);
  field.writeBigUInt64BE(BigInt(sizeBytes));
  return field;
}
