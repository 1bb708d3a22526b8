/**
 * Image files in plain directories, `<stateDirectory>/images/<key>`, built beside it as `.staging-<id>` and renamed into
 * place; who comes second to a key finds it taken by the kernel's word. Guests' users may open the files of an image that
 * they are told of, and list nothing (directories 0711, files 0644).
 */
import { constants } from 'node:fs';
import { chmod, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { WirtError } from '@wirt/api';
import type { ImageFiles } from '@wirt/core';
import { syncDirectory } from '../../platform/atomic-file.ts';
import { fsError, hasErrno } from '../../platform/fs-error.ts';

const STAGING_PREFIX = '.staging-';
const DIRECTORY_MODE = 0o711;
const FILE_MODE = 0o644;

export function createImageFiles({ stateDirectory }: { readonly stateDirectory: string }): ImageFiles {
  const root = join(stateDirectory, 'images');
  const published = (key: string): string => join(root, checkName(key));
  const staged = (id: string): string => join(root, STAGING_PREFIX + checkName(id));

  return {
    async stage(id) {
      const path = staged(id);
      try {
        await makeDirectory(root);
        await rm(path, { recursive: true, force: true });
        // Nobody else looks in until it is published.
        await mkdir(path, { mode: 0o700 });
        return path;
      } catch (error) {
        throw fsError(error, 'make the directory', path);
      }
    },

    async publish(id, key) {
      const path = published(key);
      try {
        await settleTree(staged(id));
        await renameIfFree(staged(id), path);
        await syncDirectory(root);
      } catch (error) {
        throw fsError(error, 'publish the image files in', path);
      }
    },

    path: (key, file) => join(published(key), checkName(file)),

    async remove(key) {
      try {
        await rm(staged(key), { recursive: true, force: true });
        await rm(published(key), { recursive: true, force: true });
        await syncDirectory(root);
      } catch (error) {
        // No image was ever made.
        if (hasErrno(error, 'ENOENT')) return;
        throw fsError(error, 'remove the image files in', published(key));
      }
    },

    async list() {
      try {
        const names = await readdir(root);
        return [...new Set(names.map((name) => name.replace(STAGING_PREFIX, '')))].sort();
      } catch (error) {
        if (hasErrno(error, 'ENOENT')) return [];
        throw fsError(error, 'list', root);
      }
    },
  };
}

/** A directory that has files is never renamed onto (rename(2)): of two that come at once, one finds the other's and goes. */
async function renameIfFree(staged: string, path: string): Promise<void> {
  try {
    await rename(staged, path);
  } catch (error) {
    if (!hasErrno(error, 'ENOTEMPTY', 'EEXIST')) throw error;
    await rm(staged, { recursive: true, force: true });
  }
}

/** Ids and file names are ours, but a name that leads elsewhere must never become a path. */
function checkName(name: string): string {
  if (/^[A-Za-z0-9_][A-Za-z0-9._-]{0,254}$/.test(name)) return name;
  throw new WirtError('internal', `The name ${JSON.stringify(name)} cannot be a file of an image.`);
}

/** Makes `path`, and its parents, and its name durable. */
async function makeDirectory(path: string): Promise<void> {
  const first = await mkdir(path, { recursive: true, mode: DIRECTORY_MODE });
  if (first === undefined) return;
  await chmod(path, DIRECTORY_MODE);
  await syncDirectory(join(path, '..'));
}

/** Puts every file and name below `path` on disk, with the modes of a published image. */
async function settleTree(path: string): Promise<void> {
  for (const entry of await readdir(path, { withFileTypes: true })) {
    const inside = join(path, entry.name);
    if (entry.isDirectory()) await settleTree(inside);
    else if (entry.isFile()) await settleFile(inside);
    else
      throw new WirtError(
        'internal',
        `The image has a file that is neither plain nor a directory: ${inside}.`,
      );
  }
  await chmod(path, DIRECTORY_MODE);
  await syncDirectory(path);
}

async function settleFile(path: string): Promise<void> {
  await using file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  await file.chmod(FILE_MODE);
  await file.sync();
}
