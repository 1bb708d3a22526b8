import { join } from 'node:path';
import type { NetworkPlan } from '@wirt/core';
import { describe, expect, it } from 'vitest';
import { filterTable } from './firewall-filter.ts';
import { guardTable } from './firewall-guard.ts';
import { anythingOut, card, group, names, network, planOf, rule } from './firewall-plan.fixture.ts';
import { viewOf } from './firewall-view.ts';
import { changeScript, replaceScript } from './nft-table.ts';

const tables = (plan: NetworkPlan, uplinks: readonly string[] = []) => {
  const view = viewOf(plan, uplinks, names);
  return [filterTable('wirt_tag', view), guardTable('wirt_tag', view)] as const;
};
const script = (...args: Parameters<typeof tables>): string =>
  tables(...args)
    .map(replaceScript)
    .join('\n');
const golden = (name: string): string => join(import.meta.dirname, 'golden', `${name}.nft`);

const lan = network('lan', {
  ipv4: { subnet: '10.80.0.0/24', gateway: '10.80.0.1' },
  ipv6: { subnet: 'fd80:1::/64', gateway: 'fd80:1::1' },
});
const web = group(
  'WEB',
  anythingOut,
  rule('SAME', { group: 'group-web', groupId: 'WEB' }),
  rule('HTTP', { protocol: 'tcp', fromPort: 80, toPort: 90 }),
  rule('PING', { protocol: 'icmp', fromPort: 8, toPort: 0, cidr: '192.0.2.0/24' }),
  rule('PING6', { protocol: 'icmpv6', fromPort: 128, cidr: '2001:DB8::/32' }),
);
const guests = [
  card('a', 2, {
    ipv4: '10.80.0.2',
    ipv6: 'fd80:1:0::2',
    groups: ['WEB'],
    publish: [
      { protocol: 'tcp', hostPort: 8080, guestPort: 80 },
      { protocol: 'udp', hostPort: 53, guestPort: 53, hostAddress: '192.0.2.1' },
    ],
  }),
  card('b', 3, { ipv4: '10.80.0.3', floating: '192.0.2.60', groups: [], metadataHopLimit: 3 }),
  card('r', 4, { ipv4: '10.80.0.4', groups: ['WEB'], antiSpoofing: false }),
];
const plan = planOf({
  generation: 7,
  networks: [lan],
  ports: guests,
  groups: [web, group('IDLE', rule('NO'))],
});

describe('the tables of a plan', () => {
  it('have nothing to say without networks', async () => {
    await expect(script(planOf({}))).toMatchFileSnapshot(golden('nothing'));
  });

  it('guard, filter and translate for a nat network', async () => {
    await expect(script(plan)).toMatchFileSnapshot(golden('nat'));
  });

  it('know guests of a bridged network by their MAC addresses, and keep an isolated one closed', async () => {
    const office = network('off', { kind: 'bridged', uplink: { interface: 'eth1' } });
    const alone = network('iso', {
      kind: 'isolated',
      ipv4: { subnet: '10.81.0.0/24', gateway: '10.81.0.1' },
    });
    const ports = [
      card('g', 5, { network: 'off', groups: ['WEB'] }),
      card('h', 6, { network: 'off', ipv4: '10.99.0.6', groups: ['WEB'] }),
      card('i', 7, { network: 'iso', ipv4: '10.81.0.7', groups: ['WEB'] }),
    ];
    const given = planOf({ networks: [office, alone], ports, groups: [web] });
    await expect(script(given, ['wuoff'])).toMatchFileSnapshot(golden('bridged-and-isolated'));
  });

  it('change by a few statements when a rule does', async () => {
    const ssh = rule('SSH', { protocol: 'tcp', fromPort: 22, toPort: 22 });
    const next = { ...plan, generation: 8, groups: [group('WEB', ...web.rules.slice(0, 3), ssh)] };
    const [before, after] = [tables(plan), tables(next)];
    const change = after.map((table, at) => changeScript(before[at] ?? table, table)).join('');
    await expect(change).toMatchFileSnapshot(golden('one-rule-changed'));
  });

  it('are the same for 1,000 cards of one group as for one, but for the elements', () => {
    const many = Array.from({ length: 1000 }, (_, n) =>
      card(`n${n}`, n, { ipv4: `10.80.${n >> 8}.${n & 255}`, groups: ['WEB'] }),
    );
    const [one, all] = [many.slice(0, 1), many].map((ports) => tables({ ...plan, ports }));
    expect(all?.map(({ chains }) => chains)).toEqual(one?.map(({ chains }) => chains));
  });

  it.each([
    ['an address', { ipv4: '10.0.0.1; drop' }],
    ['a MAC address', { mac: '02:00:00:00:00:01 }' }],
    ['an address with a zone', { ipv6: 'fe80::1%eth0' }],
    ['a floating address', { floating: 'x"' }],
  ])('are refused when %s is none', (_what, given) => {
    const bad = planOf({ networks: [lan], ports: [card('x', 1, { ipv4: '10.80.0.9', ...given })] });
    expect(() => script(bad)).toThrow(/is no|is not/);
  });

  it.each([0, 4096, 1.5])('are refused for the generation %d', (generation) => {
    expect(() => script({ ...plan, generation })).toThrow(/generation/);
  });
});
