/**
 * From counters to rates: what a guest uses, of two readings of its counters. Pure. A counter that has gone back (the group was made again, a disk was
 * plugged in again) is no use of anything: its rate is 0 then. Only finite numbers leave here.
 */
import type { DiskUsage, EffectiveLimits, NicUsage, Usage } from '@wirt/api';
import type { DiskCounters, GuestMemory } from '../ports/hypervisor.ts';
import type { PortCounters } from '../ports/network.ts';
import type { GroupUsage } from '../ports/resource-control.ts';
import type { UsageSample } from '../ports/usage-history.ts';

const mib = 1024 ** 2;

/** Counters of a guest at a moment of monotonic time. */
export interface Reading {
  readonly atMs: number;
  readonly group: GroupUsage;
  /** Of the vCPUs; as `group.threads`. */
  readonly threads: readonly number[];
  readonly ports: ReadonlyMap<string, PortCounters>;
  /** Those of all guests are read together, before the rest. */
  readonly portsAtMs: number;
  /** vCPUs' steal since the guest is watched: does not go back when one of them is unplugged. */
  readonly stealSeconds: number;
}

export interface Known {
  readonly disks: readonly DiskUsage[];
  readonly memory: GuestMemory | undefined;
  readonly stale: boolean;
}

/** How fast a counter has grown; 0 for one that has gone back, and where no time has passed. */
export function rate(now: number, before: number | undefined, seconds: number): number {
  if (before === undefined || seconds <= 0) return 0;
  const grown = (now - before) / seconds;
  return grown > 0 && Number.isFinite(grown) ? grown : 0;
}

/** A counter as the contract takes it. */
function counted(value: number): number {
  return Number.isSafeInteger(value) && value > 0 ? value : 0;
}

function finite(value: number): number {
  return Number.isFinite(value) && value > 0 ? value : 0;
}

export function diskRates(
  now: readonly DiskCounters[],
  before: readonly DiskCounters[] | undefined,
  seconds: number,
): DiskUsage[] {
  return now.map((disk) => {
    const last = before?.find(({ name }) => name === disk.name);
    return {
      name: disk.name,
      readBytes: counted(disk.readBytes),
      writtenBytes: counted(disk.writtenBytes),
      reads: counted(disk.reads),
      writes: counted(disk.writes),
      readBytesPerSecond: rate(disk.readBytes, last?.readBytes, seconds),
      writtenBytesPerSecond: rate(disk.writtenBytes, last?.writtenBytes, seconds),
      readsPerSecond: rate(disk.reads, last?.reads, seconds),
      writesPerSecond: rate(disk.writes, last?.writes, seconds),
    };
  });
}

function nicRates(name: string, now: PortCounters, before: PortCounters | undefined, s: number): NicUsage {
  return {
    name,
    ingressBytes: counted(now.ingressBytes),
    egressBytes: counted(now.egressBytes),
    ingressPackets: counted(now.ingressPackets),
    egressPackets: counted(now.egressPackets),
    ingressDropped: counted(now.ingressDropped),
    egressDropped: counted(now.egressDropped),
    ingressBytesPerSecond: rate(now.ingressBytes, before?.ingressBytes, s),
    egressBytesPerSecond: rate(now.egressBytes, before?.egressBytes, s),
    ingressPacketsPerSecond: rate(now.ingressPackets, before?.ingressPackets, s),
    egressPacketsPerSecond: rate(now.egressPackets, before?.egressPackets, s),
  };
}

/** The thread of the reading before; the same place in nearly every case. */
function threadBefore(before: Reading | undefined, index: number, thread: number | undefined) {
  if (before === undefined || thread === undefined) return undefined;
  const at = before.threads[index] === thread ? index : before.threads.indexOf(thread);
  return at < 0 ? undefined : before.group.threads[at];
}

/** A reading that follows `before`; `group.threads` are of `threads`. */
export function readingOf(
  now: Omit<Reading, 'stealSeconds'>,
  before: Reading | undefined,
): Reading & { readonly vcpus: Usage['cpu']['vcpus'] } {
  const seconds = before === undefined ? 0 : (now.atMs - before.atMs) / 1000;
  let stealSeconds = before?.stealSeconds ?? 0;
  const vcpus = now.group.threads.map((thread, index) => {
    const last = threadBefore(before, index, now.threads[index]);
    stealSeconds += Math.max(0, finite(thread.stealSeconds) - (last?.stealSeconds ?? 0));
    return {
      cores: rate(thread.cpuSeconds, last?.cpuSeconds, seconds),
      steal: rate(thread.stealSeconds, last?.stealSeconds, seconds),
    };
  });
  return { ...now, stealSeconds, vcpus };
}

