import type { SecurityRule } from '@wirt/api';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { NetworkPlan, PlannedNetwork, PlannedPort, PlannedRule } from '../network-plan.ts';
import { type TraceQuestion, tracePacket } from './trace.ts';

function network(name: string, kind: PlannedNetwork['kind'], number: number): PlannedNetwork {
  const subnets =
    kind === 'bridged'
      ? {}
      : {
          ipv4: { subnet: `10.80.${number}.0/24`, gateway: `10.80.${number}.1` },
          ipv6: { subnet: `fd00:${number}::/64`, gateway: `fd00:${number}::1` },
        };
  return { id: name, name, kind, mtu: 1500, domain: 'wirt', dnsForward: true, ...subnets };
}

function port(
  instance: string,
  on: string,
  address: string | undefined,
  more: Partial<PlannedPort> = {},
): PlannedPort {
  return {
    instance,
    nic: 'nic0',
    network: on,
    hostname: instance,
    mac: '02:00:00:00:00:01',
    ...(address === undefined ? {} : { ipv4: address }),
    groups: ['g-default'],
    publish: [],
    antiSpoofing: true,
    queues: 1,
    mtu: 1500,
    metadataHopLimit: 1,
    owner: { uid: 1, gid: 1 },
    ...more,
  };
}

const out: PlannedRule = { id: 'out', direction: 'egress', protocol: 'any' };
const same: PlannedRule = {
  id: 'same',
  direction: 'ingress',
  protocol: 'any',
  group: 'default',
  groupId: 'g-default',
};
const http: PlannedRule = { id: 'http', direction: 'ingress', protocol: 'tcp', fromPort: 80, toPort: 80 };

const plan: NetworkPlan = {
  generation: 1,
  networks: [
    network('lan', 'nat', 0),
    network('dmz', 'routed', 1),
    network('iso', 'isolated', 2),
    network('home', 'bridged', 3),
  ],
  ports: [
    port('a', 'lan', '10.80.0.2'),
    port('b', 'lan', '10.80.0.3', {
      publish: [{ protocol: 'tcp', hostPort: 8080, guestPort: 8000 }],
      floating: '198.51.100.7',
    }),
    port('web', 'lan', '10.80.0.4', { groups: ['g-web'] }),
    port('d', 'dmz', '10.80.1.2', { groups: ['g-web'] }),
    port('i', 'iso', '10.80.2.2'),
    port('h', 'home', undefined),
    port('bare', 'lan', '10.80.0.5', { groups: [] }),
  ],
  groups: [
    { id: 'g-default', name: 'default', rules: [out, same] },
    { id: 'g-web', name: 'web', rules: [http] },
  ],
};

const ends = (from: string, to: string, more: Partial<TraceQuestion> = {}): TraceQuestion => {
  const end = (text: string) => (/[.:]/.test(text) ? { address: text } : { instance: text });
  return { from: end(from), to: end(to), protocol: 'tcp', port: 80, family: 'ipv4', ...more };
};

const ofHost = new Set(['192.0.2.1', '127.0.0.1', '10.80.0.1', '198.51.100.7']);

function told(from: string, to: string, more: Partial<TraceQuestion> = {}) {
  const { verdict, steps } = tracePacket(plan, ends(from, to, more), ofHost);
  return [verdict, ...steps.map(({ at, rule }) => (rule === undefined ? at : `${at} ${rule}`))];
}

