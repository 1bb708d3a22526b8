/**
 * What of the host's memory and processors is promised to guests, added up from their records and from what is under way, and whether more may be.
 * Each question is answered and the promise noted at once, with no await between, so that guests started or enlarged side by side see each other.
 */
import { type Instance, WirtError } from '@wirt/api';
import { qemuOverheadMib } from '../domain/launch-plan.ts';
import type { HostMemory } from '../ports/host-inspector.ts';
import { hasDevices } from './instance-devices.ts';
import { type Policies, policyOf } from './limits.ts';
import type { Promised, Shared } from './parts.ts';

type Ground = Pick<Shared, 'instances' | 'policies' | 'admitted' | 'settings' | 'placing'>;
type Guest = Pick<Instance, 'name' | 'project' | 'spec'>;

/** What may be promised in all of the host's own memory: what is set aside as huge pages is nobody's who does not ask for them. */
export function promisableMib({ totalMib, hugePagesMib = 0 }: HostMemory, factor: number): number {
  return Math.floor((totalMib - hugePagesMib) * factor);
}

/** What is kept for a guest whatever others do, by its own limits or its policy's. */
export function reservationMib(shared: Policies, instance: Pick<Instance, 'project' | 'spec'>): number {
  const own = instance.spec.limits?.memory?.reservationMib;
  return own ?? policyOf(shared, instance)?.spec.limits.memory?.reservationMib ?? 0;
}

/** A guest that takes the risk is promised its reservation alone. `ownMib`: of its memory, what is of no huge pages. */
export function promiseMib(
  shared: Policies,
  instance: Pick<Instance, 'project' | 'spec'>,
  ownMib: number,
): number {
  const reservedMib = reservationMib(shared, instance);
  return instance.spec.overcommit ? reservedMib : Math.max(ownMib + qemuOverheadMib, reservedMib);
}

/** Of the memory that a guest that runs is to have, what is of the host's own pages: so is what is plugged in later. */
function ownMib({ status }: Instance, memoryMib: number): number {
  const hugeMib = status.placement?.pageSizeKib === undefined ? 0 : (status.run?.memoryMib ?? 0);
  // What a guest has not given back yet is not another's.
  return Math.max(0, Math.max(memoryMib, status.limits?.effective.memoryMib ?? 0) - hugeMib);
}

/** To all guests that run, are being started, or are being enlarged. */
export function promisedOf(shared: Pick<Shared, 'instances' | 'policies' | 'admitted'>): Promised {
  const sum = { memoryMib: 0, vcpus: 0 };
  for (const instance of shared.instances.after()) {
    const { id, spec, status } = instance;
    const soon = shared.admitted.get(id) ?? { memoryMib: 0, vcpus: 0 };
    const runs = status.process !== undefined;
    const nowMib = runs ? promiseMib(shared, instance, ownMib(instance, spec.memoryMib)) : 0;
    sum.memoryMib += Math.max(nowMib, soon.memoryMib);
    sum.vcpus += Math.max(runs ? spec.cpus : 0, soon.vcpus);
  }
  return sum;
}

/** Of a guest that is to start. */
interface StartNeeds {
  /** As just looked at. */
  readonly memory: HostMemory;
  /** Of its memory, what is of no huge pages. */
  readonly ownMib: number;
  /** Huge pages that are to be made for it, of the host's own memory, whatever risk it takes. */
  readonly pagesMib: number;
}

/**
 * Promises a guest that is to start what it needs, until its record says so or `admitted` is rid of it. Throws `host.insufficient_memory`, `host.insufficient_cpus`, and promises nothing then.
 */
export function admit(
  shared: Ground,
  instance: Instance,
  { memory, ownMib: givenMib, pagesMib }: StartNeeds,
): void {
  const { id, spec } = instance;
  const neededMib = Math.max(promiseMib(shared, instance, givenMib + pagesMib), pagesMib);
  const sum = promisedOf(shared);
  requireHostMemory(instance, memory, {
    neededMib,
    parts: partsOf(neededMib, givenMib + pagesMib),
    promisedMib: sum.memoryMib,
    // Pages are taken at once, from whom they were promised to.
    factor: pagesMib > 0 ? 1 : memoryFactor(shared, instance),
  });
  if (!spec.overcommit) requireHostCpus(shared, instance, spec.cpus, sum.vcpus);
  shared.admitted.set(id, { memoryMib: neededMib, vcpus: spec.cpus });
}

/**
 * Promises a guest that runs what it is to have more, until `admitted` is rid of it; whoever calls sees to that. Does nothing for one that does not
 * run. `after`: what its record is to say; `next`: what policies are to say. Throws as `admit`.
 */
