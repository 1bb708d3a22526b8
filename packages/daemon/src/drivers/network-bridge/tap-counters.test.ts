import { describe, expect, it } from 'vitest';
import { createDropCounts } from './drop-counts.ts';
import { createNames } from './names.ts';
import { port, second } from './plan.fixture.ts';
import { createShaping } from './shaping.ts';
import { countersOf } from './tap-counters.ts';

const names = createNames('main');
const tap = names.port(port());

describe('counters of ports', () => {
  it('are as the guest sees them: what the tap sends, it receives', () => {
    const text = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0
${tap}: 1234567   4321    0    7    0     0          0         0 7654321    8765    0    2    0     0       0          0
`;
    const dropped = (name: string): number => (name === tap ? 100 : 0);
    expect([...countersOf([port(), second], names, dropped, text)]).toEqual([
      [
        'INSTANCE1/nic0',
        {
          ...{ ingressBytes: 7_654_321, ingressPackets: 8_765, ingressDropped: 102 },
          ...{ egressBytes: 1_234_567, egressPackets: 4_321, egressDropped: 7 },
        },
      ],
    ]);
  });

  it('never go back when a queueing discipline is made anew, or goes', () => {
    const counts = createDropCounts();
    expect(counts.of(tap)).toBe(0);
    const steps: [number | undefined, number][] = [
      [5, 5],
      [5, 5],
      [9, 9],
      [2, 11],
      [undefined, 11],
      [undefined, 11],
      [0, 11],
      [4, 15],
    ];
    for (const [dropped, total] of steps) {
      counts.take(new Map(dropped === undefined ? [] : [[tap, { dropped }]]));
      expect(counts.of(tap)).toBe(total);
    }
  });

  it('are forgotten with the port, which is another’s when it comes again', () => {
    const counts = createDropCounts();
    counts.take(new Map([tap, 'wt-gone'].map((name) => [name, { dropped: 5 }])));
    counts.keep(new Set([tap]));
    expect([counts.of(tap), counts.of('wt-gone')]).toEqual([5, 0]);
    counts.take(new Map([[tap, { dropped: 2 }]]));
    expect([counts.of(tap), counts.of('wt-gone')]).toEqual([7, 0]);
  });

  it('of interfaces that no plan has are forgotten with the next plan, and those of a port that has no rate any more are not', async () => {
    const shaping = createShaping(names);
    const shaper = names.shaper(port());
    shaping.drops.take(new Map([tap, shaper, names.port(second)].map((name) => [name, { dropped: 3 }])));
    await shaping.begin([port()], new Set(), new AbortController().signal);
    const dropped = [tap, shaper, names.port(second)].map((name) => shaping.drops.of(name));
    expect(dropped).toEqual([3, 3, 0]);
  });
});
