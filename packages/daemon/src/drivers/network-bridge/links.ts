/**
 * The interfaces that a plan wants: bridges, taps, and what joins a bridge to its uplink. Pure; what is wrong with one network is told
 * and costs the others nothing.
 */
import { WirtError } from '@wirt/api';
import type { NetworkPlan, PlannedNetwork, PlannedPort } from '@wirt/core';
import type { LinkState } from './link-state.ts';
import { type HostNames, linkLocalOf, macFor } from './names.ts';
import { isShaped } from './rates.ts';
import { holds, isForGuests, overlap, parseSubnet, type Subnet } from './subnet.ts';

export type LinkMaking =
  | { readonly kind: 'bridge'; readonly mac: string }
  | { readonly kind: 'tap'; readonly uid: number; readonly gid: number; readonly multiQueue: boolean }
  | { readonly kind: 'veth'; readonly peer: string }
  /** The other end of a pair, made with the first. */
  | { readonly kind: 'peer' }
  /** Takes in what another interface receives, to be throttled (tc-mirred(8)). */
  | { readonly kind: 'ifb' }
  | { readonly kind: 'vlan'; readonly link: string; readonly id: number }
  /** The host's own: only put into the bridge. */
  | { readonly kind: 'foreign' };

export interface DesiredLink {
  readonly name: string;
  /** Id of the network that it belongs to. */
  readonly network: string;
  /** Id of the instance whose card it is. */
  readonly instance?: string;
  /** For people. */
  readonly what: string;
  readonly making: LinkMaking;
  /** Undefined on what is not ours. */
  readonly alias?: string;
  readonly mtu?: number;
  readonly master?: string;
  readonly addresses: readonly string[];
}

export interface DesiredLinks {
  readonly links: ReadonlyMap<string, DesiredLink>;
  /** By network: the port of its bridge that leads to the uplink. */
  readonly uplinks: ReadonlyMap<string, string>;
  /** Networks that cannot be made, and why. */
  readonly refused: readonly { readonly network: PlannedNetwork; readonly error: WirtError }[];
}

/** `host`: what the kernel has, where a network has an uplink. */
export function desiredLinks(
  plan: NetworkPlan,
  names: HostNames,
  host: ReadonlyMap<string, LinkState>,
): DesiredLinks {
  const links = new Map<string, DesiredLink>();
  const uplinks = new Map<string, string>();
  const refused: { network: PlannedNetwork; error: WirtError }[] = [];
  const bridges = new Map<string, PlannedNetwork>();
  for (const network of plan.networks) {
    try {
      const bridge = bridgeOf(network, names);
      checkOverlap(network, bridges.values());
      links.set(bridge.name, bridge);
      // Without its uplink, a network is still one for the guests on it.
      bridges.set(network.id, network);
      for (const link of uplinkOf(network, names, host)) {
        links.set(link.name, link);
        if (link.master === bridge.name) uplinks.set(network.id, link.name);
      }
    } catch (error) {
      refused.push({ network, error: error as WirtError });
    }
  }
  for (const port of plan.ports) {
    const network = bridges.get(port.network);
    if (network === undefined) continue;
    const link = tapOf(port, network, names);
    links.set(link.name, link);
    if (!isShaped(port)) continue;
    const shaper = shaperOf(port, names);
    links.set(shaper.name, shaper);
  }
  return { links, uplinks, refused };
}

function bridgeOf(network: PlannedNetwork, names: HostNames): DesiredLink {
  const mac = macFor(names.tag, network.id);
  return {
    name: names.bridge(network.id),
    network: network.id,
    what: `the bridge of network ${network.name}`,
    making: { kind: 'bridge', mac },
    alias: names.alias('bridge', network.id),
    mtu: network.mtu,
    // The gateway of a bridged network is another machine.
    addresses:
      network.kind === 'bridged'
        ? []
        : [
            ...gatewayOf(network, network.ipv4),
            ...gatewayOf(network, network.ipv6),
            // Router advertisements come from a link-local address; the kernel's own would wait for a first port.
            ...(network.ipv6 === undefined ? [] : [`${linkLocalOf(mac)}/64`]),
          ],
  };
}

function gatewayOf(network: PlannedNetwork, subnet: PlannedNetwork['ipv4']): string[] {
  if (subnet === undefined) return [];
  const parsed = parseSubnet(subnet.subnet);
  if (parsed === undefined || !isForGuests(parsed) || !holds(parsed, subnet.gateway))
    throw new WirtError('network.failed', `Network ${network.name} cannot be made.`, {
      cause: new Error(`${subnet.gateway} in ${subnet.subnet} is no address of a subnet for guests.`),
      details: { networks: [network.id] },
    });
  return [`${subnet.gateway}/${parsed.prefix}`];
}

