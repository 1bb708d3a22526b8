/**
 * What of the host's memory and processors is promised to guests, added up from their records, and whether one more may be. Pure but for the errors:
 * who asks sees to it that nothing is promised between the question and the promise.
 */
import { type Instance, WirtError } from '@wirt/api';
import { qemuOverheadMib } from '../domain/launch-plan.ts';
import type { HostMemory } from '../ports/host-inspector.ts';

/** What may be promised yet of the host's own memory, with what the kernel has available now. */
export function roomFor(
  host: HostMemory,
  promisedMib: number,
  factor: number,
): { readonly totalMib: number; readonly availableMib: number } {
  // What is set aside as huge pages is nobody's who does not ask for them.
  const totalMib = host.totalMib - (host.hugePagesMib ?? 0);
  const beyondMib = Math.floor(totalMib * (factor - 1));
  const leftMib = Math.min(host.availableMib + Math.max(0, beyondMib), totalMib + beyondMib - promisedMib);
  return { totalMib, availableMib: Math.max(0, leftMib) };
}

/**
 * Refuses a guest for which there is no room: what is available now counts, and what running guests may yet take, since a
 * guest's memory is taken from the host only as it is touched. Throws `host.insufficient_memory` with the sum.
 */
export function requireHostMemory(
  {
    name,
    spec,
  }: { readonly name: string; readonly spec: Pick<Instance['spec'], 'memoryMib' | 'overcommit'> },
  host: HostMemory,
  promisedMib: number,
  { factor = 1 }: { readonly factor?: number } = {},
): void {
  const { memoryMib, overcommit } = spec;
  const { totalMib, availableMib } = roomFor(host, promisedMib, factor);
  const neededMib = memoryMib + qemuOverheadMib;
  if (overcommit || neededMib <= availableMib) return;
  const promised = promisedMib > 0 ? `; ${promisedMib} MiB are promised to running guests` : '';
  throw new WirtError(
    'host.insufficient_memory',
    `Instance ${name} needs ${neededMib} MiB (${memoryMib} MiB and ${qemuOverheadMib} MiB for QEMU), and the host has ` +
      `${availableMib} MiB available of ${totalMib} MiB${promised}.`,
    {
      hint: 'Give it less with `--memory`, stop other guests, or take the risk with `--overcommit`.',
      details: { memoryMib, neededMib, availableMib, totalMib, promisedMib },
    },
  );
}

/**
 * What the guests that run, or are being started, may take of the host's own memory. `admitted`: by id, what those have been promised that are
 * being started. Huge pages are of an account of their own.
 */
export function promisedMemoryMib(
  instances: Iterable<Instance>,
  admitted: ReadonlyMap<string, number>,
): number {
  let sumMib = 0;
  for (const { id, spec, status } of instances) {
    const startingMib = admitted.get(id);
    if (spec.overcommit || (status.process === undefined && startingMib === undefined)) continue;
    // What is plugged in later is of the host's own pages.
    const hugeMib = status.placement?.pageSizeKib === undefined ? 0 : (status.run?.memoryMib ?? 0);
    // What a guest has not given back yet is not another's.
    const heldMib = Math.max(0, Math.max(spec.memoryMib, status.limits?.effective.memoryMib ?? 0) - hugeMib);
    sumMib += (status.process === undefined ? (startingMib ?? 0) : heldMib) + qemuOverheadMib;
  }
  return sumMib;
}

/** vCPUs of the guests that run, or are being started. */
export function promisedVcpus(instances: Iterable<Instance>, admitted: ReadonlyMap<string, number>): number {
  let sum = 0;
  for (const { id, spec, status } of instances)
    if (status.process !== undefined || admitted.has(id)) sum += spec.cpus;
  return sum;
}

/** Throws `host.insufficient_cpus` with the sum. */
export function requireHostCpus(
  instance: Pick<Instance, 'name' | 'spec'>,
  host: { readonly online: number; readonly factor: number },
  promised: number,
): void {
  const { name, spec } = instance;
  const { cpus } = spec;
  const promisable = Math.floor(host.online * host.factor);
  if (spec.overcommit || promised + cpus <= promisable) return;
  throw new WirtError(
    'host.insufficient_cpus',
    `Instance ${name} has ${cpus} vCPUs, and the host may promise ${promisable} (${host.online} processors, ${host.factor} times), ` +
      `of which ${promised} are promised to running guests.`,
    {
      hint: `Stop other guests, or let the host promise more: \`wirt host set cpu-overcommit=${Math.ceil((promised + cpus) / host.online)}\`.`,
      details: { cpus, promisable, promised, online: host.online },
    },
  );
}
