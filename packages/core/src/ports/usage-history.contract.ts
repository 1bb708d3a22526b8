// What every UsageHistoryStore must do: means that are true, in bounded space, over restarts and clocks that are set.
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import type { UsageHistoryStore, UsageSample } from './usage-history.ts';

export interface UsageHistoryUnderTest {
  /** A daemon's store; again: the same after the daemon was killed. */
  open(): UsageHistoryStore;
  /** Of all that was kept. */
  bytes(): Promise<number>;
  destroy(): Promise<void>;
}

const fine = 5_000;
const coarse = 300_000;
const hour = 3_600_000;
const day = 24 * hour;
/** A multiple of a day. */
const t0 = Date.UTC(2026, 10, 22);
const id = '01J9ZK3W8Y7Q5T2R4M6N8P1000';
const other = '01J9ZK3W8Y7Q5T2R4M6N8P1001';

export function usageSample(atMs: number, value: number): UsageSample {
  return {
    atMs,
    cpuCores: value,
    cpuThrottled: 0.5,
    cpuSteal: value / 2,
    cpuPressure: 0.25,
    memoryUsedMib: value * 16,
    memoryPressure: 0,
    ioPressure: 0.125,
    diskReadBytesPerSecond: value * 1_000_000,
    diskWrittenBytesPerSecond: value,
    diskReadsPerSecond: value,
    diskWritesPerSecond: value,
    ingressBytesPerSecond: value,
    egressBytesPerSecond: value * 3,
    ingressPacketsPerSecond: value,
    egressPacketsPerSecond: value,
  };
}

interface Range {
  readonly fromMs: number;
  readonly toMs: number;
  readonly resolutionMs: number;
}

interface Kept {
  readonly step: number;
  readonly values: number[];
}

/** What a store is to answer, said as simply as can be, of all samples in the order they came in. */
function expected(samples: readonly UsageSample[], { fromMs, toMs, resolutionMs }: Range) {
  const rings = [
    { stepMs: fine, steps: 720, kept: new Map<number, Kept>() },
    { stepMs: coarse, steps: 31 * 288, kept: new Map<number, Kept>() },
  ] as const;
  for (const { atMs, cpuCores } of samples) {
    for (const { stepMs, steps, kept } of rings) {
      const step =
        atMs / stepMs === Math.floor(atMs / stepMs) ? atMs / stepMs : Math.floor(atMs / stepMs) + 1;
      const before = kept.get(step % steps);
      const values = before?.step === step && stepMs === coarse ? [...before.values, cpuCores] : [cpuCores];
      kept.set(step % steps, { step, values });
    }
  }
  const ends = (ring: (typeof rings)[number]) =>
    [...ring.kept.values()].map(({ step, values }) => ({ endMs: step * ring.stepMs, values }));
  const finely = resolutionMs < coarse ? ends(rings[0]) : [];
  const covered = new Set(finely.map(({ endMs }) => Math.ceil(endMs / coarse) * coarse));
  const all = [...finely, ...ends(rings[1]).filter(({ endMs }) => !covered.has(endMs))];
  const means = new Map<number, number[]>();
  for (const { endMs, values } of all) {
    const end = Math.ceil(endMs / resolutionMs) * resolutionMs;
    if (end > fromMs && end <= toMs) means.set(end, [...(means.get(end) ?? []), ...values]);
  }
  return [...means]
    .sort(([a], [b]) => a - b)
    .map(([atMs, values]) => ({ atMs, mean: values.reduce((sum, each) => sum + each, 0) / values.length }));
}

function expectSame(found: readonly UsageSample[], wanted: ReturnType<typeof expected>): void {
  expect(found.map(({ atMs }) => atMs)).toEqual(wanted.map(({ atMs }) => atMs));
  found.forEach(({ cpuCores }, index) => {
    const mean = wanted[index]?.mean ?? Number.NaN;
    expect(Math.abs(cpuCores - mean)).toBeLessThanOrEqual(1e-4 * Math.max(1, mean));
  });
}

