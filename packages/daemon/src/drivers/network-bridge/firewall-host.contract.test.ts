import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { dhcpMessage } from './firewall-dhcp.fixture.ts';
import type { LabPlace } from './firewall-lab.fixture.ts';
import { group, planOf, rule } from './firewall-plan.fixture.ts';
import {
  createScene,
  db,
  facts,
  lan,
  nftOf,
  ports,
  type Scene,
  signal,
  web,
} from './firewall-scene.fixture.ts';
import { createNft } from './nft.ts';

// Namespaces and tables of the kernel can only be made by root.
describe.skipIf(process.geteuid?.() !== 0)('the firewall between guests and others, with packets', () => {
  let scene: Scene;
  let host: Scene['host'];
  let outside: Scene['outside'];
  let guests: Scene['guests'];
  let firewall: Scene['firewall'];
  let apply: Scene['apply'];

  beforeAll(async () => {
    scene = await createScene();
    ({ host, outside, guests, firewall, apply } = scene);
  });
  afterAll(async () => {
    await scene[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    await scene.apply();
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

    it('answers at its gateway addresses to nobody but the guests there', async () => {
      await outside.ip('route', 'add', '10.80.0.0/24', 'via', '192.0.2.1');
      await outside.ip('-6', 'route', 'add', 'fd80:1::/64', 'via', '2001:db8::1');
      try {
        expect(await outside.knock('udp', '10.80.0.1', 53)).toBeUndefined();
        expect(await outside.knock('tcp', '10.80.0.1', 80)).toBeUndefined();
        expect(await outside.knock('tcp', 'fd80:1::1', 80)).toBeUndefined();
        expect(await outside.ask('tcp', '192.0.2.1', 80)).toBe('192.0.2.2');
        expect(await host.ask('udp', '10.80.0.1', 53)).toBe('10.80.0.1');
        expect(await host.ask('tcp', 'fd80:1::1', 80)).toBe('fd80:1::1');
      } finally {
        await outside.ip('route', 'del', '10.80.0.0/24');
        await outside.ip('-6', 'route', 'del', 'fd80:1::/64');
      }
    });

    it('hears DHCP clients, but not one that floods', async () => {
      await host.serve('udp', 67, '10.80.0.1');
      const payloadHex = dhcpMessage({ type: 'discover', mac: ports.c.mac });
      const ask = async (): Promise<string | undefined> =>
        await guests.c.ask('udp', '10.80.0.1', 67, { fromPort: 68, payloadHex });
      expect(await ask()).toBe('10.80.0.4');
      const heard = async (): Promise<number> => {
        const listed = await nftOf(host, 'list', 'table', 'inet', 'w');
        return Number(/packets (\d+)/.exec(listed)?.[1]);
      };
      await host.nft(
        'table inet w { chain p { type filter hook prerouting priority -301; udp dport 67 counter; }\n}\n',
      );
      await Promise.all(
        Array.from({ length: 400 }, async () => await guests.c.knock('udp', '10.80.0.1', 67, { payloadHex })),
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

    it('gets nothing in that only neighbours say: no discovery, no reports of listeners', async () => {
      await outside.ip('-6', 'route', 'add', 'fd80:1::/64', 'via', '2001:db8::1');
      await guests.c.nft(
        'table inet w { chain p { type filter hook prerouting priority -301; ip6 saddr 2001:db8::2 counter; }\n}\n',
      );
      try {
        for (const type of ['nd-neighbor-solicit', 'nd-router-solicit', 'mld2-listener-report']) {
          // The sender's own nft makes them of echo requests.
          await outside.nft(
            `table ip6 m { chain o { type filter hook output priority 0; icmpv6 type echo-request icmpv6 type set ${type}; }\n}\n`,
          );
          expect(await outside.pingInVain('fd80:1::4', '-t', '255')).toBe(true);
          await outside.nft('delete table ip6 m\n');
        }
        expect(await nftOf(guests.c, 'list', 'table', 'inet', 'w')).toMatch(/packets 0/);
      } finally {
        await guests.c.nft('delete table inet w\n');
        await outside.ip('-6', 'route', 'del', 'fd80:1::/64');
      }
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
      // At its gateway addresses the host serves its guests and nobody else.
      expect(await guests.a.knock('tcp', '10.80.0.1', 8080)).toBeUndefined();
      expect(await guests.a.knock('tcp', '10.80.0.4', 80)).toBeUndefined();
      expect(await outside.knock('tcp', '192.0.2.1', 8081)).toBeUndefined();
      await outside.ask('tcp', '192.0.2.1', 8080, { keep: 'published' });
      await apply();
      expect(await outside.isSilent('published')).toBe(true);
      expect(await outside.knock('tcp', '192.0.2.1', 8080)).toBeUndefined();
    });

    it('does not get by a floating address to a port that is published at others', async () => {
      await host.ip('addr', 'add', '192.0.2.60/32', 'dev', 'eth0');
      await host.ip('addr', 'add', '192.0.2.50/32', 'dev', 'eth0');
      const both = [80, 81].map((port) => ({
        ...{ protocol: 'tcp' as const, hostPort: port, guestPort: port },
        ...(port === 81 ? { hostAddress: '192.0.2.50' } : {}),
      }));
      await apply({ c: { floating: '192.0.2.60', publish: both } });
      try {
        expect(await outside.ask('tcp', '192.0.2.1', 80)).toBe('192.0.2.2');
        expect(await outside.ask('tcp', '192.0.2.50', 81)).toBe('192.0.2.2');
        expect(await outside.knock('tcp', '192.0.2.60', 80)).toBeUndefined();
        expect(await outside.knock('tcp', '192.0.2.60', 81)).toBeUndefined();
      } finally {
        await host.ip('addr', 'del', '192.0.2.60/32', 'dev', 'eth0');
        await host.ip('addr', 'del', '192.0.2.50/32', 'dev', 'eth0');
      }
    });

    it('reaches a port published although the host serves its guests at the same one', async () => {
      const publish = (['tcp', 'udp'] as const).flatMap((protocol) =>
        [53, 80].map((hostPort) => ({ protocol, hostPort, guestPort: 81 })),
      );
      await apply({ c: { publish } });
      expect(await outside.ask('tcp', '192.0.2.1', 80)).toBe('192.0.2.2');
      expect(await outside.ask('tcp', '192.0.2.1', 53)).toBe('192.0.2.2');
      // The host's own server says whom it sees: the guest itself, and by metadata's address as well.
      expect(await guests.c.ask('udp', '10.80.0.1', 53)).toBe('10.80.0.4');
      expect(await guests.c.ask('tcp', '10.80.0.1', 53)).toBe('10.80.0.4');
      expect(await guests.a.ask('tcp', '169.254.169.254', 80)).toBe('10.80.0.2');
      expect(await host.ask('tcp', '10.80.0.1', 53)).toBe('10.80.0.1');
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

  it('lets no guest have so many connections that others get none', async () => {
    const { a, b, d } = guests;
    const connections = async (): Promise<number> => {
      const words = ['cat', '/proc/sys/net/netfilter/nf_conntrack_count'] as const;
      const read = createNft([...host.enter, ...words] as [string, ...string[]]);
      return Number(await read.run([], 'count', signal()));
    };
    await d.ask('tcp', '10.80.0.2', 80, { keep: 'before' });
    const before = await connections();
    // However slow this machine is, none of them ends meanwhile.
    await host.sysctl('netfilter/nf_conntrack_udp_timeout', '600');
    await d.flood('10.80.0.2', 18_000, '10.82.0.5');
    const after = await connections();
    expect(after - before).toBeGreaterThan(10_000);
    expect(after - before).toBeLessThan(17_000);
    expect(await d.knock('tcp', '10.80.0.3', 80)).toBeUndefined();
    expect(await d.knock('udp', '10.82.0.1', 53)).toBeUndefined();
    expect(await d.stillTalks('before')).toBe(true);
    expect(await a.ask('tcp', '10.80.0.3', 80)).toBe('10.80.0.2');
    expect(await b.ask('tcp', '10.82.0.5', 80)).toBe('10.80.0.3');
  });
});
