/**
 * The files of layers: made whole and durable or not at all, found again by their ids, given to a guest's process and taken
 * back. Copies nothing; what a layer holds is QEMU's.
 */
import { constants, type Dirent } from 'node:fs';
import { chmod, type FileHandle, lstat, mkdir, open, readdir, rmdir, unlink } from 'node:fs/promises';
import { type VolumeFormat, WirtError } from '@wirt/api';
import type { LayerRef, VolumePool } from '@wirt/core';
import { syncDirectory } from '../../platform/atomic-file.ts';
import { daemonAccess, type FileAccess } from '../../platform/file-access.ts';
import { hasErrno } from '../../platform/fs-error.ts';
import type { Loans } from '../../platform/lend.ts';
import { fileFailure } from './failure.ts';
import { isId, layerFormats, layerIdOf, layerPath, type PoolPaths, volumeDirectory } from './layout.ts';
import { readQcow2Header } from './qcow2-layer.ts';

/** Guests' users come to the files whose names they were told, and list nothing. */
export const DIRECTORY_MODE = 0o711;
const ATTEMPTS = 5;
const LOOKED_AT_ONCE = 64;
const BLOCK_BYTES = 512;

type NewLayer = LayerRef & { readonly format: VolumeFormat };
type Grantee = Parameters<VolumePool['grant']>[1];

/** Makes a new file for the layer, in place of an earlier one, and has it filled. Nothing is left when that fails. */
export async function makeLayer(
  paths: PoolPaths,
  ref: NewLayer,
  fill: (file: FileHandle) => Promise<void>,
): Promise<void> {
  const path = layerPath(paths, ref, ref.format);
  try {
    await using file = await openNew(paths, ref);
    if (process.geteuid?.() === 0) await setNewAccess(file);
    await fill(file);
    // At once: they then go to the disk as one.
    const directories = [volumeDirectory(paths, ref.volume), paths.volumes];
    await Promise.all([file.sync(), ...directories.map(syncDirectory)]);
  } catch (error) {
    await removeLayer(paths, ref).catch(() => undefined);
    throw fileFailure(error, 'make the layer', path);
  }
}

/** The mode given to open is narrowed by the umask; the group may be the folder's. */
async function setNewAccess(file: FileHandle): Promise<void> {
  const { uid, gid, mode } = daemonAccess();
  await file.chown(uid, gid);
  await file.chmod(mode);
}

async function openNew(paths: PoolPaths, ref: NewLayer): Promise<FileHandle> {
  const directory = volumeDirectory(paths, ref.volume);
  const path = layerPath(paths, ref, ref.format);
  const { O_RDWR, O_CREAT, O_EXCL, O_NOFOLLOW } = constants;
  for (let attempt = 1; ; attempt += 1) {
    try {
      const isNewVolume = await makeFolder(directory);
      if (!isNewVolume) await removeFiles(paths, ref);
      return await open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
    } catch (error) {
      // The folder has gone with the last layer of its volume, removed at the same time.
      if (!hasErrno(error, 'ENOENT') || attempt >= ATTEMPTS) throw error;
    }
  }
}

/** False when it is there. */
async function makeFolder(directory: string): Promise<boolean> {
  try {
    await mkdir(directory, { mode: DIRECTORY_MODE });
  } catch (error) {
    if (hasErrno(error, 'EEXIST')) return false;
    throw error;
  }
  // The mode given to mkdir is narrowed by the umask.
  await chmod(directory, DIRECTORY_MODE);
  return true;
}

/** Opens a layer that is there, and nothing that a link leads to. */
export async function withLayer<T>(
  path: string,
  flags: number,
  work: (file: FileHandle) => Promise<T>,
): Promise<T> {
  await using file = await open(path, flags | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  return await work(file);
}

export async function removeLayer(paths: PoolPaths, ref: LayerRef): Promise<void> {
  const directory = volumeDirectory(paths, ref.volume);
  try {
    await removeFiles(paths, ref);
    await rmdir(directory);
  } catch (error) {
    if (!hasErrno(error, 'ENOENT', 'ENOTEMPTY', 'EEXIST'))
      throw fileFailure(error, `remove layer ${ref.layer} from`, directory);
  }
}

async function removeFiles(paths: PoolPaths, ref: LayerRef): Promise<void> {
  for (const format of layerFormats) {
    try {
      await unlink(layerPath(paths, ref, format));
    } catch (error) {
      if (!hasErrno(error, 'ENOENT')) throw error;
    }
  }
}

/** What a guest has left in a header must not make another's QEMU open more than the layer: that is refused before. */
export async function grantLayer(paths: PoolPaths, ref: LayerRef, to: Grantee, loans: Loans): Promise<void> {
  for (const format of layerFormats) {
    const path = layerPath(paths, ref, format);
    try {
      return await withLayer(path, constants.O_RDONLY, async (file) => {
        if (to !== undefined && format === 'qcow2') await readQcow2Header(file, path);
        await loans.give(file, path, accessFor(to));
      });
    } catch (error) {
      if (!hasErrno(error, 'ENOENT')) throw fileFailure(error, 'change who may open', path);
    }
  }
  if (to === undefined) return;
  throw new WirtError('volume.failed', `Volume ${ref.volume} has no layer ${ref.layer} to be opened.`, {
    hint: 'Its file is gone from the pool. Restore it from a copy, or remove the volume.',
    details: { ...ref },
  });
}

/** By the guest's own group: an owner could change the mode, and list others. */
function accessFor(to: Grantee): FileAccess {
  if (to === undefined) return daemonAccess();
  if (to === 'shared') return daemonAccess(0o444);
  const { gid, own } = to.identity;
  if (!own) return daemonAccess(to.write ? 0o600 : 0o400);
  return { ...daemonAccess(to.write ? 0o660 : 0o440), gid };
}

/** Files of other names are nobody's and are left alone. */
export async function listLayers({ volumes }: PoolPaths): Promise<LayerRef[]> {
  const found = new Map<string, LayerRef>();
  for (const directory of await entriesOf(volumes)) {
    if (!directory.isDirectory() || !isId(directory.name)) continue;
    for (const file of await entriesOf(`${volumes}/${directory.name}`)) {
      const layer = layerIdOf(file.name);
      if (layer !== undefined) found.set(`${directory.name}/${layer}`, { volume: directory.name, layer });
    }
  }
  return [...found.values()];
}

async function entriesOf(directory: string): Promise<Dirent[]> {
  try {
    return await readdir(directory, { withFileTypes: true });
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return [];
    throw fileFailure(error, 'list', directory);
  }
}

export async function allocatedBytes(paths: PoolPaths, refs: readonly LayerRef[]): Promise<number> {
  let sum = 0;
  for (let at = 0; at < refs.length; at += LOOKED_AT_ONCE) {
    const sizes = await Promise.all(
      refs.slice(at, at + LOOKED_AT_ONCE).map((ref) => allocatedOf(paths, ref)),
    );
    for (const size of sizes) sum += size;
  }
  return sum;
}

async function allocatedOf(paths: PoolPaths, ref: LayerRef): Promise<number> {
  for (const format of layerFormats) {
    const path = layerPath(paths, ref, format);
    try {
      return (await lstat(path)).blocks * BLOCK_BYTES;
    } catch (error) {
      if (!hasErrno(error, 'ENOENT')) throw fileFailure(error, 'look at', path);
    }
  }
  return 0;
}
