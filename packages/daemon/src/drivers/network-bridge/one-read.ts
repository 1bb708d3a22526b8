/**
 * One reading of the host for all who ask for it at the same moment. Who asks after work on the host has begun or ended gets a reading that began
 * later: it has what that work did.
 */
import type { Turns } from './turns.ts';

type Work = Pick<ReturnType<Turns['work']>, 'started' | 'endedMs'>;

export interface SharedRead<T> {
  /** `work`: on the host, as it is now. Rejects as soon as `signal` is aborted, and the reading goes on for the others. */
  read(work: Work, signal: AbortSignal): Promise<T>;
}

export function createSharedRead<T>(read: () => Promise<T>): SharedRead<T> {
  let current: (Work & { readonly result: Promise<T> }) | undefined;

  function share({ started, endedMs }: Work): Promise<T> {
    if (current?.started === started && current.endedMs === endedMs) return current.result;
    const mine = {
      started,
      endedMs,
      result: read().finally(() => {
        if (current === mine) current = undefined;
      }),
    };
    current = mine;
    return mine.result;
  }

  return {
    async read(work, signal) {
      signal.throwIfAborted();
      const given = Promise.withResolvers<never>();
      const giveUp = (): void => given.reject(signal.reason as Error);
      signal.addEventListener('abort', giveUp, { once: true });
      try {
        return await Promise.race([share(work), given.promise]);
      } finally {
        signal.removeEventListener('abort', giveUp);
      }
    },
  };
}
