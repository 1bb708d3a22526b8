import type { GroupLimits } from '@wirt/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Dialect, GroupFile, GroupValues } from './limit-dialect.ts';
import { dialects, normalize, planWrites } from './limit-files.ts';
import { sharesOf, weightOf } from './limit-files-cpu.ts';

const text = (files: readonly GroupFile[]): string[] => files.map(([file, value]) => `${file} ${value}`);
const written = (dialect: Dialect, limits: GroupLimits): string[] => text(dialect.render(limits));
const values = (entries: Record<string, string>): GroupValues =>
  new Map(Object.entries(entries).map(([file, value]) => [file, normalize(file, `${value}\n`)]));
const mib = 1024 * 1024;

describe('processor limits', () => {
  it.each([
    [{}, ['100000', '-1', '0', '1024'], ['max 100000', '0', '100']],
    [{ cores: 0.3 }, ['100000', '30000', '0', '1024'], ['30000 100000', '0', '100']],
    [{ cores: 1 / 3 }, ['100000', '33333', '0', '1024'], ['33333 100000', '0', '100']],
    [
      { cores: 64, burstMs: 20.5 },
      ['100000', '6400000', '20500', '1024'],
      ['6400000 100000', '20500', '100'],
    ],
    [{ cores: 0.5, burstMs: 400 }, ['100000', '50000', '50000', '1024'], ['50000 100000', '50000', '100']],
    [{ cores: 0.01 }, ['100000', '1000', '0', '1024'], ['1000 100000', '0', '100']],
    [{ cores: 0.007 }, ['1000000', '7000', '0', '1024'], ['7000 1000000', '0', '100']],
    [{ cores: 0.001, burstMs: 9 }, ['1000000', '1000', '1000', '1024'], ['1000 1000000', '1000', '100']],
    [{ weight: 300 }, ['100000', '-1', '0', '3072'], ['max 100000', '0', '300']],
    [{ weight: 1 }, ['100000', '-1', '0', '10'], ['max 100000', '0', '1']],
    [{ weight: 10_000 }, ['100000', '-1', '0', '102400'], ['max 100000', '0', '10000']],
    [{ burstMs: 50 }, ['100000', '-1', '0', '1024'], ['max 100000', '0', '100']],
    [{ cores: 0, weight: 0 }, ['100000', '-1', '0', '1024'], ['max 100000', '0', '100']],
  ] satisfies [GroupLimits, string[], string[]][])('%j', (limits, v1, v2) => {
    const v1Files = ['cpu.cfs_period_us', 'cpu.cfs_quota_us', 'cpu.cfs_burst_us', 'cpu.shares'];
    expect(written(dialects.cpu.v1, limits)).toEqual(v1Files.map((file, at) => `${file} ${v1[at]}`));
    const v2Files = ['cpu.max', 'cpu.max.burst', 'cpu.weight'];
    expect(written(dialects.cpu.v2, limits)).toEqual(v2Files.map((file, at) => `${file} ${v2[at]}`));
  });

  it('have every weight back from the shares that stand for it', () => {
    for (let weight = 1; weight <= 10_000; weight += 1) expect(weightOf(sharesOf(weight))).toBe(weight);
    // The least and the most that the kernel takes.
    expect([weightOf(2), weightOf(262_144)]).toEqual([1, 10_000]);
  });

  it('are read as they act, whatever period somebody else has chosen', () => {
    const v1 = { 'cpu.cfs_period_us': '50000', 'cpu.cfs_quota_us': '50000', 'cpu.shares': '512' };
    expect(dialects.cpu.v1.parse(values(v1))).toEqual({ cores: 1, weight: 50 });
    const v2 = { 'cpu.max': '20000 10000', 'cpu.max.burst': '2500', 'cpu.weight': '100' };
    expect(dialects.cpu.v2.parse(values(v2))).toEqual({ cores: 2, burstMs: 2.5 });
  });

  it('are none where the kernel has no such files', () => {
    expect(dialects.cpu.v1.parse(new Map())).toEqual({});
    expect(dialects.cpu.v2.parse(new Map())).toEqual({});
  });
});

