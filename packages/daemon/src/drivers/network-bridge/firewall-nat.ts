// Address translation in the table of the family inet: masquerading, published ports, floating addresses and the metadata service's address, with
// the hop limit of its answers. What is per guest is an element of a map, so that no packet walks rules by the number of guests. Pure.
import { metadataIpv4, metadataIpv6, setOf } from './firewall-guard.ts';
import { type CardView, type FirewallView, perCards } from './firewall-view.ts';
import type { NftChain, NftSet } from './nft-table.ts';
import { type AddressFamily, addressWord, cidrWord, familyOf, portWord } from './nft-words.ts';

const families = [4, 6] as const;
const ip = { 4: 'ip', 6: 'ip6' } as const;
const addressType = { 4: 'ipv4_addr', 6: 'ipv6_addr' } as const;
const metadataAddress = { 4: metadataIpv4, 6: metadataIpv6 } as const;
const hopField = { 4: 'ip ttl', 6: 'ip6 hoplimit' } as const;
const anyAddress = new Set(['0.0.0.0', '::']);

export interface NatParts {
  readonly sets: ReadonlyMap<string, NftSet>;
  readonly chains: ReadonlyMap<string, NftChain>;
}

export function natParts(view: FirewallView): NatParts {
  return {
    sets: natSets(view),
    chains: new Map<string, NftChain>([
      [
        'nat_prerouting',
        {
          hook: 'type nat hook prerouting priority -100; policy accept;',
          rules: [...families.flatMap(metadataRules), 'jump translate'],
        },
      ],
      [
        'nat_output',
        { hook: 'type nat hook output priority -100; policy accept;', rules: ['jump translate'] },
      ],
      ['translate', { rules: families.flatMap(translateRules) }],
      [
        'nat_postrouting',
        {
          hook: 'type nat hook postrouting priority 100; policy accept;',
          rules: [
            // The host's own loopback clients of published ports: a guest cannot answer them.
            'oifname @bridges ip saddr 127.0.0.0/8 masquerade',
            'oifname @bridges ip6 saddr ::1 masquerade',
            'oifname @bridges accept',
            'oifname "lo" accept',
            ...families.map(
              (family) => `snat ${ip[family]} to ${ip[family]} saddr map @floating_out${family}`,
            ),
            ...families.map((family) => `${ip[family]} saddr @masquerade${family} masquerade`),
          ],
        },
      ],
      [
        'hops',
        {
          hook: 'type filter hook postrouting priority -150; policy accept;',
          rules: families.flatMap((family) => hopRules(view, family)),
        },
      ],
    ]),
  };
}

const natSets = perCards((view) => new Map(families.flatMap((family) => setsOf(view, family))));

/**
 * Rules that let pass what published ports open: by what was asked for as well as by the guest's own address and port, so that a floating
 * address leads to the same port only where groups say so.
 */
export const publishedRules = families.flatMap((family) =>
  (['tcp', 'udp'] as const).flatMap((protocol) => {
    const asked = `ct original ${ip[family]} daddr`;
    const ports = `ct original proto-dst . ct reply ${ip[family]} saddr . ct reply proto-src`;
    const translated = `meta l4proto ${protocol} ct status dnat`;
    return [
      `${translated} ${asked} . ${ports} @published_at${family}_${protocol} accept`,
      `${translated} ${asked} != @floated${family} ${ports} @published${family}_${protocol} accept`,
    ];
  }),
);

function metadataRules(family: AddressFamily): string {
  return `iifname @bridges ${ip[family]} daddr ${metadataAddress[family]} tcp dport 80 dnat ${ip[family]} to iifname . ${ip[family]} saddr map @metadata${family}`;
}

function translateRules(family: AddressFamily): string[] {
  const local = `meta l4proto { tcp, udp } fib daddr type local dnat ${ip[family]} to`;
  return [
    // What the host itself serves to its guests: names, addresses, metadata.
    `${ip[family]} daddr @ways${family} return`,
    `${local} ${ip[family]} daddr . meta l4proto . th dport map @publish_at${family}`,
    // Before ports that are published at every address: a floating address is all the guest's.
    `dnat ${ip[family]} to ${ip[family]} daddr map @floating${family}`,
    `${local} meta l4proto . th dport map @publish${family}`,
  ];
}