describe('a traced packet', () => {
  it.each([
    ['a', 'b', ['passes', 'nic0 of a', 'group default out', 'network lan', 'group default same']],
    ['a', 'web', ['passes', 'nic0 of a', 'group default out', 'network lan', 'group web http']],
    ['web', 'a', ['dropped', 'nic0 of web', 'group web']],
    ['bare', 'a', ['dropped', 'nic0 of bare', 'nic0 of bare']],
    ['a', 'bare', ['dropped', 'nic0 of a', 'group default out', 'network lan', 'nic0 of bare']],
    ['a', 'd', ['passes', 'nic0 of a', 'group default out', 'network lan', 'host', 'group web http']],
    ['a', 'i', ['dropped', 'nic0 of a', 'group default out', 'network lan', 'network iso']],
    ['i', 'a', ['dropped', 'nic0 of i', 'group default out', 'network iso']],
    ['a', '203.0.113.9', ['passes', 'nic0 of a', 'group default out', 'network lan']],
    ['i', '203.0.113.9', ['dropped', 'nic0 of i', 'group default out', 'network iso']],
    ['203.0.113.9', 'a', ['dropped', 'host']],
    ['203.0.113.9', 'b', ['dropped', 'host', 'group default']],
    ['203.0.113.9', '198.51.100.7', ['dropped', 'host', 'group default']],
    ['203.0.113.9', 'd', ['passes', 'network dmz', 'group web http']],
    ['203.0.113.9', 'i', ['dropped', 'network iso']],
    ['203.0.113.9', '203.0.113.8', ['dropped', 'host']],
    ['10.80.0.1', 'bare', ['passes', 'host']],
    ['10.80.0.3', 'a', ['passes', 'nic0 of b', 'group default out', 'network lan', 'group default same']],
    ['a', '10.80.0.77', ['dropped', 'nic0 of a', 'network lan']],
    ['a', '10.80.0.1', ['dropped', 'nic0 of a', 'host']],
    ['a', '10.80.1.1', ['dropped', 'nic0 of a', 'host']],
    ['a', '169.254.169.254', ['passes', 'nic0 of a', 'host']],
    ['a', 'a', ['passes', 'nic0 of a', 'nic0 of a']],
    ['h', '203.0.113.9', ['passes', 'nic0 of h', 'group default out', 'network home']],
    [
      'a',
      '198.51.100.7',
      ['passes', 'nic0 of a', 'group default out', 'host', 'network lan', 'group default same'],
    ],
  ])('from %s to %s: %j', (from, to, way) => {
    expect(told(from, to)).toEqual(way);
  });

  it('comes in by a published port whatever the groups say, and by that port only', () => {
    expect(told('203.0.113.9', 'b', { port: 8000 })).toEqual(['passes', 'host']);
    expect(told('203.0.113.9', 'b', { port: 8000, protocol: 'udp' })[0]).toBe('dropped');
  });

  it('reaches of the host DHCP, DNS and echo, and of the metadata service only HTTP', () => {
    expect(told('a', '10.80.0.1', { port: 53 })[0]).toBe('passes');
    expect(told('a', '10.80.0.1', { port: 67, protocol: 'udp' })[0]).toBe('passes');
    expect(told('a', '10.80.0.1', { port: 67 })[0]).toBe('dropped');
    expect(told('a', '10.80.0.1', { protocol: 'icmp', port: undefined })[0]).toBe('passes');
    expect(told('a', '169.254.169.254', { port: 22 })[0]).toBe('dropped');
  });

  it.each([
    ['a', '192.0.2.1', ['dropped', 'nic0 of a', 'host']],
    ['a', '127.0.0.1', ['dropped', 'nic0 of a', 'host']],
    ['i', '192.0.2.1', ['dropped', 'nic0 of i', 'host']],
    // By the uplink, as any machine of the LAN.
    ['h', '192.0.2.1', ['passes', 'nic0 of h', 'group default out', 'network home']],
    ['192.0.2.1', 'bare', ['passes', 'host']],
    ['192.0.2.1', 'h', ['dropped', 'network home', 'group default']],
  ])('at an address of the host elsewhere, from %s to %s: %j', (from, to, way) => {
    expect(told(from, to)).toEqual(way);
    expect(told(from, to, { protocol: 'icmp', port: undefined })[0]).toBe(way[0]);
  });

  it('reaches by an address of the host what is published there, as far as the sender’s groups let it out', () => {
    const at = { port: 8080 };
    expect(told('d', '192.0.2.1', at)).toEqual(['dropped', 'nic0 of d', 'host', 'group web']);
    expect(told('a', '192.0.2.1', at)).toEqual([
      'passes',
      'nic0 of a',
      'host',
      'group default out',
      'network lan',
    ]);
    expect(told('i', '192.0.2.1', at)[0]).toBe('dropped');
    expect(told('203.0.113.9', '192.0.2.1', at)).toEqual(['passes', 'host']);
    expect(told('203.0.113.9', '192.0.2.1', { port: 8000 })[0]).toBe('dropped');
  });

  it('is dropped where a card has no address of the family', () => {
    expect(told('a', 'b', { family: 'ipv6' })).toEqual(['dropped', 'nic0 of a']);
  });
});

