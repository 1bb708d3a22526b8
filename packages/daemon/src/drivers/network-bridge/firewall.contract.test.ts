import type { NetworkPlan, PlannedGroup, PlannedPort } from '@wirt/core';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { silentLogger } from '../qemu/silent-logger.fixture.ts';
import { createFirewall, type Firewall } from './firewall.ts';
import { createPlace, type LabPlace, plug } from './firewall-lab.fixture.ts';
import {
  anythingOut,
  card,
  group,
  macNumber,
  names,
  network,
  planOf,
  rule,
} from './firewall-plan.fixture.ts';
import { plans } from './firewall-plans.fixture.ts';
import { createNft } from './nft.ts';

const signal = (): AbortSignal => AbortSignal.timeout(20_000);
const isRoot = process.geteuid?.() === 0;

const lan = network('lan', {
  ipv4: { subnet: '10.80.0.0/24', gateway: '10.80.0.1' },
  ipv6: { subnet: 'fd80:1::/64', gateway: 'fd80:1::1' },
});
const other = network('two', { ipv4: { subnet: '10.82.0.0/24', gateway: '10.82.0.1' } });
const alone = network('iso', {
  kind: 'isolated',
  ipv4: { subnet: '10.81.0.0/24', gateway: '10.81.0.1' },
});
const office = network('off', { kind: 'bridged', uplink: { interface: 'eth9' } });

const at = (last: number, given: Partial<PlannedPort> = {}): Partial<PlannedPort> => ({
  ipv4: `10.80.0.${last}`,
  ipv6: `fd80:1::${last}`,
  ...given,
});
/** a and b are of one group, c of another, d on another network; e and f are isolated; g and h are on the office's LAN. */
const ports = {
  a: card('a', 2, at(2, { groups: ['WEB'] })),
  b: card('b', 3, at(3, { groups: ['WEB'] })),
  c: card('c', 4, at(4, { groups: ['DB'] })),
  d: card('d', 5, { network: 'two', ipv4: '10.82.0.5', groups: ['WEB'] }),
  e: card('e', 6, { network: 'iso', ipv4: '10.81.0.6', groups: ['WEB'] }),
  f: card('f', 7, { network: 'iso', ipv4: '10.81.0.7', groups: ['WEB'] }),
  g: card('g', 8, { network: 'off', groups: ['WEB'] }),
  h: card('h', 9, { network: 'off', groups: ['DB'] }),
};
type Guest = keyof typeof ports;

const web = group('WEB', anythingOut, rule('SAME', { group: 'group-web', groupId: 'WEB' }));
const db = group('DB', rule('OUT2', { direction: 'egress' }));

let generation = 0;
function plan(change: Partial<Record<Guest, Partial<PlannedPort>>> = {}, groups = [web, db]): NetworkPlan {
  generation = (generation % 4095) + 1;
  return planOf({
    generation,
    networks: [lan, other, alone, office],
    ports: Object.entries(ports).map(([name, port]) => ({ ...port, ...change[name as Guest] })),
    groups: groups as PlannedGroup[],
  });
}

const nftOf = async ({ enter }: LabPlace, ...args: readonly string[]): Promise<string> =>
  await createNft([...enter, 'nft']).run(args, 'list', signal());

