/**
 * Keeps a file system from being filled by what is staged on it: 5 % of it, or 1 GiB if that is less, stay free. It is looked at before
 * the first byte and again every 64 MiB, so that what several write at once is seen too.
 */
import { statfs } from 'node:fs/promises';
import { WirtError } from '@wirt/api';
import { fsError } from './fs-error.ts';

const MIB = 1024 ** 2;
const LARGEST_RESERVE_BYTES = 1024 * MIB;
const RESERVE_PART = 0.05;
const LOOK_EVERY_BYTES = 64 * MIB;

type Look = (path: string) => Promise<{ blocks: number; bavail: number; bsize: number }>;

/** Throws `host.storage_full` when less than the reserve would be left. `shownAs` is for messages. */
export async function requireFreeSpace(
  path: string,
  bytes: number,
  { shownAs = path, look = statfs }: { readonly shownAs?: string; readonly look?: Look } = {},
): Promise<void> {
  const { blocks, bavail, bsize } = await look(path).catch((error: unknown) => {
    throw fsError(error, 'look for free space at', shownAs);
  });
  const reserveBytes = Math.min(LARGEST_RESERVE_BYTES, Math.floor(blocks * bsize * RESERVE_PART));
  const availableBytes = bavail * bsize;
  if (availableBytes - bytes >= reserveBytes) return;
  throw new WirtError('host.storage_full', `Could not write ${shownAs}.`, {
    cause: new Error(`${availableBytes} bytes are free; ${reserveBytes} of them are kept free.`),
    hint: `Free space on the file system: df -h ${shownAs}`,
    details: { path: shownAs, availableBytes, reserveBytes, neededBytes: bytes },
  });
}

export interface SpaceGuard {
  /** To be called before so many bytes are written. Throws as `requireFreeSpace`. */
  before(bytes: number): Promise<void>;
}

/** For one file, there or yet to be made in its folder: `path` must be there. */
export function createSpaceGuard(
  path: string,
  options: { readonly shownAs?: string; readonly look?: Look; readonly everyBytes?: number } = {},
): SpaceGuard {
  const { everyBytes = LOOK_EVERY_BYTES } = options;
  let left = 0;
  return {
    async before(bytes) {
      if (left <= bytes) {
        await requireFreeSpace(path, bytes, options);
        left = everyBytes;
      }
      left -= bytes;
    },
  };
}
