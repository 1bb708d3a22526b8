/** For tests: a plan with a network of each family and two ports. */
import { emptyNetworkPlan, type NetworkPlan, type PlannedNetwork, type PlannedPort } from '@wirt/core';

export const network: PlannedNetwork = {
  id: 'NETWORK1',
  name: 'default',
  kind: 'nat',
  mtu: 1500,
  ipv4: { subnet: '10.80.0.0/24', gateway: '10.80.0.1' },
  ipv6: { subnet: 'fd80::/64', gateway: 'fd80::1' },
  domain: 'wirt',
  dnsForward: true,
};

export function port(more: Partial<PlannedPort> = {}): PlannedPort {
  return {
    instance: 'INSTANCE1',
    nic: 'nic0',
    network: 'NETWORK1',
    hostname: 'web',
    mac: '02:00:00:00:00:01',
    ipv4: '10.80.0.5',
    ipv6: 'fd80::5',
    groups: [],
    publish: [],
    antiSpoofing: true,
    queues: 1,
    mtu: 1500,
    owner: { uid: 5001, gid: 6001 },
    ...more,
  };
}

export const second = port({
  instance: 'INSTANCE2',
  hostname: 'db',
  mac: '02:00:00:00:00:02',
  ipv4: '10.80.0.6',
  queues: 4,
});

export const plan: NetworkPlan = { ...emptyNetworkPlan, networks: [network], ports: [port(), second] };