/** One address in two networks is nobody's: the filter would have to let each pass for the other. */
function checkOverlap(network: PlannedNetwork, others: Iterable<PlannedNetwork>): void {
  const own = subnetsOf(network);
  for (const other of others)
    if (subnetsOf(other).some((theirs) => own.some((each) => overlap(each, theirs))))
      throw new WirtError('network.failed', `Network ${network.name} cannot be made.`, {
        cause: new Error(`Its subnet overlaps that of network ${other.name}.`),
        details: { networks: [network.id] },
      });
}

function subnetsOf({ ipv4, ipv6 }: PlannedNetwork): Subnet[] {
  return [ipv4, ipv6].flatMap((subnet) => parseSubnet(subnet?.subnet ?? '') ?? []);
}

function uplinkOf(
  network: PlannedNetwork,
  names: HostNames,
  host: ReadonlyMap<string, LinkState>,
): DesiredLink[] {
  if (network.kind !== 'bridged') return [];
  const failed = (why: string): WirtError =>
    new WirtError('network.failed', `Network ${network.name} cannot be joined to its uplink.`, {
      cause: new Error(why),
      hint: 'See the interfaces of the host: ip -br link',
      details: { networks: [network.id] },
    });
  if (network.uplink === undefined) throw failed('It names no uplink.');
  const { interface: name, vlan } = network.uplink;
  const uplink = host.get(name);
  if (uplink === undefined) throw failed(`The host has no interface ${name}.`);
  const bridge = names.bridge(network.id);
  const common = { network: network.id, mtu: network.mtu, addresses: [] };
  const ours = { ...common, what: `the way from network ${network.name} to ${name}` };
  const own = (role: 'uplink' | 'joint' | 'vlan') => ({
    ...ours,
    name: names.ofUplink(role, network.id),
    alias: names.alias(role, network.id),
  });
  if (vlan !== undefined)
    return [{ ...own('vlan'), making: { kind: 'vlan', link: name, id: vlan }, master: bridge }];
  if (uplink.kind !== 'bridge') {
    // Its MTU is its owner's affair.
    const { mtu: _, ...foreign } = ours;
    return [{ ...foreign, name, making: { kind: 'foreign' }, master: bridge }];
  }
  const joint = own('joint');
  return [
    { ...own('uplink'), making: { kind: 'veth', peer: joint.name }, master: bridge },
    { ...joint, making: { kind: 'peer' }, master: name },
  ];
}

function tapOf(port: PlannedPort, network: PlannedNetwork, names: HostNames): DesiredLink {
  return {
    name: names.port(port),
    network: network.id,
    instance: port.instance,
    what: `the tap of ${port.hostname} (${port.nic})`,
    making: { kind: 'tap', ...port.owner, multiQueue: port.queues > 1 },
    alias: names.alias('port', port.instance, port.nic),
    mtu: port.mtu,
    master: names.bridge(network.id),
    addresses: [],
  };
}

function shaperOf(port: PlannedPort, names: HostNames): DesiredLink {
  return {
    name: names.shaper(port),
    network: port.network,
    instance: port.instance,
    what: `the interface that throttles what ${port.hostname} (${port.nic}) sends`,
    making: { kind: 'ifb' },
    alias: names.alias('shaper', port.instance, port.nic),
    addresses: [],
  };
}

/** What the kernel says once a link is as wanted. */
export function stateOf(link: DesiredLink): LinkState {
  const { name, making, alias, mtu, master, addresses } = link;
  const kinds = {
    bridge: 'bridge',
    tap: 'tun',
    veth: 'veth',
    peer: 'veth',
    ifb: 'ifb',
    vlan: 'vlan',
    foreign: '',
  };
  return {
    name,
    kind: kinds[making.kind],
    mtu: mtu ?? 0,
    up: true,
    mac: making.kind === 'bridge' ? making.mac : '',
    addresses,
    ...(alias === undefined ? {} : { alias }),
    ...(master === undefined ? {} : { master }),
    ...(making.kind === 'bridge' ? { filtered: true } : {}),
    ...(making.kind === 'tap'
      ? { tap: { uid: making.uid, gid: making.gid, multiQueue: making.multiQueue } }
      : {}),
    ...(making.kind === 'vlan' ? { vlan: { link: making.link, id: making.id } } : {}),
  };
}
