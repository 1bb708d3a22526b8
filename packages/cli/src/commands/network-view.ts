/** What people see of a network: its facts, a drawing of who is on it, and how often each rule let something pass. */
import type { Network, NetworkPort, NetworkPorts, SecurityGroup, SecurityRule } from '@wirt/api';
import type { View } from '../print.ts';
import { otherEndText, trafficText } from '../security-rule.ts';
import type { Block, Cell } from '../table.ts';
import { bytesText } from '../units.ts';

export function stateCell({ status }: Network): Cell {
  return { text: status.state, tone: status.state === 'ready' ? 'good' : 'bad' };
}

export function subnetText(subnet: string | null | undefined): string {
  return subnet ?? '-';
}

/** `eth1, VLAN 7`; undefined where there is none. */
export function uplinkText({ spec }: Network): string | undefined {
  const { uplink } = spec;
  if (uplink === undefined) return undefined;
  return uplink.vlan === undefined ? uplink.interface : `${uplink.interface}, VLAN ${uplink.vlan}`;
}

export function networkView(network: Network, ports: NetworkPorts, groups: readonly SecurityGroup[]): View {
  return {
    data: {
      ...network,
      ports: ports.items,
      rules: ports.rules,
      ...(ports.shadows === undefined ? {} : { shadows: ports.shadows }),
    },
    names: [network.name],
    table: () => [
      { kind: 'fields', fields: factsOf(network) },
      { kind: 'lines', lines: drawing(network, ports.items) },
      ...shadowLines(ports.shadows ?? []),
      ruleBlock(ports.rules, groups),
      { kind: 'fields', title: 'Labels', fields: Object.entries(network.labels) },
    ],
  };
}

type Field = readonly [label: string, value: Cell];

function factsOf(network: Network): Field[] {
  const { spec, status } = network;
  const others = spec.dnsForward ? 'other names are asked for at the host’s resolvers' : 'no other names';
  return [
    ['Name', { text: network.name, tone: 'bold' }],
    ['Id', network.id],
    ['State', stateCell(network)],
    ...(status.message === undefined ? [] : [['Why', status.message] as const]),
    ['Kind', spec.kind],
    ['IPv4', subnetText(spec.ipv4)],
    ['IPv6', subnetText(spec.ipv6)],
    ['MTU', String(spec.mtu)],
    ...(spec.kind === 'bridged' ? [] : [['Names', `NAME.${spec.domain}; ${others}`] as const]),
    ...(status.repair === undefined
      ? []
      : [['Mended', `${status.repair.at}: ${status.repair.what}`] as const]),
    ['Created', network.createdAt],
  ];
}

/** From the outside down to the cards. */
function drawing(network: Network, ports: readonly NetworkPort[]): Cell[] {
  const last = ports.length - 1;
  return [
    ...wayOut(network),
    { text: bridgeLine(network), tone: 'bold' },
    ...(ports.length === 0 ? [{ text: '   nobody is on it', tone: 'dim' } as const] : []),
    ...ports.flatMap((port, at) => {
      const rest = at === last ? '   ' : '│  ';
      const head = `${at === last ? '└─ ' : '├─ '}${port.instance}/${port.nic}  ${port.addresses.join(', ') || '-'}`;
      return [
        head,
        ...portFacts(port, network.status.driver).map(
          (line): Cell => ({ text: `${rest}   ${line}`, tone: 'dim' }),
        ),
      ];
    }),
  ];
}

function wayOut(network: Network): string[] {
  const { spec, status } = network;
  switch (spec.kind) {
    case 'nat':
      return ['outside', '│  through the host’s own address (nat)'];
    case 'routed':
      return ['outside', `│  by routes that others have to this host (routed)`];
    case 'bridged':
      return [
        `uplink ${uplinkText(network) ?? '-'}`,
        '│  one segment with it, which gives the addresses (bridged)',
      ];
    case 'isolated':
      return status.driver === 'bridge' ? ['nothing enters or leaves (isolated)'] : ['isolated'];
  }
}

function bridgeLine({ spec, status }: Network): string {
  const { gateways } = status;
  const at = gateways.length === 0 ? '' : `, ${gateways.join(', ')}`;
  const lead = spec.kind === 'isolated' ? '' : '┴ ';
  if (status.driver === 'user') return `${lead}a process beside each guest, without root${at}`;
  return `${lead}bridge ${status.interface ?? '-'} of the host${at}`;
}

function portFacts(port: NetworkPort, driver: Network['status']['driver']): string[] {
  const { mac, interface: end, securityGroups, leases, counters, spoofed = 0 } = port;
  // In user mode a card has no end on the host, whether it runs or not.
  const where = end !== undefined ? ` by ${end}` : driver === 'bridge' ? ', not running' : '';
  const leased = leases.map(({ address, until }) =>
    until === undefined ? address : `${address} until ${until}`,
  );
  return [
    `${mac}${where}; groups ${securityGroups.join(', ') || 'none'}`,
    ...(leased.length === 0 ? [] : [`leased ${leased.join(', ')}`]),
    ...(counters === undefined
      ? []
      : [
          `received ${amount(counters.receivedBytes, counters.receivedPackets, counters.receivedDropped)}; ` +
            `sent ${amount(counters.sentBytes, counters.sentPackets, counters.sentDropped)}`,
        ]),
    ...(spoofed === 0 ? [] : [`${packets(spoofed)} that claimed to be of another: dropped`]),
  ];
}

function amount(bytes: number, count: number, dropped: number): string {
  return `${bytesText(bytes)} in ${packets(count)}${dropped === 0 ? '' : ` and ${dropped} dropped`}`;
}

function packets(count: number): string {
  return count === 1 ? '1 packet' : `${count} packets`;
}

/** Others' packet filters are changed by their owners only. */
function shadowLines(shadows: NonNullable<NetworkPorts['shadows']>): Block[] {
  if (shadows.length === 0) return [];
  return [
    {
      kind: 'lines',
      lines: [
        { text: 'Dropped by others on the host, whatever the groups say', tone: 'bad' },
        ...shadows.flatMap(({ why, hint }): Cell[] => [`  ${why}`, { text: `  ${hint}`, tone: 'dim' }]),
      ],
    },
  ];
}

function ruleBlock(counted: NetworkPorts['rules'], groups: readonly SecurityGroup[]): Block {
  const known = new Map(
    groups.flatMap(({ spec }) => spec.rules.map((rule): [string, SecurityRule] => [rule.id, rule])),
  );
  return {
    kind: 'table',
    title: 'Rules, and what each let pass',
    columns: ['GROUP', 'DIRECTION', 'TRAFFIC', 'OTHER END', 'PACKETS', 'BYTES', 'RULE'],
    rows: counted.map(({ group, rule, packets: count, bytes }) => {
      const found = known.get(rule);
      const says =
        found === undefined ? ['-', '-', '-'] : [found.direction, trafficText(found), otherEndText(found)];
      return [group, ...says, String(count), bytesText(bytes), rule];
    }),
    empty: '',
  };
}
