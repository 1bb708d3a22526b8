// The table in the family bridge: what may come in from a card (its own MAC and addresses, nothing that only a server or a router says) and
// what may be handed to one by its neighbours (frames for its own addresses). Stateless; sees every frame before anything else does. Pure.
import { ratePieces } from './firewall-rates.ts';
import { type CardView, type FirewallView, ipv6Of, perCards } from './firewall-view.ts';
import type { NftChain, NftSet, NftTable } from './nft-table.ts';
import { bitsOf, bitsOfMac } from './nft-words.ts';

/** Drops of a port are counted here, by port. */
export const spoofedSet = 'spoofed';

/** Neighbour discovery but redirects, and multicast listener reports (RFC 4861, RFC 3810): between neighbours, never routed. */
export const neighbourTypes = '{ 130-136, 143 }';
export const discoveryTypes = '{ 133-136 }';
export const listenerTypes = '{ 130-132, 143 }';

/** Where guests find the metadata service, as in EC2. */
export const metadataIpv4 = '169.254.169.254';
export const metadataIpv6 = 'fd00:ec2::254';

const dhcpLimit = 'limit rate over 20/second burst 40 packets';

export function guardTable(name: string, view: FirewallView): NftTable {
  const rates = ratePieces(view);
  return {
    family: 'bridge',
    name,
    counters: new Set(),
    limits: rates.limits,
    sets: rates.sets.length === 0 ? guardSets(view) : new Map([...guardSets(view), ...rates.sets]),
    chains: new Map<string, NftChain>([
      ['prerouting', { hook: 'type filter hook prerouting priority -300; policy accept;', rules: incoming }],
      ['forward', { hook: 'type filter hook forward priority -200; policy accept;', rules: delivered }],
      ['guard', { rules: guard }],
      ['guard_arp', { rules: arp }],
      ['guard_ipv4', { rules: ipv4 }],
      ['guard_dhcp', { rules: dhcp }],
      ['guard_sender', { rules: sender }],
      ['guard_ipv6', { rules: ipv6 }],
      ['spoof', { rules: [`iifname @${spoofedSet} drop`, 'drop'] }],
      ...rates.chains,
    ]),
  };
}

const guardSets = perCards((view) => {
  const guarded = view.cards.filter(({ port }) => port.antiSpoofing);
  return new Map<string, NftSet>([
    [
      'ports',
      setOf(
        'type ifname;',
        view.cards.map(({ tap }) => tap),
      ),
    ],
    [
      'guarded',
      setOf(
        'type ifname;',
        guarded.map(({ tap }) => tap),
      ),
    ],
    [
      spoofedSet,
      setOf(
        'type ifname; counter;',
        guarded.map(({ tap }) => tap),
      ),
    ],
    ['uplinks', setOf('type ifname;', view.uplinks)],
    ['guests', setOf('type ether_addr;', lanMacs(view))],
    [
      'macs',
      setOf(
        'type ifname . ether_addr;',
        guarded.map(({ tap, mac }) => `${tap} . ${mac}`),
      ),
    ],
    ['owners4', setOf('type ifname . ether_addr . ipv4_addr;', view.cards.flatMap(ownIpv4))],
    ['owners6', setOf('type ifname . ether_addr . ipv6_addr;', view.cards.flatMap(ownIpv6))],
    [
      'clients',
      setOf(
        'typeof iifname . @th,288,48;',
        guarded.map(({ tap, mac }) => `${tap} . ${bitsOfMac(mac)}`),
      ),
    ],
    ['targets', setOf('typeof iifname . @th,64,128;', guarded.flatMap(ownTargets))],
    [
      'any4',
      setOf(
        'type ifname;',
        guarded.filter(({ anyIpv4 }) => anyIpv4).map(({ tap }) => tap),
      ),
    ],
    [
      'any6',
      setOf(
        'type ifname;',
        guarded.filter(({ anyIpv6 }) => anyIpv6).map(({ tap }) => tap),
      ),
    ],
    [
      'asking',
      {
        kind: 'set',
        definition: 'type ifname; size 65535; flags dynamic,timeout; timeout 1m;',
        elements: new Map(),
        dynamic: true,
      },
    ],
  ]);
});

