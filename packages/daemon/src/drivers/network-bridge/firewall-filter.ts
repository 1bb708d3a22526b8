// The table in the family inet: who may talk with whom, routed or within a bridge (the bridges hand their frames to these hooks), what
// guests may ask of the host, and address translation. Pure.

import { createHash } from 'node:crypto';
import { groupParts, profileJumps } from './firewall-groups.ts';
import {
  discoveryTypes,
  listenerTypes,
  metadataIpv4,
  metadataIpv6,
  neighbourTypes,
  setOf,
} from './firewall-guard.ts';
import { natParts, publishedRules } from './firewall-nat.ts';
import { type FirewallView, perCards } from './firewall-view.ts';
import type { NftChain, NftSet, NftTable } from './nft-table.ts';
import { addressWord, cidrWord } from './nft-words.ts';

/** Bits of the conntrack mark that say under which generation of the plan a connection was let pass; the others are of others. */
const generationMask = '0xfff00000';
const otherBits = '0x000fffff';

export function filterTable(name: string, view: FirewallView): NftTable {
  const groups = groupParts(view);
  const nat = natParts(view);
  return {
    family: 'inet',
    name,
    counters: groups.counters,
    sets: new Map<string, NftSet>([
      ...networkSets(view),
      ['connections', connectionsSet],
      ...groups.sets,
      ...nat.sets,
    ]),
    chains: new Map<string, NftChain>([
      ['early', { hook: 'type filter hook prerouting priority -300; policy accept;', rules: early(view) }],
      [
        'egress',
        {
          hook: 'type filter hook forward priority -1; policy accept;',
          rules: [...passing(view), ...strangers, ...profileJumps('egress')],
        },
      ],
      [
        'ingress',
        {
          hook: 'type filter hook forward priority 0; policy accept;',
          rules: [...passing(view), related, ...publishedRules, ...profileJumps('ingress')],
        },
      ],
      [
        'seal',
        {
          hook: 'type filter hook forward priority 1; policy accept;',
          rules: [
            ...passing(view),
            ...limited,
            `ct mark set ct mark & ${otherBits} | ${generationMark(view)}`,
          ],
        },
      ],
      ['input', { hook: 'type filter hook input priority -1; policy accept;', rules: input }],
      ['closed', { rules: ['iifname . oifname @within return', 'drop'] }],
      ...groups.chains,
      ...nat.chains,
    ]),
  };
}

const networkSets = perCards(({ networks }): [string, NftSet][] => {
  const bridges = (kinds: readonly string[]): string[] =>
    networks.filter(({ network }) => kinds.includes(network.kind)).map(({ bridge }) => bridge);
  const subnetsOf = (family: 'ipv4' | 'ipv6'): { bridge: string; subnet: string }[] =>
    networks.flatMap(({ network, bridge }) => {
      const subnet = network[family]?.subnet;
      return network.kind === 'bridged' || subnet === undefined ? [] : [{ bridge, subnet: cidrWord(subnet) }];
    });
  const subnets = (family: 'ipv4' | 'ipv6'): string[] => subnetsOf(family).map(({ subnet }) => subnet);
  const ownSubnets = (family: 'ipv4' | 'ipv6'): string[] =>
    subnetsOf(family).map(({ bridge, subnet }) => `${bridge} . ${subnet}`);
  const gatewaysOf = (family: 'ipv4' | 'ipv6'): { bridge: string; way: string }[] =>
    networks.flatMap(({ network, bridge }) => {
      const gateway = network[family]?.gateway;
      return network.kind === 'bridged' || gateway === undefined
        ? []
        : [{ bridge, way: addressWord(gateway) }];
    });
  const ways = (family: 'ipv4' | 'ipv6'): string[] => gatewaysOf(family).map(({ way }) => way);
  const gateways = (family: 'ipv4' | 'ipv6'): string[] =>
    gatewaysOf(family).map(({ bridge, way }) => `${bridge} . ${way}`);
  const all = networks.map(({ bridge }) => bridge);
  return [
    ['bridges', setOf('type ifname;', all)],
    ['lans', setOf('type ifname;', bridges(['bridged']))],
    ['closed', setOf('type ifname;', bridges(['isolated', 'bridged']))],
    [
      'within',
      setOf(
        'type ifname . ifname;',
        all.map((bridge) => `${bridge} . ${bridge}`),
      ),
    ],
    ['inside4', setOf('type ipv4_addr; flags interval;', subnets('ipv4'))],
    ['inside6', setOf('type ipv6_addr; flags interval;', subnets('ipv6'))],
    ['subnets4', setOf('type ifname . ipv4_addr; flags interval;', ownSubnets('ipv4'))],
    ['subnets6', setOf('type ifname . ipv6_addr; flags interval;', ownSubnets('ipv6'))],
    ['ways4', setOf('type ipv4_addr;', ways('ipv4'))],
    ['ways6', setOf('type ipv6_addr;', ways('ipv6'))],
    ['gateways4', setOf('type ifname . ipv4_addr;', gateways('ipv4'))],
    ['gateways6', setOf('type ifname . ipv6_addr;', gateways('ipv6'))],
  ];
});

