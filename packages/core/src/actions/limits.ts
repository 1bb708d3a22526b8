/**
 * Puts an instance's limits in force where they act, reads them back from there, and says in the record what is in force, what is not, and
 * why. Runs in the lane of the instance. What one place refuses keeps none of the others from theirs.
 */
import {
  causeText,
  type EffectiveLimits,
  type Instance,
  type LimitGap,
  type LimitsStatus,
  type Policy,
  WirtError,
} from '@wirt/api';
import { requireSound } from '../domain/limits/floors.ts';
import { gapsBetween } from '../domain/limits/gaps.ts';
import type { GroupLimitKey, GroupLimits } from '../domain/limits/group-limits.ts';
import { qemuMemoryMib } from '../domain/limits/qemu-memory.ts';
import { type Ground, memoryMaxMib, type WantedLimits, wantedLimits } from '../domain/limits/wanted.ts';
import type { Guest, GuestMemory } from '../ports/hypervisor.ts';
import type { LiveGuests } from './live-guests.ts';
import type { Shared } from './parts.ts';
import { commit } from './records.ts';

/** For the guest to take or give processors and memory; what it has not done by then is shown, and asked for again. */
const guestMs = 8_000;
const commandMs = 5_000;

export function policyOf(
  { policies }: Pick<Shared, 'policies'>,
  { spec, project }: Instance,
): Policy | undefined {
  return spec.policy === undefined ? undefined : policies.find(spec.policy, project);
}

async function groundOf({ host }: Pick<Shared, 'host'>, { spec, status }: Instance): Promise<Ground> {
  // One that the host does not have is for its start to refuse.
  const accelerator =
    status.accelerator ?? (await host.accelerator(spec.accelerator).catch(() => 'tcg' as const));
  return { accelerator, hostMib: (await host.memory()).totalMib };
}

/** Where nothing was asked for, nothing has to be known of the host. */
const anywhere: Ground = { accelerator: 'tcg', hostMib: 0 };

function saysNothing({ spec }: Instance, policy: Policy | undefined): boolean {
  const parts = [...spec.disks.filter(({ device }) => device === 'disk'), ...spec.nics];
  return (
    policy === undefined &&
    spec.limits === undefined &&
    parts.every((part) => !('limits' in part) || part.limits === undefined)
  );
}

export async function wantedOf(
  shared: Pick<Shared, 'host' | 'policies'>,
  instance: Instance,
  policy = policyOf(shared, instance),
): Promise<WantedLimits> {
  const ground = saysNothing(instance, policy) ? anywhere : await groundOf(shared, instance);
  return wantedLimits(instance, policy, ground);
}

/** Throws `limit.invalid`, `limit.below_floor`, `limit.unsupported`; changes nothing. */
export async function requireLimits(
  shared: Pick<Shared, 'host' | 'policies' | 'resources' | 'network'>,
  instance: Instance,
  policy = policyOf(shared, instance),
): Promise<WantedLimits> {
  if (saysNothing(instance, policy)) return wantedLimits(instance, policy, anywhere);
  const ground = await groundOf(shared, instance);
  const wanted = wantedLimits(instance, policy, ground);
  requireSound(instance, wanted, ground);
  // The keys of GroupLimits, which Object.keys forgets.
  for (const key of Object.keys(wanted.group) as GroupLimitKey[]) {
    const refused = shared.resources.refuses(key);
    if (refused !== undefined) throw unsupported(instance.name, groupKeys[key], refused);
  }
  const refused = shared.network.refusesLimits();
  const [nic] = Object.entries(wanted.nics).find(([, limits]) => Object.keys(limits).length > 0) ?? [];
  if (refused !== undefined && nic !== undefined) throw unsupported(instance.name, `network.${nic}`, refused);
  return wanted;
}

/** As `wirt set` calls them. */
const groupKeys = {
  cores: 'cpu.cores',
  burstMs: 'cpu.burst',
  weight: 'cpu.weight',
  ceilingMib: 'memory.ceiling',
  reservationMib: 'memory.reservation',
  swapMib: 'memory.swap',
  ioWeight: 'disk.weight',
} as const satisfies Record<GroupLimitKey, string>;

function unsupported(
  name: string,
  key: string,
  { why, hint }: { readonly why: string; readonly hint: string },
): WirtError {
  return new WirtError('limit.unsupported', `This host cannot keep ${key} of ${name}: ${why}`, {
    hint,
    details: { key },
  });
}

