/** Refuses limits that contradict each other, and those below what a guest and its QEMU need to breathe. Pure. */
import { type Instance, type NicLimits, type Rate, type Throttle, WirtError } from '@wirt/api';
import { type Ground, type WantedLimits, wholeMib } from './wanted.ts';

/** The least that can be asked for. Below, QEMU does not answer in time, or a guest takes its disk or its network for dead. */
export const floors = {
  cores: 0.05,
  balloonMib: 64,
  bytesPerSecond: 64 * 1024,
  operationsPerSecond: 10,
  networkBytesPerSecond: 8 * 1024,
  packetsPerSecond: 10,
} as const;

/** Of the scheduler’s accounting, as control groups are set up (Documentation/scheduler/sched-bwc.rst). */
const periodMs = 100;

/** QEMU counts in this many at most (include/qemu/throttle.h, THROTTLE_VALUE_MAX). */
const mostPerSecond = 1_000_000_000_000_000;

/** Throws `limit.invalid` and `limit.below_floor`; `key` as `wirt set` takes it. */
export function requireSound(
  instance: Pick<Instance, 'name' | 'spec'>,
  wanted: WantedLimits,
  ground: Ground,
): void {
  const { name } = instance;
  const { group } = wanted;
  atLeast(name, 'cpu.cores', group.cores, floors.cores, 'cores');
  atLeast(name, 'cpu.burst', group.burstMs, 1, 'ms');
  const { cores = 0, burstMs = 0 } = group;
  if (burstMs > cores * periodMs)
    throw invalid(
      name,
      'cpu.burst',
      `the kernel saves what ${cores} cores are given in ${periodMs} ms at most, ${cores * periodMs} ms`,
    );
  requireMemory(instance, wanted, ground);
  requireThrottle(name, 'disk', wanted.all);
  for (const [disk, throttle] of Object.entries(wanted.each)) requireThrottle(name, `disk.${disk}`, throttle);
  for (const [nic, limits] of Object.entries(wanted.nics)) requireNic(name, nic, limits);
}

function requireMemory(
  { name, spec }: Pick<Instance, 'name' | 'spec'>,
  { group, balloonMib }: WantedLimits,
  ground: Ground,
): void {
  const { ceilingMib, reservationMib } = group;
  atLeast(name, 'memory.balloon', balloonMib, Math.min(floors.balloonMib, spec.memoryMib), 'MiB');
  if (ceilingMib !== undefined) {
    // Swap does not lower it: whether there is any is the host's to say, and may change.
    const floorMib = wholeMib(spec, ground);
    const why = 'what its memory may grow to, and its QEMU’s own';
    atLeast(name, 'memory.ceiling', ceilingMib, floorMib, 'MiB', why);
    if ((reservationMib ?? 0) > ceilingMib)
      throw invalid(
        name,
        'memory.reservation',
        `${reservationMib} MiB are more than the ceiling of ${ceilingMib} MiB`,
      );
  }
  if (spec.limits?.memory?.swapMib !== undefined && ceilingMib === undefined)
    throw invalid(
      name,
      'memory.swap',
      'it needs a ceiling beside which it counts',
      'Set `memory.ceiling=auto` too.',
    );
}

function requireThrottle(name: string, scope: string, throttle: Throttle): void {
  for (const [kind, floor, unit] of [
    ['Bytes', floors.bytesPerSecond, 'bytes a second'],
    ['Operations', floors.operationsPerSecond, 'operations a second'],
  ] as const) {
    const suffix = kind === 'Bytes' ? '' : '-ops';
    const [total, read, write] = [
      throttle[`total${kind}`],
      throttle[`read${kind}`],
      throttle[`write${kind}`],
    ];
    for (const [way, rate] of Object.entries({ total, read, write }))
      requireRate(name, `${scope}.${way}${suffix}`, rate, floor, unit);
    if (total !== undefined && (read ?? write) !== undefined)
      throw invalid(
        name,
        `${scope}.total${suffix}`,
        'QEMU limits the total or each direction, not both',
        `Take one out: \`${scope}.total${suffix}=\`.`,
      );
  }
}

function requireRate(name: string, key: string, rate: Rate | undefined, floor: number, unit: string): void {
  if (rate === undefined) return;
  atLeast(name, key, rate.rate, floor, unit);
  const most = Math.max(rate.rate, (rate.burst ?? 0) * (rate.burstSeconds ?? 1));
  if (most > mostPerSecond)
    throw invalid(name, key, `QEMU counts up to ${mostPerSecond} ${unit}, bursts with their length included`);
}

function requireNic(name: string, nic: string, limits: NicLimits): void {
  for (const way of ['ingress', 'egress'] as const) {
    const { bytesPerSecond, packetsPerSecond, burstBytes } = limits[way] ?? {};
    const key = `network.${nic}.${way}`;
    atLeast(name, key, bytesPerSecond, floors.networkBytesPerSecond, 'bytes a second');
    atLeast(name, `${key}-packets`, packetsPerSecond, floors.packetsPerSecond, 'packets a second');
    // Less than two frames of Ethernet would let nothing pass.
    atLeast(name, `${key}-burst`, burstBytes, 4096, 'bytes');
  }
}

function atLeast(
  name: string,
  key: string,
  value: number | undefined,
  floor: number,
  unit: string,
  why?: string,
): void {
  if (value === undefined || value >= floor) return;
  throw new WirtError(
    'limit.below_floor',
    `${key} of ${name} cannot be ${value} ${unit}: it needs ${floor} at least${why === undefined ? '' : `, ${why}`}.`,
    {
      hint: `\`wirt set ${name} ${key}=…\` with ${floor} or more; \`${key}=none\` takes the limit away.`,
      details: { key, floor },
    },
  );
}

function invalid(name: string, key: string, why: string, hint?: string): WirtError {
  return new WirtError('limit.invalid', `${key} of ${name} cannot be kept: ${why}.`, {
    ...(hint === undefined ? {} : { hint }),
    details: { key },
  });
}

/** Throws `limit.unsupported` for a machine that takes nothing while it runs. */
export function requireGrowable({ name, spec }: Pick<Instance, 'name' | 'spec'>): void {
  const { machine, cpus, maxCpus = cpus, memoryMib, maxMemoryMib = memoryMib } = spec;
  if (machine !== 'microvm' || (maxCpus <= cpus && maxMemoryMib <= memoryMib)) return;
  throw new WirtError(
    'limit.unsupported',
    `${name} is a microvm, which takes no vCPU and no memory while it runs.`,
    {
      hint: 'Leave `max-cpus` and `max-memory` out, or use `--machine q35`.',
      details: { key: maxCpus > cpus ? 'max-cpus' : 'max-memory' },
    },
  );
}
