// Files that another process has locked: QEMU's words for it (util/osdep.c, block/file-posix.c), and the patience it takes. The
// kernel takes an ended process's io_uring down after the process is gone, and only then its locks: some 20 ms, measured.
import { setTimeout as delay } from 'node:timers/promises';
import { WirtError } from '@wirt/api';

const words = /Failed to get "?[\w -]+"? lock|Is another process using the image/;
const patienceMs = 1_000;
const pauseMs = 50;

export function saysLocked(text: string): boolean {
  return words.test(text);
}

/** Tries again for a second what fails with `volume.locked`. */
export async function untilUnlocked<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
  const deadline = performance.now() + patienceMs;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      const locked = error instanceof WirtError && error.code === 'volume.locked';
      if (!locked || performance.now() >= deadline) throw error;
      await delay(pauseMs, undefined, { signal });
    }
  }
}
