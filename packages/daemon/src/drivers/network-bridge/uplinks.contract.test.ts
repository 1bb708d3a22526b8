// Bridged networks on uplinks of the host, and packets sent to prove a way.
import { emptyNetworkPlan, type PlannedNetwork, type PlannedPort } from '@wirt/core';
import { contractPlan, networkIds, testNetwork, testSubnets } from '@wirt/core/contract/network';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { connectNetns, createNetns, isRoot, type TestNetns } from '../../platform/netns.fixture.ts';
import { createTestHost, type TestHost, testTag } from './host.fixture.ts';
import type { RemoteDriver } from './remote.fixture.ts';

const signal = (): AbortSignal => AbortSignal.timeout(30_000);
const bridged = (name: string, vlan?: number): PlannedNetwork => ({
  ...testNetwork(1),
  kind: 'bridged',
  uplink: { interface: name, ...(vlan === undefined ? {} : { vlan }) },
});
const one = { ...testNetwork(1), ...testSubnets(1) };
const groups = [
  {
    id: 'WEB',
    name: 'web',
    rules: [
      { id: 'RULE1', direction: 'ingress', protocol: 'tcp', fromPort: 80, toPort: 80 },
      { id: 'RULE2', direction: 'ingress', protocol: 'udp', fromPort: 53, toPort: 53 },
      { id: 'RULE3', direction: 'egress', protocol: 'any' },
    ],
  },
] as const;
function port(more: Partial<PlannedPort> = {}): PlannedPort {
  return {
    instance: 'INSTANCE1',
    nic: 'nic0',
    network: networkIds.one,
    hostname: 'web',
    mac: '02:00:00:00:01:01',
    groups: ['WEB'],
    publish: [],
    antiSpoofing: true,
    queues: 1,
    mtu: 1500,
    owner: { uid: 987_650, gid: 987_650 },
    ...more,
  };
}

