/**
 * Networks and groups to be, and those that are made on first use. Everything here runs in the lane of networks, so that two who need the
 * same find one.
 */
import {
  type Network,
  type NetworkCreate,
  networkCreateSchema,
  type SecurityGroup,
  WirtError,
} from '@wirt/api';
import { plannedNetwork } from '../domain/network/plan.ts';
import { defaultGroup, defaultRules, rulesOf } from '../domain/network/rules.ts';
import {
  chooseIpv4,
  chooseIpv6,
  requireFree,
  requireSubnet,
  type TakenSubnet,
} from '../domain/network/subnets.ts';
import type { Shared } from './parts.ts';
import { commit } from './records.ts';

export const defaultNetwork = 'default';

const bridgeHint =
  'Run wirtd as root where `nft`, `ip` and `dnsmasq` are installed, without `--network-driver user`.';

/** What the driver without root cannot do. */
export function unsupported(what: string, hint = bridgeHint): WirtError {
  return new WirtError('network.unsupported', what, { hint });
}

/** By name; the one named `default` is made when it is missing. Throws `network.not_found`, and as `newNetwork`. */
export async function ensureNetwork(shared: Shared, name: string, project: string): Promise<Network> {
  const { networks, store } = shared;
  if (networks.find(name, project) === undefined && name === defaultNetwork) {
    const made = await newNetwork(shared, networkCreateSchema.parse({ name, project }));
    await commit(store, [networks.put(made)]);
  }
  return networks.require(name, project);
}

/** By name; the one named `default` is made when it is missing. Throws `group.not_found`. */
export async function ensureGroup(shared: Shared, name: string, project: string): Promise<SecurityGroup> {
  const { groups, store, operations, clock } = shared;
  if (groups.find(name, project) === undefined && name === defaultGroup) {
    const made: SecurityGroup = {
      id: operations.newId(),
      name,
      project,
      labels: {},
      revision: 0,
      createdAt: clock.now(),
      spec: {
        description: 'What cards have where no group is named.',
        rules: rulesOf(defaultRules(name), [], operations.newId),
      },
      status: { members: 0 },
    };
    await commit(store, [groups.put(made)]);
  }
  return groups.require(name, project);
}

/** The record to be, checked against the host. Throws `network.subnet_conflict`, `network.unsupported`, `request.invalid`. */
export async function newNetwork(shared: Shared, input: NetworkCreate): Promise<Network> {
  const { network: driver, operations, clock } = shared;
  const id = operations.newId();
  requireSense(input);
  if (driver.driver === 'user') requireUserMode(input);
  const spec = { ...input.spec, ...(await subnetsOf(shared, id, input)) };
  const network = { id, name: input.name, spec };
  const refused = await driver.refuses(plannedNetwork(network));
  if (refused !== undefined)
    throw unsupported(
      `This host cannot have the network ${input.name}: ${refused.why.replace(/\.$/, '')}.`,
      refused.hint,
    );
  const planned = plannedNetwork(network);
  return {
    ...network,
    project: input.project,
    labels: input.labels,
    revision: 0,
    createdAt: clock.now(),
    status: {
      driver: driver.driver,
      state: 'ready',
      gateways: [planned.ipv4, planned.ipv6].flatMap((one) => one?.gateway ?? []),
    },
  };
}

function requireSense({ name, spec }: NetworkCreate): void {
  const { kind, ipv4, ipv6, uplink } = spec;
  const invalid = (why: string, hint: string): WirtError =>
    new WirtError('request.invalid', `Network ${name} ${why}.`, { hint });
  if (kind === 'bridged') {
    if (uplink === undefined)
      throw invalid('is to be bridged, and has no uplink', 'Name one: `--uplink INTERFACE`; see `ip link`.');
    if (typeof ipv4 === 'string' || typeof ipv6 === 'string')
      throw invalid('is bridged, where addresses come from the uplink', 'Leave the subnets out.');
    return;
  }
  if (uplink !== undefined)
    throw invalid(`is ${kind}, and has no uplink`, 'Create it with `--kind bridged`.');
  if (kind !== 'isolated' && ipv4 === null && ipv6 === null)
    throw invalid(`is ${kind}, and needs a subnet`, 'Leave one of them out for a free one.');
}

/** QEMU and passt give each guest a network of its own: the host sees no subnet. */
function requireUserMode({ name, spec }: NetworkCreate): void {
  const { kind, ipv4, ipv6 } = spec;
  if (kind !== 'nat')
    throw unsupported(
      `Network ${name} cannot be ${kind}: without root there are only networks of the kind nat.`,
    );
  if (typeof ipv4 === 'string' || typeof ipv6 === 'string')
    throw unsupported(
      `Network ${name} cannot have a subnet: without root each guest is on a network of its own.`,
    );
}

/** Those that are asked for, checked, and free ones where none are. */
export async function subnetsOf(
  { network: driver, networks, instances }: Shared,
  id: string,
  { spec }: Pick<NetworkCreate, 'spec'>,
): Promise<{ ipv4: string | null; ipv6: string | null }> {
  if (driver.driver === 'user' || spec.kind === 'bridged') return { ipv4: null, ipv6: null };
  const taken: TakenSubnet[] = [...networks.after()].flatMap(({ name, spec: { ipv4, ipv6 } }) =>
    [ipv4, ipv6].flatMap((subnet) => (typeof subnet === 'string' ? { subnet, by: `network ${name}` } : [])),
  );
  for (const { subnet, interface: name } of await driver.routes())
    taken.push({ subnet, by: `the host’s route by ${name}` });
  taken.push(...uplinked({ networks, instances }));
  const check = (text: string, family: 'ipv4' | 'ipv6'): string => {
    requireFree(requireSubnet(text, family), taken);
    return text;
  };
  const { ipv4 = chooseIpv4(id, taken), ipv6 = chooseIpv6(id, taken) } = spec;
  return {
    ipv4: ipv4 === null ? null : check(ipv4, 'ipv4'),
    ipv6: ipv6 === null ? null : check(ipv6, 'ipv6'),
  };
}

/** Addresses that cards have on bridged networks, where no subnet of ours holds them. */
function* uplinked({ networks, instances }: Pick<Shared, 'networks' | 'instances'>): Iterable<TakenSubnet> {
  for (const { name, project, spec } of instances.after())
    for (const nic of spec.nics) {
      if (networks.find(nic.network, project)?.spec.kind !== 'bridged') continue;
      const by = `${nic.name} of ${name}`;
      if (nic.ipv4 !== undefined) yield { subnet: `${nic.ipv4}/32`, by };
      if (nic.ipv6 !== undefined) yield { subnet: `${nic.ipv6}/128`, by };
    }
}
