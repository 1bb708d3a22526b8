/**
 * Looks at a disk file before QEMU opens it: the header, and the tables down to the file's end. What passes is of the
 * format that was said, whole, reads no other file but the extents it lists, and has the size it tells. Content is not
 * looked at. Works on any reader, at best one of a descriptor that stays open until QEMU has it.
 */

import type { DiskFactsOf } from './facts.ts';
import { type DiskReader, type OpenDiskOptions, openDisk, roundUp } from './open-disk.ts';
import { inspectQcow2, type Qcow2Details } from './qcow2.ts';
import { DiskRefused } from './refused.ts';
import { type DiskFormat, sniffDisk } from './sniff.ts';
import { inspectVdi, type VdiDetails } from './vdi.ts';
import { inspectVhdx, type VhdxDetails } from './vhdx.ts';
import { inspectVmdk, inspectVmdkExtent, type VmdkDetails } from './vmdk.ts';
import type { VmdkExtent } from './vmdk-descriptor.ts';
import { inspectVpc, type VpcDetails } from './vpc.ts';

export type DiskFacts =
  | DiskFactsOf<'qcow2', Qcow2Details>
  | DiskFactsOf<'vmdk', VmdkDetails>
  | DiskFactsOf<'vpc', VpcDetails>
  | DiskFactsOf<'vhdx', VhdxDetails>
  | DiskFactsOf<'vdi', VdiDetails>
  | DiskFactsOf<'raw' | 'iso', Record<never, never>>;

export interface InspectDiskOptions extends OpenDiskOptions {
  /** What the file is said to be; without it, what it looks like. */
  format?: DiskFormat | undefined;
}

const SECTOR = 512;

/** Throws DiskRefused, the reader's errors, or the signal's reason. */
export async function inspectDisk(reader: DiskReader, options: InspectDiskOptions = {}): Promise<DiskFacts> {
  options.signal?.throwIfAborted();
  const found = await sniffDisk(reader);
  const { format = found } = options;
  if (found !== format) {
    const looks = found === 'raw' ? 'it has no mark of that format' : `the file is ${found}`;
    throw new DiskRefused('format-mismatch', format, looks);
  }
  return await inspectAs(format, reader, options);
}

async function inspectAs(
  format: DiskFormat,
  reader: DiskReader,
  options: OpenDiskOptions,
): Promise<DiskFacts> {
  const disk = openDisk(reader, format, options);
  switch (format) {
    case 'qcow2':
      return await inspectQcow2(disk);
    case 'vmdk':
      return await inspectVmdk(disk);
    case 'vpc':
      return await inspectVpc(disk);
    case 'vhdx':
      return await inspectVhdx(disk);
    case 'vdi':
      return await inspectVdi(disk);
    case 'raw':
    case 'iso': {
      const virtualSizeBytes = roundUp(reader.sizeBytes, SECTOR);
      disk.checkVirtualSize(virtualSizeBytes);
      return { format, virtualSizeBytes, tables: 'checked', details: {} };
    }
    case 'luks':
      throw disk.refuse('encrypted', 'it is a LUKS volume');
    case 'qcow':
    case 'qed':
    case 'parallels':
    case 'bochs':
    case 'cloop':
    case 'dmg':
      throw disk.refuse('unsupported-feature', 'disks of this format are not read');
    case 'gzip':
    case 'bzip2':
    case 'xz':
    case 'zstd':
    case 'lz4':
    case 'zip':
    case '7z':
    case 'tar':
      throw disk.refuse('unsupported-feature', 'it is an archive, the disk must be taken out of it first');
    default:
      throw new RangeError(`unknown disk format ${JSON.stringify(format satisfies never)}`);
  }
}

/**
 * Inspects one file of a VMDK disk whose descriptor named it. Throws as `inspectDisk` does.
 */
export async function inspectDiskExtent(
  reader: DiskReader,
  extent: VmdkExtent,
  options: OpenDiskOptions = {},
): Promise<void> {
  await inspectVmdkExtent(openDisk(reader, 'vmdk', options), extent);
}
