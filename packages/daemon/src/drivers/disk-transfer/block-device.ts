/**
 * Block devices of the host as disks to be imported: logical volumes, partitions, whole disks. Read raw and only read; refused while the
 * host uses one (mounted, in a volume group, swap) or a process writes it. Links within /dev are followed: that is how its names are made.
 */
import { constants } from 'node:fs';
import { lstat, open, readdir, readFile, readlink, realpath, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fsError, hasErrno } from '../../platform/fs-error.ts';
import { runToSuccess, SubprocessError } from '../../platform/subprocess.ts';
import { refused } from './failure.ts';
import { type OpenedFile, openedFile, openRegularFile } from './regular-file.ts';

const FOLDER = '/dev/';
const SECTOR = 512;
const MKNOD_MS = 10_000;

const inUseHint = (path: string): string =>
  `See by whom: lsblk ${path}; fuser -v ${path}. Shut the machine down that has it, or unmount it; a snapshot of a logical volume can be read meanwhile: lvcreate -s`;

/** A plain file, or, below /dev, a block device. Throws as `openRegularFile`, and `disk.refused` (in-use) for devices. */
export async function openFileOrDevice(path: string): Promise<OpenedFile> {
  const node = path.startsWith(FOLDER) ? await deviceNode(path) : undefined;
  return node === undefined ? await openRegularFile(path) : await openDevice(node, path);
}

/** The node that a name means; undefined when that is no block device. */
async function deviceNode(path: string): Promise<string | undefined> {
  try {
    const node = await realpath(path);
    return node.startsWith(FOLDER) && (await lstat(node)).isBlockDevice() ? node : undefined;
  } catch {
    // What it is then is for the opener of files to say.
    return undefined;
  }
}

async function openDevice(node: string, path: string): Promise<OpenedFile> {
  try {
    // O_EXCL: the kernel refuses it while the host itself uses the device (open(2)), and the host cannot begin to meanwhile.
    const flags = constants.O_RDONLY | constants.O_EXCL | constants.O_NOFOLLOW | constants.O_NONBLOCK;
    const handle = await open(node, flags);
    try {
      const found = await handle.stat();
      if (!found.isBlockDevice()) throw refused(path, 'not-a-file', 'it is not a block device any more');
      const { rdev } = found;
      const writer = await writerOf(rdev);
      if (writer !== undefined)
        throw refused(path, 'in-use', `${writer} has it open for writing`, inUseHint(path));
      return { ...openedFile(handle, path, await sizeOf(rdev)), device: numbersOf(rdev) };
    } catch (error) {
      await handle.close();
      throw error;
    }
  } catch (error) {
    if (hasErrno(error, 'EBUSY'))
      throw refused(path, 'in-use', 'it is mounted, or in use by the host otherwise', inUseHint(path));
    if (hasErrno(error, 'ENOMEDIUM', 'ENXIO', 'ENOENT'))
      throw refused(path, 'not-a-file', 'there is nothing in it');
    throw fsError(error, 'open', path);
  }
}

/** A device has no size of its own in stat(2). */
async function sizeOf(rdev: number): Promise<number> {
  const { major, minor } = numbersOf(rdev);
  return Number(await readFile(`/sys/dev/block/${major}:${minor}/size`, 'latin1')) * SECTOR;
}

/** As glibc's gnu_dev_major and gnu_dev_minor take them apart. */
function numbersOf(rdev: number): { readonly major: number; readonly minor: number } {
  const whole = BigInt(rdev);
  const major = ((whole >> 8n) & 0xfffn) | ((whole >> 32n) & ~0xfffn);
  const minor = (whole & 0xffn) | ((whole >> 12n) & ~0xffn);
  return { major: Number(major), minor: Number(minor) };
}

/**
 * A process that may write the device, by whatever node it has opened it: managers of machines make their own. Seen of all processes
 * by root, else of its own user's. What the kernel writes by itself (Xen's blkback) is not seen.
 */
async function writerOf(rdev: number): Promise<string | undefined> {
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    const folder = `/proc/${pid}`;
    for (const fd of await readdir(`${folder}/fd`).catch(() => []))
      if (await isWriter(folder, fd, rdev)) {
        const name = await readFile(`${folder}/comm`, 'utf8').catch(() => '');
        return `process ${pid} (${name.trim()})`;
      }
  }
  return undefined;
}

async function isWriter(folder: string, fd: string, rdev: number): Promise<boolean> {
  try {
    // Most are files, pipes and sockets, and need not be asked more.
    if (!(await readlink(`${folder}/fd/${fd}`)).startsWith('/')) return false;
    const opened = await stat(`${folder}/fd/${fd}`);
    if (!opened.isBlockDevice() || opened.rdev !== rdev) return false;
    const flags = /^flags:\s*([0-7]+)/m.exec(await readFile(`${folder}/fdinfo/${fd}`, 'latin1'))?.[1] ?? '0';
    return (Number.parseInt(flags, 8) & (constants.O_WRONLY | constants.O_RDWR)) !== 0;
  } catch {
    return false;
  }
}

/**
 * The same device by a node of our own, which can be given to one user as /dev's cannot; undefined where no node can be made
 * or opened (no right, a file system without devices).
 */
export async function ownNode(
  { device, path, sizeBytes }: OpenedFile,
  node: string,
  give: (node: string) => Promise<void>,
): Promise<OpenedFile | undefined> {
  if (device === undefined) return undefined;
  try {
    const { major, minor } = device;
    const words = ['-m', '0600', node, 'b', String(major), String(minor)];
    await runToSuccess('mknod', words, { timeoutMs: MKNOD_MS });
    await give(node);
    const handle = await open(node, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    return { ...openedFile(handle, path, sizeBytes), device };
  } catch (error) {
    await rm(node, { force: true });
    if (error instanceof SubprocessError || hasErrno(error, 'EACCES', 'EPERM')) return undefined;
    throw error;
  }
}

export const nodeName = (folder: string, at: number): string => join(folder, `device-${at}`);
