// What happens to the driver's work on the host, and what it does about it: others who change it, daemons that die at any moment, hosts that are full of other things.
// Nothing tells that nothing happens, and a daemon dies at moments of no event.
import { setTimeout } from 'node:timers/promises';
import { emptyNetworkPlan, type NetworkPlan, type PlannedPort, type Repaired } from '@wirt/core';
import { contractPlan, networkIds, testNetwork, testSubnets } from '@wirt/core/contract/network';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isRoot } from '../../platform/netns.fixture.ts';
import { createTestHost, expectSoon, type TestHost, testTag } from './host.fixture.ts';
import type { RemoteDriver } from './remote.fixture.ts';

const one = { ...testNetwork(1), ...testSubnets(1) };
const two = { ...testNetwork(2), ...testSubnets(2) };
const signal = (): AbortSignal => AbortSignal.timeout(40_000);

function port(number: number, more: Partial<PlannedPort> = {}): PlannedPort {
  const hex = number.toString(16).padStart(4, '0');
  return {
    instance: `INSTANCE${number}`,
    nic: 'nic0',
    network: networkIds.one,
    hostname: `guest${number}`,
    mac: `02:00:00:00:${hex.slice(0, 2)}:${hex.slice(2)}`,
    ipv4: `10.181.${(number >> 8) + 1}.${number & 255}`,
    groups: [],
    publish: [],
    antiSpoofing: true,
    queues: 1,
    mtu: 1500,
    owner: { uid: 987_650, gid: 987_650 },
    ...more,
  };
}
const ports = (count: number): PlannedPort[] =>
  Array.from({ length: count }, (_none, index) => port(index + 1));