/** Before conntrack and translation. */
function early({ networks }: FirewallView): string[] {
  // Nothing is routed to or from a LAN, so that the same addresses may be on several: connections of each are told apart.
  const lans = networks.filter(({ network }) => network.kind === 'bridged');
  return [
    ...outsiders,
    ...lans.map(({ network, bridge }) => `iifname ${bridge} ct zone set ${zoneOf(network.id)}`),
  ];
}

/** Of 16 bits; 0 is everybody else's. */
function zoneOf(network: string): number {
  return (createHash('sha256').update(network).digest().readUInt16BE(0) % 65_535) + 1;
}

const outsiders = [
  // The bridges route loopback addresses, for clients on the host of published ports.
  'iifname @bridges ip daddr 127.0.0.0/8 drop',
  'iifname @bridges ip saddr 127.0.0.0/8 drop',
  // Groups know guests by their addresses: from outside nobody has them.
  'iifname != "lo" iifname != @bridges ip saddr @inside4 drop',
  'iifname != "lo" iifname != @bridges ip6 saddr @inside6 drop',
  // Nor has a card that may use any address those of another network.
  'iifname @bridges iifname != @lans ip saddr @inside4 iifname . ip saddr != @subnets4 drop',
  'iifname @bridges iifname != @lans ip6 saddr @inside6 iifname . ip6 saddr != @subnets6 drop',
];

function generationMark({ generation }: FirewallView): string {
  if (!Number.isInteger(generation) || generation < 1 || generation > 4095)
    throw new RangeError(`${generation} is no generation of a network plan: it is 1 to 4095.`);
  return `0x${((generation << 20) >>> 0).toString(16).padStart(8, '0')}`;
}

/**
 * Between neighbours of one bridge. A router takes one of the hop limit of what it forwards (so that 255 says that none did, RFC 4861), and
 * forwards no reports of listeners.
 */
const neighbours = [
  `iifname . oifname @within ip6 hoplimit 255 icmpv6 type ${discoveryTypes} accept`,
  `iifname . oifname @within ip6 daddr ff00::/8 icmpv6 type ${listenerTypes} accept`,
];

/** What every chain at the forward hook lets pass unasked: others' packets, and connections that were asked under this generation. */
function passing(view: FirewallView): string[] {
  return [
    'iifname != @bridges oifname != @bridges accept',
    `ct mark & ${generationMask} == ${generationMark(view)} accept`,
    ...neighbours,
    'iifname @lans iifname . oifname @within udp sport 67 udp dport 68 accept',
    'iifname @lans iifname . oifname @within udp sport 547 udp dport 546 accept',
  ];
}

const related = 'ct state related accept';

/** Before egress: what belongs to no connection, and what may not leave or enter a bridge whoever sends it. */
const strangers = [
  'ct state invalid,untracked drop',
  'iifname @closed jump closed',
  'oifname @closed jump closed',
  // Metadata is of this host: never asked for at another one.
  `iifname @bridges iifname != @lans ip daddr ${metadataIpv4} drop`,
  `iifname @bridges iifname != @lans ip6 daddr ${metadataIpv6} drop`,
  related,
];

/** By card: without this, one guest could fill the host's table of connections, and none of the others would get any. */
const connectionsPerCard = 16_384;
const connectionsSet: NftSet = {
  kind: 'set',
  definition: 'type ifname . ether_addr; size 65535; flags dynamic;',
  elements: new Map(),
  dynamic: true,
};
const limited = [
  `iifname @bridges ct state new add @connections { iifname . ether saddr ct count over ${connectionsPerCard} } drop`,
];

/** What guests may ask of the host: addresses, names, metadata, and whether it is there. */
const input = [
  // The addresses at which networks are served are the host's own: without this, whoever has a route to them would be served as well.
  'iifname != "lo" ip daddr @ways4 iifname . ip daddr != @gateways4 drop',
  'iifname != "lo" ip6 daddr @ways6 iifname . ip6 daddr != @gateways6 drop',
  'iifname != @bridges accept',
  'ct state established,related accept',
  'iifname @lans drop',
  ...limited,
  `meta nfproto ipv6 icmpv6 type ${neighbourTypes} accept`,
  'ip daddr 255.255.255.255 udp sport 68 udp dport 67 accept',
  'iifname . ip daddr @gateways4 udp sport 68 udp dport 67 accept',
  'ip6 daddr ff02::1:2 udp sport 546 udp dport 547 accept',
  'ip6 daddr fe80::/10 udp sport 546 udp dport 547 accept',
  'iifname . ip daddr @gateways4 meta l4proto { tcp, udp } th dport 53 accept',
  'iifname . ip6 daddr @gateways6 meta l4proto { tcp, udp } th dport 53 accept',
  'ip6 daddr fe80::/10 meta l4proto { tcp, udp } th dport 53 accept',
  'iifname . ip daddr @gateways4 icmp type echo-request accept',
  'iifname . ip6 daddr @gateways6 icmpv6 type echo-request accept',
  'ip6 daddr fe80::/10 icmpv6 type echo-request accept',
  `ct status dnat ct original ip daddr ${metadataIpv4} tcp dport 80 accept`,
  `ct status dnat ct original ip6 daddr ${metadataIpv6} tcp dport 80 accept`,
  'drop',
];
