/**
 * Layers of ours on their way out, as qemu-img is to open them. A guest's QEMU has written their headers: one that leads to another
 * file is refused before, and names of backing files are not looked at.
 */
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { WirtError } from '@wirt/api';
import type { DiskLayerNode, DiskSource } from '@wirt/core';
import { LAYER_HEADER_BYTES, readLayerHeader } from '@wirt/qemu';
import { fsError } from '../../platform/fs-error.ts';

const SECTOR = 512;
const MOST_BYTES = 2 ** 50;

/** From the base up; nothing but what is named here is opened. */
export function nodeOf({ layers }: DiskSource): Readonly<Record<string, unknown>> {
  const node = layers.reduce<Record<string, unknown> | null>((backing, { format, location }) => {
    const file = { driver: location.driver, filename: location.path };
    return { driver: format, file, ...(format === 'qcow2' ? { backing } : {}) };
  }, null);
  return node ?? {};
}

/** The size of the disk, for progress and limits; what is copied is what qemu-img reads itself. Throws `export.failed`. */
export async function inspectLayers({ layers }: DiskSource): Promise<number> {
  let sizeBytes = 0;
  for (const layer of layers) sizeBytes = await inspectLayer(layer);
  return sizeBytes;
}

async function inspectLayer({ format, location: { path } }: DiskLayerNode): Promise<number> {
  try {
    await using file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    if (format === 'qcow2') return await inspectHeader(file, path);
    return Math.ceil((await file.stat()).size / SECTOR) * SECTOR;
  } catch (error) {
    throw fsError(error, 'read', path, 'export.failed');
  }
}

async function inspectHeader(file: FileHandle, path: string): Promise<number> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(LAYER_HEADER_BYTES), 0, LAYER_HEADER_BYTES, 0);
  const header = readLayerHeader(buffer.subarray(0, bytesRead), MOST_BYTES);
  if (!('refused' in header)) return header.sizeBytes;
  throw new WirtError('export.failed', `The layer ${path} ${header.refused}.`, {
    details: { path },
    hint: 'It may have been damaged, or changed by a hostile guest. Do not use it; restore a snapshot or a copy.',
  });
}