describe.skipIf(!isRoot)('uplinks and probes (needs root)', () => {
  let host: TestHost;
  let driver: RemoteDriver;
  let lan: TestNetns;
  beforeEach(async () => {
    host = await createTestHost();
    driver = await host.start();
    lan = await createNetns();
    await connectNetns({ netns: host.netns, name: 'up0' }, { netns: lan, name: 'lan0' });
    await host.netns.ip('link set up0 addrgenmode none');
    await lan.ip('addr add 192.0.2.1/24 dev lan0');
  });
  afterEach(async () => {
    await host.cleanUp();
    await lan[Symbol.asyncDispose]();
  });

  const canPing = async (from: TestNetns, to: string): Promise<boolean> =>
    (await from.try('ping', ['-n', '-c', '2', '-W', '2', to])).exitCode === 0;

  it.each([
    ['an interface', 'up0', []],
    [
      'a bridge',
      'br0',
      ['link add br0 type bridge forward_delay 0', 'link set up0 master br0', 'link set br0 up'],
    ],
  ])(
    'a guest on %s of the host is on its LAN, and the uplink is free again afterwards',
    async (_what, uplink, lines) => {
      if (lines.length > 0) await host.netns.ip(...lines);
      const before = await host.remains();
      const network = bridged(uplink);
      expect(await driver.refuses(network)).toBeUndefined();
      await driver.apply(
        contractPlan({ networks: [network], ports: [port()], groups: [...groups] }),
        signal(),
      );
      const guest = await host.guest(port());
      await guest.ip('addr add 192.0.2.10/24 dev eth0');
      expect(await canPing(guest, '192.0.2.1')).toBe(true);
      // Nobody of the host is on it, and nothing serves there.
      expect(await host.servers()).toEqual([]);
      expect(
        await host.netns.run('ip', ['-o', 'addr', 'show', 'dev', driver.interfaceOf(network.id) ?? '']),
      ).toBe('');
      await driver.apply(emptyNetworkPlan, signal());
      expect(await host.remains()).toEqual(before);
    },
  );

  it('an uplink that serves something else is refused, and says what to do', async () => {
    const { netns } = host;
    await netns.ip(
      'addr add 192.0.2.2/24 dev up0',
      'link add br0 type bridge',
      'link add d0 type veth peer name d1',
      'link set d0 master br0',
    );
    expect(await driver.refuses(bridged('up0'))).toMatchObject({
      why: expect.stringContaining('192.0.2.2/24'),
    });
    expect(await driver.refuses(bridged('d0'))).toMatchObject({ why: expect.stringContaining('br0') });
    expect(await driver.refuses(bridged('nothing0'))).toMatchObject({
      why: expect.stringContaining('nothing0'),
    });
    await driver.apply(contractPlan({ networks: [one] }), signal());
    const own = driver.interfaceOf(one.id) ?? '';
    expect(await driver.refuses({ ...bridged(own), id: networkIds.two })).toMatchObject({
      why: expect.stringContaining('Wirt'),
    });
    const tagged = await driver.refuses(bridged('d1', 7));
    // Where the kernel has VLANs there is nothing to refuse.
    if (tagged !== undefined) expect(tagged).toMatchObject({ hint: 'modprobe 8021q' });
    await netns.run('sysctl', ['-qw', 'net.ipv6.conf.all.disable_ipv6=1']);
    expect(await driver.refuses({ ...one, id: networkIds.two })).toMatchObject({
      why: expect.stringContaining('IPv6'),
    });
  });

  it('an uplink that is not there keeps no other network from being made, and comes when it is', async () => {
    const two = { ...testNetwork(2), ...testSubnets(2) };
    const plan = contractPlan({ networks: [bridged('later0'), two], ports: [port()], groups: [...groups] });
    await expect(driver.apply(plan, signal())).rejects.toMatchObject({
      message: expect.stringContaining('Network one'),
      details: { networks: [networkIds.one] },
    });
    expect(await host.servers()).toHaveLength(1);
    expect(driver.backend(port())).toMatchObject({ type: 'tap' });
    await host.netns.ip('link add later0 type veth peer name later1');
    await driver.apply(plan, signal());
    expect(await host.netns.run('ip', ['link', 'show', 'later0'])).toContain(
      `master ${driver.interfaceOf(networkIds.one)}`,
    );
  });

  it('a probe tells what the rules let pass, by a packet, and leaves nothing', async () => {
    const target = port({ ipv4: '10.181.0.11', ipv6: 'fd00:181::11' });
    await driver.apply(contractPlan({ networks: [one], ports: [target], groups: [...groups] }), signal());
    const guest = await host.guest(target);
    await guest.ip(
      'addr add 10.181.0.11/16 dev eth0',
      'addr add fd00:181::11/64 dev eth0 nodad',
      'route add default via 10.181.0.1',
    );
    const before = await host.remains();
    const ask = async (
      protocol: 'tcp' | 'udp' | 'icmp',
      number?: number,
      from = '10.181.0.99',
      to = '10.181.0.11',
    ) =>
      await driver.probe(
        {
          network: one.id,
          groups: ['WEB'],
          from,
          to,
          protocol,
          ...(number === undefined ? {} : { port: number }),
        },
        signal(),
      );
    expect(await ask('tcp', 80)).toEqual({
      passes: true,
      why: expect.stringContaining('nobody listens there'),
    });
    expect(await ask('tcp', 81)).toMatchObject({ passes: false });
    expect(await ask('udp', 53)).toMatchObject({ passes: true });
    expect(await ask('udp', 54)).toMatchObject({ passes: false });
    expect(await ask('icmp')).toMatchObject({ passes: false });
    expect(await ask('tcp', 80, 'fd00:181::99', 'fd00:181::11')).toMatchObject({ passes: true });
    expect(await host.remains()).toEqual(before);
    // Several at once do not know of each other.
    const together = await Promise.all([
      ask('tcp', 80, '10.181.0.97'),
      ask('tcp', 81, '10.181.0.98'),
      ask('udp', 53, '10.181.0.99'),
      ask('udp', 54, '10.181.0.100'),
    ]);
    expect(together.map(({ passes }) => passes)).toEqual([true, false, true, false]);
    expect(await host.remains()).toEqual(before);
    // What a daemon that died left is gone with the next one's first apply.
    const left = `wirt_${testTag}_probe_0123abcd`;
    await host.netns.run('nft', ['add', 'table', 'inet', left]);
    await driver.kill();
    driver = await host.start();
    await driver.apply(contractPlan({ networks: [one], ports: [target], groups: [...groups] }), signal());
    expect(await host.remains()).toEqual(before);
    // Given up in the middle, or the daemon dies: nothing of it is left either.
    const abort = AbortSignal.timeout(150);
    await driver
      .probe(
        {
          network: one.id,
          groups: ['WEB'],
          from: '10.181.0.99',
          to: '10.181.0.11',
          protocol: 'tcp',
          port: 81,
        },
        abort,
      )
      .catch(() => undefined);
    expect(await host.remains()).toEqual(before);
  });
});
