/** Every 5 s: takes back what was done for guests that have ended, and tells the others where they may be now. */
import { createDeviceReturns } from './device-returns.ts';
import { returnPages } from './huge-pages.ts';
import { stopMerging } from './page-merging.ts';
import type { Shared } from './parts.ts';
import { createPasses, type Passes } from './passes.ts';
import type { Pinning } from './pinning.ts';

const pauseMs = 5_000;

export function createPlacementWatch(shared: Shared, pinning: Pinning): Passes {
  const returnDevices = createDeviceReturns(shared);
  return createPasses(shared, { pauseMs, failed: 'placement.watch_failed' }, async (number) => {
    returnDevices(number);
    await Promise.all([pinning.settle(), returnPages(shared), stopMerging(shared)]);
  });
}
