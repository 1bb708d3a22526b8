/** Work that must not overlap, in the order in which it was asked for. */

export interface Turns {
  take<T>(work: () => Promise<T>): Promise<T>;
  /** Whether there is any now, how many were started, and when the last ended (`performance.now()`). */
  work(): { readonly running: boolean; readonly started: number; readonly endedMs: number };
}

export function createTurns(): Turns {
  let last: Promise<unknown> = Promise.resolve();
  let waiting = 0;
  let started = 0;
  let endedMs = Number.NEGATIVE_INFINITY;
  return {
    take(work) {
      waiting += 1;
      started += 1;
      const next = last.then(work).finally(() => {
        waiting -= 1;
        endedMs = performance.now();
      });
      last = next.catch(() => undefined);
      return next;
    },
    work: () => ({ running: waiting > 0, started, endedMs }),
  };
}
