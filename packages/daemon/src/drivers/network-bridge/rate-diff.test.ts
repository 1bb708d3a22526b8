import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createNames } from './names.ts';
import { port, second } from './plan.fixture.ts';
import { rateChanges, wantedState, withClassifier } from './rate-diff.ts';
import { bucketOf, ratesOf } from './rates.ts';
import type { TcState } from './tc-state.ts';

const names = createNames('main');
const tap = names.port(port());
const shaper = names.shaper(port());
const nothing: TcState = { qdiscs: new Map(), redirected: new Set() };
const both = {
  ingress: { bytesPerSecond: 1_000_000 },
  egress: { bytesPerSecond: 20_000_000, burstBytes: 5_000_000 },
};
const wanted = (...ports: ReturnType<typeof port>[]) => ratesOf({ ports }, names);
const lines = (changes: ReturnType<typeof rateChanges>) => ({
  before: changes.before.map(({ line }) => line),
  after: changes.after.map(({ line }) => line),
});

describe('rates of ports', () => {
  it('are made by few lines, and ports without any get none', () => {
    const made = rateChanges(wanted(port({ limits: both }), second), nothing, 'matchall');
    expect(lines(made)).toEqual({
      before: [],
      after: [
        `qdisc replace dev ${tap} root tbf rate 1000000bps burst 73728b limit 131072b`,
        `qdisc replace dev ${shaper} root tbf rate 20000000bps burst 5000000b limit 1000000b`,
        `qdisc add dev ${tap} ingress`,
        `filter replace dev ${tap} ingress protocol all prio 1 handle 1 matchall action mirred egress redirect dev ${shaper}`,
      ],
    });
    const last = made.after.at(-1);
    expect(last === undefined ? '' : withClassifier(last, 'u32').line).toBe(
      `filter replace dev ${tap} ingress protocol all prio 1 handle 800::1 u32 match u32 0 0 action mirred egress redirect dev ${shaper}`,
    );
    expect(made.after.every(({ instance, program }) => instance === 'INSTANCE1' && program === 'tc')).toBe(
      true,
    );
  });

  it('that are changed are changed in place, by one line', () => {
    const before = wantedState(wanted(port({ limits: both })));
    const faster = port({ limits: { ...both, ingress: { bytesPerSecond: 9_000_000 } } });
    expect(lines(rateChanges(wanted(faster), before, 'u32'))).toEqual({
      before: [],
      after: [`qdisc replace dev ${tap} root tbf rate 9000000bps burst 450000b limit 450000b`],
    });
  });

  it('are made anew where what waits would not fit into a smaller bucket', () => {
    const before = wantedState(wanted(port({ limits: both })));
    const small = port({ limits: { ...both, ingress: { bytesPerSecond: 1_000_000, burstBytes: 4_096 } } });
    expect(lines(rateChanges(wanted(small), before, 'u32')).after).toEqual([
      `qdisc replace dev ${tap} root noqueue`,
      `qdisc replace dev ${tap} root tbf rate 1000000bps burst 4096b limit 131072b`,
    ]);
  });

  it('that are removed leave nothing, and a tap of many queues without a discipline', () => {
    const limited = { ...second, limits: { ingress: both.ingress } };
    const before = wantedState(wanted(port({ limits: both }), limited));
    expect(lines(rateChanges(wanted(port(), second), before, 'u32'))).toEqual({
      before: [
        `qdisc del dev ${tap} root`,
        `qdisc del dev ${tap} ingress`,
        `qdisc replace dev ${names.port(second)} root noqueue`,
      ],
      after: [],
    });
  });

  it('are set again on interfaces that are new', () => {
    const is = wanted(port({ limits: both }));
    const before = wantedState(is);
    expect(lines(rateChanges(is, before, 'u32', new Set([tap]))).after).toHaveLength(3);
    expect(lines(rateChanges(is, before, 'u32', new Set([shaper]))).after).toEqual([
      expect.stringMatching(`qdisc replace dev ${shaper} root tbf`),
      `qdisc del dev ${tap} ingress`,
      `qdisc add dev ${tap} ingress`,
      expect.stringMatching(`filter replace dev ${tap} ingress .* redirect dev ${shaper}`),
    ]);
  });

  it('need nothing more once they are as wanted', () => {
    const rate = fc.option(fc.integer({ min: 0, max: 1_000_000_000_000 }), { nil: undefined });
    const direction = fc.record({ bytesPerSecond: rate, burstBytes: rate });
    fc.assert(
      fc.property(fc.array(fc.record({ ingress: direction, egress: direction })), (all) => {
        const ports = all.map((limits, at) =>
          port({ nic: `nic${at}`, limits: JSON.parse(JSON.stringify(limits)) }),
        );
        const is = wanted(...ports);
        expect(lines(rateChanges(is, wantedState(is), 'u32'))).toEqual({ before: [], after: [] });
      }),
    );
  });

  it('have a bucket in which a packet has room, and nought is no limit', () => {
    expect(bucketOf(0, 5_000, 1_500)).toBeUndefined();
    expect(bucketOf(10_000, 4_096, 9_000)?.burstBytes).toBe(9_018);
    expect(bucketOf(10_000, 0, 1_500)?.burstBytes).toBe(73_728);
    expect(bucketOf(1_000_000_000, undefined, 1_500)).toEqual({
      bytesPerSecond: 1_000_000_000,
      burstBytes: 50_000_000,
      queueBytes: 4_194_304,
    });
    expect(bucketOf(1_000_000_000_000, undefined, 1_500)?.burstBytes).toBe(4_000_000_000);
  });
});
