import { describe, expect, it } from 'vitest';
import { createDropCounts } from './drop-counts.ts';
import { createNames } from './names.ts';
import { port, second } from './plan.fixture.ts';
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
});
