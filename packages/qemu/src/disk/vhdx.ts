/**
 * Inspects a VHDX file of Hyper-V: fixed or dynamic, closed cleanly, no differencing disk. The block table is followed
 * to the file's end. Source: Microsoft [MS-VHDX].
 */

import type { ByteFields } from './byte-fields.ts';
import { crc32c } from './crc32c.ts';
import type { DiskFactsOf } from './facts.ts';
import { isPowerOfTwo, type OpenDisk } from './open-disk.ts';

export interface VhdxDetails {
  subformat: 'fixed' | 'dynamic';
  blockSizeBytes: number;
}

interface Region {
  offset: number;
  length: number;
}

const MIB = 1024 * 1024;
const HEADERS_AT = [64 * 1024, 128 * 1024];
const HEADER_BYTES = 4096;
const REGIONS_AT = 192 * 1024;
const REGIONS_BYTES = 64 * 1024;
const MAX_ENTRIES = 2047;
const MAX_BLOCK_BYTES = 256 * MIB;
const SECTORS_PER_CHUNK = 2 ** 23;
const FULLY_PRESENT = 6;
const PARTIALLY_PRESENT = 7;

/** GUIDs as they lie in the file: the first three groups little-endian. */
const BAT = '6677c22d23f600429d64115e9bfd4a08';
const METADATA = '06a27c8b90479a4bb8fe575f050f886e';
const FILE_PARAMETERS = '3767a1ca36fa434db3b633f0aa44e76b';
const VIRTUAL_DISK_SIZE = '2442a52f1bcd7648b2115dbed83bf4b8';
const LOGICAL_SECTOR_SIZE = '1dbf41816fa90947ba47f233a8faab5f';
const PHYSICAL_SECTOR_SIZE = 'c748a3cd5d4471449cc9e9885251c556';
const PAGE_83 = 'ab12cabee6b2234593efc309e000c746';
const PARENT_LOCATOR = '2d5fd3a80bb34d45abf7d3d84834ab0c';
const REQUIRED_ITEMS = [
  FILE_PARAMETERS,
  VIRTUAL_DISK_SIZE,
  LOGICAL_SECTOR_SIZE,
  PHYSICAL_SECTOR_SIZE,
  PAGE_83,
] as const;

export async function inspectVhdx(disk: OpenDisk): Promise<DiskFactsOf<'vhdx', VhdxDetails>> {
  const signature = await disk.fields(0, 8, 'little', 'its signature');
  if (signature.text(0, 8) !== 'vhdxfile') throw disk.refuse('malformed', 'it has no signature');
  checkLog(disk, await readHeader(disk));
  const regions = await readRegions(disk);
  const item = await readItems(disk, regions.metadata);
  const parameters = await item(FILE_PARAMETERS, 8);
  if (parameters.u32(4) & 2)
    throw disk.refuse('differencing', 'it is a differencing disk, it needs a parent');
  const virtualSizeBytes = (await item(VIRTUAL_DISK_SIZE, 8)).u64(0, 'virtual size');
  disk.checkVirtualSize(virtualSizeBytes);
  const sectorBytes = (await item(LOGICAL_SECTOR_SIZE, 4)).u32(0);
  const blockSizeBytes = parameters.u32(0);
  checkGeometry(disk, { virtualSizeBytes, sectorBytes, blockSizeBytes });
  const chunkBlocks = (SECTORS_PER_CHUNK * sectorBytes) / blockSizeBytes;
  const all = await followBlocks(disk, regions.bat, { virtualSizeBytes, blockSizeBytes, chunkBlocks });
  const subformat = parameters.u32(4) & 1 ? 'fixed' : 'dynamic';
  const tables = all ? 'checked' : 'partly';
  return { format: 'vhdx', virtualSizeBytes, tables, details: { subformat, blockSizeBytes } };
}

/** Of two headers, the valid one with the higher sequence number. */
async function readHeader(disk: OpenDisk): Promise<ByteFields> {
  let current: ByteFields | undefined;
  for (const at of HEADERS_AT) {
    const header = await disk.fields(at, HEADER_BYTES, 'little', 'its header');
    if (header.text(0, 4) !== 'head' || !isSealed(header) || header.u16(66) !== 1) continue;
    if (!current || header.bits64(8) > current.bits64(8)) current = header;
  }
  if (!current) throw disk.refuse('malformed', 'neither of its headers is valid');
  return current;
}

/** The checksum is at byte 4, and zero in its own sum. */
function isSealed({ bytes, u32 }: ByteFields): boolean {
  const copy = Uint8Array.from(bytes);
  copy.fill(0, 4, 8);
  return crc32c(copy) === u32(4);
}

function checkLog(disk: OpenDisk, header: ByteFields): void {
  if (!header.isZero(48, 16)) {
    const what =
      'it was not closed cleanly: its log must be replayed first, by Hyper-V or `qemu-img check -r all`';
    throw disk.refuse('unsupported-feature', what);
  }
  disk.mustHold(header.u64(72, 'log offset'), header.u32(68), 'its log');
}

