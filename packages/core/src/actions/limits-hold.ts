/**
 * Puts the limits of a running guest in force where they act, and reads them back from there. What one place refuses keeps none of the others
 * from theirs: it is told, and tried again by who watches.
 */
import {
  causeText,
  type EffectiveLimits,
  type Instance,
  type InstanceProcess,
  type LimitGap,
  type LimitsStatus,
  WirtError,
} from '@wirt/api';
import {
  balloonTargetMib,
  driftOf,
  effectiveOf,
  pendingOf,
  type Size,
  sizeShown,
} from '../domain/limits/effective.ts';
import { qemuMemoryMib } from '../domain/limits/qemu-memory.ts';
import type { WantedLimits } from '../domain/limits/wanted.ts';
import { inWholePages } from '../domain/tuning/placed.ts';
import type { Guest } from '../ports/hypervisor.ts';
import { inWordsOf } from './instance-state.ts';
import { groundOf, isUnlimited, policyOf, saysNothing, wantedOf } from './limits.ts';
import type { LiveGuests } from './live-guests.ts';
import type { Shared } from './parts.ts';
import { commit } from './records.ts';

/** For the guest to take or give processors and memory; what it has not done by then is shown, and asked for again. */
const patientMs = 8_000;
/** Where nobody waits for it, and others wait for the lane. */
const retryMs = 1_000;
const commandMs = 5_000;

/** By the key, or the first word of the keys, that it concerns. */
type Reasons = Map<string, { readonly why: string; readonly isLater: boolean }>;

/** Tries one place; what it says is shown at its values. */
async function at(
  instance: Instance,
  reasons: Reasons,
  words: readonly string[],
  act: () => Promise<unknown>,
): Promise<void> {
  try {
    await act();
  } catch (raw) {
    const error = inWordsOf(instance, raw);
    const sentences = error instanceof Error ? [error.message, causeText(error)] : [String(error)];
    const why = sentences.filter(Boolean).join(' ');
    const isLater = error instanceof WirtError && error.code === 'limit.unsupported';
    for (const word of words) reasons.set(word, { why, isLater });
  }
}

interface HoldOptions {
  /** What was found otherwise had been changed by somebody else. */
  readonly mended?: boolean;
  /** Whether the guest is given time to do what it is asked. */
  readonly patient?: boolean;
}

/** Brings all limits of a guest into force, and reads them back. */
export async function holdLimits(
  shared: Shared,
  guest: Guest,
  recorded: Instance,
  { mended = false, patient = true }: HoldOptions = {},
): Promise<LimitsStatus> {
  const instance = inWholePages(recorded);
  const { id } = instance;
  const wanted = await wantedOf(shared, instance);
  const reasons: Reasons = new Map();
  await at(
    instance,
    reasons,
    ['cpu', 'memory.ceiling', 'memory.reservation', 'memory.swap', 'disk.weight'],
    () => shared.resources.limit(id, wanted.group, guest.process),
  );
  await at(instance, reasons, ['network'], () => shared.networking.follow(id));
  await at(instance, reasons, ['disk'], () => holdDisks(guest, wanted));
  const size = await resize(guest, instance, wanted, { reasons, guestMs: patient ? patientMs : retryMs });
  const effective = await readBack(shared, guest, instance, { wanted, size });
  return statusOf(shared, instance, { effective, wanted, size, reasons, mended });
}

/** What of a guest's limits is in force, without changing anything: what is not is `drifted`. */
export async function lookAtLimits(shared: Shared, guest: Guest, recorded: Instance): Promise<LimitsStatus> {
  const instance = inWholePages(recorded);
  const wanted = await wantedOf(shared, instance);
  const signal = AbortSignal.timeout(commandMs);
  const [vcpus, memory] = await Promise.all([guest.tuning.vcpus(signal), guest.tuning.memory(signal)]);
  const size = { vcpus, memory };
  const effective = await readBack(shared, guest, instance, { wanted, size });
  return statusOf(shared, instance, { effective, wanted, size, reasons: new Map(), mended: false });
}

/** Before QEMU is started in it. Throws `limit.failed`: nothing runs without the limits that it was given. */
export async function holdGroup(
  { resources }: Pick<Shared, 'resources'>,
  id: string,
  { group }: WantedLimits,
  process: InstanceProcess | undefined,
): Promise<void> {
  if (Object.keys(group).length > 0) await resources.limit(id, group, process);
}

/** Of a guest whose processors stand still yet: undefined where it has none. By what is asked for now, which may have changed since its start began. */
export async function limitsOfRun(
  shared: Shared,
  guest: Guest,
  instance: Instance,
): Promise<LimitsStatus | undefined> {
  return isUnlimited(await wantedOf(shared, instance)) ? undefined : holdLimits(shared, guest, instance);
}

