/**
 * Small valid disk files of every format, built byte by byte for tests, each with hooks to spoil it before checksums
 * are sealed; and readers over them that hold an inspection to what it promises. The contract test shows that QEMU
 * takes the unspoilt ones.
 */

import { crc32c } from './crc32c.ts';
import { type EmptyQcow2Options, emptyQcow2 } from './empty-qcow2.ts';
import { type InspectDiskOptions, inspectDisk } from './inspect.ts';
import type { DiskReader } from './open-disk.ts';
import { DiskRefused } from './refused.ts';

export const MIB = 1024 * 1024;
const SECTOR = 512;

export type Spoil = (bytes: Buffer) => void;
const sound: Spoil = () => {};

/** Reads bytes in memory, and fails on reads that a file would not get. */
export function readerOf(bytes: Uint8Array): DiskReader & { bytesRead(): number } {
  let bytesRead = 0;
  return {
    sizeBytes: bytes.length,
    bytesRead: () => bytesRead,
    async read(offset, length) {
      if (!(offset >= 0 && length > 0 && length <= MIB && offset + length <= bytes.length)) {
        throw new Error(`a read of ${length} bytes at ${offset}`);
      }
      bytesRead += length;
      return bytes.subarray(offset, offset + length);
    },
  };
}

/** `reason: message`, or `accepted`. Errors that are no refusals are thrown. */
export async function verdict(bytes: Uint8Array, options?: InspectDiskOptions): Promise<string> {
  try {
    await inspectDisk(readerOf(bytes), options);
    return 'accepted';
  } catch (error) {
    if (error instanceof DiskRefused) return `${error.reason}: ${error.message}`;
    throw error;
  }
}

export function builtQcow2(spoil = sound, options: Partial<EmptyQcow2Options> = {}): Buffer {
  const { fileSizeBytes, chunks } = emptyQcow2({ sizeBytes: MIB, clusterBits: 12, ...options });
  const bytes = Buffer.alloc(fileSizeBytes);
  for (const chunk of chunks) bytes.set(chunk.bytes, chunk.offset);
  spoil(bytes);
  return bytes;
}

export const VMDK_DESCRIPTOR = `# Disk DescriptorFile
version=1
CID=12345678
parentCID=ffffffff
createType="monolithicSparse"

# Extent description
RW 2048 SPARSE "disk.vmdk"

# The Disk Data Base
ddb.adapterType = "lsilogic"
`;

/** 1 MiB in grains of 64 KiB, the first one stored: header, descriptor, directory, table, grain. */
export function builtVmdk(spoil = sound, descriptor = VMDK_DESCRIPTOR): Buffer {
  const bytes = Buffer.alloc(256 * SECTOR);
  bytes.write('KDMV');
  bytes.writeUInt32LE(1, 4);
  bytes.writeUInt32LE(1, 8);
  bytes.writeBigUInt64LE(2048n, 12);
  bytes.writeBigUInt64LE(128n, 20);
  bytes.writeBigUInt64LE(1n, 28);
  bytes.writeBigUInt64LE(20n, 36);
  bytes.writeUInt32LE(512, 44);
  bytes.writeBigUInt64LE(21n, 56);
  bytes.writeBigUInt64LE(128n, 64);
  bytes.write('\n \r\n', 73);
  bytes.write(descriptor, SECTOR);
  bytes.writeUInt32LE(22, 21 * SECTOR);
  bytes.writeUInt32LE(128, 22 * SECTOR);
  bytes.fill('grain', 128 * SECTOR, 192 * SECTOR);
  spoil(bytes);
  return bytes;
}

/** The same with its directory told by a footer, as a stream is written. */
export function builtVmdkStream(spoil = sound): Buffer {
  const bytes = Buffer.concat([builtVmdk(), Buffer.alloc(3 * SECTOR)]);
  const at = bytes.length - 3 * SECTOR;
  bytes.writeUInt32LE(3, at + 12);
  bytes.copy(bytes, at + SECTOR, 0, SECTOR);
  bytes.writeBigUInt64LE(0xffff_ffff_ffff_ffffn, 56);
  spoil(bytes);
  return bytes;
}

