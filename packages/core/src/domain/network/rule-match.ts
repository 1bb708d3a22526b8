/** Which rule lets the first packet of a connection pass, as the firewall decides it. */
import type { SecurityRule } from '@wirt/api';
import type { NetworkPlan, PlannedGroup, PlannedPort, PlannedRule } from '../network-plan.ts';
import { contains, type Family, parseAddress, parseSubnet } from './ip.ts';

export interface Packet {
  readonly protocol: 'tcp' | 'udp' | 'icmp';
  /** Undefined: any port, which only a rule for all ports lets pass. */
  readonly port?: number | undefined;
  readonly family: Family;
}

/** The other end, as rules see it. */
export interface Remote {
  /** Undefined: not known, and in no subnet but all. */
  readonly address?: string | undefined;
  /** Ids. */
  readonly groups: readonly string[];
}

export interface Allowed {
  readonly group: PlannedGroup;
  readonly rule: PlannedRule;
}

/** ICMP types of an echo request, by which `icmp` is traced. */
const echoRequest = { ipv4: 8, ipv6: 128 } as const satisfies Record<Family, number>;

/** The first rule of the card’s groups that allows it; undefined when none does. */
export function allowedBy(
  plan: Pick<NetworkPlan, 'groups'>,
  port: Pick<PlannedPort, 'groups'>,
  direction: SecurityRule['direction'],
  remote: Remote,
  packet: Packet,
): Allowed | undefined {
  for (const group of plan.groups) {
    if (!port.groups.includes(group.id)) continue;
    const rule = group.rules.find(
      (one) =>
        one.direction === direction &&
        matchesProtocol(one, packet) &&
        matchesRemote(one, remote, packet.family),
    );
    if (rule !== undefined) return { group, rule };
  }
  return undefined;
}

function matchesProtocol({ protocol, fromPort, toPort }: PlannedRule, packet: Packet): boolean {
  switch (protocol) {
    case 'any':
      return true;
    case 'tcp':
    case 'udp':
      return protocol === packet.protocol && inRange(packet.port, fromPort, toPort);
    case 'icmp':
    case 'icmpv6':
      return (
        packet.protocol === 'icmp' &&
        (protocol === 'icmp') === (packet.family === 'ipv4') &&
        (fromPort === undefined || fromPort === echoRequest[packet.family]) &&
        (toPort === undefined || toPort === 0)
      );
  }
}

function inRange(port: number | undefined, from: number | undefined, to = from): boolean {
  if (from === undefined || to === undefined) return true;
  return port === undefined ? from <= 1 && to === 65_535 : port >= from && port <= to;
}

function matchesRemote({ cidr, group, groupId }: PlannedRule, remote: Remote, family: Family): boolean {
  if (group !== undefined) return groupId !== undefined && remote.groups.includes(groupId);
  if (cidr === undefined) return true;
  const subnet = parseSubnet(cidr);
  if (subnet?.family !== family) return false;
  const address = remote.address === undefined ? undefined : parseAddress(remote.address);
  return address === undefined ? subnet.prefix === 0 : contains(subnet, address);
}