export function isUnlimited({ group, all, each, nics, balloonMib }: WantedLimits): boolean {
  const parts = [group, all, ...Object.values(each), ...Object.values(nics)];
  return balloonMib === undefined && parts.every((part) => Object.keys(part).length === 0);
}

/** A weight of 100 is what has none. */
export function withoutDefaults({ weight, ioWeight, ...rest }: GroupLimits): GroupLimits {
  return {
    ...rest,
    ...(weight === undefined || weight === 100 ? {} : { weight }),
    ...(ioWeight === undefined || ioWeight === 100 ? {} : { ioWeight }),
  };
}

/** What went wrong, by the first word of the keys that it concerns. */
type Reasons = Map<string, string>;

/** Tries one place; what it says is shown at its values. */
async function at(reasons: Reasons, words: readonly string[], act: () => Promise<unknown>): Promise<void> {
  try {
    await act();
  } catch (error) {
    const why =
      error instanceof Error ? [error.message, causeText(error)].filter(Boolean).join(' ') : String(error);
    for (const word of words) reasons.set(word, why);
  }
}

/** Before QEMU is started in it. Throws `limit.failed`: nothing runs without the limits that it was given. */
export async function holdGroup(
  { resources }: Pick<Shared, 'resources'>,
  id: string,
  { group }: WantedLimits,
): Promise<void> {
  if (Object.keys(group).length > 0) await resources.limit(id, group, undefined);
}

/** Brings all limits of a guest into force, and reads them back. `mended`: what was found otherwise had been changed by somebody else. */
export async function holdLimits(
  shared: Shared,
  guest: Guest,
  instance: Instance,
  { mended = false }: { readonly mended?: boolean } = {},
): Promise<LimitsStatus> {
  const { id } = instance;
  const wanted = await wantedOf(shared, instance);
  const reasons: Reasons = new Map();
  await at(reasons, ['cpu', 'memory.ceiling', 'memory.reservation', 'memory.swap', 'disk.weight'], () =>
    shared.resources.limit(id, wanted.group, guest.process),
  );
  await at(reasons, ['network'], () => shared.networking.follow(id));
  await at(reasons, ['disk'], () => holdDisks(guest, wanted));
  const size = await resize(guest, instance, wanted, reasons);
  const effective = await readBack(shared, guest, instance, size);
  return statusOf(shared, instance, { effective, wanted, size, reasons, mended });
}

/** As `holdLimits`, into the record. Nothing to do for an instance that does not run. */
export async function bringLimits(
  shared: Shared,
  live: LiveGuests,
  id: string,
  how: { readonly mended?: boolean } = {},
): Promise<void> {
  const { instances, store } = shared;
  const guest = live.get(id);
  const before = instances.get(id);
  if (guest === undefined || before?.status.process === undefined) return;
  const limits = await holdLimits(shared, guest, before, how);
  const instance = instances.get(id);
  if (instance?.status.process === undefined) return;
  if (JSON.stringify(limits) === JSON.stringify(instance.status.limits)) return;
  await commit(store, [instances.put({ ...instance, status: { ...instance.status, limits } })]);
}

/** After a disk or a card has been plugged in or out of a guest that has limits. */
export async function followLimits(shared: Shared, live: LiveGuests, id: string): Promise<void> {
  const instance = shared.instances.get(id);
  if (instance === undefined) return;
  if (instance.status.limits !== undefined || !saysNothing(instance, policyOf(shared, instance)))
    await bringLimits(shared, live, id);
}

async function holdDisks({ tuning }: Guest, { all, each }: WantedLimits): Promise<void> {
  await tuning.throttle({ all, each }, AbortSignal.timeout(commandMs));
}

interface Size {
  readonly vcpus: { readonly plugged: number; readonly max: number };
  readonly memory: GuestMemory;
}

/** Processors and memory, which the guest itself has to take or give; undefined where QEMU does not tell. */
async function resize(
  { tuning }: Guest,
  { spec }: Instance,
  { balloonMib = spec.memoryMib }: WantedLimits,
  reasons: Reasons,
): Promise<Size | undefined> {
  const signal = AbortSignal.timeout(guestMs);
  await at(reasons, ['cpus'], async () => {
    const { plugged, max } = await tuning.vcpus(signal);
    const target = Math.min(spec.cpus, max);
    if (target !== plugged) await tuning.resizeVcpus(target, signal);
  });
  await at(reasons, ['memory'], async () => {
    const { pluggedMib, maxMib } = await tuning.memory(signal);
    const target = Math.min(spec.memoryMib, maxMib);
    if (target !== pluggedMib && maxMib > pluggedMib) await tuning.resizeMemory(target, signal);
  });
  await at(reasons, ['memory', 'memory.balloon'], async () => {
    const { pluggedMib, balloonMib: now = pluggedMib } = await tuning.memory(signal);
    const target = Math.min(balloonMib, spec.memoryMib, pluggedMib);
    if (target !== now) await tuning.balloon(target, signal);
  });
  try {
    const [vcpus, memory] = await Promise.all([tuning.vcpus(signal), tuning.memory(signal)]);
    return { vcpus, memory };
  } catch (error) {
    reasons.set('cpus', error instanceof Error ? error.message : String(error));
    return undefined;
  }
}

