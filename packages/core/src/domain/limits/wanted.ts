/** What an instance is to be held to: its own values over those of its policy, field by field; 0 is no limit, also over a policy. Pure. */
import type { Instance, Limits, NicLimits, Policy, Rate, Throttle, Tuning } from '@wirt/api';
import { type Profile, profileOf, tuningInForce } from '../tuning/profile.ts';
import type { GroupLimits } from './group-limits.ts';
import { qemuMemoryMib } from './qemu-memory.ts';

/** Without zeros: what is absent has no limit. */
export interface WantedLimits {
  readonly group: GroupLimits;
  readonly all: Throttle;
  /** By name of the disk; of every disk that can have limits. */
  readonly each: Readonly<Record<string, Throttle>>;
  /** By name of the card; of every card. */
  readonly nics: Readonly<Record<string, NicLimits>>;
  /** What the guest is to be left; undefined: all it has. */
  readonly balloonMib: number | undefined;
  readonly freePageReporting: boolean;
}

/** What is known of where the guest runs, or will. */
export interface Ground {
  readonly accelerator: 'kvm' | 'tcg';
  readonly hostMib: number;
  /** Of a guest that runs: what its QEMU may have, whatever is asked for by now. */
  readonly run?: { readonly maxCpus: number; readonly maxMemoryMib: number } | undefined;
}

/** Of control groups (Documentation/admin-guide/cgroup-v2.rst, cpu.weight). */
const mostWeight = 10_000;

type Fields = { readonly [key: string]: unknown };

/** `status`: of a guest that runs, with the tuning that it was started with. */
type Held = Pick<Instance, 'spec'> & { readonly status?: Pick<Instance['status'], 'run'> };

export function wantedLimits(instance: Held, policy: Policy | undefined, ground: Ground): WantedLimits {
  const { spec } = instance;
  // A profile is in force from the next start, also in what could be changed at once.
  const tuning = tuningInForce(instance);
  const shared = policy?.spec.limits ?? {};
  const own = spec.limits ?? {};
  const { cpu, memory, disk, eachDisk } = over<Limits>(shared, own);
  const { weight: ioWeight, ...all } = settled(shared.disk, own.disk, disk);
  const ceilingMib = memory?.ceilingMib === 'auto' ? wholeMib(spec, ground) : memory?.ceilingMib;
  return {
    group: withoutZeros({
      cores: cpu?.cores,
      burstMs: cpu?.cores ? cpu.burstMs : undefined,
      weight: cpu?.weight ?? weightOf(tuning, spec.cpus),
      ceilingMib,
      reservationMib: memory?.reservationMib,
      // How much may be swapped may well be nothing: only absence is no limit.
      ...(ceilingMib && memory?.swapMib !== undefined ? { swapMib: memory.swapMib } : {}),
      ioWeight,
    }) as GroupLimits,
    all: rates(all),
    each: Object.fromEntries(
      spec.disks.flatMap((one) =>
        one.device === 'disk' ? [[one.name, rates(throttleOver(eachDisk, one.limits))]] : [],
      ),
    ),
    nics: wantedOfNics({ spec }, policy),
    balloonMib: memory?.balloonMib || undefined,
    freePageReporting: memory?.freePageReporting ?? profileOf(tuning).freePageReporting,
  };
}

/** That of its profile, where neither it nor its policy says anything. */
export function weightOf(tuning: Tuning | undefined, cpus: number): number | undefined {
  const { weightPerVcpu }: Profile = profileOf(tuning);
  return weightPerVcpu === undefined ? undefined : Math.min(weightPerVcpu * cpus, mostWeight);
}

/** By name of the card; of every card. */
export function wantedOfNics(
  { spec }: Pick<Instance, 'spec'>,
  policy: Policy | undefined,
): Readonly<Record<string, NicLimits>> {
  const each = over<NicLimits>(policy?.spec.limits.eachNic ?? {}, spec.limits?.eachNic ?? {});
  return Object.fromEntries(
    spec.nics.map((nic) => [nic.name, nicRates(over<NicLimits>(each, nic.limits ?? {}))]),
  );
}

