/**
 * Block devices of the host as disks to be imported: logical volumes, partitions, whole disks. Read raw and only read; refused while the
 * host uses one (mounted, in a volume group, swap) or a process writes it. Links within /dev are followed, that is how its names are made, but
 * none in a folder where others may make them, such as /dev/shm.
 */
import { constants } from 'node:fs';
import { lstat, open, readFile, readlink, rm } from 'node:fs/promises';
import { dirname, join, normalize, resolve } from 'node:path';
import { deviceNumbersOf, devicePair } from '../../platform/device-number.ts';
import { fsError, hasErrno } from '../../platform/fs-error.ts';
import { runToSuccess, SubprocessError } from '../../platform/subprocess.ts';
import { inUseHint, requireNoWriter } from './device-use.ts';
import { refused } from './failure.ts';
import { type OpenedFile, openedFile, openRegularFile } from './regular-file.ts';

const ROOT = '/dev';
const FOLDER = `${ROOT}/`;
const SECTOR = 512;
const MKNOD_MS = 10_000;
const MOST_LINKS = 40;
const WRITABLE_BY_OTHERS = 0o022;

/** A plain file, or, below /dev, a block device. Throws as `openRegularFile`, and `disk.refused` (in-use) for devices. */
export async function openFileOrDevice(path: string): Promise<OpenedFile> {
  const node = path.startsWith(FOLDER) ? await deviceNode(path) : undefined;
  return node === undefined ? await openRegularFile(path) : await openDevice(node, path);
}

/** The node that a name means; undefined when that is no block device. */
async function deviceNode(path: string): Promise<string | undefined> {
  try {
    const node = await followed(path);
    return node !== undefined && (await lstat(node)).isBlockDevice() ? node : undefined;
  } catch {
    // What it is then is for the opener of files to say.
    return undefined;
  }
}

/** Where a name below /dev leads; undefined when that is out of it, or by a folder in which others may put links. */
async function followed(path: string, links = 0): Promise<string | undefined> {
  const parts = normalize(path).slice(FOLDER.length).split('/');
  let at = ROOT;
  for (const [index, part] of parts.entries()) {
    if (!(await isSystems(at))) return undefined;
    at = join(at, part);
    if (!(await lstat(at)).isSymbolicLink()) continue;
    const next = resolve(dirname(at), await readlink(at), ...parts.slice(index + 1));
    return next.startsWith(FOLDER) && links < MOST_LINKS ? await followed(next, links + 1) : undefined;
  }
  return at;
}

async function isSystems(folder: string): Promise<boolean> {
  const { mode, uid } = await lstat(folder);
  return uid === 0 && (mode & WRITABLE_BY_OTHERS) === 0;
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
      const device = { ...deviceNumbersOf(rdev), node };
      await requireNoWriter(path, device);
      return { ...openedFile(handle, path, await sizeOf(rdev)), device };
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
  const pair = devicePair(deviceNumbersOf(rdev));
  return Number(await readFile(`/sys/dev/block/${pair}/size`, 'latin1')) * SECTOR;
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