const rules = fc.array(
  fc
    .record(
      {
        id: fc.uuid(),
        direction: fc.constantFrom<SecurityRule['direction']>('ingress', 'egress'),
        protocol: fc.constantFrom<SecurityRule['protocol']>('any', 'tcp', 'udp', 'icmp', 'icmpv6'),
        end: fc.constantFrom<Partial<PlannedRule>>(
          {},
          { cidr: '10.80.0.0/24' },
          { cidr: '10.80.0.2/32' },
          { cidr: '0.0.0.0/0' },
          { cidr: '::/0' },
          { group: 'default', groupId: 'g-default' },
          { group: 'web', groupId: 'g-web' },
        ),
        ports: fc.constantFrom<Partial<PlannedRule>>(
          {},
          { fromPort: 80, toPort: 80 },
          { fromPort: 8, toPort: 443 },
          { fromPort: 8 },
        ),
      },
      { requiredKeys: ['id', 'direction', 'protocol', 'end', 'ports'] },
    )
    .map(
      ({ id, direction, protocol, end, ports }): PlannedRule => ({
        id,
        direction,
        protocol,
        ...end,
        ...ports,
      }),
    ),
  { maxLength: 6 },
);
const question = fc.record({
  from: fc.constantFrom('a', 'b', 'web', 'd', 'i', 'bare'),
  to: fc.constantFrom('a', 'b', 'web', 'd', 'i', 'bare'),
  protocol: fc.constantFrom('tcp' as const, 'udp' as const, 'icmp' as const),
  port: fc.constantFrom(22, 80, 443, 8080),
});
const groupOf = (own: PlannedRule[], webs: PlannedRule[]): NetworkPlan => ({
  ...plan,
  groups: [
    { id: 'g-default', name: 'default', rules: own },
    { id: 'g-web', name: 'web', rules: webs },
  ],
});

describe('whatever the rules', () => {
  const asked = ({
    from,
    to,
    protocol,
    port: number,
  }: {
    from: string;
    to: string;
    protocol: 'tcp' | 'udp' | 'icmp';
    port: number;
  }) => ends(from, to, { protocol, port: protocol === 'icmp' ? undefined : number });

  it('the last step decides, and all before it passed', () => {
    fc.assert(
      fc.property(rules, rules, question, (own, webs, what) => {
        const { verdict, steps } = tracePacket(groupOf(own, webs), asked(what));
        expect(steps.at(-1)?.verdict).toBe(verdict);
        expect(steps.slice(0, -1).every((step) => step.verdict === 'passes')).toBe(true);
      }),
    );
  });

  it('one rule more never drops what passed', () => {
    fc.assert(
      fc.property(rules, rules, rules, question, (own, webs, more, what) => {
        const before = tracePacket(groupOf(own, webs), asked(what)).verdict;
        const after = tracePacket(groupOf([...own, ...more], [...webs, ...more]), asked(what)).verdict;
        if (before === 'passes') expect(after).toBe('passes');
      }),
    );
  });

  it('a rule that is named is one of the card’s groups, and alone is enough for its side', () => {
    fc.assert(
      fc.property(rules, rules, question, (own, webs, what) => {
        const { steps, verdict } = tracePacket(groupOf(own, webs), asked(what));
        const named = steps.flatMap(({ rule }) => rule ?? []);
        const keep = (list: PlannedRule[]) => list.filter(({ id }) => named.includes(id));
        if (verdict !== 'passes') return;
        expect(tracePacket(groupOf(keep(own), keep(webs)), asked(what)).verdict).toBe('passes');
      }),
    );
  });

  it('without rules nothing passes from one guest to another', () => {
    fc.assert(
      fc.property(question, (what) => {
        const { verdict } = tracePacket(groupOf([], []), asked(what));
        expect(verdict).toBe(what.from === what.to ? 'passes' : 'dropped');
      }),
    );
  });
});
