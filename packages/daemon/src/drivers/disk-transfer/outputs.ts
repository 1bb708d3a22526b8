/**
 * Files and folders of an export, made outside. Only new ones are written, and only what was made here is taken back: what that is,
 * by device and inode, is on record, so that nobody's own file of that name is removed. What a daemon that died was writing is removed.
 */
import { type BigIntStats, constants } from 'node:fs';
import { type FileHandle, lstat, mkdir, open, readdir, rmdir, stat, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { WirtError } from '@wirt/api';
import type { Logger } from '@wirt/core';
import { syncDirectory } from '../../platform/atomic-file.ts';
import { fsError, hasErrno } from '../../platform/fs-error.ts';
import { createOutputRecords, type MadeOutput, type OutputRecords } from './output-records.ts';

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
  /** Removes what an earlier daemon left unfinished; once is enough, and before anything else is done here. */
  recover(): Promise<void>;
}

export interface OutputsOptions {
  readonly recordDirectory: string;
  readonly logger: Logger;
  /** Default: files in the record directory. */
  readonly records?: OutputRecords;
}

export function createOutputs({
  recordDirectory,
  logger,
  records = createOutputRecords(recordDirectory),
}: OutputsOptions): Outputs {
  let recovery: Promise<void> | undefined;

  async function remove(path: string): Promise<void> {
    try {
      const made = await records.find(path);
      if (made === undefined) return;
      if (await isSame(made)) {
        if (made.kind === 'folder') await removeFolder(path);
        else await unlink(path);
      }
      await records.forget(path);
    } catch (error) {
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

  async function removeUnfinished(): Promise<void> {
    for (const { path, kind, isFinished } of await records.list()) {
      if (kind === 'folder' || isFinished) continue;
      try {
        const folder = await records.find(dirname(path));
        await remove(path);
        // The export into this folder is not whole, and begins anew.
        if (folder !== undefined) await remove(folder.path);
        logger.info('transfer.unfinished_output_removed', { path });
      } catch (error) {
        logger.warn('transfer.unfinished_output_left', { path, error });
      }
    }
  }
  const recover = (): Promise<void> => (recovery ??= removeUnfinished());

  return {
    async create(path) {
      await recover();
      const handle = await open(path, 'wx+', 0o600).catch((error: unknown) => {
        throw creationFailure(error, path);
      });
      let isFinished = false;
      const made = (file: BigIntStats): MadeOutput => ({
        path,
        kind: 'file',
        ...numbersOf(file),
        isFinished,
      });
      const output: Output = {
        handle,
        async finish() {
          await giveToFolder(path, (uid, gid) => handle.chown(uid, gid));
          await handle.sync();
          await syncDirectory(dirname(path));
          isFinished = true;
          await records.keep(made(await handle.stat({ bigint: true })));
          return { sizeBytes: (await handle.stat()).size };
        },
        async [Symbol.asyncDispose]() {
          await handle.close();
          if (!isFinished) await remove(path);
        },
      };
      try {
        await records.keep(made(await handle.stat({ bigint: true })));
        return output;
      } catch (error) {
        await handle.close();
        await unlink(path);
        throw fsError(error, 'write', path, 'export.failed');
      }
    },

    async makeDirectory(path) {
      await recover();
      await mkdir(path, { mode: 0o700 }).catch((error: unknown) => {
        throw creationFailure(error, path);
      });
      try {
        await using folder = await openNewFolder(path);
        const numbers = numbersOf(await folder.stat({ bigint: true }));
        await records.keep({ path, kind: 'folder', ...numbers, isFinished: true });
        await giveToFolder(path, (uid, gid) => folder.chown(uid, gid));
        await syncDirectory(dirname(path));
      } catch (error) {
        await rmdir(path).catch(() => {});
        throw fsError(error, 'make', path, 'export.failed');
      }
    },

    remove: async (path) => {
      await recover();
      await remove(path);
    },
    recover,
  };
}

/** Whoever may write beside it can put another in its place: only one that is ours, and empty, is taken for what was made. */
async function openNewFolder(path: string): Promise<FileHandle> {
  const flags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
  const folder = await open(path, flags);
  try {
    const { uid } = await folder.stat();
    const names = await readdir(`/proc/self/fd/${folder.fd}`);
    if (uid === process.geteuid?.() && names.length === 0) return folder;
    throw new WirtError('export.failed', `${path} was replaced by another folder while it was made.`, {
      details: { path },
      hint: 'Export into a folder that nobody else writes into.',
    });
  } catch (error) {
    await folder.close();
    throw error;
  }
}

async function isSame({ path, dev, ino }: MadeOutput): Promise<boolean> {
  const there = await lstat(path, { bigint: true }).catch((error: unknown) => {
    if (hasErrno(error, 'ENOENT', 'ENOTDIR')) return undefined;
    throw error;
  });
  return there !== undefined && String(there.dev) === dev && String(there.ino) === ino;
}

const numbersOf = ({ dev, ino }: BigIntStats) => ({ dev: String(dev), ino: String(ino) });

/** Whose folder it is, theirs the file is. */
async function giveToFolder(path: string, chown: (uid: number, gid: number) => Promise<void>): Promise<void> {
  if (process.geteuid?.() !== 0) return;
  const { uid, gid } = await stat(dirname(path));
  await chown(uid, gid);
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