describe('memory limits', () => {
  const m = (count: number): string => String(count * mib);
  it.each([
    [{}, ['-1', '-1', '-1'], ['max', 'max', '0']],
    [{ ceilingMib: 512 }, [m(512), '-1', '-1'], [m(512), 'max', '0']],
    [{ ceilingMib: 512, swapMib: 0 }, [m(512), m(512), '-1'], [m(512), '0', '0']],
    [
      { ceilingMib: 512, swapMib: 64, reservationMib: 128 },
      [m(512), m(576), m(128)],
      [m(512), m(64), m(128)],
    ],
    [{ swapMib: 64 }, ['-1', '-1', '-1'], ['max', m(64), '0']],
    [{ ceilingMib: 68_000_000 }, ['71303168000000', '-1', '-1'], ['71303168000000', 'max', '0']],
    [{ ceilingMib: 0, reservationMib: 0 }, ['-1', '-1', '-1'], ['max', 'max', '0']],
  ] satisfies [GroupLimits, string[], string[]][])('%j', (limits, v1, v2) => {
    const v1Files = ['memory.limit_in_bytes', 'memory.memsw.limit_in_bytes', 'memory.soft_limit_in_bytes'];
    expect(written(dialects.memory.v1, limits)).toEqual(v1Files.map((file, at) => `${file} ${v1[at]}`));
    const v2Files = ['memory.max', 'memory.swap.max', 'memory.low'];
    expect(written(dialects.memory.v2, limits)).toEqual(v2Files.map((file, at) => `${file} ${v2[at]}`));
  });

  it.each(['9223372036854771712', '9223372036854710272'])(
    'are none at %s, for pages of 4 and of 64 KiB',
    (most) => {
      const files = { 'memory.limit_in_bytes': most, 'memory.soft_limit_in_bytes': most };
      expect(dialects.memory.v1.parse(values(files))).toEqual({});
    },
  );

  it('say so when somebody else holds everything back for a group', () => {
    expect(dialects.memory.v2.parse(values({ 'memory.low': 'max' })).reservationMib).toBeGreaterThan(2 ** 40);
  });
});

describe('weights of disk access', () => {
  it.each([
    [{}, ['blkio.weight 500', 'blkio.bfq.weight 100'], ['io.weight 100', 'io.bfq.weight 100']],
    [{ ioWeight: 150 }, ['blkio.weight 750', 'blkio.bfq.weight 150'], ['io.weight 150', 'io.bfq.weight 150']],
    [{ ioWeight: 1 }, ['blkio.weight 10', 'blkio.bfq.weight 1'], ['io.weight 1', 'io.bfq.weight 1']],
    [
      { ioWeight: 5000 },
      ['blkio.weight 1000', 'blkio.bfq.weight 1000'],
      ['io.weight 5000', 'io.bfq.weight 1000'],
    ],
  ] satisfies [GroupLimits, string[], string[]][])('%j', (limits, v1, v2) => {
    expect(written(dialects.io.v1, limits)).toEqual(v1);
    expect(written(dialects.io.v2, limits)).toEqual(v2);
  });

  it('are read of the scheduler that there is', () => {
    expect(dialects.io.v1.parse(values({ 'blkio.weight': '1000' }))).toEqual({ ioWeight: 200 });
    expect(dialects.io.v1.parse(values({ 'blkio.bfq.weight': '300' }))).toEqual({ ioWeight: 300 });
    expect(dialects.io.v2.parse(values({ 'io.weight': 'default 300\n8:0 50' }))).toEqual({ ioWeight: 300 });
    expect(dialects.io.v2.parse(values({ 'io.bfq.weight': 'default 100' }))).toEqual({});
  });
});

