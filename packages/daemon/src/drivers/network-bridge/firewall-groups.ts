// Security groups as chains: one for each group and direction, one profile for each set of groups that a card has, and maps that lead a
// guest's bridge and address to its profile: the same address on another bridge is somebody else's. Who is source and who is destination is said by the connection and not by the packet, so that a
// rule reads the same before and after address translation and in both directions. Pure.
import type { PlannedGroup, PlannedRule } from '@wirt/core';
import { setOf } from './firewall-guard.ts';
import { type CardView, type FirewallView, perCards } from './firewall-view.ts';
import type { NftChain, NftSet } from './nft-table.ts';
import { type AddressFamily, cidrWord, familyOf, idWord, portWord } from './nft-words.ts';

export type Direction = 'ingress' | 'egress';
export const directions = ['ingress', 'egress'] as const;

export interface GroupParts {
  readonly counters: ReadonlySet<string>;
  readonly sets: ReadonlyMap<string, NftSet>;
  readonly chains: ReadonlyMap<string, NftChain>;
}

/** The counter of a rule, by the rule's id. */
export function counterOf(rule: string): string {
  return `r_${idWord(rule)}`;
}

/** Matches on the two ends of a connection: as its source and its destination know themselves. */
const ends = {
  source: { 4: 'ct original ip saddr', 6: 'ct original ip6 saddr' },
  destination: { 4: 'ct reply ip saddr', 6: 'ct reply ip6 saddr' },
} as const;

/** The bridge of that end, in the packets of one direction each. */
const bridgeEnds = {
  source: ['ct direction original iifname', 'ct direction reply oifname'],
  destination: ['ct direction original oifname', 'ct direction reply iifname'],
} as const;

/** By MAC address, for guests whose addresses are not known: within one bridge, in the packets of one direction each. */
const macEnds = {
  source: ['ct direction original iifname . ether saddr', 'ct direction reply iifname . ether daddr'],
  destination: ['ct direction original iifname . ether daddr', 'ct direction reply iifname . ether saddr'],
} as const;

function matchesOf(end: 'source' | 'destination', family: AddressFamily): string[] {
  return bridgeEnds[end].map((bridge) => `${bridge} . ${ends[end][family]}`);
}

const ownEnd = { ingress: 'destination', egress: 'source' } as const;
const otherEnd = { ingress: 'source', egress: 'destination' } as const;

/** Rules of a base chain that lead to the profile of the guest that the direction guards. */
export function profileJumps(direction: Direction): string[] {
  const end = ownEnd[direction];
  return [
    ...matchesOf(end, 4).map((match) => `${match} vmap @${direction}4`),
    ...matchesOf(end, 6).map((match) => `${match} vmap @${direction}6`),
    ...macEnds[end].map((match) => `iifname @lans ${match} vmap @${direction}_mac`),
  ];
}

export function groupParts(view: FirewallView): GroupParts {
  const counters = new Set<string>();
  const chains = new Map<string, NftChain>();
  const remotes = new Set<string>();
  for (const group of view.groups.values())
    for (const direction of directions) {
      const rules = group.rules.filter((rule) => rule.direction === direction);
      for (const rule of rules) {
        counters.add(counterOf(rule.id));
        if (rule.groupId !== undefined) remotes.add(rule.groupId);
      }
      chains.set(groupChain(direction, group), {
        rules: rules.flatMap((rule) => renderRule(rule, view)),
      });
    }
  const profiles = new Map(view.cards.map((card) => [card.profile, card]));
  for (const card of profiles.values())
    for (const direction of directions) {
      const jumps = card.groups.map((id) => `jump ${groupChain(direction, { id })}`);
      chains.set(profileChain(direction, card), { rules: [...jumps, 'drop'] });
    }
  const sets = new Map([...profileMaps(view), ...members(view, remotes)]);
  return { counters, chains, sets };
}

function groupChain(direction: Direction, { id }: Pick<PlannedGroup, 'id'>): string {
  return `${direction}_group_${idWord(id)}`;
}

function profileChain(direction: Direction, { profile }: CardView): string {
  return `${direction}_profile_${profile}`;
}

const profileMaps = perCards((view) => directions.flatMap((direction) => profileMapsOf(view, direction)));

