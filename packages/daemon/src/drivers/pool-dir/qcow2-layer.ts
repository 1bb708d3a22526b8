/**
 * The header of a layer in qcow2: made with room to grow, and read with distrust, since a guest's QEMU has written it. Growing
 * is one write of eight bytes into it; nothing that QEMU would have to interpret is run over the file. Source: QEMU
 * docs/interop/qcow2.txt.
 */
import type { FileHandle } from 'node:fs/promises';
import { WirtError } from '@wirt/api';
import {
  type EmptyQcow2,
  type EmptyQcow2Options,
  emptyQcow2,
  LAYER_HEADER_BYTES,
  type LayerHeader,
  readLayerHeader,
} from '@wirt/qemu';

const CLUSTER_BYTES = 65_536;
/** What one cluster of L1 table covers with these clusters: 4 TiB. */
const L1_CLUSTER_COVERS = (CLUSTER_BYTES / 8) * (CLUSTER_BYTES / 8) * CLUSTER_BYTES;
const MOST_BYTES = 16 * L1_CLUSTER_COVERS;
const SIZE_AT = 24;

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
export async function readQcow2Header(file: FileHandle, path: string): Promise<LayerHeader> {
  const { bytesRead, buffer } = await file.read(Buffer.alloc(LAYER_HEADER_BYTES), 0, LAYER_HEADER_BYTES, 0);
  return parseQcow2Header(buffer.subarray(0, bytesRead), path);
}

export function parseQcow2Header(bytes: Buffer, path: string): LayerHeader {
  const header = readLayerHeader(bytes, MOST_BYTES);
  if (!('refused' in header)) return header;
  throw new WirtError('volume.failed', `The layer ${path} ${header.refused}.`, {
    hint: 'It may have been damaged, or changed by a hostile guest. Do not use it; restore a snapshot or a copy.',
    details: { path },
  });
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
