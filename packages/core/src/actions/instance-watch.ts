/**
 * What happens when a guest ends by itself: its reason is recorded, what its run left is cleared, and the restart policy
 * is followed with back-off. A restart that is due survives the daemon; it is an operation like any other.
 */
import { type Instance, type InstanceExit, WirtError } from '@wirt/api';
import { backOffMs, explainExit, isFailure, restarts, steadyRunMs } from '../domain/exit.ts';
import type { GuestExit } from '../domain/guest.ts';
import { inState } from './instance-state.ts';
import type { StopInstance } from './instance-stop.ts';
import type { Shared } from './parts.ts';
import { commit } from './records.ts';

export interface WatchInstance {
  /**
   * Records an end that nobody asked for. Call in the lane, or before there is any work, when the process is gone. Where the store has no
   * room, it returns, and the end is recorded when there is.
   */
  ended(id: string, exit: GuestExit): Promise<void>;
  /** Sets the timer of a restart that the record says is due. */
  schedule(instance: Instance): void;
  /** Follows the policy for an instance whose start has failed, where no person waits for it. */
  scheduleAfterFailedStart(id: string): Promise<void>;
  /** Drops a restart that is due, as anything that a person asks for does. */
  unschedule(id: string): void;
  stop(): void;
}

export function createWatch(
  shared: Shared,
  tearDown: StopInstance['tearDown'],
  startAgain: (id: string, restarts: number) => Promise<void>,
): WatchInstance {
  const { store, late, lanes, instances, clock, logger, resources } = shared;
  const timers = new Map<string, AbortController>();

  function unschedule(id: string): void {
    timers.get(id)?.abort(new WirtError('operation.cancelled', 'The restart was called off.'));
    timers.delete(id);
  }

  /** The due time is for people; the wait itself runs on monotonic time, anew after a restart of the daemon. */
  function schedule(instance: Instance): void {
    const { id, status } = instance;
    if (status.restartAt === undefined) return;
    unschedule(id);
    const timer = new AbortController();
    timers.set(id, timer);
    clock
      .sleep(backOffMs(status.restarts), timer.signal)
      .then(() => {
        timers.delete(id);
        return startAgain(id, status.restarts + 1);
      })
      .catch((error: unknown) => {
        if (!timer.signal.aborted) logger.warn('instance.restart_failed', { instance: id, error });
      });
  }

  function dueAt(row: number): string {
    return new Date(Date.parse(clock.now()) + backOffMs(row)).toISOString();
  }

  async function ended(id: string, guestExit: GuestExit): Promise<void> {
    const instance = instances.get(id);
    if (instance === undefined) return;
    const oomKills = await resources.oomKills(id).catch(() => 0);
    // What cannot be cleared now is in nobody's way, and is cleared by the next start, removal or recovery.
    await tearDown(id, 'instance.end').catch((error: unknown) => {
      logger.error('instance.tear_down_failed', { instance: id, error });
    });
    const exit = explainExit({
      at: clock.now(),
      exit: guestExit,
      oomKills,
      memoryMib: instance.spec.memoryMib,
    });
    logger.info('instance.ended', { instance: id, reason: exit.reason, message: exit.message });
    const { since } = instance.status;
    let first = true;
    const record = async (): Promise<void> => {
      const current = instances.get(id);
      // An operation may have brought it elsewhere while this waited for room.
      if (current?.status.since === since) await recordEnd(current, exit);
    };
    const inLane = (): Promise<void> => {
      // The first time the lane is the caller's.
      if (!first) return lanes.run(id, record);
      first = false;
      return record();
    };
    await late.begin(inLane, (error) => logger.error('instance.end_not_stored', { instance: id, error }));
  }

  async function recordEnd(instance: Instance, exit: InstanceExit): Promise<void> {
    const again = restarts(instance.spec.restart, exit.reason);
    const row = ranSteadily(instance, exit.at) ? 0 : instance.status.restarts;
    const state = isFailure(exit.reason) ? 'crashed' : 'stopped';
    const record = inState(clock, instance, state, {
      exit,
      restarts: row,
      ...(again ? { restartAt: dueAt(row) } : {}),
    });
    await commit(store, [instances.put(record)]);
    schedule(record);
  }

  async function scheduleAfterFailedStart(id: string): Promise<void> {
    const instance = instances.get(id);
    if (instance?.status.state !== 'crashed' || !restarts(instance.spec.restart, 'error')) return;
    const record = {
      ...instance,
      status: { ...instance.status, restartAt: dueAt(instance.status.restarts) },
    };
    await late.commit([instances.put(record)]);
    schedule(record);
  }

  return {
    ended,
    schedule,
    scheduleAfterFailedStart,
    unschedule,
    stop: () => {
      for (const id of [...timers.keys()]) unschedule(id);
    },
  };
}

function ranSteadily(instance: Instance, endedAt: string): boolean {
  const { startedAt } = instance.status;
  return startedAt !== undefined && Date.parse(endedAt) - Date.parse(startedAt) >= steadyRunMs;
}