/** What the kernel refuses: sched-bwc.rst, and memcontrol-v1.c's resize. */
function refuses(now: GroupValues): string | undefined {
  const number = (file: string): number => {
    const value = now.get(file)?.split(' ')[0];
    return value === undefined || value === 'max' || value === '-1'
      ? Number.POSITIVE_INFINITY
      : Number(value);
  };
  if (number('cpu.cfs_burst_us') > number('cpu.cfs_quota_us')) return 'burst above quota';
  if (number('cpu.cfs_quota_us') < 1_000) return 'quota below 1 ms';
  if (number('cpu.max.burst') > number('cpu.max')) return 'burst above quota';
  if (number('memory.limit_in_bytes') > number('memory.memsw.limit_in_bytes'))
    return 'memory above memory with swap';
  return undefined;
}

describe('the order of writes', () => {
  const limits = fc.record(
    {
      cores: fc.integer({ min: 1, max: 8_000 }).map((thousandths) => thousandths / 1_000),
      burstMs: fc.integer({ min: 0, max: 500 }),
      weight: fc.integer({ min: 1, max: 10_000 }),
      ceilingMib: fc.integer({ min: 1, max: 64 }),
      swapMib: fc.integer({ min: 0, max: 64 }),
      reservationMib: fc.integer({ min: 0, max: 64 }),
    },
    { requiredKeys: [] },
  );

  it('is one that the kernel takes from every state to every other, and ends where it should', () => {
    const all: Dialect[] = [dialects.cpu.v1, dialects.cpu.v2, dialects.memory.v1, dialects.memory.v2];
    fc.assert(
      fc.property(limits, limits, (from, to) => {
        for (const dialect of all) {
          const now = new Map(dialect.render(from));
          expect(refuses(now)).toBeUndefined();
          const wanted = dialect.render(to);
          for (const [file, value] of planWrites(dialect, wanted, now)) {
            now.set(file, value);
            expect(refuses(now)).toBeUndefined();
          }
          expect([...now]).toEqual(wanted);
          expect(planWrites(dialect, wanted, now)).toEqual([]);
        }
      }),
      { numRuns: 500 },
    );
  });

  it('lowers a burst before the quota, and raises it after', () => {
    const { v1 } = dialects.cpu;
    const high = new Map(v1.render({ cores: 2, burstMs: 150 }));
    const low = new Map(v1.render({ cores: 0.5, burstMs: 10 }));
    expect(text(planWrites(v1, [...low], high))).toEqual([
      'cpu.cfs_burst_us 10000',
      'cpu.cfs_quota_us 50000',
    ]);
    expect(text(planWrites(v1, [...high], low))).toEqual([
      'cpu.cfs_quota_us 200000',
      'cpu.cfs_burst_us 150000',
    ]);
  });

  it('writes only files that are there', () => {
    const wanted = dialects.memory.v1.render({ ceilingMib: 1, swapMib: 1 });
    expect(text(planWrites(dialects.memory.v1, wanted, values({ 'memory.limit_in_bytes': '-1' })))).toEqual([
      'memory.limit_in_bytes 1048576',
    ]);
  });
});

describe('what was rendered', () => {
  it('has a burst within 1 % of what was asked, from 1 ms on', () => {
    const asked = fc.record({
      cores: fc.double({ min: 4, max: 64, noNaN: true }),
      burstMs: fc.double({ min: 1, max: 400, noNaN: true }),
    });
    fc.assert(
      fc.property(asked, (limits) => {
        for (const dialect of [dialects.cpu.v1, dialects.cpu.v2]) {
          const { burstMs = 0 } = dialect.parse(new Map(dialect.render(limits)));
          expect(Math.abs(burstMs - limits.burstMs)).toBeLessThanOrEqual(limits.burstMs / 100);
        }
      }),
    );
  });

  it('is read back as what was asked, as far as the kernel counts', () => {
    const asked = {
      cores: 1.25,
      burstMs: 30,
      weight: 250,
      ceilingMib: 300,
      swapMib: 20,
      reservationMib: 100,
    };
    for (const version of ['v1', 'v2'] as const) {
      const found = [dialects.cpu[version], dialects.memory[version]].map((dialect) =>
        dialect.parse(new Map(dialect.render(asked))),
      );
      expect(Object.assign({}, ...found)).toEqual(asked);
    }
  });
});