// Namespaces and tables of the kernel can only be made by root.
describe.skipIf(!isRoot)('the firewall, with packets', () => {
  const places: LabPlace[] = [];
  let host: LabPlace;
  let outside: LabPlace;
  let colleague: LabPlace;
  let guests: Record<Guest, LabPlace>;
  let firewall: Firewall;
  /** Changes that the kernel refused, so that all was replaced. */
  const replaced: string[] = [];
  const facts = { uplinks: ['uplink'] };
  const apply = async (...args: Parameters<typeof plan>): Promise<void> =>
    await firewall.apply(plan(...args), facts, signal());
  const spoofed = async (guest: Guest): Promise<number> =>
    (await firewall.observe(signal())).spoofed.get(`wt${guest}`) ?? -1;

  beforeAll(async () => {
    const guestNames = Object.keys(ports) as Guest[];
    const all = await Promise.all(['host', 'outside', 'colleague', ...guestNames].map(createPlace));
    places.push(...all);
    [host, outside, colleague] = all as [LabPlace, LabPlace, LabPlace];
    guests = Object.fromEntries(guestNames.map((name, index) => [name, all[index + 3]])) as typeof guests;
    await plug(
      { place: host, name: 'eth0', addresses: ['192.0.2.1/24', '2001:db8::1/64'] },
      { place: outside, name: 'eth0', addresses: ['192.0.2.2/24', '2001:db8::2/64'] },
    );
    for (const { id, ipv4, ipv6 } of [lan, other, alone, office]) {
      const bridge = `wb${id}`;
      await host.ip(
        'link',
        'add',
        bridge,
        'type',
        'bridge',
        'nf_call_iptables',
        '1',
        'nf_call_ip6tables',
        '1',
      );
      if (ipv4 !== undefined) await host.ip('addr', 'add', `${ipv4.gateway}/24`, 'dev', bridge);
      if (ipv6 !== undefined) await host.ip('addr', 'add', `${ipv6.gateway}/64`, 'dev', bridge, 'nodad');
      await host.ip('link', 'set', bridge, 'up');
      await host.sysctl(`ipv4/conf/${bridge}/route_localnet`, '1');
    }
    await host.sysctl('ipv4/ip_forward', '1');
    await host.sysctl('ipv6/conf/all/forwarding', '1');
    await plug(
      { place: host, name: 'uplink', bridge: 'wboff' },
      { place: colleague, name: 'eth0', addresses: ['10.99.0.1/24'] },
    );
    await Promise.all(guestNames.map(plugGuest));
    firewall = createFirewall({
      tag: 'test',
      ...names,
      logger: { ...silentLogger, warn: (event) => void replaced.push(event) },
      command: [...host.enter, 'nft'],
    });
    await Promise.all(
      [...Object.values(guests), outside, colleague].flatMap((place) => [
        place.serve('tcp', 80),
        place.serve('tcp', 81),
        place.serve('udp', 80),
      ]),
    );
    await host.serve('tcp', 80);
    await host.serve('tcp', 22);
    await host.serve('tcp', 53);
    await host.serve('udp', 53, '10.80.0.1');
  });

  async function plugGuest(name: Guest): Promise<void> {
    const { network: on, mac, ipv4 = `10.99.0.${name === 'g' ? 8 : 9}`, ipv6 } = ports[name];
    const place = guests[name];
    await plug(
      { place: host, name: `wt${name}`, bridge: `wb${on}` },
      {
        place,
        name: 'eth0',
        mac,
        addresses: [`${ipv4}/24`, ...(ipv6 === undefined ? [] : [`${ipv6}/64`])],
      },
    );
    const net = [lan, other, alone, office].find(({ id }) => id === on);
    if (net?.ipv4 !== undefined) await place.ip('route', 'add', 'default', 'via', net.ipv4.gateway);
    if (net?.ipv6 !== undefined) await place.ip('-6', 'route', 'add', 'default', 'via', net.ipv6.gateway);
  }

  afterAll(async () => {
    await Promise.all(places.map(async (place) => await place[Symbol.asyncDispose]()));
  });

  beforeEach(async () => {
    await apply();
  });

  describe('security groups', () => {
    it('let cards of a group talk that names itself, and nobody else in', async () => {
      const { a, b, c } = guests;
      expect(await a.ask('tcp', '10.80.0.3', 80)).toBe('10.80.0.2');
      expect(await a.ask('udp', '10.80.0.3', 80)).toBe('10.80.0.2');
      expect(await a.ask('tcp', 'fd80:1::3', 80)).toBe('fd80:1::2');
      expect(await b.ping('10.80.0.2')).toBe(true);
      expect(await b.ping('fd80:1::2')).toBe(true);
      expect(await c.knock('tcp', '10.80.0.3', 80)).toBeUndefined();
      expect(await c.knock('udp', '10.80.0.3', 80)).toBeUndefined();
      expect(await c.knock('tcp', 'fd80:1::3', 80)).toBeUndefined();
      expect(await c.pingInVain('10.80.0.3')).toBe(true);
      expect(await a.knock('tcp', '10.80.0.4', 80)).toBeUndefined();
    });

    it('guard link-local addresses as well', async () => {
      const linkLocal = 'fe80::ff:fe00:3%eth0';
      expect(await guests.a.ask('tcp', linkLocal, 80)).toMatch(/^fe80::ff:fe00:2/);
      expect(await guests.c.knock('tcp', linkLocal, 80)).toBeUndefined();
    });

    it('let cards of a group talk across networks, with their own addresses', async () => {
      expect(await guests.a.ask('tcp', '10.82.0.5', 80)).toBe('10.80.0.2');
      expect(await guests.c.knock('tcp', '10.82.0.5', 80)).toBeUndefined();
    });

    it('open ports and ranges of ports, and only those', async () => {
      const range = rule('RANGE', { protocol: 'tcp', fromPort: 78, toPort: 80 });
      await apply({}, [web, group('DB', range)]);
      expect(await guests.a.ask('tcp', '10.80.0.4', 80)).toBe('10.80.0.2');
      expect(await guests.a.ask('tcp', 'fd80:1::4', 80)).toBe('fd80:1::2');
      expect(await guests.a.knock('tcp', '10.80.0.4', 81)).toBeUndefined();
      expect(await guests.a.knock('udp', '10.80.0.4', 80)).toBeUndefined();
    });

    it('open to a subnet, and to nobody beyond it', async () => {
      await apply({}, [web, group('DB', rule('CIDR', { protocol: 'tcp', cidr: '10.80.0.2/32' }))]);
      expect(await guests.a.ask('tcp', '10.80.0.4', 80)).toBe('10.80.0.2');
      expect(await guests.b.knock('tcp', '10.80.0.4', 80)).toBeUndefined();
      await apply({}, [web, group('DB', rule('CIDR6', { cidr: 'fd80:1::3/128' }))]);
      expect(await guests.a.knock('tcp', 'fd80:1::4', 80)).toBeUndefined();
      expect(await guests.b.ask('tcp', 'fd80:1::4', 80)).toBe('fd80:1::3');
    });

    it('tell types of ICMP apart', async () => {
      const echo = rule('ECHO', { protocol: 'icmp', fromPort: 8, toPort: 0 });
      const echo6 = rule('ECHO6', { protocol: 'icmpv6', fromPort: 128 });
      await apply({}, [web, group('DB', echo, echo6)]);
      expect(await guests.a.ping('10.80.0.4')).toBe(true);
      expect(await guests.a.ping('fd80:1::4')).toBe(true);
      const timestamp = rule('STAMP', { protocol: 'icmp', fromPort: 13 });
      await apply({}, [web, group('DB', timestamp)]);
      expect(await guests.a.pingInVain('10.80.0.4')).toBe(true);
      expect(await guests.a.pingInVain('fd80:1::4')).toBe(true);
    });

    it('hold back what goes out', async () => {
      const out = rule('OUT80', { direction: 'egress', protocol: 'tcp', fromPort: 80, toPort: 80 });
      await apply({}, [group('WEB', out, rule('IN')), db]);
      expect(await guests.a.ask('tcp', '10.80.0.3', 80)).toBe('10.80.0.2');
      expect(await guests.a.knock('tcp', '10.80.0.3', 81)).toBeUndefined();
      expect(await guests.a.ask('tcp', '192.0.2.2', 80)).toBe('192.0.2.1');
      expect(await guests.a.knock('tcp', '192.0.2.2', 81)).toBeUndefined();
    });

    it('cut the connection that a removed rule alone had allowed, and no other', async () => {
      const [http, alt] = [80, 81].map((port) =>
        rule(`TCP${port}`, { protocol: 'tcp', fromPort: port, toPort: port }),
      );
      if (http === undefined || alt === undefined) throw new Error('Two rules were made.');
      await apply({}, [web, group('DB', http, alt)]);
      const { a } = guests;
      await a.ask('tcp', '10.80.0.4', 80, { keep: 'http' });
      await a.ask('tcp', '10.80.0.4', 81, { keep: 'alt' });
      await a.ask('tcp', '10.80.0.3', 80, { keep: 'same' });
      expect(await a.stillTalks('http')).toBe(true);
      await apply({}, [web, group('DB', alt)]);
      expect(await a.isSilent('http')).toBe(true);
      expect(await a.stillTalks('alt')).toBe(true);
      expect(await a.stillTalks('same')).toBe(true);
    });

    it('guard cards on a LAN whose addresses are not known', async () => {
      expect(await guests.g.ask('tcp', '10.99.0.1', 80)).toBe('10.99.0.8');
      expect(await colleague.knock('tcp', '10.99.0.8', 80)).toBeUndefined();
      await apply({}, [group('WEB', anythingOut, rule('LAN', { protocol: 'tcp', fromPort: 80 })), db]);
      expect(await colleague.ask('tcp', '10.99.0.8', 80)).toBe('10.99.0.1');
      await apply({}, [web, group('DB', rule('FROM', { group: 'group-web', groupId: 'WEB' }))]);
      expect(await guests.g.ask('tcp', '10.99.0.9', 80)).toBe('10.99.0.8');
      expect(await guests.h.knock('tcp', '10.99.0.8', 80)).toBeUndefined();
    });

    it('count what each rule let pass', async () => {
      await firewall.forget();
      await apply();
      await guests.a.ask('tcp', '10.80.0.3', 80);
      const { rules } = await firewall.observe(signal());
      const same = rules.find((each) => each.rule === 'SAME');
      expect(same).toMatchObject({ group: 'group-web', packets: 1 });
      await apply({}, [group('WEB', ...web.rules, rule('MORE', { cidr: '203.0.113.0/24' })), db]);
      expect((await firewall.observe(signal())).rules).toContainEqual(same);
    });
  });

  describe('anti-spoofing', () => {
    it('drops what comes from an address of somebody else, IPv4 and IPv6', async () => {
      const before = await spoofed('a');
      await guests.a.ip('addr', 'add', '10.80.0.77/24', 'dev', 'eth0');
      await guests.a.ip('addr', 'add', 'fd80:1::77/64', 'dev', 'eth0', 'nodad');
      try {
        expect(await guests.a.knock('udp', '10.80.0.1', 53, { from: '10.80.0.77' })).toBeUndefined();
        expect(await guests.a.pingInVain('fd80:1::1', '-I', 'fd80:1::77')).toBe(true);
        expect(await spoofed('a')).toBeGreaterThanOrEqual(before + 2);
        await apply({ a: { antiSpoofing: false } });
        expect(await guests.a.ping('10.80.0.1', '-I', '10.80.0.77')).toBe(true);
      } finally {
        await guests.a.ip('addr', 'del', '10.80.0.77/24', 'dev', 'eth0');
        await guests.a.ip('addr', 'del', 'fd80:1::77/64', 'dev', 'eth0');
      }
    });

    it('drops ARP that claims the address of somebody else', async () => {
      const claim = async (address: string, mode = '-U'): Promise<void> => {
        const words = ['busybox', 'arping', mode, '-c', '2', '-w', '1', '-I', 'eth0', address];
        await createNft([...guests.b.enter, ...words] as [string, ...string[]])
          .run([], 'claim', signal())
          .catch(() => undefined);
      };
      const before = await spoofed('b');
      await claim('10.80.0.3');
      await claim('10.80.0.3', '-D');
      expect(await spoofed('b')).toBe(before);
      await claim('10.80.0.2', '-D');
      const probed = await spoofed('b');
      expect(probed).toBeGreaterThan(before);
      await guests.b.ip('addr', 'add', '10.80.0.2/24', 'dev', 'eth0');
      try {
        await claim('10.80.0.2');
      } finally {
        await guests.b.ip('addr', 'del', '10.80.0.2/24', 'dev', 'eth0');
      }
      expect(await spoofed('b')).toBeGreaterThan(probed);
    });

    it('drops what comes from another MAC address, and tagged frames', async () => {
      const before = await spoofed('c');
      const { mac } = ports.c;
      await guests.c.ip('link', 'set', 'eth0', 'address', macNumber(99));
      expect(await guests.c.pingInVain('10.80.0.1')).toBe(true);
      await guests.c.ip('link', 'set', 'eth0', 'address', mac);
      const between = await spoofed('c');
      expect(between).toBeGreaterThan(before);
      expect(await guests.c.ping('10.80.0.1')).toBe(true);
      // There need not be VLAN interfaces on this kernel: the guest's own nft makes tagged frames.
      await guests.c.nft(
        'table netdev m { chain o { type filter hook egress device "eth0" priority 0; ether type ip ether type set 0x8100; }\n}\n',
      );
      expect(await guests.c.pingInVain('10.80.0.1')).toBe(true);
      await guests.c.nft('delete table netdev m\n');
      expect(await spoofed('c')).toBeGreaterThan(between);
    });

    it('drops DHCP servers, router advertisements and false neighbour advertisements', async () => {
      const before = await spoofed('b');
      await guests.b.knock('udp', '10.80.0.2', 68, { fromPort: 67 });
      const servers = await spoofed('b');
      expect(servers).toBe(before + 1);
      // The guest's own nft makes them of echo requests.
      const mangle = (type: string): string =>
        `table ip6 m { chain o { type filter hook output priority 0; icmpv6 type echo-request icmpv6 type set ${type}; }\n}\n`;
      for (const [type, more] of [
        ['nd-router-advert', 1],
        ['nd-neighbor-advert', 2],
      ] as const) {
        await guests.b.nft(mangle(type));
        expect(await guests.b.pingInVain('fd80:1::2')).toBe(true);
        await guests.b.nft('delete table ip6 m\n');
        expect(await spoofed('b')).toBe(servers + more);
      }
      expect(await guests.b.ping('fd80:1::2')).toBe(true);
    });

    it('drops frames from the uplink that claim to be of a guest', async () => {
      await apply({}, [group('WEB', anythingOut, rule('LAN')), db]);
      expect(await colleague.ping('10.99.0.8')).toBe(true);
      await colleague.ip('link', 'set', 'eth0', 'address', ports.h.mac);
      expect(await colleague.pingInVain('10.99.0.8')).toBe(true);
      await colleague.ip('link', 'set', 'eth0', 'address', macNumber(200));
    });

    it('hands a guest no frame for an address that is not its own', async () => {
      await guests.a.ip('addr', 'add', '10.200.0.1/24', 'dev', 'lo');
      await guests.c.ip('route', 'add', '10.200.0.0/24', 'via', '10.80.0.2', 'onlink', 'dev', 'eth0');
      await guests.b.ip('route', 'add', '10.200.0.0/24', 'via', '10.80.0.2', 'onlink', 'dev', 'eth0');
      try {
        await guests.a.nft(
          'table inet w { chain p { type filter hook input priority 0; ip daddr 10.200.0.1 counter; }\n}\n',
        );
        expect(await guests.c.knock('udp', '10.200.0.1', 80)).toBeUndefined();
        const heard = await nftOf(guests.a, 'list', 'table', 'inet', 'w');
        await guests.a.nft('delete table inet w\n');
        expect(heard).toMatch(/packets 0/);
        await apply({ a: { antiSpoofing: false } });
        expect(await guests.b.ask('tcp', '10.200.0.1', 80)).toBe('10.80.0.3');
      } finally {
        await guests.a.ip('addr', 'del', '10.200.0.1/24', 'dev', 'lo');
        await guests.c.ip('route', 'del', '10.200.0.0/24');
        await guests.b.ip('route', 'del', '10.200.0.0/24');
      }
    });
  });

  describe('the host', () => {
    it('answers DNS and echo requests of guests, and nothing else', async () => {
      const { a } = guests;
      expect(await a.ask('udp', '10.80.0.1', 53)).toBe('10.80.0.2');
      expect(await a.ask('tcp', '10.80.0.1', 53)).toBe('10.80.0.2');
      expect(await a.ask('tcp', 'fd80:1::1', 53)).toBe('fd80:1::2');
      expect(await a.ping('10.80.0.1')).toBe(true);
      expect(await a.ping('fd80:1::1')).toBe(true);
      expect(await a.knock('tcp', '10.80.0.1', 22)).toBeUndefined();
      expect(await a.knock('tcp', '10.80.0.1', 80)).toBeUndefined();
      expect(await a.knock('tcp', 'fd80:1::1', 22)).toBeUndefined();
      for (const address of ['192.0.2.1', '10.82.0.1'])
        expect(await a.knock('tcp', address, 53)).toBeUndefined();
      expect(await a.pingInVain('192.0.2.1')).toBe(true);
    });

    it('hears DHCP clients, but not one that floods', async () => {
      await host.serve('udp', 67, '10.80.0.1');
      const ask = async (): Promise<string | undefined> =>
        await guests.c.ask('udp', '10.80.0.1', 67, { fromPort: 68 });
      expect(await ask()).toBe('10.80.0.4');
      const heard = async (): Promise<number> => {
        const listed = await nftOf(host, 'list', 'table', 'inet', 'w');
        return Number(/packets (\d+)/.exec(listed)?.[1]);
      };
      await host.nft(
        'table inet w { chain p { type filter hook prerouting priority -301; udp dport 67 counter; }\n}\n',
      );
      await Promise.all(
        Array.from({ length: 400 }, async () => await guests.c.knock('udp', '10.80.0.1', 67)),
      );
      expect(await heard()).toBeGreaterThan(10);
      expect(await heard()).toBeLessThan(150);
      await host.nft('delete table inet w\n');
    });

    it('cannot be reached at its loopback addresses', async () => {
      const { a } = guests;
      const drops =
        'table inet w { chain p { type filter hook prerouting priority -301; iifname "wblan" ip daddr 127.0.0.0/8 counter comment "seen"; }\n}\n';
      await host.nft(drops);
      await a.ip('route', 'add', '127.1.0.0/16', 'via', '10.80.0.1', 'table', '9');
      await a.sysctl('ipv4/conf/eth0/route_localnet', '1');
      await a.ip('rule', 'add', 'pref', '1', 'to', '127.1.0.0/16', 'table', '9');
      await a.ip('rule', 'add', 'pref', '2', 'lookup', 'local');
      await a.ip('rule', 'del', 'pref', '0');
      try {
        expect(await a.knock('tcp', '127.1.0.1', 53, { from: '10.80.0.2' })).toBeUndefined();
        const listed = await nftOf(host, 'list', 'table', 'inet', 'w');
        expect(listed).toMatch(/packets [1-9]/);
      } finally {
        await a.ip('rule', 'add', 'pref', '0', 'lookup', 'local');
        await a.ip('rule', 'del', 'pref', '1');
        await a.ip('rule', 'del', 'pref', '2');
        await host.nft('delete table inet w\n');
      }
    });

    it('reaches its guests, whatever their groups say', async () => {
      expect(await host.ask('tcp', '10.80.0.4', 80)).toBe('10.80.0.1');
      expect(await host.ping('fd80:1::4')).toBe(true);
    });
  });

  describe('the outside', () => {
    it('is reached with the host’s address, and reaches nobody by itself', async () => {
      expect(await guests.a.ask('tcp', '192.0.2.2', 80)).toBe('192.0.2.1');
      expect(await guests.a.ask('udp', '192.0.2.2', 80)).toBe('192.0.2.1');
      expect(await guests.a.ask('tcp', '2001:db8::2', 80)).toBe('2001:db8::1');
      expect(await guests.a.ping('2001:db8::2')).toBe(true);
      await outside.ip('route', 'add', '10.80.0.0/24', 'via', '192.0.2.1');
      try {
        expect(await outside.knock('tcp', '10.80.0.4', 80)).toBeUndefined();
        await apply({}, [web, group('DB', rule('ANY'))]);
        expect(await outside.ask('tcp', '10.80.0.4', 80)).toBe('192.0.2.2');
      } finally {
        await outside.ip('route', 'del', '10.80.0.0/24');
      }
    });

    it('cannot pass for a guest', async () => {
      await outside.ip('route', 'add', '10.80.0.3/32', 'via', '192.0.2.1');
      await outside.ip('addr', 'add', '10.80.0.2/32', 'dev', 'lo');
      await host.sysctl('ipv4/conf/all/rp_filter', '0');
      await host.sysctl('ipv4/conf/eth0/rp_filter', '0');
      const seen =
        'table inet w { chain p { type filter hook input priority 0; ip saddr 10.80.0.2 udp dport 80 counter; }\n}\n';
      await guests.b.nft(seen);
      await outside.knock('udp', '10.80.0.3', 80, { from: '10.80.0.2' });
      const listed = await nftOf(guests.b, 'list', 'table', 'inet', 'w');
      await guests.b.nft('delete table inet w\n');
      await outside.ip('route', 'del', '10.80.0.3/32');
      await outside.ip('addr', 'del', '10.80.0.2/32', 'dev', 'lo');
      expect(listed).toMatch(/packets 0/);
    });

    it('reaches a published port, TCP and UDP, and so do the host, its loopback and other guests', async () => {
      const publish = (['tcp', 'udp'] as const).map((protocol) => ({
        protocol,
        hostPort: 8080,
        guestPort: 80,
      }));
      await apply({ c: { publish } });
      for (const protocol of ['tcp', 'udp'] as const) {
        expect(await outside.ask(protocol, '192.0.2.1', 8080)).toBe('192.0.2.2');
        expect(await outside.ask(protocol, '2001:db8::1', 8080)).toBe('2001:db8::2');
        expect(await host.ask(protocol, '192.0.2.1', 8080)).toBe('192.0.2.1');
        expect(await host.ask(protocol, '127.0.0.1', 8080)).toBe('10.80.0.1');
      }
      expect(await guests.d.ask('tcp', '192.0.2.1', 8080)).toBe('10.82.0.5');
      expect(await guests.a.ask('tcp', '10.80.0.1', 8080)).toBe('10.80.0.2');
      expect(await guests.a.knock('tcp', '10.80.0.4', 80)).toBeUndefined();
      expect(await outside.knock('tcp', '192.0.2.1', 8081)).toBeUndefined();
      await outside.ask('tcp', '192.0.2.1', 8080, { keep: 'published' });
      await apply();
      expect(await outside.isSilent('published')).toBe(true);
      expect(await outside.knock('tcp', '192.0.2.1', 8080)).toBeUndefined();
    });

    it('reaches a port published at one address only there', async () => {
      await host.ip('addr', 'add', '192.0.2.50/32', 'dev', 'eth0');
      await apply({
        c: { publish: [{ protocol: 'tcp', hostAddress: '192.0.2.50', hostPort: 8080, guestPort: 80 }] },
      });
      expect(await outside.ask('tcp', '192.0.2.50', 8080)).toBe('192.0.2.2');
      expect(await outside.knock('tcp', '192.0.2.1', 8080)).toBeUndefined();
      await host.ip('addr', 'del', '192.0.2.50/32', 'dev', 'eth0');
    });

    it('sees a floating address instead of the host’s, and reaches the guest by it as its groups say', async () => {
      await host.ip('addr', 'add', '192.0.2.60/32', 'dev', 'eth0');
      await apply({ a: { floating: '192.0.2.60' } });
      expect(await guests.a.ask('tcp', '192.0.2.2', 80)).toBe('192.0.2.60');
      expect(await guests.b.ask('tcp', '192.0.2.2', 80)).toBe('192.0.2.1');
      expect(await outside.knock('tcp', '192.0.2.60', 80)).toBeUndefined();
      await apply({ a: { floating: '192.0.2.60' } }, [
        group('WEB', ...web.rules, rule('HTTP', { protocol: 'tcp', fromPort: 80, cidr: '192.0.2.0/24' })),
        db,
      ]);
      expect(await outside.ask('tcp', '192.0.2.60', 80)).toBe('192.0.2.2');
      expect(await outside.knock('tcp', '192.0.2.60', 81)).toBeUndefined();
      expect(await guests.b.ask('tcp', '192.0.2.60', 80)).toBe('10.80.0.3');
      expect(await host.ask('tcp', '192.0.2.60', 80)).toBe('192.0.2.60');
      await host.ip('addr', 'del', '192.0.2.60/32', 'dev', 'eth0');
    });
  });

  it('keeps an isolated network to itself', async () => {
    const { a, e } = guests;
    expect(await e.ask('tcp', '10.81.0.7', 80)).toBe('10.81.0.6');
    expect(await e.knock('tcp', '192.0.2.2', 80)).toBeUndefined();
    expect(await e.knock('tcp', '10.80.0.2', 80)).toBeUndefined();
    expect(await a.knock('tcp', '10.81.0.7', 80)).toBeUndefined();
    expect(await e.ping('10.81.0.1')).toBe(true);
  });

  it('leads the metadata address to the gateway, with answers that go one hop, unless asked for more', async () => {
    const seen = async (guest: LabPlace, hops: number): Promise<string> => {
      await guest.nft(
        `table inet w { chain p { type filter hook input priority 0; tcp sport 80 ip ttl ${hops} counter accept; tcp sport 80 counter drop; }\n}\n`,
      );
      const heard = await guest.knock('tcp', '169.254.169.254', 80);
      await guest.nft('delete table inet w\n');
      return heard ?? 'nothing';
    };
    expect(await seen(guests.a, 1)).toBe('10.80.0.2');
    expect(await guests.a.ask('tcp', 'fd00:ec2::254', 80)).toBe('fd80:1::2');
    await apply({ b: { metadataHopLimit: 3 } });
    expect(await seen(guests.b, 3)).toBe('10.80.0.3');
    expect(await seen(guests.b, 1)).toBe('nothing');
    expect(await seen(guests.a, 1)).toBe('10.80.0.2');
    const { metadataHopLimit: _none, ...without } = ports.c;
    await firewall.apply(
      planOf({ generation: 4000, networks: [lan], ports: [without], groups: [db] }),
      facts,
      signal(),
    );
    expect(await guests.c.knock('tcp', '169.254.169.254', 80)).toBeUndefined();
  });

  it('leaves the tables of others alone, and says what shadows ours', async () => {
    const docker =
      'table ip filter {\n\tchain DOCKER-USER {\n\t}\n\n\tchain FORWARD {\n\t\ttype filter hook forward priority filter; policy drop;\n\t\tjump DOCKER-USER\n\t}\n}\n';
    await host.nft(docker);
    const nft = createNft([...host.enter, 'nft']);
    const listed = async (): Promise<string> =>
      await nft.run(['list', 'table', 'ip', 'filter'], 'list', signal());
    const before = await listed();
    try {
      firewall.forget();
      await apply();
      expect(await guests.a.knock('tcp', '192.0.2.2', 80)).toBeUndefined();
      const [shadow, ...more] = await firewall.shadows(signal());
      expect(more).toEqual([]);
      expect(shadow).toMatchObject({ table: 'ip filter' });
      expect(shadow?.hint).toContain('iptables -I DOCKER-USER -i wblan -j ACCEPT');
      expect(await listed()).toBe(before);
      for (const bridge of ['wblan', 'wbtwo', 'wbiso', 'wboff'])
        for (const match of ['iifname', 'oifname'])
          await host.nft(`insert rule ip filter DOCKER-USER ${match} ${bridge} accept\n`);
      expect(await firewall.shadows(signal())).toEqual([]);
      expect(await guests.a.ask('tcp', '192.0.2.2', 80)).toBe('192.0.2.1');
      await firewall.remove(signal());
      await firewall.remove(signal());
      expect(await nft.run(['list', 'tables'], 'list', signal())).toBe('table ip filter\n');
    } finally {
      await host.nft('delete table ip filter\n');
    }
  });

  it('notices what somebody else changes in its tables, and mends it when told to forget', async () => {
    const changes = [
      'flush ruleset',
      'delete table bridge wirt_test',
      'flush chain inet wirt_test input',
      'insert rule inet wirt_test input accept',
      'flush set inet wirt_test bridges',
      'add element inet wirt_test bridges { "eth0" }',
      'delete element inet wirt_test ingress4 { 10.80.0.2 }',
      'add chain inet wirt_test strange',
    ];
    for (const change of changes) {
      expect(await firewall.differs(signal()), change).toBeUndefined();
      await host.nft(`${change}\n`);
      expect(await firewall.differs(signal()), change).toMatch(/wirt_test/);
      firewall.forget();
      await apply();
    }
    expect(await firewall.differs(signal())).toBeUndefined();
  });

  it('replaces all by itself when a change builds on what somebody has taken away', async () => {
    await host.nft('flush ruleset\n');
    await apply({}, [web, group('DB', rule('NEW'))]);
    expect(replaced.splice(0)).toEqual(['firewall.replaced']);
    expect(await firewall.differs(signal())).toBeUndefined();
    expect(await guests.a.ask('tcp', '10.80.0.4', 80)).toBe('10.80.0.2');
  });

  it('has in the kernel, after any steps, what the last plan alone gives', async () => {
    await using fresh = await createPlace();
    const list = async ({ enter }: LabPlace): Promise<string> => {
      const nft = createNft([...enter, 'nft']);
      const tables = ['inet', 'bridge'].map(
        async (family) => await nft.run(['-s', 'list', 'table', family, 'wirt_test'], 'list', signal()),
      );
      // nft lists sets and chains in the order in which they were made.
      return (await Promise.all(tables))
        .flatMap((text) => text.split(/\n(?=\t\S|\}|table)/).sort())
        .join('\n');
    };
    await fc.assert(
      fc.asyncProperty(fc.array(plans, { minLength: 2, maxLength: 4 }), async (steps) => {
        for (const step of steps) {
          await firewall.apply(step, facts, signal());
          expect(await firewall.differs(signal())).toBeUndefined();
        }
        const alone = createFirewall({
          ...{ tag: 'test', ...names, logger: silentLogger },
          command: [...fresh.enter, 'nft'],
        });
        await alone.apply(steps.at(-1) ?? planOf({}), facts, signal());
        expect(replaced).toEqual([]);
        expect(await list(host)).toBe(await list(fresh));
      }),
      { numRuns: 12 },
    );
  });

  it('changes one rule among 1,000 cards', async () => {
    const many = Array.from({ length: 1000 }, (_, n) =>
      card(`n${n}`, 1000 + n, {
        ipv4: `10.90.${n >> 8}.${n & 255}`,
        ipv6: `fd90::${(n + 1).toString(16)}`,
        groups: ['WEB'],
      }),
    );
    const big = (port: number): NetworkPlan =>
      planOf({
        generation: port,
        networks: [lan],
        ports: many,
        groups: [group('WEB', ...web.rules, rule('ONE', { protocol: 'tcp', fromPort: port, toPort: port }))],
      });
    const took: number[] = [];
    for (let port = 1; port <= 12; port += 1) {
      const start = performance.now();
      await firewall.apply(big(port), facts, signal());
      took.push(performance.now() - start);
    }
    const [first = 0, ...rest] = took.map(Math.round);
    process.stdout.write(
      `1,000 cards: first apply ${first} ms, one rule ${rest.sort((x, y) => x - y).join(' ')} ms\n`,
    );
    expect(await firewall.differs(signal())).toBeUndefined();
  });
});
