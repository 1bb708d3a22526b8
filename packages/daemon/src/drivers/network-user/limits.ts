// What the user-mode network cannot do, said before QEMU or passt would fail with words of their own. Pure.
import { type PublishedPort, WirtError } from '@wirt/api';
import type { PlannedNetwork, PlannedPort } from '@wirt/core';

export type Stack = 'slirp' | 'passt';

interface Refusal {
  readonly why: string;
  readonly hint: string;
}

/** Slirp takes frames of an Ethernet, and no more. */
const largestMtu: Record<Stack, number> = { slirp: 1500, passt: 65_520 };
export const asRoot =
  'Run wirtd as root, where it has nft, ip and dnsmasq: see `wirt host check`; then `--network-driver bridge`.';

export function refusesNetwork(
  { kind, ipv4, ipv6, uplink, mtu }: PlannedNetwork,
  stack: Stack,
): Refusal | undefined {
  if (kind !== 'nat' || uplink !== undefined)
    return {
      why: `in user mode each guest is on a network of its own, which is no ${kind} one`,
      hint: asRoot,
    };
  if (ipv4 !== undefined || ipv6 !== undefined)
    return { why: 'in user mode the subnet is not ours to choose', hint: asRoot };
  if (mtu > largestMtu[stack])
    return {
      why: `the MTU of the user-mode network is ${largestMtu[stack]} at most, with ${stack}`,
      hint: `Create it with \`--mtu ${largestMtu[stack]}\` or less.`,
    };
  return undefined;
}

/** Whom an error concerns, as `NetworkDriver.apply` says it. */
export function concerned({ network, instance }: PlannedPort): { networks: string[]; instances: string[] } {
  return { networks: [network], instances: [instance] };
}

export interface PortLimits {
  readonly stack: Stack;
  /** net.ipv4.ip_unprivileged_port_start of the host. */
  readonly firstOpenPort: number;
}

/** Why a card cannot be as planned; undefined when it can. Code `network.unsupported`. */
export function refusesPort(port: PlannedPort, { stack, firstOpenPort }: PortLimits): WirtError | undefined {
  const unsupported = (what: string, hint: string): WirtError =>
    new WirtError('network.unsupported', `Network card ${port.nic} of ${port.hostname} ${what}`, {
      hint,
      details: concerned(port),
    });
  if (port.floating !== undefined) return unsupported('cannot have a floating address in user mode.', asRoot);
  if (port.ipv4 !== undefined || port.ipv6 !== undefined)
    return unsupported('cannot have a fixed address in user mode.', asRoot);
  const low = port.publish.find(({ hostPort }) => hostPort < firstOpenPort);
  if (low !== undefined && port.owner.uid !== 0)
    return unsupported(
      `cannot have port ${low.hostPort} of the host: in user mode it is opened by an ordinary user, who may open those from ${firstOpenPort} on.`,
      `Publish another port, or: sysctl -w net.ipv4.ip_unprivileged_port_start=${low.hostPort}`,
    );
  const six = stack === 'slirp' ? port.publish.find(isIpv6) : undefined;
  if (six !== undefined)
    return unsupported(
      `cannot have a port published at ${six.hostAddress}: QEMU's own user-mode network listens on IPv4 only.`,
      'Leave the address out, or name an IPv4 one.',
    );
  return undefined;
}

function isIpv6({ hostAddress = '' }: PublishedPort): boolean {
  return hostAddress.includes(':');
}

/** Whether QEMU's or passt's forwards are those of the plan: neither takes others while it runs. */
export function samePublished(one: readonly PublishedPort[], other: readonly PublishedPort[]): boolean {
  const text = (ports: readonly PublishedPort[]): string => ports.map(portText).toSorted().join(' ');
  return text(one) === text(other);
}

function portText({ protocol, hostAddress = '', hostPort, guestPort }: PublishedPort): string {
  return `${protocol}/${hostAddress}/${hostPort}/${guestPort}`;
}
