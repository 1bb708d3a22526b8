/**
 * What a confined qemu-img opens of a disk that was looked into: the very descriptors, inherited, each by `/proc/self/fd/N`, with the
 * format said and nothing followed that a header names. Opening one so asks for the file's permissions once more; a
 * file that the confined user may not read is copied for it (a reflink where the file system has them), and the copy is opened; a device
 * gets a node of its own.
 */
import { randomBytes } from 'node:crypto';
import { chmod, type FileHandle, mkdir, open, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { CopyWork, Identity } from '@wirt/core';
import { fsError } from '../../platform/fs-error.ts';
import { nodeName, ownNode } from './block-device.ts';
import { copyFor } from './file-copy.ts';
import type { DiskFiles } from './opened-disk.ts';
import { closeAll, type OpenedFile } from './regular-file.ts';
import { letRead } from './staging.ts';

const SECTOR = 512;

/** The child's first inherited descriptor. */
export const FIRST_DESCRIPTOR = 3;

/** A node as for `blockdev-add`, and the descriptors that its paths mean, from `FIRST_DESCRIPTOR` on. */
export interface ConfinedSource extends AsyncDisposable {
  readonly blockdev: Readonly<Record<string, unknown>>;
  readonly descriptors: readonly number[];
}

export const inheritedPath = (index: number): string => `/proc/self/fd/${FIRST_DESCRIPTOR + index}`;

/** `onCopied` is called with all bytes that were copied, of those that must be. Throws `host.storage_full`. */
export async function confineSource(
  disk: DiskFiles,
  work: CopyWork,
  onCopied: (doneBytes: number, totalBytes: number) => void,
): Promise<ConfinedSource> {
  const files = [disk.file, ...disk.extents.values()];
  const { identity } = work.confinement;
  const closed = new Set<OpenedFile>();
  for (const file of files) if (await mustBeCopied(file, disk, identity)) closed.add(file);
  // Devices are seldom copied; where they are, it shows as they are.
  const copied = [...closed].filter(({ device }) => device === undefined);
  const totalBytes = copied.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const copies: OpenedFile[] = [];
  let doneBytes = 0;
  try {
    const readable: OpenedFile[] = [];
    for (const file of files) {
      if (!closed.has(file)) {
        readable.push(file);
        continue;
      }
      const own = await ownNode(file, nodeName(await disk.folder(), copies.length), (node) =>
        letRead(node, identity),
      );
      if (own !== undefined) {
        copies.push(own);
        readable.push(own);
        continue;
      }
      const path = join(await disk.folder(), `copy-${copies.length}`);
      const copy = await copyFor(file, path, work, (done) => onCopied(doneBytes + done, totalBytes));
      copies.push(copy);
      readable.push(copy);
      doneBytes += file.sizeBytes;
    }
    return {
      blockdev: await nodeOf(disk, readable, identity),
      descriptors: readable.map(({ handle }) => handle.fd),
      [Symbol.asyncDispose]: () => closeAll(copies),
    };
  } catch (error) {
    await closeAll(copies);
    throw error;
  }
}

async function nodeOf(
  disk: DiskFiles,
  readable: readonly OpenedFile[],
  identity: Identity,
): Promise<ConfinedSource['blockdev']> {
  const driver = disk.format === 'iso' ? 'raw' : disk.format;
  const several = disk.extents.size > 0;
  const filename = several ? await linkExtents(disk, readable, identity) : inheritedPath(0);
  const place = { driver: readable[0]?.device === undefined ? 'file' : 'host_device', filename };
  const { offset, sizeBytes } = readable[0] ?? disk.file;
  // The descriptor of extents was written for it, from its start.
  const isWhole = several || offset === undefined;
  // QEMU knows parts in whole sectors; a package fills its last one with zeros.
  const size = Math.ceil(sizeBytes / SECTOR) * SECTOR;
  return {
    driver,
    file: isWhole ? place : { driver: 'raw', offset, size, file: place },
    ...(driver === 'qcow2' ? { backing: null } : {}),
    // Else the geometry counts, which can be smaller, and the end of the disk is lost.
    ...(driver === 'vpc' ? { force_size_calc: 'current_size' } : {}),
  };
}

/** QEMU looks for extents beside the descriptor: there they are links to what it inherits, under the names it looks for. */
async function linkExtents(
  disk: DiskFiles,
  readable: readonly OpenedFile[],
  identity: Identity,
): Promise<string> {
  const folder = join(await disk.folder(), `vmdk-${randomBytes(4).toString('hex')}`);
  await mkdir(folder, { mode: 0o711 });
  await chmod(folder, 0o711);
  // No extent has a name with two dots.
  const descriptor = join(folder, '..vmdk');
  await using target = await open(descriptor, 'w', 0o600);
  await target.writeFile(await disk.file.reader.read(0, disk.file.sizeBytes));
  await letRead(descriptor, identity);
  for (const [at, name] of [...disk.extents.keys()].entries())
    if (readable[at + 1] !== undefined)
      await symlink(inheritedPath(at + 1), join(folder, name)).catch((error: unknown) => {
        throw fsError(error, 'link', join(folder, name));
      });
  return descriptor;
}

/** Whether it is read where it is, and no copy is needed. */
export async function isReadableBy(disk: DiskFiles, identity: Identity): Promise<boolean> {
  for (const file of [disk.file, ...disk.extents.values()])
    if (await mustBeCopied(file, disk, identity)) return false;
  return true;
}

/** Extents are opened by QEMU as files, and so cannot be parts of one. */
async function mustBeCopied(file: OpenedFile, disk: DiskFiles, identity: Identity): Promise<boolean> {
  return (file !== disk.file && file.offset !== undefined) || !(await mayRead(file.handle, identity));
}

/** By the bits of its mode (path_resolution(7)); an access list that says otherwise makes qemu-img fail, and no more. */
async function mayRead(handle: FileHandle, { own, uid, gid, groups }: Identity): Promise<boolean> {
  if (!own) return true;
  const { mode, uid: owner, gid: group } = await handle.stat();
  if (owner === uid) return (mode & 0o400) !== 0;
  if (group === gid || groups.includes(group)) return (mode & 0o040) !== 0;
  return (mode & 0o004) !== 0;
}
