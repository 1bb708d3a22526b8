/**
 * Who may open a file of the daemon's that a guest's process, or a confined copy, is let to: by its group, which is one process's own,
 * and by an access list (acl(5)). The file itself stays the daemon's: only an owner may change modes and lists.
 */
import { constants, type Stats } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { WirtError } from '@wirt/api';
import { runToSuccess, SubprocessError } from './subprocess.ts';

/** The group's bits hold `r` where the daemon is root: they are also the mask of an access list. */
export interface FileAccess {
  readonly uid: number;
  readonly gid: number;
  /** As 0o660. */
  readonly mode: number;
}

const TOOL_DEADLINE_MS = 10_000;
const PERMISSIONS = 0o777;
const GROUP_READS = 0o040;
const OTHERS_READ = 0o004;
const unsupported = /not supported/i;

/** The daemon's alone. */
export function daemonAccess(mode?: number): FileAccess {
  const uid = process.geteuid?.() ?? 0;
  return { uid, gid: process.getegid?.() ?? 0, mode: mode ?? (uid === 0 ? 0o640 : 0o600) };
}

export function isOpenToAll({ mode }: Pick<FileAccess, 'mode'>): boolean {
  return (mode & OTHERS_READ) !== 0;
}

export function openedToAll(access: FileAccess): FileAccess {
  return { ...access, mode: access.mode | OTHERS_READ };
}

export function closedToOthers(access: FileAccess): FileAccess {
  return { ...access, mode: access.mode & ~OTHERS_READ };
}

export async function accessOf(file: FileHandle): Promise<FileAccess> {
  const { uid, gid, mode } = await file.stat();
  return { uid, gid, mode: mode & PERMISSIONS };
}

/** Opens what is there, and nothing that a link leads to. */
export async function withOpened<T>(path: string, work: (file: FileHandle) => Promise<T>): Promise<T> {
  await using file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  return await work(file);
}

/** `path` is the file's own. An access list that another than the daemon may have made goes. */
export async function setAccess(file: FileHandle, path: string, access: FileAccess): Promise<void> {
  const { uid, gid, mode } = access;
  const now = await file.stat();
  const isDistrusted = mayBeListed(now);
  const isOwned = now.uid === uid && now.gid === gid;
  if (!isDistrusted && isOwned && (now.mode & PERMISSIONS) === mode) return;
  // At no moment may anybody do what neither the old nor the new access lets them.
  await file.chmod(now.mode & mode & PERMISSIONS);
  if (!isOwned) await file.chown(uid, gid);
  if (isDistrusted && (await dropAccessList(path)) === 'no-tool')
    throw new WirtError('host.tool_missing', `Could not remove access lists from ${path}.`, {
      hint: 'Install setfacl: apt install acl',
      details: { path },
    });
  await file.chmod(mode);
}

/** A file that was a guest's, now or (closed to its group) by an earlier Wirt: that one may have listed whom it wanted. */
function mayBeListed({ uid, mode }: Stats): boolean {
  const daemon = daemonAccess();
  return daemon.uid === 0 && (uid !== daemon.uid || (mode & GROUP_READS) === 0);
}

/** What an access list can do here: `no-tool` is a host without setfacl, `no-lists` a file system without them. */
export type ListOutcome = 'done' | 'no-tool' | 'no-lists';

/** Writes the whole list at once, whatever there was: the file's access and `readers`. */
export function setAccessList(
  path: string,
  { mode }: FileAccess,
  readers: readonly number[],
): Promise<ListOutcome> {
  const entries = [
    ...[`u::${words(mode >> 6)}`, `g::${words(mode >> 3)}`, `o::${words(mode)}`],
    `m::${words((mode >> 3) | OTHERS_READ)}`,
    ...readers.map((uid) => `u:${uid}:r--`),
  ];
  return setfacl(['--set', entries.join(',')], path);
}

/** The access that is left is what the group had by the list and its mask. */
export function dropAccessList(path: string): Promise<ListOutcome> {
  return setfacl(['-b'], path);
}

/** A directory that hands no access lists down to what is made in it. */
export async function dropInheritedLists(directory: string): Promise<void> {
  await setfacl(['-k'], directory);
}

function words(bits: number): string {
  return `${bits & 4 ? 'r' : '-'}${bits & 2 ? 'w' : '-'}${bits & 1 ? 'x' : '-'}`;
}

async function setfacl(options: readonly string[], path: string): Promise<ListOutcome> {
  try {
    await runToSuccess('setfacl', [...options, '--', path], { timeoutMs: TOOL_DEADLINE_MS });
    return 'done';
  } catch (error) {
    if (!(error instanceof SubprocessError)) throw error;
    if (error.isMissing) return 'no-tool';
    if (unsupported.test(error.result?.stderr ?? '')) return 'no-lists';
    throw error;
  }
}
