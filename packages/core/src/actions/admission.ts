/**
 * What of the host's memory and processors is promised to guests, added up from their records and from what is under way, and whether more may be.
 * Each question is answered and the promise noted at once, with no await between, so that guests started or enlarged side by side see each other.
 */
import { type Instance, type Policy, parseCpuList, WirtError } from '@wirt/api';
import { qemuOverheadMib } from '../domain/launch-plan.ts';
import { isDedicated } from '../domain/tuning/request.ts';
import type { HostMemory } from '../ports/host-inspector.ts';
import { hasDevices } from './instance-devices.ts';
import { policyOf } from './limits.ts';
import type { Admitted, Promised, Shared } from './parts.ts';

type Policies = Pick<Shared, 'policies' | 'admittedPolicies'>;
type Promises = Policies & Pick<Shared, 'instances' | 'admitted' | 'placing'>;
type Ground = Promises & Pick<Shared, 'settings'>;
type Guest = Pick<Instance, 'name' | 'project' | 'spec'> & Partial<Pick<Instance, 'status'>>;

/** What may be promised in all of the host's own memory: what is set aside as huge pages is nobody's who does not ask for them. */
export function promisableMib({ totalMib, hugePagesMib = 0 }: HostMemory, factor: number): number {
  return Math.floor((totalMib - hugePagesMib) * factor);
}

/** What is reserved for a guest, by its own limits or its policy's: of one that is being changed, the larger. */
export function reservationMib(shared: Policies, instance: Pick<Instance, 'project' | 'spec'>): number {
  const own = instance.spec.limits?.memory?.reservationMib;
  if (own !== undefined) return own;
  const policy = policyOf(shared, instance);
  if (policy === undefined) return 0;
  const next = shared.admittedPolicies.get(policy.id);
  return Math.max(...[policy, next].map((one) => one?.spec.limits.memory?.reservationMib ?? 0));
}

interface CpuPromise {
  /** vCPUs that share processors. */
  readonly vcpus: number;
  /** Processors that are a guest's alone, for which no factor counts. */
  readonly ownCpus: number;
}

type GuestPromise = Promised & CpuPromise;

const nothing: GuestPromise = { memoryMib: 0, keptMib: 0, vcpus: 0, ownCpus: 0 };

/** Of a guest that runs, what it was started with; of one that is not placed yet, what it asks for. */
function cpusOf({ placing }: Pick<Shared, 'placing'>, instance: Instance): CpuPromise {
  const { spec, status } = instance;
  const own = placing.dedicatedTo(instance);
  if (own !== '') return { vcpus: 0, ownCpus: parseCpuList(own)?.length ?? 0 };
  const isToHave = status.process === undefined && isDedicated(instance);
  return isToHave ? { vcpus: 0, ownCpus: spec.cpus } : { vcpus: spec.cpus, ownCpus: 0 };
}

/** vCPUs that guests which share processors may be promised, where others have some alone. */
export function promisableVcpus(online: number, ownCpus: number, factor: number): number {
  return Math.floor(Math.max(0, online - ownCpus) * factor);
}

/** A guest that takes the risk is promised its reservation alone, and huge pages that are to be made for it. */
function promiseOf(
  shared: Policies,
  guest: Guest,
  { ownMib, pagesMib }: Pick<Admitted, 'ownMib' | 'pagesMib'>,
): Pick<Promised, 'memoryMib' | 'keptMib'> {
  const { spec } = guest;
  const reservedMib = reservationMib(shared, guest);
  const asAskedMib = spec.overcommit ? pagesMib : ownMib + pagesMib + qemuOverheadMib;
  const memoryMib = Math.max(asAskedMib, reservedMib);
  const keptMib = holdsAll(guest) ? memoryMib : Math.max(reservedMib, pagesMib);
  return { memoryMib, keptMib };
}

/** Of the memory of a guest that runs, what is of the host's own pages: so is what is plugged in later. */
function promiseOfRunning(shared: Promises, instance: Instance): GuestPromise {
  const { spec, status } = instance;
  if (status.process === undefined) return nothing;
  const hugeMib = status.placement?.pageSizeKib === undefined ? 0 : (status.run?.memoryMib ?? 0);
  // What a guest has not given back yet is not another's.
  const mostMib = Math.max(spec.memoryMib, status.limits?.effective.memoryMib ?? 0);
  const ownMib = Math.max(0, mostMib - hugeMib);
  return { ...promiseOf(shared, instance, { ownMib, pagesMib: 0 }), ...cpusOf(shared, instance) };
}

/** To each guest that runs, is being started, or is being changed. */
function* promises(shared: Promises): Iterable<readonly [Instance, GuestPromise]> {
  for (const instance of shared.instances.after()) {
    const now = promiseOfRunning(shared, instance);
    const admitted = shared.admitted.get(instance.id);
    yield [instance, admitted === undefined ? now : larger(now, admittedPromise(shared, admitted))];
  }
}

