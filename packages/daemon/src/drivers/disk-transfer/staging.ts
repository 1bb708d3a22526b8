/**
 * Where foreign files are unpacked: `<stateDirectory>/transfers/<id>/`. Guests' users may pass through (0711) and list nothing.
 * All that belongs to an id goes with it.
 */
import { randomBytes } from 'node:crypto';
import { chmod, chown, mkdir, readdir, rm, rmdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { WirtError } from '@wirt/api';
import type { Identity } from '@wirt/core';
import { fsError, hasErrno } from '../../platform/fs-error.ts';

const DIRECTORY_MODE = 0o711;
/** What is not an id's begins with this. */
const OWN_PREFIX = '.';

export interface StagingFolder extends AsyncDisposable {
  readonly path: string;
}

export interface Staging {
  /** A new folder for an id, removed with all in it by dispose. */
  folder(id: string): Promise<StagingFolder>;
  /** A folder of nobody, as `folder`; what a daemon that died left of them is removed before the first. */
  scratch(): Promise<StagingFolder>;
  stagePath(id: string, name: string): Promise<string>;
  clean(id: string, options?: { readonly olderThanMs?: number }): Promise<void>;
  list(): Promise<string[]>;
}

export function createStaging(root: string): Staging {
  const scratchRoot = join(root, `${OWN_PREFIX}scratch`);
  let emptied: Promise<void> | undefined;

  async function make(parent: string): Promise<StagingFolder> {
    const path = join(parent, `part-${randomBytes(6).toString('hex')}`);
    await makeFolder(path);
    return {
      path,
      async [Symbol.asyncDispose]() {
        await removeTree(path);
        // The last one out; others of the same id may still be there.
        await rmdir(parent).catch(() => {});
      },
    };
  }
  return {
    folder: (id) => make(join(root, checkName(id))),
    async scratch() {
      emptied ??= removeTree(scratchRoot);
      await emptied;
      return await make(scratchRoot);
    },
    async stagePath(id, name) {
      const folder = join(root, checkName(id));
      await makeFolder(folder);
      return join(folder, checkName(name));
    },
    async clean(id, { olderThanMs } = {}) {
      const folder = join(root, checkName(id));
      if (olderThanMs === undefined || Date.now() - (await lastWrittenMs(folder)) > olderThanMs)
        await removeTree(folder);
    },
    async list() {
      const names = await readdir(root).catch((error: unknown) => {
        if (hasErrno(error, 'ENOENT')) return [];
        throw fsError(error, 'list', root);
      });
      return names.filter((name) => !name.startsWith(OWN_PREFIX)).sort();
    },
  };
}

/** Lets the work's user read a file of ours, and nobody else; it stays ours. */
export async function letRead(path: string, { own, gid }: Identity): Promise<void> {
  if (own) await chown(path, process.geteuid?.() ?? 0, gid);
  await chmod(path, 0o640);
}

/** When a file in the folder was last written; never, when there is none that has something in it. */
async function lastWrittenMs(folder: string): Promise<number> {
  const names = await readdir(folder).catch(() => []);
  const files = await Promise.all(names.map((name) => stat(join(folder, name)).catch(() => undefined)));
  return Math.max(0, ...files.map((file) => (file === undefined || file.size === 0 ? 0 : file.mtimeMs)));
}

async function makeFolder(path: string): Promise<void> {
  try {
    const first = await mkdir(path, { recursive: true, mode: DIRECTORY_MODE });
    if (first === undefined) return;
    // The mode given to mkdir is narrowed by the umask.
    for (let made = path; made.length >= first.length; made = dirname(made))
      await chmod(made, DIRECTORY_MODE);
  } catch (error) {
    throw fsError(error, 'make the directory', path);
  }
}

async function removeTree(path: string): Promise<void> {
  try {
    await rm(path, { recursive: true, force: true });
  } catch (error) {
    throw fsError(error, 'remove', path);
  }
}

/** Ids and names are ours, but one that leads elsewhere must never become a path. */
function checkName(name: string): string {
  if (/^[A-Za-z0-9_][A-Za-z0-9._-]{0,199}$/.test(name)) return name;
  throw new WirtError('internal', `The name ${JSON.stringify(name)} cannot be staged.`);
}
