/**
 * Durable changes of files: a file is there with its whole new content or with its old one, also after power loss.
 * Errors leave as errors of the catalogue; nothing half-written stays behind.
 */
import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { fsError } from './fs-error.ts';

/** Replaces `path` by `content`. The directory must exist. */
export async function writeFileAtomically(
  path: string,
  content: string | Uint8Array,
  { mode }: { readonly mode: number },
): Promise<void> {
  const directory = dirname(path);
  const temporary = join(directory, `.${basename(path)}.${randomBytes(6).toString('hex')}.tmp`);
  try {
    await using file = await open(temporary, 'wx', mode);
    // The mode given to open is narrowed by the umask.
    await file.chmod(mode);
    await file.writeFile(content);
    await file.sync();
    await rename(temporary, path);
    await syncDirectory(directory);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    throw fsError(error, 'write', path);
  }
}

/** Makes names that were created, renamed or removed in `path` durable. */
export async function syncDirectory(path: string): Promise<void> {
  await using directory: FileHandle = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  await directory.sync();
}
