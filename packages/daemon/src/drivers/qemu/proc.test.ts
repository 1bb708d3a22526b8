import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isAlive, parseStat, readProcess, signalProcess } from './proc.ts';

const tail = (ticks: number): string =>
  `S 7 8 8 0 -1 4194304 93 0 0 0 0 0 0 0 20 0 1 0 ${ticks} 2646016 360 18446744073709551615 1 1 0`;

describe('a process', () => {
  it('is read right whatever its name is', () => {
    fc.assert(
      fc.property(fc.string(), fc.nat(), (name, ticks) => {
        const stat = parseStat(`42 (${name}) ${tail(ticks)}\n`);
        expect(stat).toEqual({ state: 'S', parent: 7, group: 8, startTicks: ticks });
      }),
      { examples: [['a) S 1 (b', 5]] },
    );
  });

  it('is not made up from rubbish', () => {
    expect(parseStat('')).toBeUndefined();
    expect(parseStat('42 (sh) S 7')).toBeUndefined();
  });

  it('is known by its start, and not by its pid alone', async () => {
    const own = await readProcess(process.pid);
    expect(own).toMatchObject({ pid: process.pid, uid: process.getuid?.() });
    if (own === undefined) throw new Error('This process was not found.');
    const former = { ...own, startTicks: own.startTicks - 1 };
    expect(await isAlive(own)).toBe(true);
    expect(await isAlive(former)).toBe(false);
    expect(await signalProcess(former, 'SIGKILL')).toBe(false);
  });
});
