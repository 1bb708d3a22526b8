/** Usage beside limit: what guests use now, as the sampler found it last, and what they used, from the history. */
import { type Instance, type Usage, type UsageHistoryQuery, type UsageList, WirtError } from '@wirt/api';
import type { UsageActions } from './actions.ts';
import { createSampler, type UsageNeeds, type UsageSampler, type WatchedGuests } from './usage-sampler.ts';

const longestWaitMs = 30_000;
const defaultSpanMs = 3_600_000;
/** What the fine ring of the history has; behind that lie means of 5 min. */
const fineSpanMs = 3_600_000;
const fineSeconds = 5;
const coarseSeconds = 300;
const mostPoints = 720;

export interface CoreUsage {
  readonly actions: UsageActions;
  readonly sampler: UsageSampler;
}

export function createUsage(needs: UsageNeeds, live: WatchedGuests): CoreUsage {
  const sampler = createSampler(needs, live);
  return { actions: createUsageActions(needs, live, sampler), sampler };
}

export function createUsageActions(
  { instances, clock, usageHistory }: UsageNeeds,
  live: WatchedGuests,
  sampler: UsageSampler,
): UsageActions {
  const listed = (project: string): UsageList => {
    const last = sampler.last();
    const items: Usage[] = [];
    for (const usage of last?.usage.values() ?? [])
      if (instances.get(usage.instance)?.project === project) items.push(usage);
    return { at: last?.at ?? clock.now(), items };
  };

  return {
    list: async ({ signal }, { project, after }) => {
      const isLater = (): boolean => {
        const at = sampler.last()?.at;
        return after === undefined || (at !== undefined && Date.parse(at) > Date.parse(after));
      };
      const over = AbortSignal.any([signal, AbortSignal.timeout(longestWaitMs)]);
      while (!isLater() && !over.aborted) await first(sampler.next, over);
      return listed(project);
    },
    get: async (ref) => {
      const instance = instances.require(ref);
      const guest = live.get(instance.id);
      if (guest === undefined) throw usesNothing(instance);
      sampler.watch(instance.id);
      const usage = sampler.latest(instance.id) ?? (await sampler.look(guest));
      if (usage === undefined) throw usesNothing(instance);
      return usage;
    },
    history: async (ref, query) => {
      const { id } = instances.require(ref);
      const { fromMs, toMs, resolutionSeconds } = rangeOf(query, clock.now());
      const samples = await usageHistory.read(id, { fromMs, toMs, resolutionMs: resolutionSeconds * 1000 });
      const points = samples.map(({ atMs, ...means }) => ({ at: new Date(atMs).toISOString(), ...means }));
      return { resolutionSeconds, points };
    },
    survey: async () => ({
      at: sampler.last()?.at,
      passes: sampler.spent.passes,
      passSeconds: sampler.spent.seconds,
      instances: Array.from(instances.after(), ({ id, name, project, status }) => ({
        id,
        name,
        project,
        state: status.state,
        usage: sampler.latest(id),
      })),
    }),
  };
}

/** Returns when either comes. */
async function first(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  const listening = new AbortController();
  const aborted = new Promise<void>((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true, signal: listening.signal });
  });
  await Promise.race([promise, aborted]).finally(() => listening.abort());
}

function usesNothing({ name, status }: Instance): WirtError {
  return new WirtError(
    'instance.state_conflict',
    `Instance ${name} is ${status.state}: nothing of it runs that could be measured.`,
    { hint: `Start it: \`wirt start ${name}\`. What it used before is in its history.` },
  );
}

interface Range {
  readonly fromMs: number;
  readonly toMs: number;
  readonly resolutionSeconds: number;
}

/** Completes a query for the history. Throws `request.invalid`. */
export function rangeOf({ from, to, resolutionSeconds }: UsageHistoryQuery, now: string): Range {
  const toMs = Date.parse(to ?? now);
  const fromMs = from === undefined ? toMs - defaultSpanMs : Date.parse(from);
  if (fromMs >= toMs)
    throw new WirtError('request.invalid', 'The history was asked for a range that ends before it begins.', {
      hint: 'Give a `from` that is before `to`; without `to` it is now.',
      details: { in: 'query', field: 'from' },
    });
  if (resolutionSeconds === undefined)
    return { fromMs, toMs, resolutionSeconds: finest(fromMs, toMs, Date.parse(now)) };
  if (resolutionSeconds % fineSeconds !== 0)
    throw new WirtError('request.invalid', `resolutionSeconds must be a multiple of ${fineSeconds}.`, {
      hint: `The nearest is ${Math.ceil(resolutionSeconds / fineSeconds) * fineSeconds}.`,
      details: { in: 'query', field: 'resolutionSeconds' },
    });
  return { fromMs, toMs, resolutionSeconds };
}

/** The finest resolution that gives no more than 720 points and is not finer than what was kept. */
function finest(fromMs: number, toMs: number, nowMs: number): number {
  // Who asks for the last hour has looked at the clock a moment ago.
  const kept = fromMs < nowMs - fineSpanMs - coarseSeconds * 1000 ? coarseSeconds : fineSeconds;
  const steps = Math.ceil((toMs - fromMs) / 1000 / mostPoints / kept);
  return Math.max(1, steps) * kept;
}
