/**
 * Guests that QEMU paused because a pool was full go on by themselves when there is room again. Looks at the pools only while a guest
 * waits for it.
 */
import type { Guest } from '../ports/hypervisor.ts';
import { createEarlyPause, leastToGoOn, volumesOnNvme } from './early-pause.ts';
import type { LiveGuests } from './live-guests.ts';
import type { Shared } from './parts.ts';
import { volumesOf } from './volume-layers.ts';

/** The file system tells nobody when it has room. */
const lookMs = 2_000;
/** With less, the guest would stand still again at once. */
const leastFreeBytes = 16 * 1024 * 1024;
const resumeMs = 10_000;

export interface SpaceWatch {
  /** Looks whether the guest waits for room. Returns at once. */
  look(guest: Guest): void;
  stop(): void;
}

export function createSpaceWatch(shared: Shared, live: LiveGuests): SpaceWatch {
  const { instances, pools, storage, clock, lanes, logger } = shared;
  const waiting = new Set<string>();
  const trying = new Set<string>();
  const over = new AbortController();
  const early = createEarlyPause(shared, live);
  let watching = false;

  async function watch(): Promise<void> {
    while (waiting.size > 0) {
      await clock.sleep(lookMs, over.signal);
      for (const id of waiting) tryOnce(id);
    }
  }

  /** What keeps one from going on, be it a pool that does not answer, must not keep the others. */
  function tryOnce(id: string): void {
    if (trying.has(id)) return;
    trying.add(id);
    tryAgain(id)
      .catch((error: unknown) => logger.warn('instance.not_resumed', { instance: id, error }))
      .finally(() => trying.delete(id));
  }

  async function tryAgain(id: string): Promise<void> {
    const guest = live.get(id);
    if (guest?.state.diskError !== 'no-space') {
      waiting.delete(id);
      return;
    }
    // What is being done with it may take long; it is looked at again.
    if (lanes.busy(id) || !(await hasRoom(id))) return;
    await lanes.run(id, async () => {
      if (live.get(id) !== guest || guest.state.diskError !== 'no-space') return;
      await guest.resume(AbortSignal.timeout(resumeMs));
      logger.info('instance.resumed_with_room', { instance: id });
    });
  }

  async function hasRoom(id: string): Promise<boolean> {
    const instance = instances.get(id);
    if (instance === undefined) return false;
    const early = new Set(volumesOnNvme(shared, id).map(({ spec }) => spec.pool));
    for (const { spec } of volumesOf(shared, instance).values()) {
      const { capacityBytes, availableBytes } = await (await storage.open(spec.pool)).capacity();
      // Where it is on NVMe, too, a write that finds no room would be an error in it.
      const isEarly = early.has(spec.pool);
      const least = isEarly ? leastToGoOn(pools.require(spec.pool), capacityBytes) : leastFreeBytes;
      if (availableBytes < least) return false;
    }
    return true;
  }

  return {
    look(guest) {
      early.look(guest);
      if (guest.state.diskError !== 'no-space') return;
      waiting.add(guest.id);
      if (watching) return;
      watching = true;
      watch()
        .catch((error: unknown) => {
          if (!over.signal.aborted) logger.error('instance.space_watch_failed', { error });
        })
        .finally(() => {
          watching = false;
        });
    },
    stop: () => {
      over.abort();
      early.stop();
    },
  };
}