function admittedPromise(shared: Promises, admitted: Admitted): GuestPromise {
  const { instance } = admitted;
  if (instance.status.process !== undefined) return promiseOfRunning(shared, instance);
  return { ...promiseOf(shared, instance, admitted), ...cpusOf(shared, instance) };
}

function larger(one: GuestPromise, other: GuestPromise): GuestPromise {
  return {
    memoryMib: Math.max(one.memoryMib, other.memoryMib),
    keptMib: Math.max(one.keptMib, other.keptMib),
    vcpus: Math.max(one.vcpus, other.vcpus),
    ownCpus: Math.max(one.ownCpus, other.ownCpus),
  };
}

function added(one: GuestPromise, other: GuestPromise, sign: 1 | -1 = 1): GuestPromise {
  return {
    memoryMib: one.memoryMib + sign * other.memoryMib,
    keptMib: one.keptMib + sign * other.keptMib,
    vcpus: one.vcpus + sign * other.vcpus,
    ownCpus: one.ownCpus + sign * other.ownCpus,
  };
}

/** To all guests that run, are being started, or are being enlarged. */
export function promisedOf(shared: Promises): GuestPromise {
  let sum = nothing;
  for (const [, promise] of promises(shared)) sum = added(sum, promise);
  return sum;
}

interface StartNeeds extends Pick<Admitted, 'ownMib' | 'pagesMib'> {
  /** As just looked at. */
  readonly memory: HostMemory;
}

/**
 * Promises a guest that is to start what it needs, until its record says so or `admitted` is rid of it. Throws `host.insufficient_memory`, `host.insufficient_cpus`, and promises nothing then.
 */
export function admit(shared: Ground, instance: Instance, { memory, ownMib, pagesMib }: StartNeeds): void {
  const { id, spec } = instance;
  const needed = { ...promiseOf(shared, instance, { ownMib, pagesMib }), ...cpusOf(shared, instance) };
  const promised = promisedOf(shared);
  requireHostMemory(instance, memory, {
    needed,
    parts: partsOf(needed.memoryMib, ownMib + pagesMib),
    promised,
    // Pages are taken at once, from whom they were promised to.
    factor: pagesMib > 0 ? 1 : memoryFactor(shared, instance),
  });
  if (!spec.overcommit) requireHostCpus(shared, instance, needed, promised);
  shared.admitted.set(id, { instance, ownMib, pagesMib });
}

/**
 * Promises a guest that runs what it is to have more, until `admitted` is rid of it; whoever calls sees to that. Does nothing for one that does not
 * run. `after`: what its record is to say. Throws as `admit`.
 */
export function admitGrowth(shared: Ground, before: Instance, after: Instance, memory: HostMemory): void {
  const { id, spec, status } = before;
  if (status.process === undefined) return;
  const needed = added(promiseOfRunning(shared, after), promiseOfRunning(shared, before), -1);
  const promised = promisedOf(shared);
  requireHostMemory(after, memory, { needed, promised, factor: memoryFactor(shared, after) });
  if (needed.vcpus > 0 && !spec.overcommit) requireHostCpus(shared, after, needed, promised);
  shared.admitted.set(id, { instance: after, ownMib: 0, pagesMib: 0 });
}

/**
 * Promises what a policy is to reserve to all that have it and run or are being started, until `admittedPolicies` is rid of it; whoever calls sees to
 * that, also when it throws `host.insufficient_memory`, naming the first that has no room.
 */
export function admitPolicy(shared: Ground, after: Policy, memory: HostMemory): void {
  const before = new Map(promises(shared));
  let promised = promisedOf(shared);
  shared.admittedPolicies.set(after.id, after);
  for (const [instance, promise] of promises(shared)) {
    const needed = added(promise, before.get(instance) ?? nothing, -1);
    requireHostMemory(instance, memory, { needed, promised, factor: memoryFactor(shared, instance) });
    promised = added(promised, needed);
  }
}

/** A guest with devices of the host holds all of its memory from its start: one that runs, with those that it was started with. */
function holdsAll({ spec, status }: Guest): boolean {
  return status?.process === undefined ? hasDevices({ spec }) : (status.devices ?? []).length > 0;
}

function memoryFactor({ settings }: Pick<Shared, 'settings'>, guest: Guest): number {
  return holdsAll(guest) ? 1 : settings.value.memoryOvercommit;
}

function partsOf(neededMib: number, ownMib: number): string {
  if (neededMib === ownMib + qemuOverheadMib) return `(${ownMib} MiB and ${qemuOverheadMib} MiB for QEMU)`;
  return neededMib === ownMib ? '(huge pages that are to be made)' : '(its reservation)';
}

interface MemoryNeed {
  readonly needed: Promised;
  /** What it is the sum of; absent: it is what a guest is to have more. */
  readonly parts?: string;
  readonly promised: Promised;
  readonly factor: number;
}

