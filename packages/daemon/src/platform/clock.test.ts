import { getEventListeners } from 'node:events';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { systemClock } from './clock.ts';

const DAY_MS = 24 * 3_600_000;

describe('the system clock', () => {
  afterEach(() => {
    vi.useRealTimers();
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
    vi.useFakeTimers();
    let isDone = false;
    const sleep = async (): Promise<void> => {
      await systemClock.sleep(60 * DAY_MS, new AbortController().signal);
      isDone = true;
    };
    const slept = sleep();
    await vi.advanceTimersByTimeAsync(59 * DAY_MS);
    expect(isDone).toBe(false);
    await vi.advanceTimersByTimeAsync(2 * DAY_MS);
    await slept;
  });
});
