import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { defaultUidRange, occupiedBy, startOffset } from './uid-range.ts';

describe('the range of uids for guests', () => {
  it('lies above every range that others hand out by themselves, and below 2^31', () => {
    const highestOthers = [65_534, 600_100_000, 1_879_048_191, 2_000_200_000];
    expect(defaultUidRange.first).toBeGreaterThan(Math.max(...highestOthers));
    expect(defaultUidRange.first + defaultUidRange.count).toBeLessThanOrEqual(0x7ffe_0000);
  });

  it('is begun in at a place that depends on the id alone', () => {
    fc.assert(
      fc.property(fc.string(), fc.integer({ min: 1, max: 65_536 }), (id, count) => {
        const offset = startOffset(id, count);
        expect(Number.isInteger(offset) && offset >= 0 && offset < count).toBe(true);
        expect(startOffset(id, count)).toBe(offset);
      }),
    );
    const offsets = Array.from({ length: 100 }, (_none, index) => startOffset(`guest${index}`, 65_536));
    expect(new Set(offsets).size).toBeGreaterThan(95);
  });

  it('has no uid that an account, a group or a subordinate range of the host has', () => {
    const occupied = occupiedBy(
      ['root:x:0:0:root:/root:/bin/sh\nbig:x:4711:4711::/:/bin/sh\n', '# g:x:1:\nwheel:x:4712:\n'],
      ['big:100000:10\n', ''],
    );
    expect([0, 4711, 4712, 100_000, 100_009].map(occupied)).toEqual([true, true, true, true, true]);
    expect([1, 4710, 99_999, 100_010].map(occupied)).toEqual([false, false, false, false]);
  });
});
