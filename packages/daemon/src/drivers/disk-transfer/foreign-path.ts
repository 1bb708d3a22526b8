/**
 * A libvirt or Xen description names disks by absolute paths of its host. A description that somebody else wrote could name any file of
 * this one, and a guest would read it as its disk. So what lies elsewhere than beside the description must look like a disk:
 * have the header of a disk format, or, raw, the marks of a partition table, a file system or a volume group; whole sectors;
 * at least 1 MiB. Files of Wirt's own are never taken this way. Blank raw disks are refused too: they can be named by hand.
 */
import { readlink, realpath } from 'node:fs/promises';
import type { DiskFormat } from '@wirt/qemu';
import { refused } from './failure.ts';
import type { OpenedFile } from './regular-file.ts';

const MIN_RAW_BYTES = 1024 ** 2;
const SECTOR = 512;

type Mark = readonly [at: number, bytes: string];

const marks: readonly Mark[] = [
  [510, '\x55\xaa'], // MBR, and what protects a GPT
  [1080, '\x53\xef'], // ext2, ext3, ext4
  [0, 'XFSB'],
  [0x10040, '_BHRfS_M'], // btrfs
  [512, 'LABELONE'], // LVM
  [4086, 'SWAPSPACE2'],
  [0x8001, 'CD001'], // ISO 9660
  [3, 'NTFS    '],
];

/** Paths that descriptions of machines have named: one may be named by several that are open at once. */
export class ForeignPaths {
  readonly #counts = new Map<string, number>();

  has(path: string): boolean {
    return this.#counts.has(path);
  }

  add(path: string): void {
    this.#counts.set(path, (this.#counts.get(path) ?? 0) + 1);
  }

  delete(path: string): void {
    const left = (this.#counts.get(path) ?? 0) - 1;
    if (left > 0) this.#counts.set(path, left);
    else this.#counts.delete(path);
  }
}

/** `named` is the file of that path, `file` the same or what was unpacked of it. Throws `disk.refused`. */
export async function requireLikeDisk(
  named: OpenedFile,
  file: OpenedFile,
  format: DiskFormat,
  ownDirectories: readonly string[],
): Promise<void> {
  // The kernel's name of what is open: links on the way are no matter.
  const place = await readlink(`/proc/self/fd/${named.handle.fd}`);
  for (const directory of ownDirectories) {
    // A pool that is not there has no file that could be open.
    const own = await realpath(directory).catch(() => directory);
    if (place === own || place.startsWith(`${own}/`))
      throw refused(named.path, 'wirts-own', 'the description names a file that is Wirt’s own');
  }
  if (format !== 'raw' || (await looksLikeDisk(file))) return;
  throw refused(
    named.path,
    'not-a-disk',
    'the description calls it a disk, and it has no partition table or file system',
    'If it is one, put it beside the description, or import it by itself: wirt image import FILE --name NAME --format raw',
  );
}

/** Whether the bytes of a file have a mark of what is on disks. Blank disks and those without a file system have none. */
export async function looksLikeDisk({ reader, sizeBytes }: OpenedFile): Promise<boolean> {
  if (sizeBytes < MIN_RAW_BYTES || sizeBytes % SECTOR !== 0) return false;
  for (const [at, bytes] of marks) {
    const found = Buffer.from(await reader.read(at, bytes.length)).toString('latin1');
    if (found === bytes) return true;
  }
  return false;
}
