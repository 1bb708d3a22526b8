/**
 * Guests on NVMe are paused before their pool is full. QEMU's device knows no error policy (hw/nvme/ctrl.c has no `werror`), so that
 * the write that finds no room would be an error in the guest. Looks at the pools while such guests run; who fills the rest of a pool
 * between two looks still gets the error.
 */
import type { Volume } from '@wirt/api';
import type { Guest } from '../ports/hypervisor.ts';
import type { LiveGuests } from './live-guests.ts';
import type { Shared } from './parts.ts';
import { reserveOf } from './pool.ts';

const lookMs = 2_000;
const commandMs = 10_000;
const mib = 1024 * 1024;
/** What may be written between two looks, within what a small pool can spare. */
const leastMargin = 64 * mib;
const mostMargin = 4096 * mib;
/** Above the margin, before a guest goes on. */
const resumeBytes = 16 * mib;

export interface EarlyPause {
  /** Begins to look when the guest has such a disk. Returns at once. */
  look(guest: Guest): void;
  stop(): void;
}

export function createEarlyPause(shared: Shared, live: LiveGuests): EarlyPause {
  const { instances, volumes, pools, storage, clock, logger } = shared;
  const over = new AbortController();
  let watching = false;

  function onNvme(guest: Guest): Volume[] {
    const disks = instances.get(guest.id)?.spec.disks ?? [];
    return disks.flatMap((disk) => {
      const volume = disk.device === 'disk' && disk.bus === 'nvme' ? volumes.get(disk.volume) : undefined;
      return volume === undefined ? [] : [volume];
    });
  }

  const watched = (): Guest[] => [...live.all()].filter((guest) => onNvme(guest).length > 0);

  async function watch(): Promise<void> {
    for (let guests = watched(); guests.length > 0; guests = watched()) {
      await clock.sleep(lookMs, over.signal);
      for (const guest of guests)
        await lookAt(guest).catch((error: unknown) => {
          logger.warn('instance.room_not_known', { instance: guest.id, error });
        });
    }
  }

  /** Not in its lane, where a copy may be what fills the pool: QEMU itself stops guests at any moment. */
  async function lookAt(guest: Guest): Promise<void> {
    const { id } = guest;
    const { held } = live;
    if (live.get(id) !== guest) return;
    const isShort = await hasLessThan(guest, held.has(id) ? resumeBytes : 0);
    const { processors } = guest.state;
    if (isShort && processors === 'running' && instances.get(id)?.status.state === 'running') {
      // First, so that whoever sees it paused sees why.
      held.add(id);
      logger.warn('instance.paused_for_room', { instance: id });
      await guest.pause(AbortSignal.timeout(commandMs));
    } else if (!isShort && held.delete(id) && processors === 'paused') {
      await guest.resume(AbortSignal.timeout(commandMs));
      logger.info('instance.resumed_with_room', { instance: id });
    }
  }

  async function hasLessThan(guest: Guest, more: number): Promise<boolean> {
    for (const { spec } of onNvme(guest)) {
      const pool = pools.require(spec.pool);
      const { capacityBytes, availableBytes } = await (await storage.open(pool.id)).capacity();
      const wanted = Math.max(reserveOf(pool, capacityBytes) / 2, leastMargin);
      const margin = Math.min(wanted, mostMargin, capacityBytes / 8);
      if (availableBytes < margin + more) return true;
    }
    return false;
  }

  return {
    look(guest) {
      if (watching || onNvme(guest).length === 0) return;
      watching = true;
      watch()
        .catch((error: unknown) => {
          if (!over.signal.aborted) logger.error('instance.early_pause_failed', { error });
        })
        .finally(() => {
          watching = false;
        });
    },
    stop: () => over.abort(),
  };
}
