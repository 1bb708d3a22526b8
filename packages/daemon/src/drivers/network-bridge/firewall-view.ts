// What the plan says, as the renderers of the firewall need it: every card with its network, its interfaces, its addresses in nft's form, and
// the groups that count. Pure.
import { createHash } from 'node:crypto';
import type { NetworkPlan, PlannedGroup, PlannedNetwork, PlannedPort } from '@wirt/core';
import { linkLocalOf } from './names.ts';
import { addressWord, idWord, interfaceWord, macWord } from './nft-words.ts';

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
}

export function viewOf(plan: NetworkPlan, uplinks: readonly string[], names: FirewallNames): FirewallView {
  const groupsById = new Map(plan.groups.map((group) => [group.id, group]));
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
  const used = new Set(cards.flatMap(({ groups }) => groups));
  return {
    generation: plan.generation,
    networks,
    cards,
    groups: new Map([...groupsById].filter(([id]) => used.has(id))),
    uplinks: uplinks.map(interfaceWord),
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
    linkLocal: addressWord(linkLocalOf(mac)),
    anyIpv4: isBridged && port.ipv4 === undefined,
    anyIpv6: isBridged && port.ipv6 === undefined,
    groups,
    profile: profileOf(groups, profiles),
  };
}

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