async function readRegions(disk: OpenDisk): Promise<{ bat: Region; metadata: Region }> {
  const table = await disk.fields(REGIONS_AT, REGIONS_BYTES, 'little', 'its region table');
  if (table.text(0, 4) !== 'regi' || !isSealed(table)) {
    throw disk.refuse('malformed', 'its region table is not valid');
  }
  const entries = table.u32(8);
  if (entries > MAX_ENTRIES) throw disk.refuse('absurd-geometry', `its region table has ${entries} entries`);
  const regions = new Map<string, Region>();
  for (let at = 16; at < 16 + entries * 32; at += 32) {
    const guid = hex(table, at);
    const region = { offset: table.u64(at + 16, 'region offset'), length: table.u32(at + 24) };
    if (guid !== BAT && guid !== METADATA) {
      if ((table.u32(at + 28) & 1) === 0) continue;
      throw disk.refuse('unsupported-feature', `it needs an unknown region (${guid})`);
    }
    if (regions.has(guid)) throw disk.refuse('malformed', 'it has a region twice');
    if (region.offset < MIB) throw disk.refuse('malformed', `a region is at byte ${region.offset}`);
    disk.mustHold(region.offset, region.length, guid === BAT ? 'its block table' : 'its metadata');
    regions.set(guid, region);
  }
  const [bat, metadata] = [regions.get(BAT), regions.get(METADATA)];
  if (!bat || !metadata) throw disk.refuse('malformed', 'it has no block table, or no metadata');
  return { bat, metadata };
}

type ItemReader = (guid: string, length: number) => Promise<ByteFields>;

async function readItems(disk: OpenDisk, region: Region): Promise<ItemReader> {
  const head = await disk.fields(region.offset, 32, 'little', 'its metadata');
  const entries = head.u16(10);
  if (head.text(0, 8) !== 'metadata') throw disk.refuse('malformed', 'its metadata are not valid');
  if (entries > MAX_ENTRIES) throw disk.refuse('absurd-geometry', `it has ${entries} items of metadata`);
  const table = await disk.fields(region.offset + 32, entries * 32, 'little', 'its metadata');
  const items = new Map<string, Region>();
  for (let at = 0; at < entries * 32; at += 32) {
    const guid = hex(table, at);
    if (guid === PARENT_LOCATOR) throw disk.refuse('differencing', 'it names a parent disk');
    if (!REQUIRED_ITEMS.some((known) => known === guid)) {
      if ((table.u32(at + 24) & 4) === 0) continue;
      throw disk.refuse('unsupported-feature', `it needs unknown metadata (${guid})`);
    }
    if (items.has(guid)) throw disk.refuse('malformed', 'it has an item of metadata twice');
    items.set(guid, { offset: table.u32(at + 16), length: table.u32(at + 20) });
  }
  if (items.size < REQUIRED_ITEMS.length) throw disk.refuse('malformed', 'items of its metadata are missing');
  return async (guid, length) => {
    const item = items.get(guid);
    if (!item || item.length < length || item.offset + length > region.length) {
      throw disk.refuse('malformed', 'an item of its metadata is outside of them, or too short');
    }
    return await disk.fields(region.offset + item.offset, length, 'little', 'its metadata');
  };
}

interface Geometry {
  virtualSizeBytes: number;
  sectorBytes: number;
  blockSizeBytes: number;
}

function checkGeometry(disk: OpenDisk, { virtualSizeBytes, sectorBytes, blockSizeBytes }: Geometry): void {
  if (!isPowerOfTwo(blockSizeBytes) || blockSizeBytes < MIB || blockSizeBytes > MAX_BLOCK_BYTES) {
    throw disk.refuse('absurd-geometry', `its blocks are of ${blockSizeBytes} bytes`);
  }
  if (sectorBytes === 4096) {
    throw disk.refuse('unsupported-feature', 'its sectors are of 4096 bytes, which QEMU does not read');
  }
  if (sectorBytes !== 512) throw disk.refuse('absurd-geometry', `its sectors are of ${sectorBytes} bytes`);
  if (virtualSizeBytes % sectorBytes !== 0) {
    throw disk.refuse(
      'malformed',
      `its virtual size, ${virtualSizeBytes}, is not in sectors of ${sectorBytes}`,
    );
  }
}

async function followBlocks(
  disk: OpenDisk,
  region: Region,
  { virtualSizeBytes, blockSizeBytes, chunkBlocks }: Omit<Geometry, 'sectorBytes'> & { chunkBlocks: number },
): Promise<boolean> {
  const blocks = Math.ceil(virtualSizeBytes / blockSizeBytes);
  const entries = blocks + Math.floor((blocks - 1) / chunkBlocks);
  if (entries * 8 > region.length) {
    const lie = `its virtual size needs ${entries} blocks, its block table holds ${region.length / 8}`;
    throw disk.refuse('size-lie', lie);
  }
  const table = { offset: region.offset, entries, width: 8, what: 'its block table' };
  return await disk.walk(table, (view, at, index) => {
    // After the blocks of a chunk comes the entry of a bitmap, which only differencing disks use.
    if (index % (chunkBlocks + 1) === chunkBlocks) return;
    const low = view.getUint32(at, true);
    const state = low & 7;
    if (state === PARTIALLY_PRESENT) throw disk.refuse('differencing', 'a block is partly in a parent disk');
    if (state !== FULLY_PRESENT) return;
    const offset = view.getUint32(at + 4, true) * 2 ** 32 + ((low & 0xfff0_0000) >>> 0);
    const block = index - Math.floor(index / (chunkBlocks + 1));
    if (offset < MIB) throw disk.refuse('malformed', `block ${block} is at byte ${offset}`);
    const used = Math.min(blockSizeBytes, virtualSizeBytes - block * blockSizeBytes);
    disk.mustHold(offset, used, `block ${block}`);
  });
}

const hex = ({ bytes }: ByteFields, at: number): string =>
  Buffer.from(bytes.subarray(at, at + 16)).toString('hex');