export function admitGrowth(
  shared: Ground,
  before: Instance,
  after: Instance,
  { memory, next = shared }: { readonly memory: HostMemory; readonly next?: Policies },
): void {
  const { id, spec, status } = before;
  if (status.process === undefined) return;
  const nowMib = promiseMib(shared, before, ownMib(before, spec.memoryMib));
  const thenMib = promiseMib(next, after, ownMib(after, after.spec.memoryMib));
  const sum = promisedOf(shared);
  const neededMib = thenMib - nowMib;
  if (neededMib > 0)
    requireHostMemory(after, memory, {
      neededMib,
      promisedMib: sum.memoryMib,
      factor: memoryFactor(shared, after),
    });
  const moreCpus = after.spec.cpus - spec.cpus;
  if (moreCpus > 0 && !spec.overcommit) requireHostCpus(shared, after, moreCpus, sum.vcpus);
  if (neededMib > 0 || moreCpus > 0) shared.admitted.set(id, { memoryMib: thenMib, vcpus: after.spec.cpus });
}

/** All memory of a guest with devices of the host is held from the start. */
function memoryFactor(
  { settings }: Pick<Shared, 'settings'>,
  guest: Pick<Instance, 'spec'> & Partial<Pick<Instance, 'status'>>,
): number {
  const hasSome = hasDevices(guest) || (guest.status?.devices ?? []).length > 0;
  return hasSome ? 1 : settings.value.memoryOvercommit;
}

function partsOf(neededMib: number, ownMib: number): string {
  if (neededMib === ownMib + qemuOverheadMib) return `(${ownMib} MiB and ${qemuOverheadMib} MiB for QEMU)`;
  return neededMib === ownMib ? '(huge pages that are to be made)' : '(its reservation)';
}

interface MemoryNeed {
  readonly neededMib: number;
  /** What it is the sum of; absent: it is what a guest is to have more. */
  readonly parts?: string;
  readonly promisedMib: number;
  readonly factor: number;
}

/**
 * What is available now counts, and what running guests may yet take, since a guest's memory is taken from the host only as it is touched. Throws
 * `host.insufficient_memory` with the sum.
 */
function requireHostMemory(
  { name }: Guest,
  memory: HostMemory,
  { neededMib, parts, promisedMib, factor }: MemoryNeed,
): void {
  const totalMib = promisableMib(memory, 1);
  const mostMib = promisableMib(memory, factor);
  const availableMib = Math.max(
    0,
    Math.min(memory.availableMib + Math.max(0, mostMib - totalMib), mostMib - promisedMib),
  );
  if (neededMib <= availableMib) return;
  const promised = promisedMib > 0 ? `; ${promisedMib} MiB are promised to running guests` : '';
  const times = factor === 1 ? '' : `, ${factor} times`;
  throw new WirtError(
    'host.insufficient_memory',
    `Instance ${name} needs ${neededMib} MiB ${parts ?? 'more'}, and the host has ${availableMib} MiB available of ${totalMib} MiB${times}${promised}.`,
    {
      hint:
        parts === undefined
          ? 'Give it less, or stop other guests: `wirt host capacity` has the sum.'
          : 'Give it less with `--memory`, stop other guests, or take the risk with `--overcommit`.',
      details: { neededMib, availableMib, totalMib, promisedMib },
    },
  );
}

/** Refuses a guest that this host could not hold though no other ran. Throws `host.insufficient_memory`. */
export function requireFitting(
  shared: Pick<Shared, 'policies' | 'settings'>,
  guest: Guest,
  memory: HostMemory,
  ownMib: number,
): void {
  const neededMib = promiseMib(shared, guest, ownMib);
  const empty = { ...memory, availableMib: promisableMib(memory, 1) };
  const factor = memoryFactor(shared, guest);
  requireHostMemory(guest, empty, { neededMib, parts: partsOf(neededMib, ownMib), promisedMib: 0, factor });
}

/** Throws `host.insufficient_cpus` with the sum. */
function requireHostCpus(
  { placing, settings }: Pick<Shared, 'placing' | 'settings'>,
  { name, spec }: Guest,
  cpus: number,
  promised: number,
): void {
  const { onlineCpus: online } = placing;
  const factor = settings.value.cpuOvercommit;
  const promisable = Math.floor(online * factor);
  if (promised + cpus <= promisable) return;
  const more = cpus === spec.cpus ? `has ${cpus} vCPUs` : `needs ${cpus} vCPUs more`;
  throw new WirtError(
    'host.insufficient_cpus',
    `Instance ${name} ${more}, and the host may promise ${promisable} (${online} processors, ${factor} times), ` +
      `of which ${promised} are promised to running guests.`,
    {
      hint: `Stop other guests, or let the host promise more: \`wirt host set cpu-overcommit=${Math.ceil((promised + cpus) / online)}\`.`,
      details: { cpus, promisable, promised, online },
    },
  );
}