/** From where each acts. What does not answer is absent, and so differs from what is wanted. */
async function readBack(
  { resources, network }: Shared,
  { id, process, tuning }: Guest,
  instance: Instance,
  size: Size | undefined,
): Promise<EffectiveLimits> {
  const signal = AbortSignal.timeout(commandMs);
  const hasNics = instance.spec.nics.length > 0 && network.refusesLimits() === undefined;
  const [group = {}, throttles, ports] = await Promise.all([
    resources.limits(id, process).catch(() => undefined),
    tuning.throttles(signal).catch(() => undefined),
    hasNics ? network.limits(signal).catch(() => undefined) : undefined,
  ]);
  const nics = Object.fromEntries(
    instance.spec.nics.map(({ name }) => [name, ports?.get(`${id}/${name}`) ?? {}]),
  );
  return effectiveOf(
    { group: withoutDefaults(group), all: throttles?.all ?? {}, each: throttles?.each ?? {}, nics },
    size === undefined ? {} : sizeShown(size),
  );
}

function sizeShown({
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

function effectiveOf(
  { group, all, each, nics }: Pick<WantedLimits, 'group' | 'all' | 'each' | 'nics'>,
  { reporting, ...size }: ReturnType<typeof sizeShown> | { readonly reporting?: boolean },
): EffectiveLimits {
  const { cores, burstMs, weight, ceilingMib, reservationMib, swapMib, ioWeight } = group;
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

interface Outcome {
  readonly effective: EffectiveLimits;
  readonly wanted: WantedLimits;
  readonly size: Size | undefined;
  readonly reasons: Reasons;
  readonly mended: boolean;
}

async function statusOf(shared: Shared, instance: Instance, outcome: Outcome): Promise<LimitsStatus> {
  const { spec, status } = instance;
  const { effective, wanted, size, mended } = outcome;
  const pending = size === undefined ? [] : pendingOf(spec, wanted, size);
  const drifted = driftOf(spec, outcome, new Set(pending.map(({ key }) => key)));
  const overheadMib = qemuMemoryMib(spec, await groundOf(shared, instance));
  const { memory } = effective;
  const repairedAt = mended && drifted.length === 0 ? shared.clock.now() : status.limits?.repairedAt;
  return {
    effective: {
      ...effective,
      ...(memory?.ceilingMib === undefined ? {} : { memory: { ...memory, overheadMib } }),
    },
    ...(drifted.length === 0 ? {} : { drifted }),
    ...(pending.length === 0 ? {} : { pending }),
    ...(repairedAt === undefined ? {} : { repairedAt }),
  };
}

/** What a running guest cannot take. */
function pendingOf(
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
    ...(spec.maxCpus === undefined ? [] : gap('max-cpus', maxCpus, vcpus.max, fixed)),
    ...(spec.maxMemoryMib === undefined ? [] : gap('max-memory', memoryMaxMib(spec), maxMib, fixed)),
    ...gap('memory.free-page-reporting', freePageReporting, reports, fixed),
  ];
}

function driftOf(
  spec: Instance['spec'],
  { effective, wanted, reasons }: Outcome,
  pending: ReadonlySet<string>,
): LimitGap[] {
  const asked = effectiveOf(wanted, {
    cpus: spec.cpus,
    memoryMib: Math.min(spec.memoryMib, wanted.balloonMib ?? spec.memoryMib),
    reporting: wanted.freePageReporting,
  });
  const changed =
    'It is not what was asked for: the guest has not done it yet, or somebody else has changed it.';
  return gapsBetween(asked, effective, changed)
    .filter(({ key }) => !pending.has(key))
    .map((gap) => {
      const why = reasons.get(gap.key) ?? reasons.get(gap.key.split('.')[0] ?? '');
      return why === undefined ? gap : { ...gap, why };
    });
}
