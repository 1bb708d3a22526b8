import { getEventListeners } from 'node:events';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { systemClock } from './clock.ts';

const DAY_MS = 24 * 3_600_000;

describe('the system clock', () => {
  afterEach(() => {
    vi.restoreAllMocks();
  });

  it('tells the time as RFC 3339 in UTC', () => {
    expect(systemClock.now()).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  });

  it('sleeps as long as asked, by the monotonic clock, and leaves no listener behind', async () => {
    const { signal } = new AbortController();
    const startedMs = systemClock.monotonicMs();
    await systemClock.sleep(20, signal);
    expect(systemClock.monotonicMs() - startedMs).toBeGreaterThanOrEqual(20);
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });

  it('rejects with the reason of the signal, before and during the sleep', async () => {
    const reason = new Error('enough');
    await expect(systemClock.sleep(0, AbortSignal.abort(reason))).rejects.toBe(reason);
    await expect(systemClock.sleep(60_000, AbortSignal.abort(reason))).rejects.toBe(reason);
    const stop = new AbortController();
    const slept = systemClock.sleep(60_000, stop.signal);
    stop.abort(reason);
    await expect(slept).rejects.toBe(reason);
  });

  it('sleeps longer than one timer of Node can', async () => {
    // Within microtasks, so that nothing else in this worker meets the clock that stands still.
    let nowMs = 0;
    const delaysMs: number[] = [];
    vi.spyOn(performance, 'now').mockImplementation(() => nowMs);
    vi.spyOn(globalThis, 'setTimeout').mockImplementation(((fire: () => void, ms = 0) => {
      delaysMs.push(ms);
      nowMs += ms;
      queueMicrotask(fire);
      return 0;
      // The overloads of Node's setTimeout cannot be written as one function.
    }) as unknown as typeof setTimeout);
    await systemClock.sleep(60 * DAY_MS, new AbortController().signal);
    expect(nowMs).toBe(60 * DAY_MS);
    expect(Math.max(...delaysMs)).toBeLessThan(2 ** 31);
  });
});
