/**
 * Guests that QEMU paused because a pool was full go on by themselves when there is room again. Looks at the pools only while a guest
 * waits for it.
 */
import type { Guest } from '../ports/hypervisor.ts';
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
  const { instances, storage, clock, lanes, logger } = shared;
  const waiting = new Set<string>();
  const over = new AbortController();
  let watching = false;

  async function watch(): Promise<void> {
    while (waiting.size > 0) {
      await clock.sleep(lookMs, over.signal);
      for (const id of waiting) await tryAgain(id);
    }
  }

  async function tryAgain(id: string): Promise<void> {
    const guest = live.get(id);
    if (guest?.state.diskError !== 'no-space') {
      waiting.delete(id);
      return;
    }
    if (!(await hasRoom(id))) return;
    logger.info('instance.resumed_with_room', { instance: id });
    await lanes.run(id, async () => {
      if (guest.state.diskError === 'no-space') await guest.resume(AbortSignal.timeout(resumeMs));
    });
  }

  async function hasRoom(id: string): Promise<boolean> {
    const instance = instances.get(id);
    if (instance === undefined) return false;
    for (const { spec } of volumesOf(shared, instance).values()) {
      const { availableBytes } = await (await storage.open(spec.pool)).capacity();
      if (availableBytes < leastFreeBytes) return false;
    }
    return true;
  }

  return {
    look(guest) {
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
    stop: () => over.abort(),
  };
}