export function usageHistoryContract(name: string, make: () => Promise<UsageHistoryUnderTest>): void {
  describe(`${name} as UsageHistoryStore`, () => {
    let under: UsageHistoryUnderTest | undefined;
    const store = async (): Promise<UsageHistoryStore> => {
      under = await make();
      return under.open();
    };
    const fill = (into: UsageHistoryStore, count: number, from = t0, stepMs = fine): void => {
      for (let step = 1; step <= count; step++)
        into.add(new Map([[id, usageSample(from + step * stepMs, step)]]));
    };
    afterEach(async () => under?.destroy());

    it('gives back what was added, in every field', async () => {
      const history = await store();
      history.add(new Map([[id, usageSample(t0 + fine, 3)]]));
      const found = await history.read(id, { fromMs: t0, toMs: t0 + hour, resolutionMs: fine });
      expect(found).toEqual([usageSample(t0 + fine, 3)]);
    });

    it('has nothing of an instance that it was told nothing of', async () => {
      const history = await store();
      expect(await history.read(other, { fromMs: 0, toMs: t0, resolutionMs: fine })).toEqual([]);
      expect(await history.list()).toEqual([]);
      await history.forget(other);
    });

    it('gives means of the steps asked for, whole steps only', async () => {
      const history = await store();
      fill(history, 14);
      const found = await history.read(id, { fromMs: t0, toMs: t0 + 14 * fine, resolutionMs: 20_000 });
      expect(found.map(({ atMs, cpuCores }) => [(atMs - t0) / fine, cpuCores])).toEqual([
        [4, 2.5],
        [8, 6.5],
        [12, 10.5],
      ]);
    });

    it('leaves out steps without a sample', async () => {
      const history = await store();
      for (const step of [1, 2, 9]) history.add(new Map([[id, usageSample(t0 + step * fine, step)]]));
      const found = await history.read(id, { fromMs: t0, toMs: t0 + hour, resolutionMs: fine });
      expect(found.map(({ cpuCores }) => cpuCores)).toEqual([1, 2, 9]);
    });

    it('has an hour in steps of 5 s, and what is older as means of 5 min', async () => {
      const history = await store();
      fill(history, 2 * 720);
      const toMs = t0 + 2 * hour;
      const found = await history.read(id, { fromMs: t0, toMs, resolutionMs: fine });
      expect(found).toHaveLength(12 + 720);
      expect(found[0]).toMatchObject({ atMs: t0 + coarse, cpuCores: 30.5 });
      expect(found[12]).toMatchObject({ atMs: t0 + hour + fine, cpuCores: 721 });
      const means = await history.read(id, { fromMs: t0, toMs, resolutionMs: coarse });
      expect(means).toHaveLength(24);
      expect(means.at(-1)?.cpuCores).toBeCloseTo(1410.5, 2);
    });

    it('keeps 31 days of means, and no more, in the same space', async () => {
      const history = await store();
      fill(history, 40 * 288, t0, coarse);
      const range = { fromMs: t0, toMs: t0 + 40 * day, resolutionMs: coarse };
      const found = await history.read(id, range);
      expect(found).toHaveLength(31 * 288);
      expect(found[0]).toMatchObject({ atMs: t0 + 9 * day + coarse });
      const bytes = await under?.bytes();
      expect(bytes).toBeLessThan(1_000_000);
      fill(history, 1_000, t0 + 40 * day, coarse);
      expect(await under?.bytes()).toBe(bytes);
    });

    it('goes on with the mean of 5 min that an earlier daemon has begun', async () => {
      const before = await store();
      for (const step of [1, 2]) before.add(new Map([[id, usageSample(t0 + step * fine, 8)]]));
      const after = under?.open();
      after?.add(new Map([[id, usageSample(t0 + 3 * fine, 2)]]));
      const found = await after?.read(id, { fromMs: t0, toMs: t0 + coarse, resolutionMs: coarse });
      expect(found).toMatchObject([{ cpuCores: 6 }]);
    });

    it('forgets an instance, and only that', async () => {
      const history = await store();
      history.add(
        new Map([
          [id, usageSample(t0, 1)],
          [other, usageSample(t0, 2)],
        ]),
      );
      expect(await history.list()).toEqual([id, other]);
      await history.forget(id);
      expect(await history.list()).toEqual([other]);
      const range = { fromMs: t0 - hour, toMs: t0, resolutionMs: fine };
      expect(await history.read(id, range)).toEqual([]);
      // Nothing of before comes back with a new one.
      history.add(new Map([[id, usageSample(t0 + fine, 5)]]));
      expect(await history.read(id, { ...range, toMs: t0 + fine })).toHaveLength(1);
    });

    it('gives the means that a naive list of all samples gives, over restarts and clocks that are set', async () => {
      const sample = fc.record({
        // In steps after the one before; some back, some far ahead.
        ahead: fc.oneof(
          { weight: 8, arbitrary: fc.constant(1) },
          { weight: 2, arbitrary: fc.integer({ min: -40, max: 100 }) },
          { weight: 1, arbitrary: fc.integer({ min: -2_000, max: 600_000 }) },
        ),
        lateMs: fc.constantFrom(0, 0, 0, -1, -4_000),
        value: fc.integer({ min: 0, max: 64_000 }),
        restart: fc.boolean(),
      });
      const range = fc.record({
        from: fc.integer({ min: -3_000, max: 3_000 }),
        span: fc.integer({ min: 1, max: 30_000 }),
        resolution: fc.constantFrom(1, 1, 2, 7, 12, 59, 60, 61, 120, 17_280),
      });
      const property = fc.asyncProperty(
        fc.array(sample, { minLength: 1, maxLength: 60 }),
        fc.array(range, { minLength: 1, maxLength: 4 }),
        async (samples, ranges) => {
          const run = await make();
          try {
            let history = run.open();
            let step = 0;
            const added: UsageSample[] = [];
            for (const { ahead, lateMs, value, restart } of samples) {
              step = Math.max(1, step + ahead);
              const one = usageSample(t0 + step * fine + lateMs, value);
              if (restart) history = run.open();
              history.add(new Map([[id, one]]));
              added.push(one);
            }
            for (const { from, span, resolution } of ranges) {
              const fromMs = t0 + (step - span + from) * fine;
              const asked = { fromMs, toMs: fromMs + span * fine, resolutionMs: resolution * fine };
              expectSame(await history.read(id, asked), expected(added, asked));
            }
          } finally {
            await run.destroy();
          }
        },
      );
      await fc.assert(property, { numRuns: 150 });
    }, 60_000);
  });
}
