/**
 * Writes into files of the kernel: one value, one write, no file made where there is none. The kernel acts before the write
 * returns, which can take seconds (a driver that lets go of its device) or, with a broken device, for ever: so nobody waits
 * longer than the deadline. What the kernel was told it may still do afterwards.
 */
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { posix } from 'node:path';

export interface SysfsWrites {
  /** Throws what the kernel says as an errno, ETIMEDOUT at the deadline, or the signal's reason. */
  write(path: string, value: string, signal: AbortSignal): Promise<void>;
}

const sysfsDeadlineMs = 30_000;

export function createSysfsWrites(root = '/', deadlineMs = sysfsDeadlineMs): SysfsWrites {
  return {
    async write(path, value, signal) {
      signal.throwIfAborted();
      await withDeadline(writeOnce(posix.join(root, path), value), path, deadlineMs, signal);
    },
  };
}

async function writeOnce(path: string, value: string): Promise<void> {
  await using file = await open(path, constants.O_WRONLY);
  await file.write(value, 0);
}

/** Ends with the work, at the deadline, or when told to give up; the work itself cannot be stopped. */
async function withDeadline<T>(
  work: Promise<T>,
  path: string,
  deadlineMs: number,
  signal: AbortSignal,
): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const late = new Error(`the kernel did not answer a write to ${path} within ${deadlineMs / 1000} s`);
  const timer = setTimeout(() => reject(Object.assign(late, { code: 'ETIMEDOUT' })), deadlineMs);
  const onAbort = (): void => reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  // Given up, its failure is nobody's any more.
  work.catch(() => undefined);
  try {
    return await Promise.race([work, promise]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
  }
}
