// Rates with real packets: what arrives at the other end of the wire is measured, in both directions, while rates are set, changed, taken away by others
// and removed. Rates are measured over time, which no event tells.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
// A rate is what passes in a time.
import { setTimeout } from 'node:timers/promises';
import type { NicLimits } from '@wirt/api';
import { emptyNetworkPlan, type NetworkPlan, type PlannedPort, type Repaired } from '@wirt/core';
import { contractPlan, networkIds, testNetwork, testSubnets } from '@wirt/core/contract/network';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type CallServer, isRoot, type TestNetns } from '../../platform/netns.fixture.ts';
import { createTestHost, type TestHost, testTag } from './host.fixture.ts';
import { createNames } from './names.ts';
import type { RemoteDriver } from './remote.fixture.ts';

const group = {
  id: 'GROUP1',
  name: 'default',
  rules: [
    { id: 'RULE1', direction: 'ingress', protocol: 'any' },
    { id: 'RULE2', direction: 'egress', protocol: 'any' },
  ],
} as const;
const one = { ...testNetwork(1), ...testSubnets(1) };
const names = createNames(testTag);
const signal = (): AbortSignal => AbortSignal.timeout(40_000);
const keyOf = ({ instance, nic }: PlannedPort): string => `${instance}/${nic}`;
const address = (number: number): string => `10.181.0.1${number}`;

function port(number: number, limits?: NicLimits, more: Partial<PlannedPort> = {}): PlannedPort {
  return {
    instance: `INSTANCE${number}`,
    nic: 'nic0',
    network: networkIds.one,
    hostname: `guest${number}`,
    mac: `02:00:00:00:01:0${number}`,
    ipv4: address(number),
    groups: ['GROUP1'],
    publish: [],
    antiSpoofing: true,
    queues: 1,
    mtu: 1500,
    owner: { uid: 987_650, gid: 987_650 },
    ...(limits === undefined ? {} : { limits }),
    ...more,
  };
}
const plan = (...ports: readonly PlannedPort[]): NetworkPlan =>
  contractPlan({ networks: [one], ports, groups: [group] });

interface Counts {
  readonly atMs: number;
  readonly bytes: number;
  readonly packets: number;
  readonly closed: number;
}

/** The rate settles after the burst, and is measured for so long. */
const settleMs = 700;
const measureMs = 2_000;

async function rateAt(receiver: CallServer, forMs = measureMs): Promise<{ bytes: number; packets: number }> {
  await setTimeout(settleMs);
  const before = await receiver.call<Counts>('counts');
  await setTimeout(forMs);
  const after = await receiver.call<Counts>('counts');
  const seconds = (after.atMs - before.atMs) / 1000;
  return {
    bytes: (after.bytes - before.bytes) / seconds,
    packets: (after.packets - before.packets) / seconds,
  };
}

const mendMs = 5_000;

async function withinDeadline(repaired: Promise<Repaired>): Promise<Repaired> {
  const late = Promise.withResolvers<never>();
  const deadline = AbortSignal.timeout(mendMs);
  deadline.addEventListener('abort', () => late.reject(new Error(`not mended within ${mendMs} ms`)));
  return await Promise.race([repaired, late.promise]);
}

const within = (measured: number, wanted: number, what: string): void => {
  process.stdout.write(
    `  ${what}: ${Math.round(measured)} of ${wanted} (${((measured / wanted) * 100).toFixed(1)} %)\n`,
  );
  expect(measured, what).toBeGreaterThan(wanted * 0.9);
  expect(measured, what).toBeLessThan(wanted * 1.1);
};

/** TCP that is held back loses packets, and takes a while to find its way: it reaches the rate in one of three looks, and is above it in none. */
async function reaches(receiver: CallServer, wanted: number, what: string): Promise<void> {
  for (let look = 1; ; look += 1) {
    const { bytes } = await rateAt(receiver);
    expect(bytes, what).toBeLessThan(wanted * 1.1);
    if (look === 3 || bytes > wanted * 0.9) return within(bytes, wanted, what);
  }
}

