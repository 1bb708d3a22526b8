/**
 * Looks every 5 s whether limits are in force: whatever somebody else has changed is shown as drifted, mended, and said. Control groups are looked
 * at each time, all else once a minute, and when wirtd starts. What a guest has not given or taken yet is asked for again, less and less often.
 */
import type { Instance } from '@wirt/api';
import pLimit from 'p-limit';
import { withoutDefaults } from '../domain/limits/group-limits.ts';
import { inWholePages } from '../domain/tuning/placed.ts';
import type { Guest } from '../ports/hypervisor.ts';
import { policyOf, saysNothing, wantedOf } from './limits.ts';
import { bringLimits, lookAtLimits } from './limits-hold.ts';
import type { LiveGuests } from './live-guests.ts';
import type { Shared } from './parts.ts';
import { createPasses, type Passes } from './passes.ts';

const passMs = 5_000;
/** What takes questions to QEMU or tools is looked at in every twelfth pass, beginning with the first. */
const seldom = 12;
const longestPauseMs = 5 * 60_000;
/** So that others have their turn. */
const guestsInARow = 50;
const broughtAtOnce = 8;

/** When a guest that does not do what it is asked is asked again. */
interface Retry {
  readonly revision: number;
  readonly pauseMs: number;
  readonly dueMs: number;
}

export function createLimitsWatch(shared: Shared, live: LiveGuests): Passes {
  const { clock, logger, lanes, instances } = shared;
  const passes = createPasses(shared, { pauseMs: passMs, failed: 'limits.watch_failed' }, pass);
  const slot = pLimit(broughtAtOnce);
  /** Guests whose lane is waited for. */
  const under = new Set<string>();
  const retries = new Map<string, Retry>();

  function inLane(id: string, work: () => Promise<void>): void {
    if (under.has(id)) return;
    under.add(id);
    slot(() => lanes.run(id, () => (passes.signal.aborted ? Promise.resolve() : work())))
      .catch((error: unknown) => {
        if (!passes.signal.aborted) logger.warn('limits.not_mended', { instance: id, error });
      })
      .finally(() => under.delete(id));
  }

  /** Looked at again when its turn has come: what was being changed by us is no drift. */
  function mend(guest: Guest, isWhole: boolean): void {
    inLane(guest.id, async () => {
      const instance = instances.get(guest.id);
      if (instance === undefined || live.get(guest.id) !== guest) return;
      const what = await driftOf(shared, guest, instance, isWhole);
      if (what === undefined) return;
      logger.warn('limits.drifted', { instance: guest.id, what });
      await bringLimits(shared, live, guest.id, { mended: true, patient: false });
    });
  }

  function tryAgain({ id, revision }: Instance): void {
    const before = retries.get(id);
    const nowMs = clock.monotonicMs();
    const isSame = before?.revision === revision;
    if (isSame && before.dueMs > nowMs) return;
    const pauseMs = isSame ? Math.min(before.pauseMs * 2, longestPauseMs) : passMs;
    retries.set(id, { revision, pauseMs, dueMs: nowMs + pauseMs });
    inLane(id, () => bringLimits(shared, live, id, { patient: false }));
  }

  async function pass(number: number): Promise<void> {
    const isWhole = number % seldom === 0;
    let row = 0;
    for (const guest of [...live.all()]) {
      const instance = instances.get(guest.id);
      if (instance?.status.process === undefined || under.has(guest.id)) continue;
      if (instance.status.limits?.drifted !== undefined) {
        tryAgain(instance);
        continue;
      }
      retries.delete(guest.id);
      if (!isWhole && !isLimited(shared, instance)) continue;
      row += 1;
      if (row % guestsInARow === 0) await clock.sleep(1, passes.signal);
      const what = await driftOf(shared, guest, instance, isWhole).catch(() => undefined);
      if (what !== undefined) mend(guest, isWhole);
    }
    for (const id of retries.keys()) if (live.get(id) === undefined) retries.delete(id);
  }

  return passes;
}

/** Whether anything was asked for, or is in force, that a guest does not have by its start alone. */
function isLimited(shared: Shared, instance: Instance): boolean {
  const { spec, status } = inWholePages(instance);
  const isResized =
    status.run !== undefined && (spec.cpus !== status.run.cpus || spec.memoryMib !== status.run.memoryMib);
  return isResized || status.limits !== undefined || !saysNothing(instance, policyOf(shared, instance));
}

/** Where something is not as it should be, in a word; undefined where all is. */
async function driftOf(
  shared: Shared,
  guest: Guest,
  instance: Instance,
  isWhole: boolean,
): Promise<string | undefined> {
  const wanted = await wantedOf(shared, instance);
  const group = await shared.resources.limits(guest.id, guest.process);
  if (group === undefined || !isAlike(withoutDefaults(wanted.group), withoutDefaults(group)))
    return 'control group';
  if (!isWhole || !isLimited(shared, instance)) return undefined;
  const { drifted = [] } = await lookAtLimits(shared, guest, instance);
  return drifted.length === 0 ? undefined : drifted.map(({ key }) => key).join(', ');
}

/** Numbers within what kernels round. */
function isAlike(one: object, other: object): boolean {
  const [a, b] = [
    new Map<string, number>(Object.entries(one)),
    new Map<string, number>(Object.entries(other)),
  ];
  return [...new Set([...a.keys(), ...b.keys()])].every((key) => {
    const [x, y] = [a.get(key), b.get(key)];
    return x !== undefined && y !== undefined && Math.abs(x - y) <= 0.01 * Math.max(x, y);
  });
}
