/**
 * Opens what somebody named as a file: it is a plain file, or it is not opened, and no link is followed at the end of its path.
 * What is read afterwards is read from the descriptor, whatever becomes of the name.
 */
import { constants } from 'node:fs';
import { type FileHandle, lstat, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { WirtError } from '@wirt/api';
import type { DiskReader } from '@wirt/qemu';
import { fsError, hasErrno } from '../../platform/fs-error.ts';
import { refused } from './failure.ts';

/** `path` is for messages too. */
export interface OpenedFile extends AsyncDisposable {
  readonly path: string;
  readonly handle: FileHandle;
  readonly sizeBytes: number;
  readonly reader: DiskReader;
  /** Where in the file of the handle it begins, when it is a part of that. `sizeBytes` and `reader` are of the part. */
  readonly offset?: number;
  /** When it is a block device: its numbers, and its name, without links. */
  readonly device?: { readonly major: number; readonly minor: number; readonly node: string };
}

/** Throws `disk.not_found`, `disk.refused` (link, device, pipe, socket, folder), `host.permission_denied`. */
export async function openRegularFile(path: string, shownAs: string = path): Promise<OpenedFile> {
  try {
    // Opening some devices does something to them.
    requireFile(shownAs, await lstat(path));
    const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const stat = await handle.stat();
      requireFile(shownAs, stat);
      return openedFile(handle, shownAs, stat.size);
    } catch (error) {
      await handle.close();
      throw error;
    }
  } catch (error) {
    if (hasErrno(error, 'ENOENT', 'ENOTDIR')) throw notFound(shownAs, error);
    // It became a link, or a socket, in between.
    if (hasErrno(error, 'ELOOP', 'ENXIO')) throw refused(shownAs, 'not-a-file', 'it is not a plain file');
    throw fsError(error, 'open', shownAs);
  }
}

export function openedFile(handle: FileHandle, path: string, sizeBytes: number): OpenedFile {
  return {
    path,
    handle,
    sizeBytes,
    reader: {
      sizeBytes,
      async read(offset, length) {
        const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, offset);
        return buffer.subarray(0, bytesRead);
      },
    },
    [Symbol.asyncDispose]: () => handle.close(),
  };
}

/** Opens files by plain names in the folder of `path`, the same folder also when it is renamed meanwhile. */
export async function openBeside(path: string, names: readonly string[]): Promise<OpenedFile[]> {
  const folder = dirname(path);
  await using directory = await open(folder, constants.O_RDONLY | constants.O_DIRECTORY);
  const files: OpenedFile[] = [];
  try {
    for (const name of names)
      files.push(await openRegularFile(`/proc/self/fd/${directory.fd}/${name}`, `${folder}/${name}`));
    return files;
  } catch (error) {
    await closeAll(files);
    throw error;
  }
}

export async function closeAll(files: readonly AsyncDisposable[]): Promise<void> {
  for (const file of files) await file[Symbol.asyncDispose]();
}

function requireFile(path: string, stat: { isFile(): boolean; isSymbolicLink(): boolean }): void {
  if (stat.isSymbolicLink())
    throw refused(path, 'link', 'it is a symbolic link', `Name the file itself: readlink -f ${path}`);
  if (!stat.isFile())
    throw refused(
      path,
      'not-a-file',
      'it is not a plain file',
      'Name a plain file, or a block device by its name below /dev.',
    );
}

function notFound(path: string, cause: unknown): WirtError {
  return new WirtError('disk.not_found', `There is no file ${path} on the machine of wirtd.`, {
    cause,
    details: { path },
    hint: `See what is there: ls -l ${dirname(path)}`,
  });
}
