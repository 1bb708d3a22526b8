// Plans for tests of the firewall: networks, cards and groups with short ids, of which only what matters is said.
import type { Logger, NetworkPlan, PlannedGroup, PlannedNetwork, PlannedPort, PlannedRule } from '@wirt/core';

export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} };

export const names = {
  bridgeName: (network: string): string => `wb${network}`,
  portName: ({ instance }: { readonly instance: string }): string => `wt${instance}`,
};

export function network(id: string, given: Partial<PlannedNetwork> = {}): PlannedNetwork {
  return { id, name: id, kind: 'nat', mtu: 1500, domain: 'wirt', dnsForward: true, ...given };
}

export function macNumber(number: number): string {
  const bytes = [number >> 16, (number >> 8) & 255, number & 255];
  return `02:00:00:${bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(':')}`;
}

export function card(instance: string, number: number, given: Partial<PlannedPort> = {}): PlannedPort {
  return {
    instance,
    nic: 'nic0',
    network: 'lan',
    hostname: instance,
    mac: macNumber(number),
    groups: [],
    publish: [],
    antiSpoofing: true,
    queues: 1,
    mtu: 1500,
    metadataHopLimit: 1,
    owner: { uid: 0, gid: 0 },
    ...given,
  };
}

export function rule(id: string, given: Partial<PlannedRule> = {}): PlannedRule {
  return { id, direction: 'ingress', protocol: 'any', ...given };
}

export const anythingOut: PlannedRule = rule('OUT', { direction: 'egress' });

export function group(id: string, ...rules: readonly PlannedRule[]): PlannedGroup {
  return { id, name: `group-${id.toLowerCase()}`, rules };
}

export function planOf(given: Partial<NetworkPlan>): NetworkPlan {
  return { generation: 1, networks: [], ports: [], groups: [], ...given };
}