describe.skipIf(!isRoot)('rates of cards (needs root)', () => {
  let host: TestHost;
  let driver: RemoteDriver;
  let outside: CallServer;
  beforeEach(async () => {
    host = await createTestHost();
    driver = await host.start();
    outside = await host.netns.startInside(new URL('./traffic.fixture.ts', import.meta.url));
  });
  afterEach(async () => {
    await driver.apply(emptyNetworkPlan, signal());
    const left = await host.remains();
    await host.cleanUp();
    expect(left).toEqual([]);
  });

  interface Guest {
    readonly place: TestNetns;
    readonly traffic: CallServer;
    readonly listens: number;
  }
  async function guest(number: number): Promise<Guest> {
    const place = await host.guest(port(number));
    await place.ip(`addr add ${address(number)}/16 dev eth0`, 'route add default via 10.181.0.1');
    const traffic = await place.startInside(new URL('./traffic.fixture.ts', import.meta.url));
    return { place, traffic, listens: await traffic.call<number>('listen') };
  }
  const tc = async (...args: string[]): Promise<string> => await host.netns.run('tc', args);
  const limits = async (): Promise<Record<string, NicLimits>> =>
    Object.fromEntries(await driver.limits(signal()));

  it('hold what comes to a guest, are changed while it comes, and end when they are removed', async () => {
    const limited = (bytesPerSecond: number): PlannedPort => port(1, { ingress: { bytesPerSecond } });
    await driver.apply(plan(limited(1_000_000)), signal());
    const one = await guest(1);
    await outside.call('send', [address(1), one.listens]);
    await reaches(one.traffic, 1_000_000, 'TCP to the guest');
    expect(await limits()).toEqual({
      [keyOf(port(1))]: { ingress: { bytesPerSecond: 1_000_000, burstBytes: 73_728 } },
    });
    await driver.apply(plan(limited(4_000_000)), signal());
    process.stdout.write(`  changed in ${driver.lastApplyMs.toFixed(1)} ms\n`);
    await reaches(one.traffic, 4_000_000, 'changed');
    await driver.apply(plan(limited(500_000)), signal());
    await reaches(one.traffic, 500_000, 'changed again');
    await driver.apply(plan(port(1)), signal());
    expect(await limits()).toEqual({ [keyOf(port(1))]: {} });
    const { bytes } = await rateAt(one.traffic);
    process.stdout.write(`  removed: ${(bytes / 1e6).toFixed(0)} MB/s\n`);
    expect(bytes).toBeGreaterThan(8_000_000);
    // It was one connection all the time.
    expect(await one.traffic.call<Counts>('counts')).toMatchObject({ closed: 0 });
    expect(await tc('qdisc', 'show')).not.toMatch(/tbf|ingress/);
  });

  it('hold what a guest sends, are changed while it sends, and end when they are removed', async () => {
    const limited = (bytesPerSecond: number): PlannedPort => port(1, { egress: { bytesPerSecond } });
    await driver.apply(plan(port(1), port(2)), signal());
    const [one, two] = [await guest(1), await guest(2)];
    await one.traffic.call('send', [address(2), two.listens]);
    process.stdout.write(`  without: ${((await rateAt(two.traffic)).bytes / 1e6).toFixed(0)} MB/s\n`);
    await driver.apply(plan(limited(1_000_000), port(2)), signal());
    await reaches(two.traffic, 1_000_000, 'TCP from the guest');
    expect(await limits()).toEqual({
      [keyOf(port(1))]: { egress: { bytesPerSecond: 1_000_000, burstBytes: 73_728 } },
      [keyOf(port(2))]: {},
    });
    await driver.apply(plan(limited(5_000_000), port(2)), signal());
    await reaches(two.traffic, 5_000_000, 'changed');
    await driver.apply(plan(port(1), port(2)), signal());
    const { bytes } = await rateAt(two.traffic);
    process.stdout.write(`  removed: ${(bytes / 1e6).toFixed(0)} MB/s\n`);
    expect(bytes).toBeGreaterThan(8_000_000);
    expect(await two.traffic.call<Counts>('counts')).toMatchObject({ closed: 0 });
    expect(await host.netns.run('ip', ['-br', 'link'])).not.toContain(names.shaper(port(1)));
    expect(await tc('qdisc', 'show')).not.toMatch(/tbf|ingress/);
  });

  it('let a burst pass after a pause, and go on when a bucket gets smaller than what waits', async () => {
    const bursting = (burstBytes: number): PlannedPort =>
      port(1, { ingress: { bytesPerSecond: 1_000_000, burstBytes } });
    await driver.apply(plan(bursting(3_000_000)), signal());
    const one = await guest(1);
    const before = await one.traffic.call<Counts>('counts');
    await outside.call('send', [address(1), one.listens]);
    // As long as the burst may last.
    await setTimeout(1_000);
    const after = await one.traffic.call<Counts>('counts');
    const passed = after.bytes - before.bytes - 1_000 * (after.atMs - before.atMs);
    within(passed, 3_000_000, 'the burst');
    // Now more waits at once than the next bucket holds: packets that are cut on their way (TSO).
    await driver.apply(plan(bursting(4_096)), signal());
    await reaches(one.traffic, 1_000_000, 'by a small bucket');
    await driver.apply(plan(bursting(200_000)), signal());
    // What was dropped from the small one is sent again.
    await setTimeout(1_000);
    await reaches(one.traffic, 1_000_000, 'by a big one');
    expect(await one.traffic.call<Counts>('counts')).toMatchObject({ closed: 0 });
    await outside.call('stop');
    // What was dropped is known once it was looked for.
    await driver.limits(signal());
    await driver.countNow();
    const counted = driver.counters().get(keyOf(port(1)));
    expect(counted?.ingressDropped).toBeGreaterThan(0);
    expect(counted?.ingressBytes).toBeGreaterThan(3_000_000);
    expect(counted?.egressDropped).toBe(0);
  });

  it('hold packets a second in each direction', async () => {
    const rates = { ingress: { packetsPerSecond: 500 }, egress: { packetsPerSecond: 300 } };
    await driver.apply(plan(port(1, rates), port(2)), signal());
    const [one, two] = [await guest(1), await guest(2)];
    expect(await limits()).toEqual({ [keyOf(port(1))]: rates, [keyOf(port(2))]: {} });
    await two.traffic.call('flood', [address(1), one.listens, 3]);
    within((await rateAt(one.traffic)).packets, 500, 'datagrams to the guest');
    await driver.apply(plan(port(1, { ...rates, ingress: { packetsPerSecond: 1_000 } }), port(2)), signal());
    within((await rateAt(one.traffic)).packets, 1_000, 'changed');
    await two.traffic.call('stop');
    await one.traffic.call('flood', [address(2), two.listens, 3]);
    within((await rateAt(two.traffic)).packets, 300, 'datagrams from the guest');
    await driver.apply(plan(port(1), port(2)), signal());
    expect((await rateAt(two.traffic)).packets).toBeGreaterThan(1_200);
    expect(await limits()).toEqual({ [keyOf(port(1))]: {}, [keyOf(port(2))]: {} });
  });

  it('of one card are no affair of another', async () => {
    const ports = [
      port(1, { ingress: { bytesPerSecond: 1_000_000 } }),
      port(2, { ingress: { bytesPerSecond: 3_000_000 } }),
    ];
    await driver.apply(plan(...ports, port(3)), signal());
    const [one, two] = [await guest(1), await guest(2)];
    await guest(3);
    await outside.call('send', [address(1), one.listens]);
    await outside.call('send', [address(2), two.listens]);
    await Promise.all([reaches(one.traffic, 1_000_000, 'one'), reaches(two.traffic, 3_000_000, 'the other')]);
    const { stdout } = await host.netns.try('ping', ['-c', '5', '-i', '0.1', '-W', '1', address(3)]);
    expect(stdout).toContain(' 0% packet loss');
  });

  it('leave guests what they had: DHCP, each other, and their own addresses', async () => {
    const rates: NicLimits = {
      ingress: { bytesPerSecond: 500_000, packetsPerSecond: 200 },
      egress: { bytesPerSecond: 500_000, packetsPerSecond: 200 },
    };
    await driver.apply(plan(port(1, rates), port(2, rates)), signal());
    const one = await host.guest(port(1));
    const script = join(host.directory, 'udhcpc.sh');
    await writeFile(script, '#!/bin/sh\n[ "$1" = bound ] && env\n', { mode: 0o755 });
    const dhcp = ['udhcpc', '-i', 'eth0', '-f', '-q', '-n', '-t', '5', '-T', '1', '-s', script];
    const { stdout } = await one.try('busybox', dhcp);
    expect(stdout).toContain(`ip=${address(1)}`);
    await one.ip(`addr add ${address(1)}/16 dev eth0`);
    const two = await guest(2);
    const pings = async (from: TestNetns, ...args: string[]): Promise<string> =>
      (await from.try('ping', ['-c', '3', '-i', '0.2', '-W', '1', ...args])).stdout;
    expect(await pings(one, address(2))).toContain(' 0% packet loss');
    expect(await pings(two.place, '10.181.0.1')).toContain(' 0% packet loss');
    // What it may not be, it may not be by this way either.
    await one.ip('addr add 10.181.0.99/16 dev eth0');
    expect(await pings(one, '-I', '10.181.0.99', address(2))).toContain('100% packet loss');
    const { ports } = await driver.observe(networkIds.one, signal());
    expect(ports[0]?.spoofed).toBeGreaterThan(0);
  });
});

