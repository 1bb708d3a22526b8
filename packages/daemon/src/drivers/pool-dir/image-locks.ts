/**
 * Whether QEMU has an image open, by the locks it holds on the file: bytes from 100 on say what each process does with it, from
 * 200 on what it lets no other do (QEMU block/file-posix.c). Read from /proc/locks (proc_locks(5)), which shows those of all
 * processes; a file system that gives two numbers to its device (btrfs) is not matched, and QEMU's own lock is then the only guard.
 */
import { readFile, stat } from 'node:fs/promises';
import { lockedFailure } from './failure.ts';

const FIRST_BYTE = 100;
const END_BYTE = 300;

interface FileNumbers {
  readonly dev: bigint;
  readonly ino: bigint;
}

/** Throws `volume.locked`. */
export async function requireUnlocked(path: string): Promise<void> {
  const [locks, file] = await Promise.all([
    readFile('/proc/locks', 'latin1').catch(() => ''),
    stat(path, { bigint: true }),
  ]);
  if (hasImageLock(locks, file)) throw lockedFailure(path);
}

export function hasImageLock(locks: string, file: FileNumbers): boolean {
  const place = `${deviceOf(file.dev)}:${file.ino}`;
  return locks.split('\n').some((line) => {
    // 7: OFDLCK ADVISORY  READ -1 fe:00:2269365 100 101
    const [, kind, , , , where, from] = line.trim().split(/\s+/);
    if (kind !== 'OFDLCK' && kind !== 'POSIX') return false;
    const byte = Number(from);
    return where === place && byte >= FIRST_BYTE && byte < END_BYTE;
  });
}

/** As /proc writes a device number: two hexadecimal digits each at least; taken apart as glibc's gnu_dev_major does. */
function deviceOf(dev: bigint): string {
  const major = ((dev >> 8n) & 0xfffn) | ((dev >> 32n) & ~0xfffn);
  const minor = (dev & 0xffn) | ((dev >> 12n) & ~0xffn);
  return [major, minor].map((number) => number.toString(16).padStart(2, '0')).join(':');
}