/** As `holdLimits`, into the record. Nothing to do for an instance that does not run. */
export async function bringLimits(
  shared: Shared,
  live: LiveGuests,
  id: string,
  how: HoldOptions = {},
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

/** Processors and memory, which the guest itself has to take or give, each in its own time; undefined where QEMU does not tell. */
async function resize(
  { tuning }: Guest,
  instance: Instance,
  { balloonMib = instance.spec.memoryMib }: WantedLimits,
  { reasons, guestMs }: { readonly reasons: Reasons; readonly guestMs: number },
): Promise<Size | undefined> {
  const { spec } = instance;
  await at(instance, reasons, ['cpus'], async () => {
    const signal = AbortSignal.timeout(guestMs);
    const { plugged, max } = await tuning.vcpus(signal);
    const target = Math.min(spec.cpus, max);
    if (target !== plugged) await tuning.resizeVcpus(target, signal);
  });
  await at(instance, reasons, ['memory'], async () => {
    const signal = AbortSignal.timeout(guestMs);
    const { bootMib, pluggedMib, maxMib } = await tuning.memory(signal);
    const target = Math.max(bootMib, Math.min(spec.memoryMib, maxMib));
    if (target !== pluggedMib) await tuning.resizeMemory(target, signal);
  });
  await at(instance, reasons, ['memory', 'memory.balloon'], async () => {
    const signal = AbortSignal.timeout(commandMs);
    const memory = await tuning.memory(signal);
    const { pluggedMib, balloonMib: now = pluggedMib } = memory;
    const target = balloonTargetMib(memory, spec.memoryMib, balloonMib);
    if (target !== now) await tuning.balloon(target, signal);
  });
  try {
    const signal = AbortSignal.timeout(commandMs);
    const [vcpus, memory] = await Promise.all([tuning.vcpus(signal), tuning.memory(signal)]);
    return { vcpus, memory };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    for (const word of ['cpus', 'memory']) reasons.set(word, { why, isLater: false });
    return undefined;
  }
}

/** From where each acts. What does not answer is absent, and so differs from what is wanted. */
async function readBack(
  { resources, network }: Shared,
  { id, process, tuning }: Guest,
  instance: Instance,
  { wanted, size }: { readonly wanted: WantedLimits; readonly size: Size | undefined },
): Promise<EffectiveLimits> {
  const signal = AbortSignal.timeout(commandMs);
  // It takes a look at all cards of the host.
  const isWanted = Object.values(wanted.nics).some((limits) => Object.keys(limits).length > 0);
  const isShown = instance.status.limits?.effective.nics !== undefined;
  const hasNics = (isWanted || isShown) && network.refusesLimits() === undefined;
  const [group = {}, throttles, ports] = await Promise.all([
    resources.limits(id, process).catch(() => undefined),
    tuning.throttles(signal).catch(() => undefined),
    hasNics ? network.limits(signal).catch(() => undefined) : undefined,
  ]);
  const nics = Object.fromEntries(
    instance.spec.nics.map(({ name }) => [name, ports?.get(`${id}/${name}`) ?? {}]),
  );
  return effectiveOf(
    { group, all: throttles?.all ?? {}, each: throttles?.each ?? {}, nics },
    size === undefined ? {} : sizeShown(size),
  );
}

interface Outcome {
  readonly effective: EffectiveLimits;
  readonly wanted: WantedLimits;
  readonly size: Size | undefined;
  readonly reasons: Reasons;
  readonly mended: boolean;
}

function withoutMark({ isLater: _, ...gap }: LimitGap & { readonly isLater?: boolean }): LimitGap {
  return gap;
}

async function statusOf(shared: Shared, instance: Instance, outcome: Outcome): Promise<LimitsStatus> {
  const { spec, status } = instance;
  const { effective, wanted, size, mended } = outcome;
  const fixed = size === undefined ? [] : pendingOf(spec, wanted, size);
  const gaps = driftOf(spec, outcome, new Set(fixed.map(({ key }) => key)));
  const [later, now] = [gaps.filter(({ isLater }) => isLater), gaps.filter(({ isLater }) => !isLater)];
  const pending = [...fixed, ...later.map(withoutMark)];
  const drifted = now.map(withoutMark);
  const { memory } = effective;
  const repairedAt = mended && gaps.length === 0 ? shared.clock.now() : status.limits?.repairedAt;
  return {
    effective: {
      ...effective,
      ...(memory?.ceilingMib === undefined
        ? {}
        : { memory: { ...memory, overheadMib: qemuMemoryMib(spec, await groundOf(shared, instance)) } }),
    },
    ...(drifted.length === 0 ? {} : { drifted }),
    ...(pending.length === 0 ? {} : { pending }),
    ...(repairedAt === undefined ? {} : { repairedAt }),
  };
}
