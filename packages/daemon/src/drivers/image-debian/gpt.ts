// A GUID partition table as bytes: protective MBR, header and entries at both ends of the disk. Pure: disk and unique
// partition GUIDs are given. Source: UEFI Specification 2.10, chapter 5.
import { crc32 } from 'node:zlib';

export const sectorBytes = 512;

/** Types that are used here. Sources: UEFI Specification, GRUB's manual, the Discoverable Partitions Specification. */
export const partitionTypes = {
  biosBoot: '21686148-6449-6E6F-744E-656564454649',
  efiSystem: 'C12A7328-F81F-11D2-BA4B-00A0C93EC93B',
  linuxRootAmd64: '4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709',
} as const;

export interface Partition {
  /** From 1. Need not be in the order of the disk. */
  readonly number: number;
  readonly type: string;
  readonly guid: string;
  readonly firstSector: number;
  readonly sectors: number;
  /** At most 36 UTF-16 units. */
  readonly name: string;
}

export interface PartitionTable {
  readonly diskGuid: string;
  readonly diskSectors: number;
  readonly partitions: readonly Partition[];
}

const entryCount = 128;
const entryBytes = 128;
const entrySectors = (entryCount * entryBytes) / sectorBytes;
const headerBytes = 92;
/** Boot code of the protective MBR is in front of this. */
export const mbrTableOffset = 446;
export const mbrTableBytes = 64;

/** The first sectors of the disk, without boot code, and its last ones. */
export function renderGpt(table: PartitionTable): { readonly start: Buffer; readonly end: Buffer } {
  const entries = renderEntries(table);
  const lastSector = table.diskSectors - 1;
  const start = Buffer.concat([
    protectiveMbr(table.diskSectors),
    header(table, entries, { own: 1, other: lastSector, entriesAt: 2 }),
    entries,
  ]);
  const entriesAt = lastSector - entrySectors;
  const end = Buffer.concat([entries, header(table, entries, { own: lastSector, other: 1, entriesAt })]);
  return { start, end };
}

/** Where partitions may be: the first sector, and the one after the last. */
export function usableSectors(diskSectors: number): { readonly first: number; readonly end: number } {
  return { first: 2 + entrySectors, end: diskSectors - 1 - entrySectors };
}

function protectiveMbr(diskSectors: number): Buffer {
  const sector = Buffer.alloc(sectorBytes);
  // Not active, CHS 0/0/2, type EE, CHS "beyond", from sector 1, as long as 32 bits can say.
  sector.set([0x00, 0x00, 0x02, 0x00, 0xee, 0xff, 0xff, 0xff], mbrTableOffset);
  sector.writeUInt32LE(1, mbrTableOffset + 8);
  sector.writeUInt32LE(Math.min(diskSectors - 1, 0xffff_ffff), mbrTableOffset + 12);
  sector.writeUInt16LE(0xaa55, 510);
  return sector;
}

function renderEntries(table: PartitionTable): Buffer {
  const usable = usableSectors(table.diskSectors);
  const entries = Buffer.alloc(entryCount * entryBytes);
  for (const partition of table.partitions) {
    const endSector = partition.firstSector + partition.sectors;
    if (partition.firstSector < usable.first || endSector > usable.end)
      throw new RangeError(`Partition ${partition.number} does not lie within the disk.`);
    const offset = (partition.number - 1) * entryBytes;
    entries.set(guidBytes(partition.type), offset);
    entries.set(guidBytes(partition.guid), offset + 16);
    entries.writeBigUInt64LE(BigInt(partition.firstSector), offset + 32);
    entries.writeBigUInt64LE(BigInt(endSector - 1), offset + 40);
    entries.write(partition.name.slice(0, 36), offset + 56, 'utf16le');
  }
  return entries;
}

function header(
  table: PartitionTable,
  entries: Buffer,
  place: { readonly own: number; readonly other: number; readonly entriesAt: number },
): Buffer {
  const usable = usableSectors(table.diskSectors);
  const sector = Buffer.alloc(sectorBytes);
  sector.write('EFI PART', 0, 'latin1');
  sector.writeUInt32LE(0x0001_0000, 8);
  sector.writeUInt32LE(headerBytes, 12);
  sector.writeBigUInt64LE(BigInt(place.own), 24);
  sector.writeBigUInt64LE(BigInt(place.other), 32);
  sector.writeBigUInt64LE(BigInt(usable.first), 40);
  sector.writeBigUInt64LE(BigInt(usable.end - 1), 48);
  sector.set(guidBytes(table.diskGuid), 56);
  sector.writeBigUInt64LE(BigInt(place.entriesAt), 72);
  sector.writeUInt32LE(entryCount, 80);
  sector.writeUInt32LE(entryBytes, 84);
  sector.writeUInt32LE(crc32(entries), 88);
  // Over the header with its own field at zero.
  sector.writeUInt32LE(crc32(sector.subarray(0, headerBytes)), 16);
  return sector;
}

/** Mixed-endian, as GPT stores them: the first three groups little-endian, the others as written. */
function guidBytes(guid: string): Buffer {
  const plain = Buffer.from(guid.replaceAll('-', ''), 'hex');
  if (plain.length !== 16) throw new RangeError(`${guid} is not a GUID.`);
  plain.subarray(0, 4).reverse();
  plain.subarray(4, 6).reverse();
  plain.subarray(6, 8).reverse();
  return plain;
}
