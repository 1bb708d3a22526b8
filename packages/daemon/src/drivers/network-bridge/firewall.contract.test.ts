import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { anythingOut, group, macNumber, rule } from './firewall-plan.fixture.ts';
import { createScene, db, nftOf, ports, type Scene, signal, web } from './firewall-scene.fixture.ts';
import { createNft } from './nft.ts';

// Namespaces and tables of the kernel can only be made by root.
describe.skipIf(process.geteuid?.() !== 0)('the firewall between guests, with packets', () => {
  let scene: Scene;
  let colleague: Scene['colleague'];
  let guests: Scene['guests'];
  let firewall: Scene['firewall'];
  let apply: Scene['apply'];
  let spoofed: Scene['spoofed'];

  beforeAll(async () => {
    scene = await createScene();
    ({ colleague, guests, firewall, apply, spoofed } = scene);
  });
  afterAll(async () => {
    await scene[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    await scene.apply();
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

    describe('where a card of another network has the same addresses', () => {
      const open = group('OPEN', anythingOut, rule('ALL'));

      it('hold for each by its own', async () => {
        const { a } = guests;
        for (const same of [{ ipv4: '10.80.0.4', ipv6: 'fd80:1::4' }, { mac: ports.c.mac }]) {
          await apply({ h: { ...same, groups: ['OPEN'] } }, [web, db, open]);
          expect(await a.knock('tcp', '10.80.0.4', 80)).toBeUndefined();
          expect(await a.knock('tcp', 'fd80:1::4', 80)).toBeUndefined();
          expect(await a.knock('tcp', 'fe80::ff:fe00:4%eth0', 80)).toBeUndefined();
        }
      });

      it('take nobody for a member by them', async () => {
        const fromOpen = group('DB', rule('FROM', { group: 'group-open', groupId: 'OPEN' }));
        await apply({ h: { ipv4: '10.80.0.2', groups: ['OPEN'] } }, [web, fromOpen, open]);
        expect(await guests.a.knock('tcp', '10.80.0.4', 80)).toBeUndefined();
        await apply({ b: { groups: ['OPEN'] } }, [web, fromOpen, open]);
        expect(await guests.b.ask('tcp', '10.80.0.4', 80)).toBe('10.80.0.3');
      });

      it('tell its connections apart', async () => {
        const { a, g, h } = guests;
        await g.ip('addr', 'add', '10.80.0.2/24', 'dev', 'eth0');
        await h.ip('addr', 'add', '10.80.0.3/24', 'dev', 'eth0');
        try {
          const ask = { from: '10.80.0.2', fromPort: 4000 };
          expect(await a.ask('udp', '10.80.0.3', 80, ask)).toBe('10.80.0.2');
          expect(await g.knock('udp', '10.80.0.3', 80, ask)).toBeUndefined();
        } finally {
          await g.ip('addr', 'del', '10.80.0.2/24', 'dev', 'eth0');
          await h.ip('addr', 'del', '10.80.0.3/24', 'dev', 'eth0');
        }
      });
    });

    it('count what each rule let pass', async () => {
      firewall.forget();
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

    it('drops what comes from another network’s address, of a card too that may use any', async () => {
      const inOwn = rule('TWO', { cidr: '10.82.0.0/24' });
      await apply({ a: { antiSpoofing: false } }, [group('WEB', ...web.rules, inOwn), db]);
      for (const where of ['all', 'wblan']) await scene.host.sysctl(`ipv4/conf/${where}/rp_filter`, '0');
      await guests.a.ip('addr', 'add', '10.82.0.77/32', 'dev', 'lo');
      await guests.d.nft(
        'table inet w { chain p { type filter hook prerouting priority -301; ip saddr 10.82.0.77 counter; }\n}\n',
      );
      try {
        await guests.a.knock('udp', '10.82.0.5', 80, { from: '10.82.0.77' });
        expect(await nftOf(guests.d, 'list', 'table', 'inet', 'w')).toMatch(/packets 0/);
        expect(await guests.a.ask('udp', '10.82.0.5', 80)).toBe('10.80.0.2');
      } finally {
        await guests.d.nft('delete table inet w\n');
        await guests.a.ip('addr', 'del', '10.82.0.77/32', 'dev', 'lo');
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
});
