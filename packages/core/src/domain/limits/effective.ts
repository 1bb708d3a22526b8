/** What of an instance's limits is in force, what is not, and what waits for its next start. Pure. */
import type { EffectiveLimits, Instance, LimitGap } from '@wirt/api';
import { gapsBetween } from './gaps.ts';
import { withoutDefaults } from './group-limits.ts';
import { memoryMaxMib, type WantedLimits } from './wanted.ts';

/** How many vCPUs and how much memory a running guest has, and may have. */
export interface Size {
  readonly vcpus: { readonly plugged: number; readonly max: number };
  readonly memory: {
    readonly bootMib: number;
    readonly pluggedMib: number;
    readonly balloonMib?: number;
    readonly maxMib: number;
    readonly freePageReporting?: boolean;
  };
}

/** What went wrong, by the key, or the first word of the keys, that it concerns. `isLater`: this run cannot have it, its next start can. */
export type Reasons = ReadonlyMap<string, { readonly why: string; readonly isLater: boolean }>;

export function sizeShown({
  vcpus,
  memory,
}: Size): Pick<EffectiveLimits, 'cpus' | 'memoryMib'> & { readonly reporting?: boolean } {
  const { pluggedMib, balloonMib = pluggedMib, freePageReporting } = memory;
  return {
    cpus: vcpus.plugged,
    memoryMib: balloonMib,
    ...(freePageReporting === undefined ? {} : { reporting: freePageReporting }),
  };
}

export function effectiveOf(
  { group, all, each, nics }: Pick<WantedLimits, 'group' | 'all' | 'each' | 'nics'>,
  { reporting, ...size }: ReturnType<typeof sizeShown> | { readonly reporting?: boolean },
): EffectiveLimits {
  const { cores, burstMs, weight, ceilingMib, reservationMib, swapMib, ioWeight } = withoutDefaults(group);
  const cpu = defined({ cores, weight, burstMs });
  const memory = defined({ ceilingMib, reservationMib, swapMib, freePageReporting: reporting || undefined });
  const disk = { ...all, ...(ioWeight === undefined ? {} : { weight: ioWeight }) };
  return {
    ...size,
    ...filled('cpu', cpu),
    ...filled('memory', memory),
    ...filled('disk', disk),
    ...filled('disks', onlyFilled(each)),
    ...filled('nics', onlyFilled(nics)),
  };
}

/** Without what is undefined. */
function defined<T extends object>(fields: T): { [K in keyof T]?: NonNullable<T[K]> } {
  const left = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(left) as { [K in keyof T]?: NonNullable<T[K]> };
}

function onlyFilled<T extends object>(parts: Readonly<Record<string, T>>): Record<string, T> {
  return Object.fromEntries(Object.entries(parts).filter(([, part]) => Object.keys(part).length > 0));
}

function filled<K extends string, T extends object>(key: K, part: T): { readonly [P in K]?: T } {
  // One key, which is K.
  return (Object.keys(part).length === 0 ? {} : { [key]: part }) as { readonly [P in K]?: T };
}

/**
 * What the balloon is to leave: it takes only of what the guest has now. What is plugged in beyond what is asked for and not given back yet is not the
 * balloon's to take: it would take it from what the guest was started with.
 */
export function balloonTargetMib(
  { bootMib, pluggedMib }: { readonly bootMib: number; readonly pluggedMib: number },
  memoryMib: number,
  balloonMib: number,
): number {
  const haveMib = Math.min(Math.max(bootMib, memoryMib), pluggedMib);
  const heldMib = Math.max(0, haveMib - Math.min(balloonMib, memoryMib, haveMib));
  return pluggedMib - heldMib;
}

/** What a running guest cannot take. */
export function pendingOf(
  spec: Instance['spec'],
  { freePageReporting }: WantedLimits,
  { vcpus, memory }: Size,
): LimitGap[] {
  const gap = (key: string, wanted: number | boolean, found: number | boolean, why: string): LimitGap[] =>
    wanted === found ? [] : [{ key, wanted: String(wanted), found: String(found), why }];
  const fixed = 'QEMU is told of it when it is started.';
  const maxCpus = Math.max(spec.cpus, spec.maxCpus ?? 0);
  const { maxMib, freePageReporting: reports = false } = memory;
  return [
    ...(spec.cpus > vcpus.max
      ? gap('cpus', spec.cpus, vcpus.plugged, `This run was started for ${vcpus.max} at most.`)
      : []),
    ...(spec.memoryMib > maxMib
      ? gap('memory', spec.memoryMib, memory.pluggedMib, `This run was started for ${maxMib} MiB at most.`)
      : []),
    ...(maxCpus > vcpus.max ? gap('max-cpus', maxCpus, vcpus.max, fixed) : []),
    // QEMU rounds it up.
    ...(memoryMaxMib(spec) > maxMib ? gap('max-memory', memoryMaxMib(spec), maxMib, fixed) : []),
    ...gap('memory.free-page-reporting', freePageReporting, reports, fixed),
  ];
}

/** What differs from what was asked for, but for what waits already. */
export function driftOf(
  spec: Instance['spec'],
  {
    effective,
    wanted,
    reasons,
  }: {
    readonly effective: EffectiveLimits;
    readonly wanted: WantedLimits;
    readonly reasons: Reasons;
  },
  pending: ReadonlySet<string>,
): (LimitGap & { readonly isLater?: boolean })[] {
  const asked = effectiveOf(wanted, {
    cpus: spec.cpus,
    memoryMib: Math.min(spec.memoryMib, wanted.balloonMib ?? spec.memoryMib),
    reporting: wanted.freePageReporting,
  });
  const changed =
    'It is not what was asked for: the guest has not done it yet, or somebody else has changed it.';
  return gapsBetween(asked, effective, changed)
    .filter(({ key }) => !pending.has(key))
    .map((gap) => ({ ...gap, ...reasonOf(reasons, gap) }));
}

/** Where it is known why a value is not in force. */
function reasonOf(
  reasons: Reasons,
  { key }: LimitGap,
): { readonly why: string; readonly isLater: boolean } | undefined {
  return reasons.get(key) ?? reasons.get(key.split('.')[0] ?? '');
}