export function builtVmdkText(extents: string, head = ''): Buffer {
  const lines = ['# Disk DescriptorFile', 'version=1', 'CID=12345678', 'parentCID=ffffffff'];
  const type = head.includes('createType') ? [] : ['createType="monolithicFlat"'];
  const heads = head === '' ? [] : [head];
  return Buffer.from([...lines, ...type, ...heads, '# Extent description', extents, ''].join('\n'));
}

export interface VpcSpoils {
  footer?: Spoil;
  header?: Spoil;
  all?: Spoil;
}

const VPC_BYTES = 1740 * SECTOR;

function vpcFooter(type: number, dataOffset: bigint, spoil: Spoil): Buffer {
  const footer = Buffer.alloc(SECTOR);
  footer.write('conectix');
  footer.writeUInt32BE(2, 8);
  footer.writeUInt32BE(0x10000, 12);
  footer.writeBigUInt64BE(dataOffset, 16);
  footer.write('qemu', 28);
  footer.writeBigUInt64BE(BigInt(VPC_BYTES), 40);
  footer.writeBigUInt64BE(BigInt(VPC_BYTES), 48);
  footer.writeUInt16BE(29, 56); // 29 * 4 * 15 sectors
  footer.writeUInt8(4, 58);
  footer.writeUInt8(15, 59);
  footer.writeUInt32BE(type, 60);
  spoil(footer);
  return sealSum(footer, 64);
}

function sealSum(bytes: Buffer, at: number): Buffer {
  bytes.writeUInt32BE(0, at);
  bytes.writeUInt32BE(~bytes.reduce((sum, byte) => sum + byte, 0) >>> 0, at);
  return bytes;
}

export function builtFixedVpc({ footer = sound, all = sound }: VpcSpoils = {}): Buffer {
  const bytes = Buffer.concat([Buffer.alloc(VPC_BYTES), vpcFooter(2, 0xffff_ffff_ffff_ffffn, footer)]);
  all(bytes);
  return bytes;
}

/** One block of 2 MiB, not stored: footer, header, table, footer. */
export function builtDynamicVpc({ footer = sound, header = sound, all = sound }: VpcSpoils = {}): Buffer {
  const head = Buffer.alloc(1024);
  head.write('cxsparse');
  head.writeBigUInt64BE(0xffff_ffff_ffff_ffffn, 8);
  head.writeBigUInt64BE(1536n, 16);
  head.writeUInt32BE(0x10000, 24);
  head.writeUInt32BE(1, 28);
  head.writeUInt32BE(2 * MIB, 32);
  header(head);
  const copy = vpcFooter(3, 512n, footer);
  const bytes = Buffer.concat([copy, sealSum(head, 36), Buffer.alloc(SECTOR, 0xff), copy]);
  all(bytes);
  return bytes;
}

/** Two blocks of 1 MiB, the second one stored. */
export function builtVdi(spoil = sound): Buffer {
  const bytes = Buffer.alloc(1024 + MIB);
  bytes.write('<<< a disk image >>>\n');
  bytes.writeUInt32LE(0xbeda107f, 0x40);
  bytes.writeUInt32LE(0x10001, 0x44);
  bytes.writeUInt32LE(0x180, 0x48);
  bytes.writeUInt32LE(1, 0x4c);
  bytes.writeUInt32LE(512, 0x154);
  bytes.writeUInt32LE(1024, 0x158);
  bytes.writeUInt32LE(512, 0x168);
  bytes.writeBigUInt64LE(BigInt(2 * MIB), 0x170);
  bytes.writeUInt32LE(MIB, 0x178);
  bytes.writeUInt32LE(2, 0x180);
  bytes.writeUInt32LE(1, 0x184);
  bytes.writeUInt32LE(0xffff_ffff, 512);
  bytes.writeUInt32LE(0, 516);
  spoil(bytes);
  return bytes;
}

export interface VhdxSpoils {
  /** Both headers. */
  header?: Spoil;
  regions?: Spoil;
  /** The metadata region. */
  metadata?: Spoil;
  all?: Spoil;
}

