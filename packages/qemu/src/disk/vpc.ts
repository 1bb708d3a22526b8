/**
 * Inspects a VHD file, `vpc` in QEMU: fixed or dynamic, no differencing disk. The block table is followed to the
 * file's end. Source: Microsoft "Virtual Hard Disk Image Format Specification".
 */

import type { ByteFields } from './byte-fields.ts';
import type { DiskFactsOf } from './facts.ts';
import { isPowerOfTwo, type OpenDisk, roundUp } from './open-disk.ts';

export interface VpcDetails {
  subformat: 'fixed' | 'dynamic';
  /**
   * Cylinders times heads times sectors, in bytes. QEMU takes this for the size when it does not know the program that
   * made the file, and cuts the disk where it is smaller; the option `force_size_calc: 'current_size'` of its vpc driver
   * prevents that.
   */
  geometrySizeBytes: number;
  /** Four characters for the program that made it. */
  creator: string;
}

const COOKIE = 'conectix';
const FOOTER_BYTES = 512;
const HEADER_BYTES = 1024;
const SECTOR = 512;
/** 2040 GiB. */
const MAX_SIZE_BYTES = 2040 * 2 ** 30;
const MAX_GEOMETRY_BYTES = 65535 * 16 * 255 * SECTOR;
const MAX_BLOCK_BYTES = 256 * 1024 * 1024;
const MAX_TABLE_ENTRIES = 16 * 1024 * 1024;
const UNUSED = 0xffff_ffff;
const TYPE = { fixed: 2, dynamic: 3, differencing: 4 } as const;

interface Footer {
  fields: ByteFields;
  type: number;
  sizeBytes: number;
}

export async function inspectVpc(disk: OpenDisk): Promise<DiskFactsOf<'vpc', VpcDetails>> {
  const end = Math.max(0, disk.sizeBytes - FOOTER_BYTES);
  const first = await readFooter(disk, 0);
  const last = end === 0 ? undefined : await readFooter(disk, end);
  const footer = first ?? last;
  if (!footer) throw disk.refuse('malformed', 'it has no footer');
  if (footer.type === TYPE.differencing) {
    throw disk.refuse('differencing', 'it is a differencing disk, it needs a parent');
  }
  const subformat = first ? 'dynamic' : 'fixed';
  if (footer.type !== TYPE[subformat]) {
    const place = first ? 'starts with' : 'has no header before';
    throw disk.refuse('malformed', `it ${place} its footer and says that its type is ${footer.type}`);
  }
  if (first && last && (first.type !== last.type || first.sizeBytes !== last.sizeBytes)) {
    throw disk.refuse('size-lie', `its footer says ${last.sizeBytes} bytes, the copy ${first.sizeBytes}`);
  }
  checkSize(disk, footer);
  const tables = first ? await inspectBlocks(disk, first) : checkFixed(disk, footer);
  const creator = footer.fields.text(28, 4);
  const details = { subformat, geometrySizeBytes: geometryBytes(footer), creator } as const;
  return { format: 'vpc', virtualSizeBytes: footer.sizeBytes, tables, details };
}

async function readFooter(disk: OpenDisk, at: number): Promise<Footer | undefined> {
  if (disk.sizeBytes < FOOTER_BYTES) throw disk.refuse('truncated', `it is ${disk.sizeBytes} bytes long`);
  const fields = await disk.fields(at, FOOTER_BYTES, 'big', 'its footer');
  if (fields.text(0, 8) !== COOKIE) return undefined;
  checkSum(disk, fields, 64, 'its footer');
  return { fields, type: fields.u32(60), sizeBytes: fields.u64(48, 'current size') };
}

/** One's complement of the sum of all bytes, the sum itself left out. */
function checkSum(disk: OpenDisk, fields: ByteFields, at: number, what: string): void {
  const sum = fields.bytes.reduce(
    (total, byte, index) => total + (index < at || index >= at + 4 ? byte : 0),
    0,
  );
  if (fields.u32(at) === ~sum >>> 0) return;
  throw disk.refuse('malformed', `the checksum of ${what} is wrong`);
}

/** The largest geometry is what disks have that are larger: it says nothing, for QEMU neither. */
function geometryBytes({ fields, sizeBytes }: Footer): number {
  const bytes = fields.u16(56) * fields.u8(58) * fields.u8(59) * SECTOR;
  return bytes === MAX_GEOMETRY_BYTES ? sizeBytes : bytes;
}

function checkSize(disk: OpenDisk, footer: Footer): void {
  const { fields, sizeBytes } = footer;
  disk.checkVirtualSize(sizeBytes);
  if (sizeBytes > MAX_SIZE_BYTES)
    throw disk.refuse('absurd-geometry', `its virtual size is ${sizeBytes} bytes`);
  const cylinder = fields.u8(58) * fields.u8(59) * SECTOR;
  if (geometryBytes(footer) <= sizeBytes + cylinder) return;
  const lie = `its cylinders, heads and sectors make ${geometryBytes(footer)} bytes, its size is ${sizeBytes}`;
  throw disk.refuse('size-lie', lie);
}

function checkFixed(disk: OpenDisk, { sizeBytes }: Footer): 'checked' {
  const held = disk.sizeBytes - FOOTER_BYTES;
  if (sizeBytes === held) return 'checked';
  const found = `its virtual size is ${sizeBytes} bytes, it holds ${held}`;
  throw disk.refuse(sizeBytes > held ? 'truncated' : 'size-lie', found);
}

async function inspectBlocks(disk: OpenDisk, { fields, sizeBytes }: Footer): Promise<'checked' | 'partly'> {
  const headerAt = fields.u64(16, 'header offset');
  const header = await disk.fields(headerAt, HEADER_BYTES, 'big', 'its dynamic header');
  if (header.text(0, 8) !== 'cxsparse') throw disk.refuse('malformed', 'it has no dynamic header');
  checkSum(disk, header, 36, 'its dynamic header');
  const entries = header.u32(28);
  const blockBytes = header.u32(32);
  if (!isPowerOfTwo(blockBytes) || blockBytes < SECTOR || blockBytes > MAX_BLOCK_BYTES) {
    throw disk.refuse('absurd-geometry', `its blocks are of ${blockBytes} bytes`);
  }
  if (entries > MAX_TABLE_ENTRIES)
    throw disk.refuse('absurd-geometry', `its block table has ${entries} entries`);
  if (entries * blockBytes < sizeBytes) {
    const lie = `its virtual size is ${sizeBytes} bytes, its block table covers ${entries * blockBytes}`;
    throw disk.refuse('size-lie', lie);
  }
  const bitmapBytes = roundUp(blockBytes / SECTOR / 8, SECTOR);
  const table = { offset: header.u64(16, 'block table offset'), entries, width: 4, what: 'its block table' };
  const all = await disk.walk(table, (view, at, index) => {
    const sector = view.getUint32(at);
    if (sector !== UNUSED) disk.mustHold(sector * SECTOR, bitmapBytes + blockBytes, `block ${index}`);
  });
  return all ? 'checked' : 'partly';
}