export function memoryMaxMib({
  memoryMib,
  maxMemoryMib,
}: Pick<Instance['spec'], 'memoryMib' | 'maxMemoryMib'>): number {
  return Math.max(memoryMib, maxMemoryMib ?? 0);
}

/** All that a guest and its QEMU may ever take in this run, or the next. */
export function wholeMib(spec: Instance['spec'], { run, ...ground }: Ground): number {
  const maxMemoryMib = Math.max(memoryMaxMib(spec), run?.maxMemoryMib ?? 0);
  const maxCpus = Math.max(spec.maxCpus ?? 0, run?.maxCpus ?? 0);
  return maxMemoryMib + qemuMemoryMib({ ...spec, maxCpus, maxMemoryMib }, ground);
}

/** A total and a part of the same kind exclude each other: what the instance says itself takes the place of the other. */
const parts = {
  Bytes: ['readBytes', 'writeBytes'],
  Operations: ['readOperations', 'writeOperations'],
} as const;

function throttleOver(shared: Throttle | undefined, own: Throttle | undefined): Throttle {
  return settled(shared, own, over<Throttle>(shared ?? {}, own ?? {}));
}

function settled<T extends Throttle>(shared: T | undefined, own: T | undefined, merged: T | undefined): T {
  const result: Record<string, unknown> = { ...merged };
  for (const kind of ['Bytes', 'Operations'] as const) {
    const total = `total${kind}` as const;
    const isPart = parts[kind].some((part) => limits(own?.[part]));
    if (limits(own?.[total])) for (const part of parts[kind]) if (!limits(own?.[part])) delete result[part];
    if (isPart && !limits(own?.[total]) && limits(shared?.[total])) delete result[total];
  }
  // The fields of `merged`, of which some are left out: all of them are optional.
  return result as T;
}

function limits(rate: Rate | undefined): boolean {
  return rate !== undefined && rate.rate > 0;
}

function rates(throttle: Throttle): Throttle {
  const left = Object.entries(throttle).filter(([, rate]) => limits(rate));
  return Object.fromEntries(left);
}

function nicRates({ ingress, egress }: NicLimits): NicLimits {
  const of = (direction: NicLimits['ingress']): NicLimits['ingress'] => {
    const { burstBytes, ...rest } = direction ?? {};
    const left = withoutZeros(rest.bytesPerSecond ? { ...rest, burstBytes } : rest);
    return Object.keys(left).length === 0 ? undefined : left;
  };
  const [towards, from] = [of(ingress), of(egress)];
  return { ...(towards && { ingress: towards }), ...(from && { egress: from }) };
}

function withoutZeros<T extends Fields>(fields: T): Partial<T> {
  const left = Object.entries(fields).filter(
    ([key, value]) => value !== undefined && (value !== 0 || key === 'swapMib'),
  );
  return Object.fromEntries(left) as Partial<T>;
}

/** Sections and directions are gone into; a rate with its burst is one value. */
function isSection(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !('rate' in value);
}

/** `top` over `base`, field by field. */
export function over<T extends object>(base: T, top: T): T {
  const result: Record<string, unknown> = Object.fromEntries(Object.entries(base));
  for (const [key, value] of Object.entries(top)) {
    if (value === undefined) continue;
    const below = result[key];
    result[key] = isSection(value) && isSection(below) ? over(below, value) : value;
  }
  return result as T;
}

/** A JSON merge patch (RFC 7396): null takes out, what is absent stays. Sections that are left empty go. */
export function patched<T extends object>(base: T | undefined, patch: object): T {
  const result: Record<string, unknown> = { ...base };
  for (const [key, value] of Object.entries(patch)) {
    if (value === undefined) continue;
    const below = result[key];
    const next = isSection(value) ? patched(isSection(below) ? below : {}, value) : value;
    if (next === null || (isSection(next) && Object.keys(next).length === 0)) delete result[key];
    else result[key] = next;
  }
  return result as T;
}
