/**
 * What dnsmasq is told of a network: its configuration, once, and the files of hosts, which change with the ports. Pure. It serves only
 * its bridge, gives addresses only to ports of the plan, and takes no name from a guest. See dnsmasq(8).
 */
import { WirtError } from '@wirt/api';
import type { PlannedNetwork, PlannedPort } from '@wirt/core';
import { netmask, parseSubnet, type Subnet } from './subnet.ts';

export interface DnsmasqFiles {
  readonly directory: string;
  readonly leases: string;
}

export interface DnsmasqSetting {
  readonly interface: string;
  readonly files: DnsmasqFiles;
  readonly user: string;
  readonly group: string;
  /** The host's list of resolvers. */
  readonly resolvConf: string;
}

export const hostsFile = 'hosts';
export const dhcpFile = 'dhcp-hosts';
export const configFile = 'dnsmasq.conf';

const leaseTime = '12h';
const metadataAddress = '169.254.169.254';
const mostLeases = 65_536;
/** At once, for all guests of a network: one that asks for everything leaves the others slow, and not the host's resolver. */
const forwardsAtOnce = 150;
const advertiseEverySeconds = 200;
const routerLifetimeSeconds = 1800;

/** Whether the network wants one: a bridged one is served by who serves its uplink. */
export function isServed({ kind, ipv4, ipv6 }: PlannedNetwork): boolean {
  return kind !== 'bridged' && (ipv4 !== undefined || ipv6 !== undefined);
}

/** Throws `network.failed` where a subnet is none. */
export function dnsmasqConfig(network: PlannedNetwork, setting: DnsmasqSetting): string {
  const { files } = setting;
  const subnets = [network.ipv4, network.ipv6].flatMap((subnet) => (subnet === undefined ? [] : [subnet]));
  const parsed = subnets.map(({ subnet }) => {
    const one = parseSubnet(subnet);
    if (one === undefined)
      throw new WirtError('network.failed', `Network ${network.name} cannot be served.`, {
        details: { networks: [network.id] },
        cause: new Error(`'${subnet}' is no subnet.`),
      });
    return one;
  });
  const room = parsed.reduce(
    (sum, { family, prefix }) => sum + 2 ** Math.min((family === 4 ? 32 : 128) - prefix, 16),
    0,
  );
  const lines = [
    `# Written by wirtd for the network ${network.name}; changes are lost.`,
    'keep-in-foreground',
    `user=${setting.user}`,
    `group=${setting.group}`,
    'pid-file=',
    'log-facility=-',
    'log-async=25',
    `interface=${setting.interface}`,
    'except-interface=lo',
    'bind-interfaces',
    // Names.
    'no-hosts',
    'no-poll',
    `addn-hosts=${files.directory}/${hostsFile}`,
    'domain-needed',
    `local=/${network.domain}/`,
    ...subnets.map(({ subnet }) => `domain=${network.domain},${subnet},local`),
    'local-ttl=5',
    'cache-size=1000',
    `dns-forward-max=${forwardsAtOnce}`,
    ...(forwards(network) ? [`resolv-file=${setting.resolvConf}`] : ['no-resolv']),
    // Addresses.
    `dhcp-leasefile=${files.leases}`,
    `dhcp-hostsfile=${files.directory}/${dhcpFile}`,
    `dhcp-lease-max=${Math.min(room, mostLeases)}`,
    'dhcp-authoritative',
    'dhcp-ignore=tag:!known',
    'dhcp-ignore-names',
    'no-ping',
    'quiet-dhcp',
    'quiet-dhcp6',
    'quiet-ra',
    ...parsed.flatMap((subnet, at) =>
      rangeLines(network, subnet, subnets[at]?.gateway ?? '', setting.interface),
    ),
  ];
  for (const line of lines)
    if (/[\n\r]/.test(line))
      throw new WirtError('network.failed', `Network ${network.name} cannot be served.`, {
        details: { networks: [network.id] },
        cause: new Error('One of its settings has several lines.'),
      });
  return `${lines.join('\n')}\n`;
}

/** Nothing leaves an isolated network, questions neither. */
function forwards({ kind, dnsForward }: PlannedNetwork): boolean {
  return dnsForward && kind !== 'isolated';
}

function rangeLines(network: PlannedNetwork, subnet: Subnet, gateway: string, bridge: string): string[] {
  const isWayOut = network.kind !== 'isolated';
  const { family, address, prefix } = subnet;
  if (family === 6)
    return [
      `dhcp-range=${address},static,${prefix},${leaseTime}`,
      'enable-ra',
      `ra-param=${bridge},mtu:${network.mtu},${advertiseEverySeconds},${isWayOut ? routerLifetimeSeconds : 0}`,
      `dhcp-option=option6:dns-server,[${gateway}]`,
      `dhcp-option=option6:domain-search,${network.domain}`,
    ];
  // Who gets these does not look at the option `router` (RFC 3442), so that the default route is among them.
  const routes = [`${metadataAddress}/32,${gateway}`, ...(isWayOut ? [`0.0.0.0/0,${gateway}`] : [])];
  return [
    `dhcp-range=${address},static,${netmask(prefix)},${leaseTime}`,
    `dhcp-option=option:router${isWayOut ? `,${gateway}` : ''}`,
    `dhcp-option=option:classless-static-route,${routes.join(',')}`,
    `dhcp-option=option:dns-server,${gateway}`,
    `dhcp-option=option:domain-search,${network.domain}`,
    `dhcp-option=option:mtu,${network.mtu}`,
  ];
}

/** `hosts`: the first name is the one that an address is found by. */
export function hostsText({ domain }: PlannedNetwork, ports: readonly PlannedPort[]): string {
  const lines = ports.flatMap(({ hostname, ipv4, ipv6 }) =>
    [ipv4, ipv6].flatMap((address) =>
      address === undefined ? [] : [`${address} ${hostname}.${domain} ${hostname}\n`],
    ),
  );
  return lines.join('');
}

/** By MAC and whatever else a client says of itself: boot ROM, installer and system each say something else. */
export function dhcpText(ports: readonly PlannedPort[]): string {
  return ports
    .map(({ mac, hostname, ipv4, ipv6 }) => {
      const addresses = [...(ipv4 === undefined ? [] : [ipv4]), ...(ipv6 === undefined ? [] : [`[${ipv6}]`])];
      return addresses.length === 0 ? '' : `${[mac, ...addresses, hostname].join(',')}\n`;
    })
    .join('');
}
