import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { CopyWork } from '../ports/volume-pool.ts';
import { keepingRoom } from './pool.ts';

let availableBytes = 100;
// Only what the room is asked of.
const shared = {
  pools: { require: () => ({ id: 'p', name: 'fast', spec: { path: '/fast', reservePercent: 10 } }) },
  storage: { open: async () => ({ capacity: async () => ({ capacityBytes: 100, availableBytes }) }) },
} as unknown as Parameters<typeof keepingRoom>[0];

const work = (signal: AbortSignal): CopyWork => ({
  confinement: { identity: { uid: 1, gid: 1, groups: [], own: false }, controlGroup: { joinFiles: [] } },
  signal,
  onProgress: () => {},
});

/** As drivers are: it goes on until its signal says otherwise. */
const endless = ({ signal }: CopyWork): Promise<never> =>
  new Promise((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });

beforeEach(() => {
  availableBytes = 100;
  vi.useFakeTimers();
});
afterEach(() => vi.useRealTimers());

it('a copy is given up when the reserve of its pool is reached, and not before', async () => {
  const ended = keepingRoom(shared, 'fast', work(new AbortController().signal), endless).catch(
    (error: unknown) => error,
  );
  let isOver = false;
  void ended.then(() => {
    isOver = true;
  });
  availableBytes = 10;
  await vi.advanceTimersByTimeAsync(5_000);
  expect(isOver).toBe(false);
  availableBytes = 9;
  await vi.advanceTimersByTimeAsync(1_000);
  expect(await ended).toMatchObject({ code: 'pool.full', details: { reserveBytes: 10 } });
});

it('a copy that frees more than it takes may use the reserve', async () => {
  const cancel = new AbortController();
  const ended = keepingRoom(shared, 'fast', work(cancel.signal), endless, { frees: true }).catch(
    (error: unknown) => error,
  );
  availableBytes = 1;
  await vi.advanceTimersByTimeAsync(5_000);
  cancel.abort(new Error('enough'));
  expect(await ended).toEqual(new Error('enough'));
});

it('nothing is looked at any more when a copy is done', async () => {
  expect(await keepingRoom(shared, 'fast', work(new AbortController().signal), async () => 'done')).toBe(
    'done',
  );
  expect(vi.getTimerCount()).toBe(0);
});
