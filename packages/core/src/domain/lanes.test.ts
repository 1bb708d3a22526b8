import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Lanes } from './lanes.ts';

describe('lanes', () => {
  it('run the work of one lane in order, one at a time, whatever fails in between', async () => {
    const works = fc.array(
      fc.record({ lane: fc.constantFrom('a', 'b', 'c'), ticks: fc.nat(3), fails: fc.boolean() }),
    );
    await fc.assert(
      fc.asyncProperty(works, async (list) => {
        const lanes = new Lanes();
        const running = new Set<string>();
        const order = new Map<string, number[]>();
        const results = list.map(({ lane, ticks, fails }, index) =>
          lanes.run(lane, async () => {
            expect(running.has(lane)).toBe(false);
            running.add(lane);
            for (let tick = 0; tick < ticks; tick += 1) await Promise.resolve();
            order.set(lane, [...(order.get(lane) ?? []), index]);
            running.delete(lane);
            if (fails) throw new Error('failed');
          }),
        );
        const settled = await Promise.allSettled(results);
        expect(settled.map(({ status }) => status === 'rejected')).toEqual(list.map(({ fails }) => fails));
        for (const done of order.values()) expect(done).toEqual([...done].sort((a, b) => a - b));
      }),
    );
  });

  it('do not hold one lane up for another', async () => {
    const lanes = new Lanes();
    const hung = new Promise<void>(() => {});
    void lanes.run('hung', () => hung);
    await expect(lanes.run('other', () => Promise.resolve('done'))).resolves.toBe('done');
  });

  it('queue what a work itself puts into its lane', async () => {
    const lanes = new Lanes();
    const order: string[] = [];
    void lanes.run('a', async () => {
      void lanes.run('a', async () => void order.push('inner'));
      await Promise.resolve();
      order.push('outer');
    });
    await lanes.idle();
    expect(order).toEqual(['outer', 'inner']);
  });

  it('forget a lane that is idle', async () => {
    const lanes = new Lanes();
    const work = lanes.run('a', () => Promise.resolve());
    expect(lanes.busy('a')).toBe(true);
    await work;
    await lanes.idle();
    expect(lanes.busy('a')).toBe(false);
  });
});