const incoming = [
  // Most packets are these, and need no more than this: TCP that is the sender's own.
  'ether type ip ip protocol tcp iifname . ether saddr . ip saddr @owners4 accept',
  'ether type ip6 ip6 nexthdr tcp iifname . ether saddr . ip6 saddr @owners6 accept',
  'iifname @uplinks ether saddr @guests drop',
  'iifname != @ports accept',
  // A guest that floods DHCP keeps its server busy for all.
  `udp dport { 67, 547 } add @asking { iifname ${dhcpLimit} } drop`,
  'iifname @guarded goto guard',
  // Who may use any address still asks for its own metadata alone.
  `ip daddr ${metadataIpv4} iifname . ether saddr . ip saddr != @owners4 drop`,
  `ip6 daddr ${metadataIpv6} iifname . ether saddr . ip6 saddr != @owners6 drop`,
];

const guard = [
  // Tagged frames and what is neither IP nor ARP.
  'ether type != { ip, ip6, arp } goto spoof',
  'iifname . ether saddr != @macs goto spoof',
  'ether type arp goto guard_arp',
  'ether type ip goto guard_ipv4',
  'goto guard_ipv6',
];

const arp = [
  'arp htype != 1 goto spoof',
  'arp ptype != ip goto spoof',
  'arp operation != { request, reply } goto spoof',
  'iifname . arp saddr ether . arp saddr ip @owners4 accept',
  // Asking whether an address is free (RFC 5227): for another's it would be a claim.
  'arp operation request arp saddr ip 0.0.0.0 iifname . arp saddr ether . arp daddr ip @owners4 accept',
  'iifname @any4 iifname . arp saddr ether @macs accept',
  'goto spoof',
];

const ipv4 = ['udp sport 67 goto spoof', 'udp dport 67 goto guard_dhcp', 'goto guard_sender'];

/**
 * A server knows a client by the address within the message (htype and hlen, and chaddr: RFC 2131), and does for it what anybody asks for in
 * its name. What is too short to be read goes nowhere.
 */
const dhcp = ['@th,72,16 0x0106 iifname . @th,288,48 @clients goto guard_sender', 'goto spoof'];

const sender = [
  'iifname . ether saddr . ip saddr @owners4 accept',
  'ip saddr 0.0.0.0 udp sport 68 udp dport 67 accept',
  'ip saddr 0.0.0.0 ip protocol igmp accept',
  'iifname @any4 accept',
  'goto spoof',
];

const ipv6 = [
  'udp sport 547 goto spoof',
  'icmpv6 type { nd-router-advert, nd-redirect } goto spoof',
  'iifname @any6 accept',
  // The address that is announced, as well as the sender's.
  'icmpv6 type nd-neighbor-advert iifname . @th,64,128 != @targets goto spoof',
  'iifname . ether saddr . ip6 saddr @owners6 accept',
  'ip6 saddr :: icmpv6 type nd-neighbor-solicit iifname . @th,64,128 @targets accept',
  'ip6 saddr :: icmpv6 type { nd-router-solicit, mld2-listener-report } accept',
  'goto spoof',
];

/** From neighbours to a card: groups know guests by their addresses, so that nothing may come in for another one. */
const delivered = [
  'ether type ip oifname . ether daddr . ip daddr @owners4 accept',
  'ether type ip6 oifname . ether daddr . ip6 daddr @owners6 accept',
  'oifname != @guarded accept',
  // Tagged frames are read by nobody on their way to a guest.
  'ether type != { ip, ip6, arp } drop',
  'ether type arp accept',
  `icmpv6 type ${neighbourTypes} accept`,
  // Only a server outside can say that: a card's own answers are dropped when they come in.
  'udp sport 67 udp dport 68 accept',
  'udp sport 547 udp dport 546 accept',
  'ether type ip oifname @any4 oifname . ether daddr @macs accept',
  'ether type ip6 oifname @any6 oifname . ether daddr @macs accept',
  'drop',
];

/** MAC addresses of guests that an uplink must not show. */
function lanMacs({ cards }: FirewallView): string[] {
  return cards
    .filter(({ network, port }) => network.kind === 'bridged' && port.antiSpoofing)
    .map(({ mac }) => mac);
}

function ownIpv4({ tap, mac, ipv4: own }: CardView): string[] {
  return own === undefined ? [] : [`${tap} . ${mac} . ${own}`];
}

function ownIpv6(card: CardView): string[] {
  if (card.anyIpv6) return [];
  return ipv6Of(card).map((address) => `${card.tap} . ${card.mac} . ${address}`);
}

function ownTargets(card: CardView): string[] {
  return card.anyIpv6 ? [] : ipv6Of(card).map((address) => `${card.tap} . ${bitsOf(address)}`);
}

export function setOf(definition: string, elements: Iterable<string>): NftSet {
  const all = new Map<string, string>();
  for (const key of elements) all.set(key, '');
  return { kind: 'set', definition, elements: all };
}
