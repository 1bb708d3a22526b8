/**
 * Guests on NVMe are paused before their pool is full. QEMU's device knows no error policy (hw/nvme/ctrl.c has no `werror`), so that
 * the write that finds no room would be an error in the guest. Looks at the pools while such guests run; who fills the rest of a pool
 * between two looks still gets the error. Neither a pool nor a guest that hangs keeps the looks at others.
 */
import { type Pool, type Volume, WirtError } from '@wirt/api';
import type { Guest } from '../ports/hypervisor.ts';
import type { PoolCapacity } from '../ports/volume-pool.ts';
import type { LiveGuests } from './live-guests.ts';
import type { Shared } from './parts.ts';
import { reserveOf } from './pool.ts';

const lookMs = 2_000;
const answerMs = 10_000;
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

/** What is free on a pool when guests on NVMe are paused. */
function marginOf(pool: Pool, capacityBytes: number): number {
  const wanted = Math.max(reserveOf(pool, capacityBytes) / 2, leastMargin);
  return Math.min(wanted, mostMargin, capacityBytes / 8);
}

/** What must be free on a pool before a guest on NVMe goes on. */
export function leastToGoOn(pool: Pool, capacityBytes: number): number {
  return marginOf(pool, capacityBytes) + resumeBytes;
}

/** Volumes that an instance has on NVMe. */
export function volumesOnNvme(
  { instances, volumes }: Pick<Shared, 'instances' | 'volumes'>,
  id: string,
): Volume[] {
  const disks = instances.get(id)?.spec.disks ?? [];
  return disks.flatMap((disk) => {
    const volume = disk.device === 'disk' && disk.bus === 'nvme' ? volumes.get(disk.volume) : undefined;
    return volume === undefined ? [] : [volume];
  });
}

export function createEarlyPause(shared: Shared, live: LiveGuests): EarlyPause {
  const { instances, pools, storage, clock, logger } = shared;
  const over = new AbortController();
  /** By pool, each asked once at a time: what hangs is waited for, and not asked again. */
  const asked = new Map<string, Promise<PoolCapacity>>();
  const looking = new Set<Guest>();
  let watching = false;

  const watched = (): Guest[] => [...live.all()].filter(({ id }) => volumesOnNvme(shared, id).length > 0);

  async function watch(): Promise<void> {
    for (let guests = watched(); guests.length > 0; guests = watched()) {
      await clock.sleep(lookMs, over.signal);
      for (const guest of guests) if (!looking.has(guest)) begin(guest);
    }
  }

  function begin(guest: Guest): void {
    looking.add(guest);
    lookAt(guest)
      .catch((error: unknown) => {
        if (!over.signal.aborted) logger.warn('instance.room_not_known', { instance: guest.id, error });
      })
      .finally(() => looking.delete(guest));
  }

  /** Not in its lane, where a copy may be what fills the pool: QEMU itself stops guests at any moment. */
  async function lookAt(guest: Guest): Promise<void> {
    const { id } = guest;
    const { held } = live;
    const isShort = await hasLessThan(id, held.has(id) ? leastToGoOn : marginOf);
    if (live.get(id) !== guest) return;
    const { processors } = guest.state;
    if (isShort && processors === 'running' && instances.get(id)?.status.state === 'running') {
      // First, so that whoever sees it paused sees why.
      held.add(id);
      logger.warn('instance.paused_for_room', { instance: id });
      await guest.pause(AbortSignal.timeout(commandMs));
    } else if (!isShort && held.has(id)) {
      if (processors === 'paused') {
        await guest.resume(AbortSignal.timeout(commandMs));
        logger.info('instance.resumed_with_room', { instance: id });
      }
      // Last, so that what fails is tried again.
      held.delete(id);
    }
  }

  /** One pool that has is enough; only when none has, all must have answered. */
  async function hasLessThan(id: string, least: typeof marginOf): Promise<boolean> {
    const refs = new Set(volumesOnNvme(shared, id).map(({ spec }) => spec.pool));
    const looks = [...refs].map(async (ref) => {
      const pool = pools.require(ref);
      const { capacityBytes, availableBytes } = await inTime(pool, capacityOf(pool));
      return availableBytes < least(pool, capacityBytes);
    });
    const found = looks.map(async (look) => (await look) || Promise.reject(new Error('There is room.')));
    return Promise.any(found).catch(async () => (await Promise.all(looks)).includes(true));
  }

  function capacityOf({ id }: Pool): Promise<PoolCapacity> {
    const ask = async (): Promise<PoolCapacity> => (await storage.open(id)).capacity();
    const answer = asked.get(id) ?? ask().finally(() => asked.delete(id));
    asked.set(id, answer);
    return answer;
  }

  async function inTime<T>({ name }: Pool, answer: Promise<T>): Promise<T> {
    const answered = new AbortController();
    const signal = AbortSignal.any([answered.signal, over.signal]);
    const late = clock.sleep(answerMs, signal).then(() => {
      throw new WirtError('pool.unusable', `Pool ${name} has not told its room within ${answerMs} ms.`);
    });
    return Promise.race([answer, late]).finally(() => answered.abort());
  }

  return {
    look(guest) {
      if (watching || volumesOnNvme(shared, guest.id).length === 0) return;
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
