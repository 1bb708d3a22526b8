/** What the host's networking is to be, from the records and the guests that have a process or are being started. Pure. */
import type { Instance, Network, Nic, NicLimits, Policy, PublishedPort, SecurityGroup } from '@wirt/api';
import { wantedOfNics } from '../limits/wanted.ts';
import type { NetworkPlan, PlannedGroup, PlannedNetwork, PlannedPort } from '../network-plan.ts';
import { queuesOf } from '../nic.ts';
import { plannedSubnet } from './subnets.ts';

/** A guest whose cards are to be there. */
export interface PluggedGuest {
  readonly owner: { readonly uid: number; readonly gid: number };
  /** Beside those that the first card publishes: how the host itself reaches the guest. */
  readonly forwards: readonly PublishedPort[];
}

export interface PlanRecords {
  readonly networks: Iterable<Network>;
  readonly groups: Iterable<SecurityGroup>;
  readonly instances: Iterable<Instance>;
  readonly policies: Iterable<Policy>;
}

/** Generations are 1 to 4095, round, of a number that only grows. */
export function generationOf(cuts: number): number {
  return (cuts % 4095) + 1;
}

/** Names are unique within a project, and never change. */
function key(project: string, name: string): string {
  return `${project}/${name}`;
}

export function planNetworks(
  records: PlanRecords,
  pluggedOf: (instance: string) => PluggedGuest | undefined,
  cuts: number,
): NetworkPlan {
  const networks = new Map<string, PlannedNetwork>();
  for (const network of records.networks)
    networks.set(key(network.project, network.name), plannedNetwork(network));
  const groups = [...records.groups];
  const groupIds = new Map(groups.map(({ id, project, name }) => [key(project, name), id]));
  const policies = new Map([...records.policies].map((policy) => [key(policy.project, policy.name), policy]));
  const ports: PlannedPort[] = [];
  for (const instance of records.instances) {
    const plugged = pluggedOf(instance.id);
    if (plugged === undefined) continue;
    const { policy } = instance.spec;
    const limits = wantedOfNics(
      instance,
      policy === undefined ? undefined : policies.get(key(instance.project, policy)),
    );
    for (const [index, nic] of instance.spec.nics.entries()) {
      const network = networks.get(key(instance.project, nic.network));
      if (network === undefined) continue;
      const forwards = index === 0 ? plugged.forwards : [];
      const parts = { network, groupIds, forwards, owner: plugged.owner, limits: limits[nic.name] };
      ports.push(plannedPort(instance, nic, parts));
    }
  }
  return {
    generation: generationOf(cuts),
    networks: [...networks.values()],
    ports,
    groups: groups.map((group) => plannedGroup(group, groupIds)),
  };
}

export function plannedNetwork({ id, name, spec }: Pick<Network, 'id' | 'name' | 'spec'>): PlannedNetwork {
  const { kind, mtu, ipv4, ipv6, uplink, domain, dnsForward } = spec;
  return {
    id,
    name,
    kind,
    mtu,
    domain,
    dnsForward,
    ...(ipv4 === undefined || ipv4 === null ? {} : { ipv4: plannedSubnet(ipv4) }),
    ...(ipv6 === undefined || ipv6 === null ? {} : { ipv6: plannedSubnet(ipv6) }),
    ...(uplink === undefined
      ? {}
      : {
          uplink: {
            interface: uplink.interface,
            ...(uplink.vlan === undefined ? {} : { vlan: uplink.vlan }),
          },
        }),
  };
}

interface PortParts {
  readonly network: PlannedNetwork;
  readonly groupIds: ReadonlyMap<string, string>;
  readonly forwards: readonly PublishedPort[];
  readonly owner: PluggedGuest['owner'];
  readonly limits: NicLimits | undefined;
}

function plannedPort(
  instance: Instance,
  nic: Nic,
  { network, groupIds, forwards, owner, limits }: PortParts,
): PlannedPort {
  const { spec, project, id, name } = instance;
  const { ipv4, ipv6, floating } = nic;
  return {
    instance: id,
    nic: nic.name,
    network: network.id,
    hostname: name,
    mac: nic.mac,
    ...(ipv4 === undefined ? {} : { ipv4 }),
    ...(ipv6 === undefined ? {} : { ipv6 }),
    groups: nic.securityGroups.flatMap((group) => groupIds.get(key(project, group)) ?? []),
    publish: [...nic.publish, ...forwards],
    ...(floating === undefined ? {} : { floating }),
    antiSpoofing: nic.antiSpoofing,
    queues: queuesOf(nic, spec.cpus),
    mtu: network.mtu,
    ...(limits === undefined || Object.keys(limits).length === 0 ? {} : { limits }),
    ...(spec.metadata.enabled ? { metadataHopLimit: spec.metadata.hopLimit } : {}),
    owner,
  };
}

function plannedGroup(
  { id, name, project, spec }: SecurityGroup,
  ids: ReadonlyMap<string, string>,
): PlannedGroup {
  const rules = spec.rules.map((rule) => {
    const groupId = rule.group === undefined ? undefined : ids.get(key(project, rule.group));
    return groupId === undefined ? rule : { ...rule, groupId };
  });
  return { id, name, rules };
}
