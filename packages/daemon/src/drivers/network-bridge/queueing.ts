/**
 * Takes the queueing disciplines from taps that have no rate: without them a tap takes less memory, and works as well. Nobody waits for it, and
 * starting `tc` would hold up who starts a guest; so it is done a moment later, for all that came by then, by one process.
 */
import type { Logger } from '@wirt/core';
import { changeLinks } from './ip.ts';
import type { LinkChange } from './link-diff.ts';

/** Longer than the start of a guest. */
const laterMs = 500;

export interface Queueing {
  now(lines: readonly LinkChange[]): Promise<void>;
  later(lines: readonly LinkChange[]): void;
  /** Does at once what is still to be done, and returns when all is. */
  settle(): Promise<void>;
}

export function createQueueing(logger: Logger): Queueing {
  let waiting: LinkChange[] = [];
  let timer: NodeJS.Timeout | undefined;
  let last = Promise.resolve();

  async function now(lines: readonly LinkChange[]): Promise<void> {
    await changeLinks(lines, 'tc').catch((error: unknown) => {
      logger.debug('network.queueing_left', { error });
    });
  }

  function settle(): Promise<void> {
    clearTimeout(timer);
    timer = undefined;
    const lines = waiting;
    waiting = [];
    last = last.then(() => now(lines));
    return last;
  }

  return {
    now,
    settle,
    later(lines) {
      if (lines.length === 0) return;
      waiting.push(...lines);
      timer ??= setTimeout(() => void settle(), laterMs).unref();
    },
  };
}
