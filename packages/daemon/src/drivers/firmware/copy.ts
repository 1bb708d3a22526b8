// Copies a small image: durable, whole or not at all, the daemon's alone, with holes where the source has zeros (variables for
// arm64 are 64 MiB, nearly all of it zeros). The source may be a guest's: it is opened once, and no link is followed.
import { constants } from 'node:fs';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { WirtError } from '@wirt/api';
import { syncDirectory } from '../../platform/atomic-file.ts';
import { fsError, hasErrno } from '../../platform/fs-error.ts';

/** The largest that a guest's firmware has. */
export const maxVarsBytes = 64 * 1024 * 1024;
const chunkBytes = 64 * 1024;

/** Replaces `to`, whose directory must exist. Throws ENOENT as it comes when there is no `from`. */
export async function copyImage(from: string, to: string): Promise<void> {
  // One name for all: what a death in the middle left is overwritten by the next.
  const aside = join(dirname(to), `.${basename(to)}.tmp`);
  await using source = await openSource(from);
  try {
    const bytes = await sizeOf(source, from);
    await using target = await open(aside, 'w', 0o600);
    await copyWithHoles(source, target, bytes);
    await target.chmod(0o600);
    await target.sync();
    await rename(aside, to);
    await syncDirectory(dirname(to));
  } catch (error) {
    await rm(aside, { force: true }).catch(() => {});
    throw fsError(error, `copy ${from} to`, to);
  }
}

async function openSource(from: string): Promise<FileHandle> {
  try {
    return await open(from, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    throw hasErrno(error, 'ENOENT') ? error : fsError(error, 'read', from);
  }
}

async function sizeOf(source: FileHandle, from: string): Promise<number> {
  const seen = await source.stat();
  if (seen.isFile() && seen.size <= maxVarsBytes) return seen.size;
  throw new WirtError('internal', `${from} is no image of UEFI variables.`, {
    cause: new Error(
      seen.isFile() ? `it has ${seen.size} bytes, more than any firmware's` : 'it is no plain file',
    ),
    hint: 'The guest’s process may have changed it. Remove the file: the guest then starts with fresh variables.',
  });
}

async function copyWithHoles(source: FileHandle, target: FileHandle, bytes: number): Promise<void> {
  const chunk = Buffer.alloc(chunkBytes);
  const zeros = Buffer.alloc(chunkBytes);
  await target.truncate(bytes);
  for (let at = 0; at < bytes; ) {
    const { bytesRead } = await source.read(chunk, 0, Math.min(chunkBytes, bytes - at), at);
    if (bytesRead === 0) return;
    const piece = chunk.subarray(0, bytesRead);
    if (!piece.equals(zeros.subarray(0, bytesRead))) await target.write(piece, 0, bytesRead, at);
    at += bytesRead;
  }
}
