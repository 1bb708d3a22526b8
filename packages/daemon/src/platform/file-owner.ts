/**
 * Gives a file to the user that a guest's process runs as, and takes it back. Only the file itself: no link is followed, and a
 * file that is not there is fine.
 */
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { fsError, hasErrno } from './fs-error.ts';

/** As `Identity` of core's port Sandbox: not `own` means that guests run as the daemon's user. */
export interface FileOwner {
  readonly uid: number;
  readonly gid: number;
  readonly own: boolean;
}

/** `mode` is the owner's, as 0o400; the file returns to the daemon, readable and writable, for an `owner` of undefined. */
export async function giveFile(path: string, owner: FileOwner | undefined, mode: number): Promise<void> {
  if (owner !== undefined && !owner.own) return;
  try {
    await using file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    if (owner === undefined) {
      // In this order the guest is out first, and at no moment is the file anybody else's.
      await file.chown(process.geteuid?.() ?? 0, process.getegid?.() ?? 0);
      await file.chmod(0o600);
    } else {
      await file.chmod(mode);
      await file.chown(owner.uid, owner.gid);
    }
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return;
    throw fsError(error, 'change the owner of', path);
  }
}
