/** `wirt network ls|show|create|rm`. Cards on them are in nic, the trace of a connection in network-trace. */
import type { Network, SecurityGroup } from '@wirt/api';
import type { CallInput } from '@wirt/api/client';
import { type Commands, type Context, command } from '../command.ts';
import { lineView } from '../follow.ts';
import { limitOf, moreNote, pagingOptions, readPages } from '../paging.ts';
import { usageError } from '../parse.ts';
import type { Cell } from '../table.ts';
import { networkView, stateCell, subnetText, uplinkText } from './network-view.ts';
import { forEach } from './side-by-side.ts';

const networkArgument = { network: { summary: 'Name or id of the network', complete: 'network' } } as const;

const ls = command({
  arguments: {},
  options: pagingOptions,
  examples: [{ line: 'wirt network ls', does: 'Kind, subnets, and the bridge on the host.' }],
  async run(context, { options }) {
    const { items, more } = await readPages(
      (query) => context.client.call('GET /v1/networks', { query }),
      limitOf(options),
    );
    if (more) context.note(moreNote);
    for (const { name, status } of context.output === 'table' ? items : [])
      if (status.message !== undefined) context.note(`Network ${name} does not work: ${status.message}`);
    const rows = items.map((network): Cell[] => [
      network.name,
      stateCell(network),
      network.spec.kind,
      subnetText(network.spec.ipv4),
      subnetText(network.spec.ipv6),
      uplinkText(network) ?? '-',
      network.status.interface ?? '-',
    ]);
    const columns = ['NAME', 'STATE', 'KIND', 'IPV4', 'IPV6', 'UPLINK', 'BRIDGE'];
    const empty = 'No networks. The network “default” is made when the first instance wants it.';
    return {
      view: {
        data: items,
        names: items.map(({ name }) => name),
        table: () => [{ kind: 'table', columns, rows, empty }],
      },
    };
  },
});

const show = command({
  arguments: networkArgument,
  options: {},
  examples: [
    { line: 'wirt network show default', does: 'Who is on it, with addresses, leases, rules and counters.' },
    {
      line: 'wirt network show default -o json',
      does: 'The record, and `ports` and `rules` as the API has them.',
    },
  ],
  notes: ['Counters are as the guest sees them: `received` is what it got.'],
  async run(context, { args }) {
    const params = args;
    const network = await context.client.call('GET /v1/networks/{network}', { params });
    const failures: unknown[] = [];
    const ports = await context.client
      .call('GET /v1/networks/{network}/ports', { params })
      .catch((error: unknown) => {
        // What is known of a network that the host refuses to show is worth more than nothing.
        failures.push(error);
        return { items: [], rules: [] };
      });
    const groups =
      context.output === 'table' && ports.rules.length > 0 ? await allGroups(context).catch(() => []) : [];
    return { view: networkView(network, ports, groups), failures };
  },
});

/** To say what a rule is, of which the counters have only the id. */
async function allGroups({ client }: Context): Promise<readonly SecurityGroup[]> {
  return (await readPages((query) => client.call('GET /v1/security-groups', { query }), 'all')).items;
}

const createOptions = {
  kind: {
    kind: 'choice',
    choices: ['nat', 'isolated', 'routed', 'bridged'],
    summary: 'Where it leads (default nat; bridged with --uplink)',
  },
  ipv4: { kind: 'text', value: 'CIDR|none', summary: 'IPv4 subnet (default a free /24)' },
  ipv6: { kind: 'text', value: 'CIDR|none', summary: 'IPv6 subnet, a /64 (default a free unique local one)' },
  uplink: {
    kind: 'text',
    value: 'INTERFACE',
    summary: 'Bridge of the host, or interface without addresses, that a bridged network is joined to',
  },
  vlan: { kind: 'integer', value: 'TAG', min: 1, max: 4094, summary: 'VLAN on the uplink' },
  mtu: { kind: 'integer', value: 'BYTES', min: 1280, max: 65_521, summary: 'Largest packet (default 1500)' },
  domain: { kind: 'text', value: 'DOMAIN', summary: 'Guests find each other as NAME.DOMAIN (default wirt)' },
  'no-dns-forward': { kind: 'flag', summary: 'Answer no names but those of guests' },
  label: { kind: 'pair', value: 'KEY=VALUE', short: 'l', many: true, summary: 'A label' },
} as const;

const create = command({
  arguments: { name: { summary: 'Name of the network' } },
  options: createOptions,
  examples: [
    {
      line: 'wirt network create back --kind isolated',
      does: 'Guests among themselves; free subnets are chosen.',
    },
    {
      line: 'wirt network create dmz --ipv4 10.80.7.0/24 --ipv6 none',
      does: 'Out through the host’s address.',
    },
    { line: 'wirt network create lan --uplink br0 --vlan 7', does: 'On VLAN 7 of a bridge that is there.' },
  ],
  notes: [
    'nat: out through the host’s address. isolated: only among themselves. routed: by routes that others have to this host.',
    'bridged: on the uplink, which gives addresses itself.',
  ],
  async run(context, { args, options }) {
    const { ipv4, ipv6, uplink, vlan, mtu, domain } = options;
    const kind = options.kind ?? (uplink === undefined ? undefined : 'bridged');
    if ((kind === 'bridged') !== (uplink !== undefined))
      throw usageError(
        'network create',
        kind === 'bridged' ? 'A bridged network needs --uplink.' : `A network of kind ${kind} has no uplink.`,
        kind === 'bridged' ? 'Interfaces of the host: `ip -br link`.' : undefined,
      );
    if (vlan !== undefined && uplink === undefined)
      throw usageError('network create', '--vlan goes with --uplink.');
    const spec: NetworkInput['spec'] = {
      ...(kind === undefined ? {} : { kind }),
      ...(ipv4 === undefined ? {} : { ipv4: ipv4 === 'none' ? null : ipv4 }),
      ...(ipv6 === undefined ? {} : { ipv6: ipv6 === 'none' ? null : ipv6 }),
      ...(uplink === undefined
        ? {}
        : { uplink: { interface: uplink, ...(vlan === undefined ? {} : { vlan }) } }),
      ...(mtu === undefined ? {} : { mtu }),
      ...(domain === undefined ? {} : { domain }),
      ...(options['no-dns-forward'] ? { dnsForward: false } : {}),
    };
    const network = await context.client.call('POST /v1/networks', {
      body: { name: args.name, labels: Object.fromEntries(options.label), spec },
    });
    return { view: lineView(network, network.name, createdLine(network)) };
  },
});

type NetworkInput = CallInput<'POST /v1/networks'>['body'];

function createdLine(network: Network): string {
  const { ipv4, ipv6, kind } = network.spec;
  const subnets = [ipv4, ipv6].filter((subnet) => typeof subnet === 'string');
  const where = uplinkText(network);
  const facts = [kind, ...subnets, ...(where === undefined ? [] : [where])].join(', ');
  return `Network ${network.name} is ${network.status.state}: ${facts}`;
}

const rm = command({
  arguments: { network: { summary: 'Names or ids of networks', many: true, complete: 'network' } },
  options: {},
  examples: [{ line: 'wirt network rm back', does: 'Refused while an instance has a card on it.' }],
  run: (context, { args }) =>
    forEach(args.network, async (network) => {
      await context.client.call('DELETE /v1/networks/{network}', { params: { network } });
      const record = { name: network, removed: true };
      return { name: network, line: `Network ${network} is removed`, record };
    }),
});

export const commands: Commands = {
  'network ls': ls,
  'network show': show,
  'network create': create,
  'network rm': rm,
};