/**
 * What is available now counts, and what running guests may yet take, since a guest's memory is taken from the host only as it is touched. Throws
 * `host.insufficient_memory` with the sum.
 */
function requireHostMemory(guest: Guest, memory: HostMemory, need: MemoryNeed): void {
  const { parts, factor } = need;
  const { memoryMib: neededMib } = need.needed;
  const { memoryMib: promisedMib } = need.promised;
  const totalMib = promisableMib(memory, 1);
  const mostMib = promisableMib(memory, factor);
  const availableMib = Math.max(
    0,
    Math.min(memory.availableMib + Math.max(0, mostMib - totalMib), mostMib - promisedMib),
  );
  if (neededMib <= availableMib) return requireKept(guest, totalMib, need);
  const promised = promisedMib > 0 ? `; ${promisedMib} MiB are promised to running guests` : '';
  const times = factor === 1 ? '' : `, ${factor} times`;
  throw new WirtError(
    'host.insufficient_memory',
    `Instance ${guest.name} needs ${neededMib} MiB ${parts ?? 'more'}, and the host has ${availableMib} MiB available of ${totalMib} MiB${times}${promised}.`,
    {
      hint:
        parts === undefined
          ? 'Give it less, or stop other guests: `wirt host capacity` has the sum.'
          : 'Give it less with `--memory`, stop other guests, or take the risk with `--overcommit`.',
      details: { neededMib, availableMib, totalMib, promisedMib },
    },
  );
}

/** What is kept whatever others do is kept once, whatever the factor. */
function requireKept({ name }: Guest, totalMib: number, { needed, parts, promised }: MemoryNeed): void {
  const { keptMib: neededMib } = needed;
  const { keptMib } = promised;
  const availableMib = Math.max(0, totalMib - keptMib);
  if (neededMib <= availableMib) return;
  const more = parts === undefined ? ' more' : '';
  throw new WirtError(
    'host.insufficient_memory',
    `Instance ${name} is to keep ${neededMib} MiB${more} whatever others do, and of the host’s ${totalMib} MiB, ${keptMib} MiB are kept for running guests already.`,
    {
      hint: 'Reserve less for it, or stop guests that have reservations or devices of the host: no factor counts for those.',
      details: { neededMib, availableMib, totalMib, keptMib },
    },
  );
}

/** Refuses a guest that this host could not hold though no other ran. Throws `host.insufficient_memory`. */
export function requireFitting(
  shared: Policies & Pick<Shared, 'settings'>,
  guest: Guest,
  memory: HostMemory,
  ownMib: number,
): void {
  const needed = { ...promiseOf(shared, guest, { ownMib, pagesMib: 0 }), vcpus: 0 };
  const empty = { ...memory, availableMib: promisableMib(memory, 1) };
  requireHostMemory(guest, empty, {
    needed,
    parts: partsOf(needed.memoryMib, ownMib),
    promised: nothing,
    factor: memoryFactor(shared, guest),
  });
}

/** A guest that takes processors for itself takes them from those that others share. Throws `host.insufficient_cpus` with the sum. */
function requireHostCpus(
  { placing, settings }: Pick<Shared, 'placing' | 'settings'>,
  { name, spec }: Guest,
  needed: CpuPromise,
  before: CpuPromise,
): void {
  const { onlineCpus: online } = placing;
  const factor = settings.value.cpuOvercommit;
  const ownCpus = before.ownCpus + needed.ownCpus;
  const promisable = promisableVcpus(online, ownCpus, factor);
  const { vcpus: promised } = before;
  const sum = promised + needed.vcpus;
  if (sum <= promisable) return;
  const cpus = needed.vcpus + needed.ownCpus;
  const sharedCpus = Math.max(0, online - ownCpus);
  const alone = ownCpus === 0 ? '' : ` less ${ownCpus} that guests have alone`;
  throw new WirtError(
    'host.insufficient_cpus',
    `Instance ${name} ${wordsOf(needed, spec.cpus)} ${promisable} (${online} processors${alone}, ${factor} times), ` +
      `of which ${promised} are promised to running guests.`,
    {
      hint:
        sharedCpus === 0
          ? 'Stop other guests: `wirt host topology` says who has processors alone.'
          : `Stop other guests, or let the host promise more: \`wirt host set cpu-overcommit=${Math.ceil(sum / sharedCpus)}\`.`,
      details: { cpus, promisable, promised, online, dedicated: ownCpus },
    },
  );
}

function wordsOf({ vcpus, ownCpus }: CpuPromise, cpus: number): string {
  const alone = `${ownCpus} ${ownCpus === 1 ? 'processor' : 'processors'}`;
  if (ownCpus > 0) return `takes ${alone} for itself, and the host may then promise to others`;
  return `${vcpus === cpus ? `has ${vcpus} vCPUs` : `needs ${vcpus} vCPUs more`}, and the host may promise`;
}