/** As they lie in the file. */
export const VHDX_ITEMS = {
  fileParameters: { guid: '3767a1ca36fa434db3b633f0aa44e76b', at: 65536, length: 8 },
  virtualDiskSize: { guid: '2442a52f1bcd7648b2115dbed83bf4b8', at: 65544, length: 8 },
  page83: { guid: 'ab12cabee6b2234593efc309e000c746', at: 65552, length: 16 },
  logicalSectorSize: { guid: '1dbf41816fa90947ba47f233a8faab5f', at: 65568, length: 4 },
  physicalSectorSize: { guid: 'c748a3cd5d4471449cc9e9885251c556', at: 65572, length: 4 },
} as const;

export const VHDX_AT = {
  header: 65536,
  regions: 196608,
  log: MIB,
  bat: 2 * MIB,
  metadata: 3 * MIB,
  data: 4 * MIB,
};

function sealCrc(bytes: Buffer): void {
  bytes.writeUInt32LE(0, 4);
  bytes.writeUInt32LE(crc32c(bytes), 4);
}

/** Two blocks of 1 MiB, the second one stored. */
export function builtVhdx(spoils: VhdxSpoils = {}): Buffer {
  const { header = sound, regions = sound, metadata = sound, all = sound } = spoils;
  const bytes = Buffer.alloc(VHDX_AT.data + MIB);
  bytes.write('vhdxfile');
  for (const copy of [0, 1]) {
    const head = bytes.subarray(VHDX_AT.header * (copy + 1)).subarray(0, 4096);
    head.write('head');
    head.writeBigUInt64LE(BigInt(7 + copy), 8);
    head.writeUInt16LE(1, 66);
    head.writeUInt32LE(MIB, 68);
    head.writeBigUInt64LE(BigInt(VHDX_AT.log), 72);
    header(head);
    sealCrc(head);
  }
  const table = bytes.subarray(VHDX_AT.regions, VHDX_AT.regions + 65536);
  table.write('regi');
  table.writeUInt32LE(2, 8);
  writeRegion(table, 16, '6677c22d23f600429d64115e9bfd4a08', VHDX_AT.bat);
  writeRegion(table, 48, '06a27c8b90479a4bb8fe575f050f886e', VHDX_AT.metadata);
  regions(table);
  sealCrc(table);
  bytes.writeUInt32LE(VHDX_AT.data + 6, VHDX_AT.bat + 8);
  writeMetadata(bytes.subarray(VHDX_AT.metadata, VHDX_AT.data));
  metadata(bytes.subarray(VHDX_AT.metadata, VHDX_AT.data));
  all(bytes);
  return bytes;
}

function writeRegion(table: Buffer, at: number, guid: string, offset: number): void {
  table.write(guid, at, 'hex');
  table.writeBigUInt64LE(BigInt(offset), at + 16);
  table.writeUInt32LE(MIB, at + 24);
  table.writeUInt32LE(1, at + 28);
}

function writeMetadata(region: Buffer): void {
  region.write('metadata');
  const items = Object.values(VHDX_ITEMS);
  region.writeUInt16LE(items.length, 10);
  for (const [index, { guid, at, length }] of items.entries()) {
    const entry = region.subarray(32 + index * 32);
    entry.write(guid, 'hex');
    entry.writeUInt32LE(at, 16);
    entry.writeUInt32LE(length, 20);
    entry.writeUInt32LE(index === 0 ? 4 : 6, 24);
  }
  region.writeUInt32LE(MIB, VHDX_ITEMS.fileParameters.at);
  region.writeBigUInt64LE(BigInt(2 * MIB), VHDX_ITEMS.virtualDiskSize.at);
  region.writeUInt32LE(512, VHDX_ITEMS.logicalSectorSize.at);
  region.writeUInt32LE(512, VHDX_ITEMS.physicalSectorSize.at);
}

/** A disc image with no files on it. */
export function builtIso(): Buffer {
  const bytes = Buffer.alloc(40 * 1024);
  bytes.write('\x01CD001\x01', 32768, 'latin1');
  return bytes;
}
