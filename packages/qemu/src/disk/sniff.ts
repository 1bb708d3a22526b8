/**
 * What a file is, by its own marks. A disk image that has none of them is `raw`. Reads a few kilobytes at three places.
 * Names of disk formats are QEMU's: `vpc` is VHD, `qcow` is the first version of qcow2.
 */

import type { DiskReader } from './open-disk.ts';

export type DiskFormat =
  | 'qcow2'
  | 'vmdk'
  | 'vpc'
  | 'vhdx'
  | 'vdi'
  | 'raw'
  | 'iso'
  | 'luks'
  | 'qcow'
  | 'qed'
  | 'parallels'
  | 'bochs'
  | 'cloop'
  | 'dmg'
  | 'gzip'
  | 'bzip2'
  | 'xz'
  | 'zstd'
  | 'lz4'
  | 'zip'
  | '7z'
  | 'tar';

type Mark = readonly [format: DiskFormat, at: number, bytes: string];

const HEAD_BYTES = 4096;
const END_BYTES = 512;
/** The first volume descriptor of a CD image is in its sector 16. */
const ISO_AT = 32768;

/** In this order; each byte is one character. */
const HEAD_MARKS: readonly Mark[] = [
  ['qcow', 0, 'QFI\xfb\0\0\0\x01'],
  ['qcow2', 0, 'QFI\xfb'],
  ['vmdk', 0, 'KDMV'],
  ['vmdk', 0, 'COWD'],
  ['vmdk', 0, '\xbe\xba\xfe\xca\0\0\0\0'], // seSparse
  ['vmdk', 0, '# Disk DescriptorFile'],
  ['vpc', 0, 'conectix'],
  ['vhdx', 0, 'vhdxfile'],
  ['vdi', 0x40, '\x7f\x10\xda\xbe'],
  ['luks', 0, 'LUKS\xba\xbe'],
  ['qed', 0, 'QED\0'],
  ['parallels', 0, 'WithoutFreeSpace'],
  ['parallels', 0, 'WithouFreSpacExt'],
  ['bochs', 0, 'Bochs Virtual HD Image'],
  ['cloop', 0, '#!/bin/sh\n#V2.0 Format'],
  ['gzip', 0, '\x1f\x8b\x08'],
  ['bzip2', 0, 'BZh'],
  ['xz', 0, '\xfd7zXZ\0'],
  ['zstd', 0, '\x28\xb5\x2f\xfd'],
  ['lz4', 0, '\x04\x22\x4d\x18'],
  ['zip', 0, 'PK\x03\x04'],
  ['7z', 0, '7z\xbc\xaf\x27\x1c'],
  ['tar', 257, 'ustar'],
];

const END_MARKS: readonly Mark[] = [
  ['vpc', 0, 'conectix'], // a fixed VHD has no header
  ['dmg', 0, 'koly'],
];

/** Errors are the reader's. */
export async function sniffDisk(reader: DiskReader): Promise<DiskFormat> {
  const { sizeBytes } = reader;
  const head = await part(reader, 0, HEAD_BYTES);
  const byHead = match(HEAD_MARKS, head);
  if (byHead) return byHead;
  if (isVmdkText(head)) return 'vmdk';
  const byEnd = match(END_MARKS, await part(reader, Math.max(0, sizeBytes - END_BYTES), END_BYTES));
  if (byEnd) return byEnd;
  const volume = await part(reader, ISO_AT, 8);
  return volume.startsWith('CD001', 1) || volume.startsWith('BEA01', 1) ? 'iso' : 'raw';
}

async function part(reader: DiskReader, offset: number, length: number): Promise<string> {
  const fits = Math.min(length, reader.sizeBytes - offset);
  if (fits <= 0) return '';
  return String.fromCharCode(...(await reader.read(offset, fits)).subarray(0, fits));
}

const match = (marks: readonly Mark[], text: string): DiskFormat | undefined =>
  marks.find(([, at, bytes]) => text.startsWith(bytes, at))?.[0];

/** QEMU also takes for vmdk what begins with comments, and blanks, before its version. */
const isVmdkText = (head: string): boolean => /^(?:#[^\n]*\n| +\r?\n)*version=[123]\r?\n/.test(head);
