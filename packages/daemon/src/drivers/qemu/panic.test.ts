// The watch alone, on a clock of the test: a guest that panics again and again cannot be had of a real kernel on demand.
import type { QmpEvent } from '@wirt/qemu';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createPanicWatch } from './panic.ts';
import { silentLogger } from './silent-logger.fixture.ts';

const event = (name: string, data: object = {}) => ({ event: name, data }) as unknown as QmpEvent;

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function watched({ panickedAt, lives = false }: { panickedAt?: number; lives?: boolean } = {}) {
  /** Whether a later daemon would hear of it. */
  const marked = { is: panickedAt !== undefined };
  const warned: string[] = [];
  const counts = { resumed: 0, ended: 0 };
  const reasons: string[] = [];
  const watch = createPanicWatch({
    id: 'web',
    logger: { ...silentLogger, warn: (name: string) => void warned.push(name) },
    waitMs: 70_000,
    panickedAt,
    mark: { set: () => void (marked.is = true), clear: () => void (marked.is = false) },
    lives: () => lives,
    resume: async () => {
      counts.resumed += 1;
    },
    giveUp: async (why) => {
      reasons.push(why);
      counts.ended += 1;
    },
  });
  /** As QEMU tells it, with what the daemon's resume brings about. */
  async function panic(): Promise<void> {
    const before = counts.resumed;
    watch.onEvent(event('GUEST_PANICKED', { action: 'pause' }));
    watch.onEvent(event('STOP'));
    await vi.advanceTimersByTimeAsync(0);
    if (counts.resumed > before) watch.onEvent(event('RESUME'));
  }
  const pass = (seconds: number) => vi.advanceTimersByTimeAsync(seconds * 1000);
  return { watch, marked, warned, counts, reasons, panic, pass, reset: () => watch.onEvent(event('RESET')) };
}

describe('a guest that panics again and again', () => {
  it.each([
    ['', false],
    [', though it restarts each time', true],
  ])('within a minute is ended, once, and is no more trouble%s', async (_what, restarts) => {
    const { counts, reasons, warned, panic, reset, watch, pass } = watched();
    for (let count = 0; count < 100; count += 1) {
      await panic();
      if (restarts && !watch.isOver) reset();
    }
    await pass(200);
    expect(watch.isOver).toBe(true);
    expect(counts).toEqual({ resumed: 5, ended: 1 });
    expect(warned).toEqual(['guest.panics_again_and_again']);
    expect(reasons).toEqual(['guest-panic-loop']);
  });

  it('is given no more time than one that has panicked once', async () => {
    const { counts, warned, panic, pass } = watched();
    for (let at = 0; at < 60; at += 20) {
      await panic();
      await pass(20);
    }
    expect(counts.ended).toBe(0);
    await pass(10);
    expect(counts.ended).toBe(1);
    expect(warned).toEqual(['guest.hangs_after_panic']);
  });

  it('but only now and then, and restarts, runs on', async () => {
    const { counts, panic, reset, pass, watch } = watched();
    for (let count = 0; count < 50; count += 1) {
      await panic();
      reset();
      await pass(15);
    }
    await pass(200);
    expect(watch.isOver).toBe(false);
    expect(counts).toEqual({ resumed: 50, ended: 0 });
  });

  it('and is paused by somebody who looks at it has all of its time again afterwards', async () => {
    const { counts, panic, pass, watch } = watched();
    await panic();
    await pass(60);
    watch.onEvent(event('STOP'));
    await pass(500);
    watch.onEvent(event('RESUME'));
    await pass(60);
    expect(counts.ended).toBe(0);
    await pass(10);
    expect(counts.ended).toBe(1);
  });
});

describe('a guest that panicked under an earlier daemon', () => {
  const running = { panicked: false, running: true };
  const before = (seconds: number) => ({ panickedAt: Date.now() - seconds * 1000 });

  it('is marked until it restarts', async () => {
    const { marked, panic, reset } = watched();
    await panic();
    expect(marked.is).toBe(true);
    reset();
    expect(marked.is).toBe(false);
  });

  it('has the time that it had left', async () => {
    const { watch, counts, warned, pass } = watched(before(50));
    watch.found(running);
    await pass(19);
    expect(counts.ended).toBe(0);
    await pass(2);
    expect(counts.ended).toBe(1);
    expect(warned).toEqual(['guest.hangs_after_panic']);
  });

  it.each([
    ['restarts meanwhile', {}],
    ['shows that it lives, and so has restarted unseen', { lives: true }],
    ['had its whole time while nobody was there', before(100)],
  ])('and %s is let be, and nothing is left of it', async (_what, more) => {
    const { watch, counts, marked, pass, reset } = watched({ ...before(50), ...more });
    watch.found(running);
    if (Object.keys(more).length === 0) reset();
    await pass(200);
    expect(counts.ended).toBe(0);
    expect(marked.is).toBe(false);
  });

  it('and was paused by somebody has all of its time when it goes on', async () => {
    const { watch, counts, pass } = watched(before(500));
    watch.found({ panicked: false, running: false });
    await pass(500);
    watch.onEvent(event('RESUME'));
    await pass(69);
    expect(counts.ended).toBe(0);
    await pass(2);
    expect(counts.ended).toBe(1);
  });
});
