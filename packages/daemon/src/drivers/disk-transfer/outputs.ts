/**
 * Files and folders of an export, made outside. Only new ones are written, and only what was made here is taken back: which that is, by
 * device and inode, is on record in the state directory, so that nobody's own file of that name is removed, also after a restart.
 */
import { createHash } from 'node:crypto';
import type { BigIntStats } from 'node:fs';
import {
  type FileHandle,
  lchown,
  lstat,
  mkdir,
  open,
  readdir,
  readFile,
  rm,
  rmdir,
  stat,
  unlink,
  writeFile,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { WirtError } from '@wirt/api';
import { syncDirectory } from '../../platform/atomic-file.ts';
import { fsError, hasErrno } from '../../platform/fs-error.ts';

/** Nobody undoes an export that is older. */
const REMEMBERED_MS = 30 * 24 * 3600 * 1000;

/** A new file that is being written. Disposed before `finish`, it is removed. */
export interface Output extends AsyncDisposable {
  readonly handle: FileHandle;
  /** Makes it durable, the folder's owner's, and gives its size. */
  finish(): Promise<{ readonly sizeBytes: number }>;
}

export interface Outputs {
  /** Throws `export.target_exists`, `export.failed`, `host.*`. */
  create(path: string): Promise<Output>;
  makeDirectory(path: string): Promise<void>;
  remove(path: string): Promise<void>;
}

interface Made {
  readonly path: string;
  readonly dev: string;
  readonly ino: string;
}

export function createOutputs(recordDirectory: string): Outputs {
  const recordOf = (path: string): string =>
    join(recordDirectory, createHash('sha256').update(path).digest('hex').slice(0, 40));

  async function remember(path: string, { dev, ino }: BigIntStats): Promise<void> {
    await mkdir(recordDirectory, { recursive: true, mode: 0o700 });
    await forgetOld(recordDirectory);
    const made: Made = { path, dev: String(dev), ino: String(ino) };
    await writeFile(recordOf(path), JSON.stringify(made), { mode: 0o600 });
  }

  async function remove(path: string): Promise<void> {
    try {
      const made: Made = JSON.parse(await readFile(recordOf(path), 'utf8'));
      const there = await lstat(path, { bigint: true });
      if (String(there.dev) === made.dev && String(there.ino) === made.ino) {
        if (there.isDirectory()) await removeFolder(path);
        else await unlink(path);
      }
      await rm(recordOf(path), { force: true });
    } catch (error) {
      if (hasErrno(error, 'ENOENT', 'ENOTDIR')) return;
      throw fsError(error, 'remove', path, 'export.failed');
    }
  }

  /** What somebody else has put there stays, and so does the folder then. */
  async function removeFolder(path: string): Promise<void> {
    for (const name of await readdir(path)) await remove(join(path, name));
    await rmdir(path).catch((error: unknown) => {
      if (!hasErrno(error, 'ENOTEMPTY')) throw error;
    });
  }

  return {
    async create(path) {
      const handle = await open(path, 'wx+', 0o600).catch((error: unknown) => {
        throw creationFailure(error, path);
      });
      let isFinished = false;
      const output: Output = {
        handle,
        async finish() {
          const { uid, gid } = await stat(dirname(path));
          if (process.geteuid?.() === 0) await handle.chown(uid, gid);
          await handle.sync();
          await syncDirectory(dirname(path));
          isFinished = true;
          return { sizeBytes: (await handle.stat()).size };
        },
        async [Symbol.asyncDispose]() {
          await handle.close();
          if (!isFinished) await remove(path);
        },
      };
      try {
        await remember(path, await handle.stat({ bigint: true }));
        return output;
      } catch (error) {
        await handle.close();
        await unlink(path);
        throw fsError(error, 'write', path, 'export.failed');
      }
    },

    async makeDirectory(path) {
      await mkdir(path, { mode: 0o700 }).catch((error: unknown) => {
        throw creationFailure(error, path);
      });
      try {
        await remember(path, await lstat(path, { bigint: true }));
        const { uid, gid } = await stat(dirname(path));
        if (process.geteuid?.() === 0) await lchown(path, uid, gid);
        await syncDirectory(dirname(path));
      } catch (error) {
        await rmdir(path).catch(() => {});
        throw fsError(error, 'make', path, 'export.failed');
      }
    },

    remove,
  };
}

async function forgetOld(recordDirectory: string): Promise<void> {
  for (const name of await readdir(recordDirectory)) {
    const record = join(recordDirectory, name);
    const { mtimeMs } = await stat(record);
    if (Date.now() - mtimeMs > REMEMBERED_MS) await rm(record, { force: true });
  }
}

function creationFailure(error: unknown, path: string): WirtError {
  if (hasErrno(error, 'EEXIST'))
    return new WirtError('export.target_exists', `${path} is there already.`, {
      cause: error,
      details: { path },
      hint: 'Name another file, or move that one away.',
    });
  if (hasErrno(error, 'ENOENT', 'ENOTDIR'))
    return new WirtError('export.failed', `${path} cannot be made: its folder is not there.`, {
      cause: error,
      details: { path },
      hint: `Make it first: mkdir -p ${dirname(path)}`,
    });
  return fsError(error, 'make', path, 'export.failed');
}
