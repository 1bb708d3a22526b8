/** Every 5 s: gives back what ended guests held of processors and huge pages, and tells the others where they may be now. */
import { returnPages } from './huge-pages.ts';
import type { Shared } from './parts.ts';
import type { Pinning } from './pinning.ts';

const passMs = 5_000;

export interface PlacementWatch {
  /** One pass at once, then one every 5 s. */
  start(): void;
  stop(): void;
}

export function createPlacementWatch(shared: Shared, pinning: Pinning): PlacementWatch {
  const { clock, logger } = shared;
  const over = new AbortController();
  async function run(): Promise<void> {
    while (!over.signal.aborted) {
      await Promise.all([pinning.settle(), returnPages(shared)]).catch((error: unknown) =>
        logger.error('placement.watch_failed', { error }),
      );
      await clock.sleep(passMs, over.signal);
    }
  }
  return {
    start: () => {
      run().catch((error: unknown) => {
        if (!over.signal.aborted) logger.error('placement.watch_failed', { error });
      });
    },
    stop: () => over.abort(new Error('wirtd is stopping.')),
  };
}
