// Memory of a group: ceiling, swap beside it, and reservation, in both versions. Pure.
import type { GroupLimits } from '@wirt/core';
import type { Dialect } from './limit-dialect.ts';

const mib = 1024 * 1024;

/** What is there in whole MiB; a limit of less than one is still a limit. */
function mibOf(bytes: number): number {
  return Math.floor(bytes / mib);
}

/** `max` where something is held back: more than any host has. */
const everythingMib = 2 ** 43;

/**
 * v1 limits memory, and memory with swap together; no swap limit without a ceiling, then. Its soft limit says who gives back first when
 * the host is short: what is above it. Without one a group gives back by the host's general rules.
 */
export const memoryV1: Dialect = {
  files: ['memory.limit_in_bytes', 'memory.memsw.limit_in_bytes', 'memory.soft_limit_in_bytes'],
  render({ ceilingMib, swapMib, reservationMib }) {
    const both = ceilingMib && swapMib !== undefined ? (ceilingMib + swapMib) * mib : -1;
    return [
      ['memory.limit_in_bytes', String(ceilingMib ? ceilingMib * mib : -1)],
      ['memory.memsw.limit_in_bytes', String(both)],
      ['memory.soft_limit_in_bytes', String(reservationMib ? reservationMib * mib : -1)],
    ];
  },
  parse(values) {
    const [limit = -1, both = -1, soft = -1] = memoryV1.files.map((file) => Number(values.get(file) ?? -1));
    return {
      ...(limit >= 0 && { ceilingMib: mibOf(limit) }),
      ...(both >= 0 && { swapMib: limit >= 0 ? mibOf(both - limit) : mibOf(both) }),
      ...(soft >= 0 && { reservationMib: mibOf(soft) }),
    };
  },
  /** Memory alone may at no time be allowed more than memory with swap. */
  rank([file, value], current) {
    if (file !== 'memory.memsw.limit_in_bytes') return 1;
    return bytesOf(value) > bytesOf(current.get(file) ?? '-1') ? 0 : 2;
  },
};

function bytesOf(value: string): number {
  return value === '-1' ? Number.POSITIVE_INFINITY : Number(value);
}

export const memoryV2: Dialect = {
  files: ['memory.max', 'memory.swap.max', 'memory.low'],
  render({ ceilingMib, swapMib, reservationMib = 0 }) {
    return [
      ['memory.max', ceilingMib ? String(ceilingMib * mib) : 'max'],
      ['memory.swap.max', swapMib === undefined ? 'max' : String(swapMib * mib)],
      ['memory.low', String(reservationMib * mib)],
    ];
  },
  parse(values) {
    const max = values.get('memory.max') ?? 'max';
    const swap = values.get('memory.swap.max') ?? 'max';
    const low = values.get('memory.low') ?? '0';
    return {
      ...(max !== 'max' && { ceilingMib: mibOf(Number(max)) }),
      ...(swap !== 'max' && { swapMib: mibOf(Number(swap)) }),
      ...(low !== '0' && { reservationMib: low === 'max' ? everythingMib : mibOf(Number(low)) }),
    } satisfies GroupLimits;
  },
};