function profileMapsOf(view: FirewallView, direction: Direction): [string, NftSet][] {
  const jumps = new Map(
    view.cards.map((card) => [card.profile, `jump ${profileChain(direction, card)}`] as const),
  );
  const map = (type: string, keysOf: (card: CardView) => readonly string[]): NftSet => {
    const elements = new Map<string, string>();
    for (const card of view.cards)
      for (const key of keysOf(card)) elements.set(key, jumps.get(card.profile) ?? 'drop');
    return { kind: 'map', definition: `type ${type} : verdict;`, elements };
  };
  return [
    [`${direction}4`, map('ifname . ipv4_addr', ipv4Keys)],
    [`${direction}6`, map('ifname . ipv6_addr', ipv6Keys)],
    [`${direction}_mac`, map('ifname . ether_addr', macKeys)],
  ];
}

function ipv4Keys({ bridge, ipv4 }: CardView): string[] {
  return ipv4 === undefined ? [] : [`${bridge} . ${ipv4}`];
}

function ipv6Keys({ bridge, ipv6, linkLocal }: CardView): string[] {
  const onLink = `${bridge} . ${linkLocal}`;
  return ipv6 === undefined ? [onLink] : [`${bridge} . ${ipv6}`, onLink];
}

function macKeys({ bridge, mac, anyIpv4, anyIpv6 }: CardView): string[] {
  return anyIpv4 || anyIpv6 ? [`${bridge} . ${mac}`] : [];
}

/** Sets of the addresses of groups that rules name as the other end. */
function members(view: FirewallView, remotes: ReadonlySet<string>): [string, NftSet][] {
  const known = memberSets(view);
  return [...remotes].sort().flatMap((id) => {
    const before = known.get(id);
    if (before !== undefined) return before;
    const cards = view.cards.filter(({ groups }) => groups.includes(id));
    const made: [string, NftSet][] = [
      [`members4_${idWord(id)}`, setOf('type ifname . ipv4_addr;', cards.flatMap(ipv4Keys))],
      [`members6_${idWord(id)}`, setOf('type ifname . ipv6_addr;', cards.flatMap(ipv6Keys))],
      [`members_mac_${idWord(id)}`, setOf('type ifname . ether_addr;', cards.flatMap(macKeys))],
    ];
    known.set(id, made);
    return made;
  });
}

const memberSets = perCards(() => new Map<string, [string, NftSet][]>());

/** One rule of a group: an nft rule for each way in which the other end can be told. */
function renderRule(rule: PlannedRule, view: FirewallView): string[] {
  const what = protocolMatch(rule);
  const verdict = `counter name "${counterOf(rule.id)}" accept comment "${idWord(rule.id)}"`;
  return remoteMatches(rule, view).map((remote) =>
    [what.protocol, remote, what.ports, verdict].filter((part) => part !== '').join(' '),
  );
}

function remoteMatches(rule: PlannedRule, view: FirewallView): string[] {
  const end = otherEnd[rule.direction];
  if (rule.cidr !== undefined) return [`${ends[end][familyOf(rule.cidr)]} ${cidrWord(rule.cidr)}`];
  if (rule.group === undefined && rule.groupId === undefined) return [''];
  // A group that is gone has no members.
  if (rule.groupId === undefined) return [];
  const id = idWord(rule.groupId);
  const byMac = view.cards.some((card) => card.groups.includes(id) && macKeys(card).length > 0);
  return [
    ...(rule.protocol === 'icmpv6' ? [] : matchesOf(end, 4).map((match) => `${match} @members4_${id}`)),
    ...(rule.protocol === 'icmp' ? [] : matchesOf(end, 6).map((match) => `${match} @members6_${id}`)),
    ...(byMac ? macEnds[end].map((match) => `iifname @lans ${match} @members_mac_${id}`) : []),
  ];
}

function protocolMatch({ protocol, fromPort, toPort }: PlannedRule): { protocol: string; ports: string } {
  switch (protocol) {
    case 'any':
      return { protocol: '', ports: '' };
    case 'tcp':
    case 'udp':
      return {
        protocol: `meta l4proto ${protocol}`,
        ports: range('ct reply proto-src', fromPort, toPort ?? fromPort),
      };
    case 'icmp':
    case 'icmpv6':
      // The connection's port is the type and the code, of 8 bits each.
      return {
        protocol: `meta l4proto ${protocol === 'icmp' ? 'icmp' : 'ipv6-icmp'}`,
        ports:
          fromPort === undefined
            ? ''
            : range(
                'ct original proto-dst',
                fromPort * 256 + (toPort ?? 0),
                fromPort * 256 + (toPort ?? 255),
              ),
      };
    default:
      return protocol satisfies never;
  }
}

function range(match: string, from: number | undefined, to: number | undefined): string {
  if (from === undefined || to === undefined || (from === 0 && to === 65_535)) return '';
  return from === to ? `${match} ${portWord(from)}` : `${match} ${portWord(from)}-${portWord(to)}`;
}
