/**
 * Writes into files of the kernel: one value, one write, no file made where there is none. The kernel acts before the write
 * returns, which can take seconds (a driver that lets go of its device) or, with a broken device, for ever, and nothing ends
 * who waits there: so each write is a process of its own, and nobody waits for it longer than the deadline.
 * What the kernel was told it may still do afterwards.
 */
import { posix } from 'node:path';
import { Abandoned, runOrAbandon } from './abandon.ts';

export interface SysfsWrites {
  /** Throws what the kernel says as an errno, `UnansweredWrite` at the deadline, or the signal's reason. */
  write(path: string, value: string, signal: AbortSignal): Promise<void>;
}

/** The kernel still works on it. */
export class UnansweredWrite extends Error {
  override readonly name = 'UnansweredWrite';
  readonly code = 'ETIMEDOUT';
  /** When the kernel is through with it after all, with whatever result. */
  readonly ended: Promise<void>;

  constructor(path: string, deadlineMs: number, ended: Promise<void>) {
    super(`the kernel did not answer a write to ${path} within ${deadlineMs / 1000} s`);
    this.ended = ended;
  }
}

const sysfsDeadlineMs = 30_000;

export function createSysfsWrites(root = '/', deadlineMs = sysfsDeadlineMs): SysfsWrites {
  return {
    async write(path, value, signal) {
      // dd writes what it read at once, as it is (dd(1)): values are far shorter than its block.
      const words = [`of=${posix.join(root, path)}`, 'bs=64K', 'conv=nocreat,notrunc', 'status=none'];
      const { exitCode, stderr } = await runOrAbandon('dd', words, {
        stdin: value,
        deadlineMs,
        signal,
      }).catch((error: unknown) => {
        throw error instanceof Abandoned ? new UnansweredWrite(path, deadlineMs, error.ended) : error;
      });
      if (exitCode !== 0) throw kernelError(stderr, path);
    },
  };
}

/** What sysfs answers with, in the C library's words (strerror(3)). */
const errnos: Readonly<Record<string, string>> = {
  'Cannot allocate memory': 'ENOMEM',
  'Device or resource busy': 'EBUSY',
  'File exists': 'EEXIST',
  'Function not implemented': 'ENOSYS',
  'Inappropriate ioctl for device': 'ENOTTY',
  'Input/output error': 'EIO',
  'Invalid argument': 'EINVAL',
  'Is a directory': 'EISDIR',
  'No space left on device': 'ENOSPC',
  'No such device': 'ENODEV',
  'No such device or address': 'ENXIO',
  'No such file or directory': 'ENOENT',
  'Not a directory': 'ENOTDIR',
  'Numerical result out of range': 'ERANGE',
  'Operation not permitted': 'EPERM',
  'Operation not supported': 'EOPNOTSUPP',
  'Permission denied': 'EACCES',
  'Read-only file system': 'EROFS',
  'Resource temporarily unavailable': 'EAGAIN',
};

function kernelError(said: string, path: string): Error {
  const text = /: ([^:\n]+)\n?$/.exec(said)?.[1] ?? 'the write was ended';
  const code = errnos[text];
  return Object.assign(new Error(`${code === undefined ? '' : `${code}: `}${text}, write '${path}'`), {
    path,
    syscall: 'write',
    ...(code === undefined ? {} : { code }),
  });
}
