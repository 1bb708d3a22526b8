/** Work that must not overlap, in the order in which it was asked for; and whether there is any. */
import { serially } from '../../platform/serial.ts';

export interface Turns {
  take<T>(work: () => Promise<T>): Promise<T>;
  /** Whether there is any now, how many were started, and when the last ended (`performance.now()`). */
  work(): { readonly running: boolean; readonly started: number; readonly endedMs: number };
}

export function createTurns(): Turns {
  const inTurn = serially();
  let waiting = 0;
  let started = 0;
  let endedMs = Number.NEGATIVE_INFINITY;
  return {
    take(work) {
      waiting += 1;
      started += 1;
      return inTurn(() =>
        work().finally(() => {
          waiting -= 1;
          endedMs = performance.now();
        }),
      );
    },
    work: () => ({ running: waiting > 0, started, endedMs }),
  };
}