export interface Seen {
  readonly instance: { readonly id: string; readonly name: string };
  readonly at: string;
  readonly limits: EffectiveLimits | undefined;
}

function cpuOf(
  now: ReturnType<typeof readingOf>,
  before: Reading | undefined,
  seconds: number,
  limitCores: number | undefined,
): Usage['cpu'] {
  const { group, vcpus } = now;
  const periods = before === undefined ? 0 : group.periods - before.group.periods;
  const held = before === undefined ? 0 : group.throttledPeriods - before.group.throttledPeriods;
  const { cpu: pressure } = group.pressure;
  return {
    seconds: finite(group.cpuSeconds),
    cores: rate(group.cpuSeconds, before?.group.cpuSeconds, seconds),
    ...(limitCores === undefined ? {} : { limitCores }),
    throttledSeconds: finite(group.throttledSeconds),
    throttled: periods > 0 && held > 0 ? Math.min(1, held / periods) : 0,
    stealSeconds: now.stealSeconds,
    steal: vcpus.reduce((sum, { steal }) => sum + steal, 0),
    ...(pressure === undefined ? {} : { pressure: finite(pressure) }),
    vcpus,
  };
}

function memoryOf({ group }: Reading, known: Known, limits: EffectiveLimits | undefined): Usage['memory'] {
  const { memory: pressure } = group.pressure;
  const ceilingMib = limits?.memory?.ceilingMib;
  const guestMib = known.memory?.balloonMib ?? known.memory?.pluggedMib ?? limits?.memoryMib;
  return {
    usedMib: finite(group.memoryBytes) / mib,
    ...(group.swappedBytes === undefined ? {} : { swappedMib: finite(group.swappedBytes) / mib }),
    ...(ceilingMib === undefined ? {} : { ceilingMib }),
    ...(guestMib === undefined ? {} : { guestMib: Math.round(guestMib) }),
    ...(pressure === undefined ? {} : { pressure: finite(pressure) }),
  };
}

/** What a guest uses now; rates are of the time since `before`, and 0 without it. */
export function usageOf(
  seen: Seen,
  now: ReturnType<typeof readingOf>,
  before: Reading | undefined,
  known: Known,
): Usage {
  const seconds = before === undefined ? 0 : (now.atMs - before.atMs) / 1000;
  const { io: ioPressure } = now.group.pressure;
  const portSeconds = before === undefined ? 0 : (now.portsAtMs - before.portsAtMs) / 1000;
  const nics: NicUsage[] = [];
  for (const [name, port] of now.ports) nics.push(nicRates(name, port, before?.ports.get(name), portSeconds));
  return {
    instance: seen.instance.id,
    name: seen.instance.name,
    at: seen.at,
    cpu: cpuOf(now, before, seconds, seen.limits?.cpu?.cores),
    memory: memoryOf(now, known, seen.limits),
    io: ioPressure === undefined ? {} : { pressure: finite(ioPressure) },
    disks: [...known.disks],
    nics,
    ...(known.stale ? { stale: true } : {}),
  };
}

/** What of it is kept; disks and cards together. The disks' rates of a stale guest are those of its last answer, and not of this time: 0 then. */
export function sampleOf({ cpu, memory, io, disks, nics, stale = false }: Usage, atMs: number): UsageSample {
  const disk = { read: 0, written: 0, reads: 0, writes: 0 };
  for (const each of stale ? [] : disks) {
    disk.read += each.readBytesPerSecond;
    disk.written += each.writtenBytesPerSecond;
    disk.reads += each.readsPerSecond;
    disk.writes += each.writesPerSecond;
  }
  const nic = { in: 0, out: 0, packetsIn: 0, packetsOut: 0 };
  for (const each of nics) {
    nic.in += each.ingressBytesPerSecond;
    nic.out += each.egressBytesPerSecond;
    nic.packetsIn += each.ingressPacketsPerSecond;
    nic.packetsOut += each.egressPacketsPerSecond;
  }
  return {
    atMs,
    cpuCores: cpu.cores,
    cpuThrottled: cpu.throttled,
    cpuSteal: cpu.steal,
    cpuPressure: cpu.pressure ?? 0,
    memoryUsedMib: memory.usedMib,
    memoryPressure: memory.pressure ?? 0,
    ioPressure: io.pressure ?? 0,
    diskReadBytesPerSecond: disk.read,
    diskWrittenBytesPerSecond: disk.written,
    diskReadsPerSecond: disk.reads,
    diskWritesPerSecond: disk.writes,
    ingressBytesPerSecond: nic.in,
    egressBytesPerSecond: nic.out,
    ingressPacketsPerSecond: nic.packetsIn,
    egressPacketsPerSecond: nic.packetsOut,
  };
}
