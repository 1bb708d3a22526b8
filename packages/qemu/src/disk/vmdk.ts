/**
 * Inspects a VMDK disk: a sparse file with its descriptor in it (monolithicSparse, streamOptimized), or a descriptor
 * that names extents. Those are files of their own: look for them beside the descriptor, open each, and give it to
 * `inspectVmdkExtent` before QEMU sees any. Grain tables are followed to the file's end.
 * Source: VMware "Virtual Disk Format 5.0".
 */

import type { ByteFields } from './byte-fields.ts';
import type { DiskFactsOf } from './facts.ts';
import { isPowerOfTwo, type OpenDisk } from './open-disk.ts';
import {
  MAX_DESCRIPTOR_BYTES,
  parseVmdkDescriptor,
  refuseParent,
  type VmdkDescriptor,
  type VmdkExtent,
} from './vmdk-descriptor.ts';

export interface VmdkDetails {
  /** `monolithicSparse`, `streamOptimized`, `twoGbMaxExtentSparse`, `monolithicFlat`, `vmfs`, ... */
  createType: string;
  /** Files that the disk consists of besides this one; empty when this one is all. */
  extents: VmdkExtent[];
}

interface SparseHeader {
  capacitySectors: number;
  grainSectors: number;
  entriesPerTable: number;
  compressed: boolean;
  zeroGrains: boolean;
  directories: number[];
}

const SECTOR = 512;
const SPARSE_MAGIC = 'KDMV';
const SPARSE_HEADER_BYTES = 79;
const DIRECTORY_AT_END = 0xffff_ffff_ffff_ffffn;
/** Where, and how far, QEMU looks for a parent in a sparse file, whatever its header says. */
const QEMU_DESCRIPTOR = { offset: 512, length: 20 * SECTOR };
const ENTRIES_PER_TABLE = 512;
const MAX_GRAIN_SECTORS = 128 * 1024;
const MAX_DIRECTORY_ENTRIES = 8 * 1024 * 1024;
const TEXT_TYPES = ['monolithicFlat', 'twoGbMaxExtentSparse', 'twoGbMaxExtentFlat', 'vmfs'];

const FLAG_NEWLINE_TEST = 1 << 0;
const FLAG_SECOND_DIRECTORY = 1 << 1;
const FLAG_ZERO_GRAINS = 1 << 2;

export async function inspectVmdk(disk: OpenDisk): Promise<DiskFactsOf<'vmdk', VmdkDetails>> {
  const magic = Buffer.from(await disk.upTo(0, 4)).toString('latin1');
  if (magic === SPARSE_MAGIC) return await inspectSparse(disk);
  refuseOldSparse(disk, magic);
  return await inspectText(disk);
}

/** Inspects the file of an extent that `inspectVmdk` named. */
export async function inspectVmdkExtent(disk: OpenDisk, extent: VmdkExtent): Promise<void> {
  if (extent.type !== 'SPARSE') {
    const bytes = extent.sizeSectors * SECTOR;
    disk.mustHold(extent.offsetSectors * SECTOR, bytes, `extent "${extent.file}"`);
    return;
  }
  const magic = Buffer.from(await disk.upTo(0, 4)).toString('latin1');
  refuseOldSparse(disk, magic);
  if (magic !== SPARSE_MAGIC) {
    throw disk.refuse('format-mismatch', `extent "${extent.file}" is said to be SPARSE and is not`);
  }
  const { header } = await readSparseHeader(disk);
  if (!sameSize(header, extent.sizeSectors)) {
    const lie = `is of ${header.capacitySectors} sectors, the descriptor says ${extent.sizeSectors}`;
    throw disk.refuse('size-lie', `extent "${extent.file}" ${lie}`);
  }
  await followGrainTables(disk, header);
}

function refuseOldSparse(disk: OpenDisk, magic: string): void {
  if (magic === 'COWD') throw disk.refuse('unsupported-feature', 'it is an ESX server sparse extent (COWD)');
  if (magic === '\xbe\xba\xfe\xca') throw disk.refuse('unsupported-feature', 'it is a seSparse extent');
}

