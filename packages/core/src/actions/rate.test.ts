// The rate of a count of bytes, over the last seconds.
import { describe, expect, it } from 'vitest';
import { createRate } from './rate.ts';

const bytes = (done: number) => ({ done, total: 1000, unit: 'bytes' }) as const;

describe('a rate', () => {
  it('is told after half a second, of the last five', () => {
    const rate = createRate();
    expect(rate('copy', bytes(0), 0).perSecond).toBeUndefined();
    expect(rate('copy', bytes(100), 400).perSecond).toBeUndefined();
    expect(rate('copy', bytes(200), 1000).perSecond).toBe(200);
    expect(rate('copy', bytes(1000), 10_000).perSecond).toBeUndefined();
  });

  it('falls to nothing in a stall', () => {
    const rate = createRate();
    for (let second = 0; second <= 4; second += 1) rate('copy', bytes(500), second * 1000);
    expect(rate('copy', bytes(500), 5000).perSecond).toBe(0);
  });

  it('begins anew with another stage, and when a count falls back', () => {
    const rate = createRate();
    rate('download', bytes(0), 0);
    expect(rate('convert', bytes(900), 2000).perSecond).toBeUndefined();
    expect(rate('convert', bytes(100), 3000).perSecond).toBeUndefined();
    expect(rate('convert', bytes(200), 4000).perSecond).toBe(100);
  });

  it('is of bytes only', () => {
    const rate = createRate();
    const step = { done: 1, total: 2, unit: 'steps' } as const;
    rate('build', step, 0);
    expect(rate('build', { ...step, done: 2 }, 1000)).toEqual({ ...step, done: 2 });
  });
});
