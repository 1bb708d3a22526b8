/** What is looked at again and again, in passes with a pause between them. A pass that fails is logged, and the next one comes all the same. */
import type { Clock } from '../ports/clock.ts';
import type { Logger } from '../ports/logger.ts';

export interface Passes {
  /** One pass at once, then one after each pause. */
  start(): void;
  /** Waits for nothing. */
  stop(): void;
  /** Aborts with `stop`. */
  readonly signal: AbortSignal;
}

/** `failed`: the event that is logged. `pass` is told its number, from 0. */
export function createPasses(
  { clock, logger }: { readonly clock: Clock; readonly logger: Logger },
  { pauseMs, failed }: { readonly pauseMs: number; readonly failed: string },
  pass: (number: number) => Promise<void>,
): Passes {
  const over = new AbortController();
  const { signal } = over;
  const told = (error: unknown): void => {
    if (!signal.aborted) logger.error(failed, { error });
  };
  async function run(): Promise<void> {
    for (let number = 0; !signal.aborted; number += 1) {
      await pass(number).catch(told);
      await clock.sleep(pauseMs, signal);
    }
  }
  return {
    start: () => void run().catch(told),
    stop: () => over.abort(new Error('wirtd is stopping.')),
    signal,
  };
}
