// What the plan says, as the renderers of the firewall need it: every card with its network, its interfaces, its addresses in nft's form, and
// the groups that count. Pure.
import { createHash } from 'node:crypto';
import type { NetworkPlan, PlannedGroup, PlannedNetwork, PlannedPort } from '@wirt/core';
import { linkLocalOf } from './names.ts';
import { addressWord, idWord, interfaceWord, macWord, remembered } from './nft-words.ts';

export interface FirewallNames {
  bridgeName(network: string): string;
  portName(port: { readonly instance: string; readonly nic: string }): string;
}

export interface CardView {
  readonly port: PlannedPort;
  readonly network: PlannedNetwork;
  /** Interface names, in quotes. */
  readonly tap: string;
  readonly bridge: string;
  readonly mac: string;
  /** Undefined: not known, on a bridged network, or none. */
  readonly ipv4: string | undefined;
  readonly ipv6: string | undefined;
  /** The address that the guest makes of its MAC address. */
  readonly linkLocal: string;
  /** Addresses are not ours to say: nothing is known but the MAC address. */
  readonly anyIpv4: boolean;
  readonly anyIpv6: boolean;
  /** Ids of groups of the plan, in order, each once. */
  readonly groups: readonly string[];
  /** Names the set of groups; the same for all cards that have the same ones. */
  readonly profile: string;
}

export interface NetworkView {
  readonly network: PlannedNetwork;
  /** In quotes. */
  readonly bridge: string;
}

export interface FirewallView {
  readonly generation: number;
  readonly networks: readonly NetworkView[];
  readonly cards: readonly CardView[];
  /** Groups that a card has, by id. */
  readonly groups: ReadonlyMap<string, PlannedGroup>;
  /** Ports of our bridges that lead outside, in quotes. */
  readonly uplinks: readonly string[];
  /** Says all that cards, networks and uplinks were made of. */
  readonly madeOf: string;
}

/** With the view of the last plan, cards that are the same are the same objects: see `perCards`. */
export function viewOf(
  plan: NetworkPlan,
  uplinks: readonly string[],
  names: FirewallNames,
  last?: FirewallView,
): FirewallView {
  const groupsById = new Map(plan.groups.map((group) => [group.id, group]));
  const madeOf = JSON.stringify([plan.networks, plan.ports, uplinks, [...groupsById.keys()]]);
  if (last?.madeOf === madeOf)
    return { ...last, generation: plan.generation, groups: usedBy(last.cards, groupsById) };
  const networks = plan.networks.map((network) => ({
    network,
    bridge: interfaceWord(names.bridgeName(network.id)),
  }));
  const byId = new Map(networks.map((view) => [view.network.id, view]));
  const profiles = new Map<string, string>();
  const cards = plan.ports.flatMap((port) => {
    const on = byId.get(port.network);
    return on === undefined ? [] : [cardOf(port, on, groupsById, names, profiles)];
  });
  return {
    generation: plan.generation,
    networks,
    cards,
    groups: usedBy(cards, groupsById),
    uplinks: uplinks.map(interfaceWord),
    madeOf,
  };
}

function usedBy(
  cards: readonly CardView[],
  groupsById: ReadonlyMap<string, PlannedGroup>,
): Map<string, PlannedGroup> {
  const used = new Set(cards.flatMap(({ groups }) => groups));
  return new Map([...groupsById].filter(([id]) => used.has(id)));
}

/** What is made of cards, networks and uplinks alone is made once, as long as they are the same: most changes are of rules. */
export function perCards<T>(make: (view: FirewallView) => T): (view: FirewallView) => T {
  const made = new WeakMap<readonly CardView[], T>();
  return (view) => {
    const before = made.get(view.cards);
    if (before !== undefined) return before;
    const now = make(view);
    made.set(view.cards, now);
    return now;
  };
}

function cardOf(
  port: PlannedPort,
  { network, bridge }: NetworkView,
  groupsById: ReadonlyMap<string, PlannedGroup>,
  names: FirewallNames,
  profiles: Map<string, string>,
): CardView {
  const groups = [...new Set(port.groups)].filter((id) => groupsById.has(id)).sort();
  const mac = macWord(port.mac);
  const isBridged = network.kind === 'bridged';
  return {
    port,
    network,
    tap: interfaceWord(names.portName(port)),
    bridge,
    mac,
    ipv4: port.ipv4 === undefined ? undefined : addressWord(port.ipv4),
    ipv6: port.ipv6 === undefined ? undefined : addressWord(port.ipv6),
    linkLocal: linkLocalWord(mac),
    anyIpv4: isBridged && port.ipv4 === undefined,
    anyIpv6: isBridged && port.ipv6 === undefined,
    groups,
    profile: profileOf(groups, profiles),
  };
}

const linkLocalWord = remembered((mac) => addressWord(linkLocalOf(mac)));

/** A short name for a set of groups. `profiles`: those already named. */
function profileOf(groups: readonly string[], profiles: Map<string, string>): string {
  const all = groups.map(idWord).join();
  const profile = profiles.get(all) ?? createHash('sha256').update(all).digest('hex').slice(0, 16);
  profiles.set(all, profile);
  return profile;
}

/** Addresses by which others know the card. */
export function ipv6Of({ ipv6, linkLocal }: CardView): readonly string[] {
  return ipv6 === undefined ? [linkLocal] : [ipv6, linkLocal];
}
