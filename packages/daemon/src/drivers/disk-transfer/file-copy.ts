/** Copies a foreign file, or a part of one, into the staging folder, for a user who may not read it where it is. */
import { constants } from 'node:fs';
import { copyFile, open } from 'node:fs/promises';
import type { CopyWork } from '@wirt/core';
import { fsError } from '../../platform/fs-error.ts';
import { readRange, sparseWriter } from './bytes.ts';
import { type OpenedFile, openRegularFile } from './regular-file.ts';
import { letRead } from './staging.ts';

/** Throws `host.storage_full`, the signal's reason. */
export async function copyFor(
  file: OpenedFile,
  path: string,
  { signal, confinement }: CopyWork,
  onCopied: (doneBytes: number) => void,
): Promise<OpenedFile> {
  try {
    if (file.offset !== undefined || !(await reflink(file, path))) {
      await using target = await open(path, 'w', 0o600);
      const writer = sparseWriter(target, path);
      const range = { offset: file.offset ?? 0, length: file.sizeBytes };
      for await (const piece of readRange(file.handle, range, signal)) {
        await writer.append(piece);
        onCopied(writer.sizeBytes);
      }
      await writer.end();
    }
    await letRead(path, confinement.identity);
    return await openRegularFile(path, file.path);
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    throw fsError(error, 'write', path);
  }
}

/** In a moment, and taking no space, where the file system can. */
async function reflink({ handle }: OpenedFile, path: string): Promise<boolean> {
  try {
    await copyFile(`/proc/self/fd/${handle.fd}`, path, constants.COPYFILE_FICLONE_FORCE);
    return true;
  } catch {
    return false;
  }
}