describe.skipIf(!isRoot)('rates of cards that somebody changes (needs root)', () => {
  let host: TestHost;
  let driver: RemoteDriver;
  const rates: NicLimits = {
    ingress: { bytesPerSecond: 1_000_000, burstBytes: 100_000, packetsPerSecond: 700 },
    egress: { bytesPerSecond: 2_000_000, packetsPerSecond: 800 },
  };
  const found = {
    ingress: rates.ingress,
    egress: { ...rates.egress, burstBytes: 100_000 },
  };
  const tap = names.port(port(1));
  const shaper = names.shaper(port(1));
  beforeEach(async () => {
    host = await createTestHost();
    driver = await host.start();
  });
  afterEach(async () => {
    await driver.apply(emptyNetworkPlan, signal());
    const left = await host.remains();
    await host.cleanUp();
    expect(left).toEqual([]);
  });
  const limits = async (): Promise<NicLimits | undefined> =>
    (await driver.limits(signal())).get(keyOf(port(1)));

  it.each([
    ['ingress.bytesPerSecond', `qdisc del dev ${tap} root`, tap],
    [
      'ingress.bytesPerSecond',
      `qdisc change dev ${tap} root tbf rate 9mbps burst 100000b limit 100000b`,
      tap,
    ],
    ['egress', `qdisc del dev ${tap} ingress`, tap],
    ['egress', `filter del dev ${tap} ingress`, tap],
    ['egress.bytesPerSecond', `qdisc del dev ${shaper} root`, shaper],
  ])('%s is back within 5 s after `tc %s`, and it is told', async (key, line) => {
    await driver.apply(plan(port(1, rates), port(2)), signal());
    expect(await limits()).toEqual(found);
    const repaired = Promise.withResolvers<Repaired>();
    driver.onRepair(repaired.resolve);
    const startedMs = performance.now();
    await host.netns.run('tc', line.split(' '));
    expect(await limits()).not.toHaveProperty(
      key,
      key === 'egress' ? found.egress : key.startsWith('in') ? 1_000_000 : 2_000_000,
    );
    const { what, network } = await withinDeadline(repaired.promise);
    process.stdout.write(`  mended after ${Math.round(performance.now() - startedMs)} ms: ${what}\n`);
    expect(what).toContain('guest1 (nic0)');
    expect(network).toBe(networkIds.one);
    expect(await limits()).toEqual(found);
  });

  it('are back after the interface that throttles was deleted, and after the rules were flushed', async () => {
    await driver.apply(plan(port(1, rates)), signal());
    for (const harm of [
      () => host.netns.ip(`link del dev ${shaper}`),
      () => host.netns.ip(`link del dev ${tap}`),
      () => host.netns.run('nft', ['flush', 'ruleset']),
      () => host.netns.run('nft', ['flush', 'map', 'bridge', `wirt_${testTag}`, 'rates_ingress']),
    ]) {
      const repaired = Promise.withResolvers<Repaired>();
      const end = driver.onRepair(repaired.resolve);
      await harm();
      await withinDeadline(repaired.promise);
      end();
      expect(await limits()).toEqual(found);
    }
  });

  it('are as planned after the daemon died and others changed them, and gone when the next plan has none', async () => {
    await driver.apply(plan(port(1, rates), port(2, rates)), signal());
    await driver.kill();
    await host.netns.run('tc', ['qdisc', 'del', 'dev', tap, 'root']);
    await host.netns.ip(`link del dev ${shaper}`);
    driver = await host.start();
    await driver.apply(plan(port(1, rates), port(2)), signal());
    expect(Object.fromEntries(await driver.limits(signal()))).toEqual({
      [keyOf(port(1))]: found,
      [keyOf(port(2))]: {},
    });
    const listed = await host.netns.run('tc', ['qdisc', 'show', 'dev', names.port(port(2))]);
    expect(listed).not.toMatch(/tbf|ingress/);
    expect(await host.netns.run('ip', ['-br', 'link'])).not.toContain(names.shaper(port(2)));
  });

  it('of 300 cards are set, read, counted and applied again in a moment', async () => {
    const many = (bytesPerSecond: number): NetworkPlan =>
      plan(
        ...Array.from({ length: 300 }, (_, at) =>
          port(
            1,
            { ingress: { bytesPerSecond, packetsPerSecond: 5_000 }, egress: { bytesPerSecond: 3_000_000 } },
            {
              instance: `MANY${at}`,
              mac: `02:00:00:01:${(at >> 8).toString(16).padStart(2, '0')}:${(at & 255).toString(16).padStart(2, '0')}`,
              ipv4: `10.181.${1 + (at >> 8)}.${at & 255}`,
              queues: at % 2 === 0 ? 1 : 4,
            },
          ),
        ),
      );
    const took: Record<string, number> = {};
    const timed = async (what: string, work: () => Promise<unknown>): Promise<void> => {
      const startedMs = performance.now();
      await work();
      took[what] = performance.now() - startedMs;
    };
    const repaired: Repaired[] = [];
    driver.onRepair((each) => void repaired.push(each));
    await driver.apply(many(1_000_000), signal());
    took['set'] = driver.lastApplyMs;
    await driver.apply(many(1_000_000), signal());
    took['again'] = driver.lastApplyMs;
    await driver.apply(many(1_500_000), signal());
    took['all changed'] = driver.lastApplyMs;
    const [first, ...rest] = many(1_500_000).ports;
    const other = { ...(first ?? port(1)), limits: { ingress: { bytesPerSecond: 777_000 } } };
    await driver.apply({ ...many(0), ports: [other, ...rest] }, signal());
    took['one changed'] = driver.lastApplyMs;
    await timed('read first', async () => await driver.limits(signal()));
    await timed('read', async () => expect((await driver.limits(signal())).size).toBe(300));
    expect((await driver.limits(signal())).get(keyOf(other))).toEqual({
      ingress: { bytesPerSecond: 777_000, burstBytes: 73_728 },
    });
    took['counted first'] = await driver.countNow();
    took['counted'] = await driver.countNow();
    expect(driver.counters().size).toBe(300);
    const words = Object.entries(took).map(([what, ms]) => `${what} ${ms.toFixed(1)} ms`);
    process.stdout.write(`  300 cards: ${words.join(', ')}\n`);
    expect(took['again']).toBeLessThan(500);
    expect(took['one changed']).toBeLessThan(1_000);
    expect(repaired).toEqual([]);
  });
});
