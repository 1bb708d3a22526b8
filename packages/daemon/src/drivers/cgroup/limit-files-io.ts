// Share of a busy disk: v1 has CFQ's weight (before Linux 5.0) or BFQ's, v2 has io.cost's or BFQ's. Pure. Whether a disk is
// scheduled by one of them: limit-support.ts.
import type { GroupLimits } from '@wirt/core';
import type { Dialect } from './limit-dialect.ts';

/** BFQ and CFQ take no more; v2's io.weight takes 1 to 10,000 as we do. */
export const maxBfqWeight = 1_000;
/** CFQ counts from 500 where others count from 100, and takes 10 to 1,000. */
const cfqScale = 5;

const bfq = (weight: number): string => String(Math.min(weight, maxBfqWeight));
const cfq = (weight: number): string => String(Math.max(10, Math.min(1_000, weight * cfqScale)));

function weightIn(weight: number): GroupLimits {
  return weight === 100 || !(weight > 0) ? {} : { ioWeight: weight };
}

export const ioV1: Dialect = {
  files: ['blkio.weight', 'blkio.bfq.weight'],
  render({ ioWeight }) {
    return [
      ['blkio.weight', cfq(ioWeight || 100)],
      ['blkio.bfq.weight', bfq(ioWeight || 100)],
    ];
  },
  parse(values) {
    const own = values.get('blkio.bfq.weight');
    return weightIn(own === undefined ? Number(values.get('blkio.weight') ?? 500) / cfqScale : Number(own));
  },
};

export const ioV2: Dialect = {
  files: ['io.weight', 'io.bfq.weight'],
  render({ ioWeight }) {
    return [
      ['io.weight', String(ioWeight || 100)],
      ['io.bfq.weight', bfq(ioWeight || 100)],
    ];
  },
  parse(values) {
    return weightIn(Number(values.get('io.weight') ?? values.get('io.bfq.weight') ?? 100));
  },
};
