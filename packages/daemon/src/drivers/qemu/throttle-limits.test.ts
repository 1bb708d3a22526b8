import type { Rate, Throttle } from '@wirt/api';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  fromDeviceLimits,
  fromGroupLimits,
  isSameThrottle,
  isUnlimited,
  toDeviceLimits,
  toGroupLimits,
} from './throttle-limits.ts';

const amount = fc.integer({ min: 1, max: 1_000_000_000_000 });
const rate: fc.Arbitrary<Rate> = fc.oneof(
  amount.map((value) => ({ rate: value })),
  amount.map((value) => ({ rate: value, burst: 2 * value })),
  fc
    .tuple(amount, fc.integer({ min: 2, max: 86_400 }))
    .map(([value, burstSeconds]) => ({ rate: value, burst: 2 * value, burstSeconds })),
);
const throttle: fc.Arbitrary<Throttle> = fc.record(
  {
    totalBytes: rate,
    readBytes: rate,
    writeBytes: rate,
    totalOperations: rate,
    readOperations: rate,
    writeOperations: rate,
  },
  { requiredKeys: [] },
);

describe('limits of a disk', () => {
  it('come back from QEMU as they were given, of a group and of a device', () => {
    fc.assert(
      fc.property(throttle, (given) => {
        expect(fromGroupLimits(toGroupLimits(given))).toEqual(given);
        expect(fromDeviceLimits(toDeviceLimits(given))).toEqual(given);
      }),
    );
  });

  it('are called in a group as QEMU calls them', () => {
    expect(
      toGroupLimits({ totalBytes: { rate: 10, burst: 20, burstSeconds: 5 }, readOperations: { rate: 3 } }),
    ).toMatchObject({
      'bps-total': 10,
      'bps-total-max': 20,
      'bps-total-max-length': 5,
      'iops-read': 3,
      'iops-read-max': 0,
      'iops-read-max-length': 1,
      'bps-write': 0,
    });
  });

  it('are called at a device as QEMU calls them', () => {
    expect(
      toDeviceLimits({ writeBytes: { rate: 10, burst: 20 }, totalOperations: { rate: 3 } }),
    ).toMatchObject({ bps_wr: 10, bps_wr_max: 20, bps_wr_max_length: 1, iops: 3, bps: 0, bps_rd: 0 });
  });

  it('are none where the rate is 0', () => {
    expect(isUnlimited({ readBytes: { rate: 0 }, totalOperations: { rate: 0 } })).toBe(true);
    expect(isUnlimited({ readBytes: { rate: 1 } })).toBe(false);
    expect(isSameThrottle({ readBytes: { rate: 0 } }, {})).toBe(true);
  });

  it('are told of by nothing that is no number', () => {
    expect(fromGroupLimits({ 'bps-total': 'much', 'iops-total': null })).toEqual({});
    expect(fromGroupLimits(undefined)).toEqual({});
    expect(fromDeviceLimits({ bps: 5, bps_max_length: 7 })).toEqual({ totalBytes: { rate: 5 } });
  });
});