async function inspectText(disk: OpenDisk): Promise<DiskFactsOf<'vmdk', VmdkDetails>> {
  if (disk.sizeBytes > MAX_DESCRIPTOR_BYTES) {
    throw disk.refuse('malformed', `its descriptor is ${disk.sizeBytes} bytes long`);
  }
  const bytes = await disk.bytes(0, disk.sizeBytes, 'its descriptor');
  const { createType, extents, sizeSectors } = parseVmdkDescriptor(disk, bytes, true);
  if (createType === undefined) throw disk.refuse('malformed', 'its descriptor has no createType');
  if (/device|rawdevicemap|passthrough/i.test(createType)) {
    throw disk.refuse(
      'external-extent',
      `its createType is ${JSON.stringify(createType)}: a device of a host`,
    );
  }
  if (!TEXT_TYPES.includes(createType)) {
    throw disk.refuse('unsupported-feature', `its createType is ${JSON.stringify(createType)}`);
  }
  if (extents.length === 0) throw disk.refuse('malformed', 'its descriptor names no extent');
  const virtualSizeBytes = sizeSectors * SECTOR;
  disk.checkVirtualSize(virtualSizeBytes);
  return { format: 'vmdk', virtualSizeBytes, tables: 'checked', details: { createType, extents } };
}

async function inspectSparse(disk: OpenDisk): Promise<DiskFactsOf<'vmdk', VmdkDetails>> {
  const { header, first } = await readSparseHeader(disk);
  refuseParent(disk, await disk.upTo(QEMU_DESCRIPTOR.offset, QEMU_DESCRIPTOR.length));
  const descriptor = await readEmbedded(disk, first);
  if (!sameSize(header, descriptor.sizeSectors)) {
    const lie = `${header.capacitySectors} sectors, its descriptor ${descriptor.sizeSectors}`;
    throw disk.refuse('size-lie', `its header says ${lie}`);
  }
  const virtualSizeBytes = header.capacitySectors * SECTOR;
  disk.checkVirtualSize(virtualSizeBytes);
  const tables = (await followGrainTables(disk, header)) ? 'checked' : 'partly';
  const createType = header.compressed ? 'streamOptimized' : 'monolithicSparse';
  return { format: 'vmdk', virtualSizeBytes, tables, details: { createType, extents: [] } };
}

/** A capacity is in whole grains, a descriptor's size need not be. */
const sameSize = ({ capacitySectors, grainSectors }: SparseHeader, sizeSectors: number): boolean =>
  capacitySectors >= sizeSectors && capacitySectors - sizeSectors < grainSectors;

async function readEmbedded(disk: OpenDisk, first: ByteFields): Promise<VmdkDescriptor> {
  const offset = first.u64(28, 'descriptor offset') * SECTOR;
  const length = first.u64(36, 'descriptor size') * SECTOR;
  const isPart = 'it describes no disk: it is one extent of a disk that another file describes';
  if (offset === 0 || length === 0) throw disk.refuse('malformed', isPart);
  if (offset !== QEMU_DESCRIPTOR.offset) {
    throw disk.refuse('malformed', `its descriptor is at byte ${offset}, not in the second sector`);
  }
  if (length > MAX_DESCRIPTOR_BYTES) throw disk.refuse('malformed', `its descriptor is ${length} bytes long`);
  const bytes = await disk.bytes(offset, length, 'its descriptor');
  const descriptor = parseVmdkDescriptor(disk, bytes, false);
  if (descriptor.extents.length === 0) throw disk.refuse('malformed', isPart);
  return descriptor;
}

async function readSparseHeader(disk: OpenDisk): Promise<{ header: SparseHeader; first: ByteFields }> {
  const first = await disk.fields(0, SPARSE_HEADER_BYTES, 'little', 'its header');
  // With no capacity, QEMU goes on to the extents that the descriptor names.
  if (first.bits64(12) === 0n) throw disk.refuse('absurd-geometry', 'its capacity is 0');
  const atEnd = first.bits64(56) === DIRECTORY_AT_END;
  const fields = atEnd ? await readFooter(disk) : first;
  const version = fields.u32(4);
  if (version < 1 || version > 3) throw disk.refuse('unsupported-feature', `its version is ${version}`);
  const flags = fields.u32(8);
  if (flags & FLAG_NEWLINE_TEST && fields.text(73, 4) !== '\n \r\n') {
    throw disk.refuse('malformed', 'its line ends were converted: it was copied as text, not as binary');
  }
  const compression = fields.u16(77);
  if (compression > 1) throw disk.refuse('unsupported-feature', `its compression is ${compression}`);
  const directories = [fields.u64(56, 'grain directory offset') * SECTOR];
  if (flags & FLAG_SECOND_DIRECTORY) directories.push(fields.u64(48, 'second directory offset') * SECTOR);
  disk.mustHold(0, fields.u64(64, 'overhead') * SECTOR, 'what goes before its grains');
  const header = {
    capacitySectors: fields.u64(12, 'capacity'),
    grainSectors: fields.u64(20, 'grain size'),
    entriesPerTable: fields.u32(44),
    compressed: compression === 1,
    zeroGrains: (flags & FLAG_ZERO_GRAINS) !== 0,
    directories,
  };
  checkGeometry(disk, header, first.u64(12, 'capacity'));
  return { header, first };
}

