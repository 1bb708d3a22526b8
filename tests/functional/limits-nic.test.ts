// What is declared is in force, and what is in force is measured: what passes the card of a real guest, at the other end of the wire or as its
// own card counts it, set, changed and taken away live.
import type { DirectionLimits } from '@wirt/api';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Networked, networked } from './harness/networked.ts';
import { egressRate, ingressRate, packetRate, startPeers } from './harness/truth.ts';
import { expectReached, expectWithin, tenth } from './harness/within.ts';

const mib = 2 ** 20;
let net: Networked;

beforeAll(async () => {
  net = await networked();
  await net.guest('web');
  await startPeers(net);
});

afterAll(async () => expect(await net.end()).toEqual([]));

const rates = { egress: egressRate, ingress: ingressRate } as const;
type Way = keyof typeof rates;

const card = (way: Way, limits: DirectionLimits) =>
  net.set('web', { nics: { nic0: { limits: { [way]: limits } } } });
const free = () => net.set('web', { nics: { nic0: { limits: null } }, limits: { eachNic: null } });

describe.each(['egress', 'ingress'] as const)('%s', (way) => {
  it('is as many bytes a second as the limit says, before and after it is changed, and free when it is taken away', async () => {
    const look = () => rates[way](net, 'web');
    await card(way, { bytesPerSecond: mib });
    await expectReached(mib, look);
    await net.set('web', {
      nics: { nic0: { limits: null } },
      limits: { eachNic: { [way]: { bytesPerSecond: 2 * mib } } },
    });
    await expectReached(2 * mib, look);
    await free();
    expect(await look()).toBeGreaterThan(3 * mib);
  });

  it('is as many packets a second as the limit says, before and after it is changed, and free when it is taken away', async () => {
    const look = () => packetRate(net, 'web', way);
    await card(way, { packetsPerSecond: 50 });
    await expectReached(50, look);
    await card(way, { packetsPerSecond: 150 });
    await expectReached(150, look);
    await free();
    expect(await look()).toBeGreaterThan(300);
  });
});

describe('what somebody else changes', () => {
  it('is mended within 5 s and a bit, and shown', async () => {
    await card('egress', { bytesPerSecond: mib });
    const { items } = await net.daemon.client.call('GET /v1/networks/{network}/ports', {
      params: { network: 'default' },
    });
    const tap = items.find(({ instance }) => instance === 'web')?.interface ?? '';
    const before = await net.network.inside.run('tc', 'qdisc', 'show', 'dev', tap);
    await net.network.inside.run('tc', 'qdisc', 'del', 'dev', tap, 'ingress');
    const { revision } = await net.networkOf('default');
    for await (const _ of net.daemon.client.events(
      { kind: 'network', since: revision - 1 },
      AbortSignal.timeout(10_000),
    ))
      if ((await net.network.inside.run('tc', 'qdisc', 'show', 'dev', tap)) === before) break;
    expectWithin(await egressRate(net, 'web', 2), tenth(mib));
  });
});
