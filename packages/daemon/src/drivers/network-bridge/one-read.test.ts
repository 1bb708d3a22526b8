import { describe, expect, it } from 'vitest';
import { createSharedRead } from './one-read.ts';

const never = new AbortController().signal;
const quiet = { started: 1, endedMs: 10 };

/** Readings that end when a test says so; each gives its number. */
function scene() {
  const readings: PromiseWithResolvers<number>[] = [];
  const shared = createSharedRead(() => {
    const reading = Promise.withResolvers<number>();
    readings.push(reading);
    return reading.promise;
  });
  return { shared, readings, end: (at: number) => readings[at]?.resolve(at) };
}

describe('a reading of the host', () => {
  it('is one for all who ask while it is under way, and a new one for who asks later', async () => {
    const { shared, readings, end } = scene();
    const all = [1, 2, 3].map(() => shared.read(quiet, never));
    expect(readings).toHaveLength(1);
    end(0);
    expect(await Promise.all(all)).toEqual([0, 0, 0]);
    const later = shared.read(quiet, never);
    end(1);
    expect(await later).toBe(1);
  });

  it('is not that of before for who asks after something was changed', async () => {
    const { shared, readings, end } = scene();
    const before = shared.read(quiet, never);
    const meanwhile = shared.read({ started: 2, endedMs: 10 }, never);
    const after = shared.read({ started: 2, endedMs: 20 }, never);
    expect(readings).toHaveLength(3);
    // An earlier one that ends takes nothing from those that ask with the last.
    end(0);
    expect(await before).toBe(0);
    const last = shared.read({ started: 2, endedMs: 20 }, never);
    end(1);
    end(2);
    expect(await Promise.all([meanwhile, after, last])).toEqual([1, 2, 2]);
  });

  it('goes on for the others when one gives up, and fails for all together', async () => {
    const { shared, readings, end } = scene();
    const impatient = new AbortController();
    const one = shared.read(quiet, impatient.signal);
    const other = shared.read(quiet, never);
    impatient.abort(new Error('given up'));
    await expect(one).rejects.toThrow('given up');
    end(0);
    expect(await other).toBe(0);
    const failing = [shared.read(quiet, never), shared.read(quiet, never)];
    readings[1]?.reject(new Error('no tc'));
    for (const each of failing) await expect(each).rejects.toThrow('no tc');
    expect(readings).toHaveLength(2);
  });
});
