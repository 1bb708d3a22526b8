/**
 * Looks every 5 s whether limits are in force: whatever somebody else has changed is shown as drifted, mended, and said. What a guest has not
 * given or taken yet is asked for again. Those without limits are looked at now and then.
 */
import type { Instance } from '@wirt/api';
import { withoutDefaults } from '../domain/limits/group-limits.ts';
import type { Guest } from '../ports/hypervisor.ts';
import { isUnlimited, wantedOf } from './limits.ts';
import { bringLimits } from './limits-hold.ts';
import type { LiveGuests } from './live-guests.ts';
import type { Shared } from './parts.ts';

const passMs = 5_000;
/** Guests without limits, and what only QEMU can tell, are looked at in every twelfth pass. */
const seldom = 12;
const askMs = 2_000;

export interface LimitsWatch {
  start(): void;
  stop(): void;
}

export function createLimitsWatch(shared: Shared, live: LiveGuests): LimitsWatch {
  const { clock, logger, lanes } = shared;
  const over = new AbortController();
  /** Guests whose lane is waited for. */
  const under = new Set<string>();

  function bring(id: string, mended: boolean): void {
    if (under.has(id)) return;
    under.add(id);
    lanes
      .run(id, () => (over.signal.aborted ? Promise.resolve() : bringLimits(shared, live, id, { mended })))
      .catch((error: unknown) => {
        if (!over.signal.aborted) logger.warn('limits.not_mended', { instance: id, error });
      })
      .finally(() => under.delete(id));
  }

  async function pass(number: number): Promise<void> {
    const isWhole = number % seldom === 0;
    const ports = await portsNow(shared, live, isWhole);
    for (const guest of [...live.all()]) {
      const instance = shared.instances.get(guest.id);
      if (instance?.status.process === undefined || under.has(guest.id)) continue;
      if (instance.status.limits?.drifted !== undefined) {
        bring(guest.id, false);
        continue;
      }
      const isLimited =
        instance.status.limits !== undefined ||
        instance.spec.limits !== undefined ||
        instance.spec.policy !== undefined;
      if (!isLimited && !isWhole) continue;
      const what = await driftOf(shared, guest, instance, { ports, asksQemu: isWhole && isLimited }).catch(
        () => undefined,
      );
      if (what === undefined) continue;
      logger.warn('limits.drifted', { instance: guest.id, what });
      bring(guest.id, true);
    }
  }

  async function run(): Promise<void> {
    for (let number = 0; !over.signal.aborted; number += 1) {
      await pass(number).catch((error: unknown) => logger.error('limits.watch_failed', { error }));
      await clock.sleep(passMs, over.signal);
    }
  }

  return {
    start: () => {
      run().catch((error: unknown) => {
        if (!over.signal.aborted) logger.error('limits.watch_failed', { error });
      });
    },
    stop: () => over.abort(new Error('wirtd is stopping.')),
  };
}

type Ports = Awaited<ReturnType<Shared['network']['limits']>> | undefined;

/** One question for all, and none where no card is limited. */
async function portsNow({ network, instances }: Shared, live: LiveGuests, isWhole: boolean): Promise<Ports> {
  if (network.refusesLimits() !== undefined) return undefined;
  const isAny = [...live.all()].some(
    ({ id }) => instances.get(id)?.status.limits?.effective.nics !== undefined,
  );
  if (!isAny && !isWhole) return undefined;
  return network.limits(AbortSignal.timeout(askMs)).catch(() => undefined);
}

/** Where something is not as it should be, in a word; undefined where all is. */
async function driftOf(
  shared: Shared,
  { id, process, tuning }: Guest,
  instance: Instance,
  { ports, asksQemu }: { readonly ports: Ports; readonly asksQemu: boolean },
): Promise<string | undefined> {
  const wanted = await wantedOf(shared, instance);
  const group = await shared.resources.limits(id, process);
  if (group === undefined) return 'control group';
  if (!isAlike(withoutDefaults(wanted.group), withoutDefaults(group))) return 'control group';
  for (const [nic, limits] of Object.entries(wanted.nics)) {
    const found = ports?.get(`${id}/${nic}`);
    if (found === undefined) continue;
    for (const way of ['ingress', 'egress'] as const) {
      const { burstBytes: _asked, ...asked } = limits[way] ?? {};
      const { burstBytes: _is, ...is } = found[way] ?? {};
      if (!isAlike(asked, is)) return `network card ${nic}`;
    }
  }
  if (!asksQemu || isUnlimited(wanted)) return undefined;
  const throttles = await tuning.throttles(AbortSignal.timeout(askMs));
  return sameRates(wanted.all, throttles.all) ? undefined : 'disks';
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

function sameRates(one: object, other: object): boolean {
  const ratesOf = (throttle: object): Record<string, number> =>
    Object.fromEntries(
      Object.entries(throttle).map(([key, value]: [string, { readonly rate: number }]) => [key, value.rate]),
    );
  return isAlike(ratesOf(one), ratesOf(other));
}