function setsOf(view: FirewallView, family: AddressFamily): [string, NftSet][] {
  const type = addressType[family];
  const target = `${type} . inet_service`;
  const known = view.cards.flatMap((card) => {
    const own = ownAddress(card, family);
    // On a LAN an address is what a guest says it is: nothing is led there.
    return own === undefined || card.network.kind === 'bridged' ? [] : [{ card, own }];
  });
  const published = known.flatMap(({ card, own }) =>
    card.port.publish
      .filter(({ hostAddress }) => hostAddress === undefined || fits(hostAddress, family))
      .map(({ protocol, hostAddress, hostPort, guestPort }) => ({
        at: hostAddress === undefined || anyAddress.has(hostAddress) ? undefined : addressWord(hostAddress),
        port: portWord(hostPort),
        to: `${own} . ${portWord(guestPort)}`,
        protocol,
      })),
  );
  const floating = known.flatMap(({ card: { port }, own }) =>
    port.floating !== undefined && fits(port.floating, family)
      ? [[addressWord(port.floating), own] as const]
      : [],
  );
  const opened = (protocol: 'tcp' | 'udp'): [string, NftSet][] => {
    const those = published.filter((each) => each.protocol === protocol);
    return [
      [
        `published_at${family}_${protocol}`,
        setOf(
          `type ${type} . inet_service . ${target};`,
          those.flatMap(({ at, port, to }) => (at === undefined ? [] : [`${at} . ${port} . ${to}`])),
        ),
      ],
      [
        `published${family}_${protocol}`,
        setOf(
          `type inet_service . ${target};`,
          those.flatMap(({ at, port, to }) => (at === undefined ? [`${port} . ${to}`] : [])),
        ),
      ],
    ];
  };
  return [
    [`masquerade${family}`, setOf(`type ${type}; flags interval;`, masqueraded(view, family))],
    [
      `metadata${family}`,
      mapOf(
        `type ifname . ${type} : ${type};`,
        known.flatMap(({ card, own }) => metadataOf(card, own, family)),
      ),
    ],
    [
      `publish_at${family}`,
      mapOf(
        `type ${type} . inet_proto . inet_service : ${target};`,
        published.flatMap(({ at, protocol, port, to }) =>
          at === undefined ? [] : [[`${at} . ${protocol} . ${port}`, to] as const],
        ),
      ),
    ],
    [
      `publish${family}`,
      mapOf(
        `type inet_proto . inet_service : ${target};`,
        published.flatMap(({ at, protocol, port, to }) =>
          at === undefined ? [[`${protocol} . ${port}`, to] as const] : [],
        ),
      ),
    ],
    ...opened('tcp'),
    ...opened('udp'),
    [
      `floated${family}`,
      setOf(
        `type ${type};`,
        floating.map(([at]) => at),
      ),
    ],
    [`floating${family}`, mapOf(`type ${type} : ${type};`, floating)],
    [
      `floating_out${family}`,
      mapOf(
        `type ${type} : ${type};`,
        floating.map(([at, own]) => [own, at] as const),
      ),
    ],
    ...hopSets(view, family),
  ];
}

function fits(address: string, family: AddressFamily): boolean {
  return familyOf(address) === family;
}

function ownAddress({ ipv4, ipv6 }: CardView, family: AddressFamily): string | undefined {
  return family === 4 ? ipv4 : ipv6;
}

function masqueraded({ networks }: FirewallView, family: AddressFamily): string[] {
  return networks.flatMap(({ network }) => {
    const subnet = (family === 4 ? network.ipv4 : network.ipv6)?.subnet;
    return network.kind === 'nat' && subnet !== undefined ? [cidrWord(subnet)] : [];
  });
}

function metadataOf(
  { bridge, network, port }: CardView,
  own: string,
  family: AddressFamily,
): [string, string][] {
  const gateway = (family === 4 ? network.ipv4 : network.ipv6)?.gateway;
  if (port.metadataHopLimit === undefined || gateway === undefined || network.kind === 'bridged') return [];
  return [[`${bridge} . ${own}`, addressWord(gateway)]];
}

/** Guests whose metadata may travel further than to themselves, by how far. */
function hopSets({ cards }: FirewallView, family: AddressFamily): [string, NftSet][] {
  return hopLimits(cards).map((limit) => [
    `hops${family}_${limit}`,
    setOf(
      `type ifname . ${addressType[family]};`,
      cards
        .filter(({ port }) => port.metadataHopLimit === limit)
        .flatMap((card) => {
          const own = ownAddress(card, family);
          return own === undefined ? [] : [`${card.bridge} . ${own}`];
        }),
    ),
  ]);
}

function hopLimits(cards: readonly CardView[]): number[] {
  const limits = new Set(cards.map(({ port }) => port.metadataHopLimit ?? 1));
  return [...limits]
    .filter((limit) => Number.isInteger(limit) && limit > 1 && limit < 256)
    .sort((a, b) => a - b);
}

function hopRules({ cards }: FirewallView, family: AddressFamily): string[] {
  const answers = `oifname @bridges ct direction reply ct original ${ip[family]} daddr ${metadataAddress[family]}`;
  return [
    `${answers} ${hopField[family]} set 1`,
    ...hopLimits(cards).map(
      (limit) =>
        `${answers} oifname . ${ip[family]} daddr @hops${family}_${limit} ${hopField[family]} set ${limit}`,
    ),
  ];
}

function mapOf(definition: string, elements: Iterable<readonly [string, string]>): NftSet {
  return { kind: 'map', definition, elements: new Map(elements) };
}