function checkGeometry(disk: OpenDisk, header: SparseHeader, capacityAtStart: number): void {
  const { capacitySectors, grainSectors, entriesPerTable } = header;
  if (capacitySectors !== capacityAtStart) {
    throw disk.refuse(
      'size-lie',
      `its header says ${capacityAtStart} sectors, its footer ${capacitySectors}`,
    );
  }
  if (!isPowerOfTwo(grainSectors) || grainSectors < 8 || grainSectors > MAX_GRAIN_SECTORS) {
    throw disk.refuse('absurd-geometry', `its grains are of ${grainSectors} sectors`);
  }
  // More QEMU does not take, fewer nobody writes; and every table is a read.
  if (entriesPerTable !== ENTRIES_PER_TABLE) {
    throw disk.refuse('absurd-geometry', `its grain tables have ${entriesPerTable} entries`);
  }
  disk.checkVirtualSize(capacitySectors * SECTOR);
  if (directoryEntries(header) > MAX_DIRECTORY_ENTRIES) {
    throw disk.refuse('absurd-geometry', `its grain directory has ${directoryEntries(header)} entries`);
  }
}

/** A file that was written as a stream has at its end: marker, footer (a header), end of stream. */
async function readFooter(disk: OpenDisk): Promise<ByteFields> {
  const at = disk.sizeBytes - 3 * SECTOR;
  const cut = disk.refuse('truncated', 'it was written as a stream, and its footer is not at its end');
  if (disk.sizeBytes % SECTOR !== 0 || at < SECTOR) throw cut;
  const tail = await disk.fields(at, 3 * SECTOR, 'little', 'its footer');
  const isFooter = tail.u32(8) === 0 && tail.u32(12) === 3 && tail.text(SECTOR, 4) === SPARSE_MAGIC;
  if (!isFooter || !tail.isZero(2 * SECTOR, 16)) throw cut;
  const footer = await disk.fields(at + SECTOR, SPARSE_HEADER_BYTES, 'little', 'its footer');
  if (footer.bits64(56) === DIRECTORY_AT_END) throw cut;
  return footer;
}

const directoryEntries = ({ capacitySectors, grainSectors, entriesPerTable }: SparseHeader): number =>
  Math.ceil(capacitySectors / (grainSectors * entriesPerTable));

async function followGrainTables(disk: OpenDisk, header: SparseHeader): Promise<boolean> {
  const { entriesPerTable, zeroGrains } = header;
  const entries = directoryEntries(header);
  const grainTables: number[] = [];
  for (const offset of header.directories) disk.mustHold(offset, entries * 4, 'its grain directory');
  const [offset = 0] = header.directories;
  let all = await disk.walk({ offset, entries, width: 4, what: 'its grain directory' }, (view, at, index) => {
    const sector = view.getUint32(at, true);
    if (sector === 0) return;
    disk.mustHold(sector * SECTOR, entriesPerTable * 4, `grain table ${index}`);
    grainTables.push(sector * SECTOR);
  });
  for (const offset of grainTables) {
    const table = { offset, entries: entriesPerTable, width: 4, what: 'a grain table' };
    all =
      all &&
      (await disk.walk(table, (view, at) => {
        const sector = view.getUint32(at, true);
        if (sector > (zeroGrains ? 1 : 0)) disk.mustHold(sector * SECTOR, 1, 'a grain');
      }));
    if (!all) return false;
  }
  return all;
}