describe.skipIf(!isRoot)('faults on the host (needs root)', () => {
  let host: TestHost;
  let driver: RemoteDriver;
  beforeEach(async () => {
    host = await createTestHost();
    driver = await host.start();
  });
  afterEach(async () => {
    await host.cleanUp();
  });

  const ip = async (...args: string[]): Promise<string> => await host.netns.run('ip', args);
  /** What was mended within 5 s of what `harm` does. */
  async function mendedAfter(harm: () => Promise<unknown>): Promise<Repaired & { afterMs: number }> {
    const repaired = Promise.withResolvers<Repaired>();
    const end = driver.onRepair(repaired.resolve);
    const startedMs = performance.now();
    await harm();
    const deadline = AbortSignal.timeout(5_000);
    deadline.addEventListener('abort', () => repaired.reject(new Error('not mended within 5 s')));
    const first = await repaired.promise.finally(end);
    return { ...first, afterMs: performance.now() - startedMs };
  }
  /** All that there is, in an order and without numbers that differ each time. */
  async function state(): Promise<string[]> {
    const links = JSON.parse(await ip('-j', '-d', 'link')) as Record<string, unknown>[];
    const words = links.map(({ ifname, ifalias, mtu, master, flags }) =>
      [ifname, ifalias, mtu, master, (flags as string[]).includes('UP')].join(' '),
    );
    return [...words.toSorted(), ...(await host.remains()).toSorted()];
  }

  it('a tap that a guest has open outlives another number of vCPUs, and the daemon’s death with it', async () => {
    const plan = (queues: number): NetworkPlan =>
      contractPlan({ networks: [one], ports: [port(1, { queues })] });
    await driver.apply(plan(1), signal());
    const backend = driver.backend(port(1));
    const tap = backend.type === 'tap' ? backend.interface : '';
    const seen = async () => {
      const [link] = JSON.parse(await ip('-j', '-d', 'link', 'show', tap)) as {
        readonly ifindex: number;
        readonly flags: readonly string[];
        readonly linkinfo: { readonly info_data: { readonly multi_queue: boolean } };
      }[];
      return { index: link?.ifindex, flags: link?.flags, many: link?.linkinfo.info_data.multi_queue };
    };
    await host.guest(port(1));
    const before = await seen();
    expect(before).toMatchObject({ many: false, flags: expect.arrayContaining(['LOWER_UP']) });
    await driver.apply(plan(2), signal());
    expect(await seen()).toEqual(before);
    // All that is looked at and mended: the tap is no part of it.
    const { what } = await mendedAfter(() => ip('link', 'set', 'dev', tap, 'mtu', '1400'));
    // A bridge takes the smallest MTU of its ports.
    expect(what.replace('the bridge of network one had another MTU; ', '')).toBe(
      'the tap of guest1 (nic0) had another MTU',
    );
    expect(await seen()).toEqual(before);
    await driver.kill();
    driver = await host.start();
    await driver.apply(plan(2), signal());
    expect(await seen()).toEqual(before);
    // The next one of this port has what is planned.
    await driver.apply(contractPlan({ networks: [one] }), signal());
    await driver.apply(plan(2), signal());
    expect(await seen()).toMatchObject({ many: true });
  });

  it('a bridge that somebody deletes is back with its ports, addresses and names', async () => {
    await driver.apply(contractPlan({ networks: [one, two], ports: ports(20) }), signal());
    const before = await state();
    const bridge = driver.interfaceOf(networkIds.one) ?? '';
    const repaired = await mendedAfter(() => ip('link', 'del', 'dev', bridge));
    expect(repaired).toMatchObject({
      network: networkIds.one,
      what: expect.stringContaining('the bridge of network one'),
    });
    await expectSoon(async () => (await host.servers()).length === 2, 'dnsmasq');
    expect(await state()).toEqual(before);
  });

  it.each([
    ['its address', (bridge: string) => `addr flush dev ${bridge}`, 'address'],
    ['its state', (bridge: string) => `link set dev ${bridge} down`, 'was down'],
    ['its alias', (bridge: string) => `link set dev ${bridge} alias nobody`, 'alias'],
    [
      'its MAC address',
      (bridge: string) => `link set dev ${bridge} address 02:00:00:00:99:99`,
      'MAC address',
    ],
    ['its filter', (bridge: string) => `link set dev ${bridge} type bridge nf_call_iptables 0`, 'firewall'],
    ['its MTU', (bridge: string) => `link set dev ${bridge} mtu 1400`, 'MTU'],
    ['its ports', (bridge: string) => `link set dev PORT nomaster`.replace('BRIDGE', bridge), 'was not in'],
    ['a tap', () => 'link del dev PORT', 'was not there'],
  ])('a bridge that somebody takes %s from has it again', async (_what, line, says) => {
    await driver.apply(contractPlan({ networks: [one], ports: ports(3) }), signal());
    const before = await state();
    const backend = driver.backend(port(2));
    const tap = backend.type === 'tap' ? backend.interface : '';
    const bridge = driver.interfaceOf(networkIds.one) ?? '';
    const repaired = await mendedAfter(() => host.netns.ip(line(bridge).replace('PORT', tap)));
    expect(repaired.what).toContain(says);
    await expectSoon(async () => (await state()).join() === before.join(), 'the state of before');
  });

  it('rules that somebody flushes are back, also when it comes at once after our own change', async () => {
    const { netns } = host;
    await driver.apply(contractPlan({ networks: [one], ports: ports(3) }), signal());
    const before = await netns.run('nft', ['list', 'tables']);
    expect((await mendedAfter(() => netns.run('nft', ['flush', 'ruleset']))).network).toBeUndefined();
    expect(await netns.run('nft', ['list', 'tables'])).toBe(before);
    await driver.apply(contractPlan({ networks: [one], ports: ports(4) }), signal());
    await mendedAfter(() => netns.run('nft', ['flush', 'ruleset']));
    expect(await netns.run('nft', ['list', 'tables'])).toBe(before);
  });

  it.each([
    ['route_localnet of a bridge', (bridge: string) => `net.ipv4.conf.${bridge}.route_localnet=0`],
    ['that a bridge takes router advertisements', (bridge: string) => `net.ipv6.conf.${bridge}.accept_ra=2`],
    ['forwarding', () => 'net.ipv4.ip_forward=0'],
  ])('%s, which the kernel tells nobody of, is set again', async (_what, setting) => {
    await driver.apply(contractPlan({ networks: [one], ports: ports(1) }), signal());
    const words = setting(driver.interfaceOf(networkIds.one) ?? '');
    const [name = ''] = words.split('=');
    const before = await host.netns.run('sysctl', [name]);
    await mendedAfter(() => host.netns.run('sysctl', ['-qw', words]));
    expect(await host.netns.run('sysctl', [name])).toBe(before);
  });

  it('what somebody changes while guests come and go without a pause is mended, too', async () => {
    const { netns } = host;
    let ended = false;
    const busy = (async () => {
      for (let count = 0; !ended; count += 1)
        await driver.apply(contractPlan({ networks: [one], ports: ports(2 + (count % 3)) }), signal());
    })();
    try {
      await expectSoon(async () => (await netns.run('nft', ['list', 'tables'])) !== '', 'the tables');
      const { what } = await mendedAfter(() =>
        netns.run('nft', ['insert', 'rule', 'inet', `wirt_${testTag}`, 'input', 'accept']),
      );
      expect(what).toContain('input');
      const bridge = driver.interfaceOf(networkIds.one) ?? '';
      await mendedAfter(() => netns.ip(`link set dev ${bridge} alias nobody`));
    } finally {
      ended = true;
      await busy;
    }
  });

  it('what is mended is told, also while something else cannot be made', async () => {
    const lost = { ...two, kind: 'bridged' as const, uplink: { interface: 'nothing0' } };
    const plan = contractPlan({ networks: [one, lost], ports: ports(1) });
    await expect(driver.apply(plan, signal())).rejects.toMatchObject({ details: { networks: [two.id] } });
    const bridge = driver.interfaceOf(networkIds.one) ?? '';
    expect(await mendedAfter(() => ip('link', 'set', 'dev', bridge, 'mtu', '1400'))).toMatchObject({
      network: one.id,
      what: expect.stringContaining('MTU'),
    });
  });

  it('a dnsmasq that is killed is back at once, again and again', async () => {
    await driver.apply(contractPlan({ networks: [one], ports: ports(3) }), signal());
    for (let round = 0; round < 4; round += 1) {
      const [pid = 0] = await host.servers();
      const { what, network } = await mendedAfter(async () => process.kill(pid, 'SIGKILL'));
      expect({ what, network }).toEqual({
        network: networkIds.one,
        what: expect.stringContaining('SIGKILL'),
      });
      expect(await host.servers()).not.toContain(pid);
    }
    expect(await host.servers()).toHaveLength(1);
  });

  it('the monitors end with the daemon that died, and dnsmasq serves on', async () => {
    await driver.apply(contractPlan({ networks: [one], ports: ports(1) }), signal());
    const monitors = async (): Promise<number> => {
      const { stdout } = await host.netns.try('ps', ['-eo', 'args=,netns=']);
      const own = await host.netns.run('readlink', ['/proc/self/ns/net']);
      const number = /\d+/.exec(own)?.[0] ?? '?';
      return stdout.split('\n').filter((line) => line.includes(' monitor') && line.includes(number)).length;
    };
    await expectSoon(async () => (await monitors()) === 2, 'the monitors');
    await driver.kill();
    await expectSoon(async () => (await monitors()) === 0, 'the end of the monitors');
    expect(await host.servers()).toHaveLength(1);
  });

  it('our own changes raise no repairs', async () => {
    const said: string[] = [];
    driver.onRepair(({ what }) => void said.push(what));
    for (let count = 0; count < 12; count += 1)
      await driver.apply(
        contractPlan({ networks: count % 2 === 0 ? [one] : [one, two], ports: ports(count) }),
        signal(),
      );
    // Longer than a look at the host beside our own changes is put off.
    await setTimeout(3_500);
    expect(said).toEqual([]);
  });

  it('forwarding is switched on with the first network that needs it, and put back with the last', async () => {
    const { netns } = host;
    await netns.run('sysctl', ['-qw', 'net.ipv6.conf.lo.accept_ra=1']);
    const read = async (): Promise<string> =>
      await netns.run('sysctl', [
        '-n',
        'net.ipv4.ip_forward',
        'net.ipv6.conf.all.forwarding',
        'net.ipv6.conf.lo.accept_ra',
      ]);
    expect(await read()).toBe('0\n0\n1\n');
    await driver.apply(contractPlan({ networks: [{ ...one, kind: 'isolated' }] }), signal());
    expect(await read()).toBe('0\n0\n1\n');
    await driver.apply(contractPlan({ networks: [one] }), signal());
    expect(await read()).toBe('1\n1\n2\n');
    await driver.kill();
    driver = await host.start();
    await driver.apply(emptyNetworkPlan, signal());
    expect(await read()).toBe('0\n0\n1\n');
  });

  it('what others have is as it was: tables, bridges, addresses and forwarding', async () => {
    const { netns } = host;
    await netns.ip(
      'link add docker0 type bridge',
      'link set docker0 up',
      'addr add 172.17.0.1/16 dev docker0',
    );
    await netns.run(
      'nft',
      ['-f', '-'],
      'table inet other { chain x { type filter hook forward priority 0; counter; }; }\n',
    );
    const theirs = async (): Promise<string[]> => [
      await netns.run('nft', ['list', 'table', 'inet', 'other']),
      await netns.run('ip', ['addr', 'show', 'docker0']),
    ];
    const before = await theirs();
    await driver.apply(contractPlan({ networks: [one, two], ports: ports(3) }), signal());
    expect(await driver.routes()).toEqual([{ subnet: '172.17.0.0/16', interface: 'docker0' }]);
    await netns.run('sysctl', ['-qw', 'net.ipv4.ip_forward=1']);
    await driver.apply(emptyNetworkPlan, signal());
    expect(await theirs()).toEqual(before);
    // Docker relies on it by now.
    expect(await netns.run('sysctl', ['-n', 'net.ipv4.ip_forward'])).toBe('1\n');
  });

  it('what a chain of others drops is said, and shown to who asks about the network', async () => {
    const { netns } = host;
    await driver.apply(contractPlan({ networks: [one, two] }), signal());
    expect((await driver.observe(one.id, signal())).shadows).toBeUndefined();
    await netns.run(
      'nft',
      ['-f', '-'],
      'table ip filter { chain FORWARD { type filter hook forward priority 0; policy drop; }; }\n',
    );
    await expectSoon(
      () =>
        driver.logged.some(
          ({ level, name, fields }) =>
            level === 'warn' && name === 'network.shadowed' && fields['table'] === 'ip filter',
        ),
      'the warning',
    );
    const { shadows } = await driver.observe(one.id, signal());
    expect(shadows).toEqual([
      {
        table: 'ip filter',
        why: expect.stringMatching(`for ${driver.interfaceOf(one.id)}\\.$`),
        hint: expect.stringContaining('DOCKER-USER'),
      },
    ]);
    await netns.run('nft', ['delete', 'table', 'ip', 'filter']);
    await expectSoon(() => driver.logged.some(({ name }) => name === 'network.shadow_gone'), 'its end');
    expect((await driver.observe(one.id, signal())).shadows).toBeUndefined();
    expect(driver.logged.filter(({ name }) => name === 'network.shadowed')).toHaveLength(1);
  });

  it('two daemons on one host keep to their own', async () => {
    const other = await host.start({ tag: 'another' });
    const theirs = contractPlan({
      networks: [two],
      ports: [port(1, { network: two.id, ipv4: '10.182.0.5' })],
    });
    await driver.apply(contractPlan({ networks: [one], ports: ports(2) }), signal());
    await other.apply(theirs, signal());
    const backend = other.backend(port(1));
    await driver.kill();
    driver = await host.start();
    await driver.apply(emptyNetworkPlan, signal());
    expect(await ip('-br', 'link')).toContain(other.interfaceOf(two.id) ?? '?');
    expect(await ip('-br', 'link')).toContain(backend.type === 'tap' ? backend.interface : '?');
    expect(await host.netns.run('nft', ['list', 'tables'])).toContain('wirt_another');
    await other.apply(emptyNetworkPlan, signal());
  });

  it('whenever the daemon dies, the next one’s first apply is right', async () => {
    const limits = {
      ingress: { bytesPerSecond: 1_000_000, packetsPerSecond: 500 },
      egress: { bytesPerSecond: 2_000_000 },
    };
    const limited = ports(6).map((each, at) => (at % 2 === 0 ? { ...each, limits } : each));
    const plans: NetworkPlan[] = [
      contractPlan({ networks: [one, two], ports: limited }),
      emptyNetworkPlan,
      contractPlan({ networks: [two], ports: [port(1, { network: two.id, ipv4: '10.182.0.5' })] }),
      contractPlan({ networks: [one, two], ports: ports(6) }),
    ];
    const wanted: string[][] = [];
    for (const plan of plans) {
      await driver.apply(plan, signal());
      wanted.push(await state());
    }
    for (let round = 0; round < 12; round += 1) {
      driver.begin(plans[round % plans.length] ?? emptyNetworkPlan);
      await setTimeout(round * 7);
      await driver.kill();
      driver = await host.start();
      const at = (round + 1) % plans.length;
      await driver.apply(plans[at] ?? emptyNetworkPlan, signal());
      expect(await state()).toEqual(wanted[at]);
    }
    await driver.apply(emptyNetworkPlan, signal());
    expect(await host.remains()).toEqual([]);
  });

  it('a floating address is on the interface that leads there, and gone with its card', async () => {
    const { netns } = host;
    await netns.ip('link add lan0 type bridge', 'link set lan0 up', 'addr add 198.51.100.1/24 dev lan0');
    const floating = port(1, { floating: '198.51.100.9' });
    await driver.apply(contractPlan({ networks: [one], ports: [floating] }), signal());
    const shown = async (): Promise<string> => await ip('-4', '-o', 'addr', 'show', 'dev', 'lan0');
    expect(await shown()).toContain('198.51.100.9/32');
    await driver.kill();
    driver = await host.start();
    await driver.apply(contractPlan({ networks: [one], ports: [port(1)] }), signal());
    expect(await shown()).not.toContain('198.51.100.9');
    expect(await shown()).toContain('198.51.100.1/24');
    // Nobody leads there: said, with the card that it concerns, and all else is done.
    const far = port(2, { floating: '203.0.113.5' });
    await expect(
      driver.apply(contractPlan({ networks: [one], ports: [far] }), signal()),
    ).rejects.toMatchObject({
      code: 'network.failed',
      details: { networks: [one.id], instances: [far.instance] },
    });
    expect(driver.backend(far)).toBeDefined();
  });

  it('the host’s own address, and its router’s, are given to no card: said, and nothing is translated', async () => {
    const { netns } = host;
    await netns.ip(
      'link add lan0 type bridge',
      'link set lan0 up',
      'addr add 198.51.100.2/24 dev lan0',
      'route add default via 198.51.100.1',
    );
    const why = async (address: string): Promise<string | undefined> =>
      (await driver.floatingRefused(address))?.why;
    expect(await why('198.51.100.9')).toBeUndefined();
    for (const address of ['198.51.100.2', '198.51.100.1']) {
      expect(await why(address)).toMatch(/own|router/);
      // A record may be older than what the host has.
      const plan = contractPlan({ networks: [one], ports: [port(1, { floating: address })] });
      await expect(driver.apply(plan, signal())).rejects.toMatchObject({
        details: { instances: [port(1).instance] },
      });
      expect(await netns.run('nft', ['list', 'ruleset'])).not.toContain(address);
      expect(await ip('-4', '-o', 'addr', 'show', 'dev', 'lan0')).not.toContain(`${address}/32`);
    }
    await driver.apply(
      contractPlan({ networks: [one], ports: [port(1, { floating: '198.51.100.9' })] }),
      signal(),
    );
    expect(await netns.run('nft', ['list', 'ruleset'])).toContain('198.51.100.9');
    expect(await why('198.51.100.9')).toBeUndefined();
    expect(await why('10.181.0.1')).toContain('own');
    await driver.apply(emptyNetworkPlan, signal());
  });
});
