/**
 * Inspects a VDI file of VirtualBox: dynamic or fixed, no differencing disk. The block map is followed to the file's
 * end. Source: the format as QEMU's vdi driver and VirtualBox's VDICore.h describe it.
 */

import type { ByteFields } from './byte-fields.ts';
import type { DiskFactsOf } from './facts.ts';
import type { OpenDisk } from './open-disk.ts';

export interface VdiDetails {
  subformat: 'fixed' | 'dynamic';
}

const HEADER_BYTES = 512;
const VERSION = 0x00010001;
/** The one size that QEMU reads, and VirtualBox writes. */
const BLOCK_BYTES = 1024 * 1024;
const SECTOR = 512;
const MAX_BLOCKS = 0x3fff_ffff;
/** Entries from here on are blocks that are not stored. */
const NOT_STORED = 0xffff_fffe;

export async function inspectVdi(disk: OpenDisk): Promise<DiskFactsOf<'vdi', VdiDetails>> {
  const header = await disk.fields(0, HEADER_BYTES, 'little', 'its header');
  const version = header.u32(0x44);
  if (version !== VERSION) {
    throw disk.refuse('unsupported-feature', `its version is 0x${version.toString(16)}`);
  }
  const subformat = readType(disk, header);
  const virtualSizeBytes = header.u64(0x170, 'virtual size');
  disk.checkVirtualSize(virtualSizeBytes);
  const tables = (await followBlocks(disk, header, virtualSizeBytes)) ? 'checked' : 'partly';
  return { format: 'vdi', virtualSizeBytes, tables, details: { subformat } };
}

function readType(disk: OpenDisk, header: ByteFields): VdiDetails['subformat'] {
  const type = header.u32(0x4c);
  const hasParent = !header.isZero(0x1a8, 32); // the UUIDs of link and parent
  if (type === 4 || hasParent) {
    throw disk.refuse('differencing', 'it is a differencing disk, it needs a parent');
  }
  if (type !== 1 && type !== 2) throw disk.refuse('unsupported-feature', `its type is ${type}`);
  return type === 1 ? 'dynamic' : 'fixed';
}

async function followBlocks(disk: OpenDisk, header: ByteFields, virtualSizeBytes: number): Promise<boolean> {
  const offset = header.u32(0x154);
  const dataAt = header.u32(0x158);
  const sectorBytes = header.u32(0x168);
  const blockBytes = header.u32(0x178);
  const blocks = header.u32(0x180);
  if (blockBytes !== BLOCK_BYTES || sectorBytes !== SECTOR || header.u32(0x17c) !== 0) {
    throw disk.refuse(
      'absurd-geometry',
      `its blocks are of ${blockBytes} bytes, its sectors of ${sectorBytes}`,
    );
  }
  if (offset < HEADER_BYTES || dataAt < HEADER_BYTES || offset % SECTOR !== 0 || dataAt % SECTOR !== 0) {
    throw disk.refuse('malformed', `its block map is at byte ${offset}, its data are at byte ${dataAt}`);
  }
  if (blocks > MAX_BLOCKS) throw disk.refuse('absurd-geometry', `it has ${blocks} blocks`);
  if (blocks * BLOCK_BYTES < virtualSizeBytes) {
    const lie = `its virtual size is ${virtualSizeBytes} bytes, its block map covers ${blocks * BLOCK_BYTES}`;
    throw disk.refuse('size-lie', lie);
  }
  const stored = header.u32(0x184);
  if (stored > blocks) throw disk.refuse('size-lie', `it has ${blocks} blocks, ${stored} of them stored`);
  return await disk.walk({ offset, entries: blocks, width: 4, what: 'its block map' }, (view, at, index) => {
    const block = view.getUint32(at, true);
    if (block >= NOT_STORED) return;
    const used = Math.max(1, Math.min(BLOCK_BYTES, virtualSizeBytes - index * BLOCK_BYTES));
    disk.mustHold(dataAt + block * BLOCK_BYTES, used, `block ${index}`);
  });
}
