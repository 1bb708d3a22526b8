// Arbitrary plans for property tests of the firewall: networks of every kind, a few cards and groups that come, go and change.
import type { NetworkPlan, PlannedGroup, PlannedNetwork, PlannedPort, PlannedRule } from '@wirt/core';
import fc from 'fast-check';
import { card, group, network, planOf, rule } from './firewall-plan.fixture.ts';

const kinds = ['nat', 'isolated', 'routed', 'bridged'] as const;
const groupIds = ['GA', 'GB', 'GC'] as const;

function networkAt(index: number): fc.Arbitrary<PlannedNetwork> {
  return fc.record({ kind: fc.constantFrom(...kinds), v6: fc.boolean() }).map(({ kind, v6 }) =>
    network(`n${index}`, {
      kind,
      ...(kind === 'bridged' ? {} : { ipv4: { subnet: `10.8${index}.0.0/24`, gateway: `10.8${index}.0.1` } }),
      ...(v6 && kind !== 'bridged'
        ? { ipv6: { subnet: `fd80:${index}::/64`, gateway: `fd80:${index}::1` } }
        : {}),
    }),
  );
}

function cardAt(index: number): fc.Arbitrary<PlannedPort> {
  return fc
    .record({
      network: fc.integer({ min: 0, max: 2 }),
      ipv4: fc.boolean(),
      ipv6: fc.boolean(),
      groups: fc.subarray([...groupIds]),
      antiSpoofing: fc.boolean(),
      publish: fc.boolean(),
      floating: fc.boolean(),
      hops: fc.constantFrom(undefined, 1, 3, 64),
    })
    .map(({ network: at, ipv4, ipv6, groups, antiSpoofing, publish, floating, hops }) => {
      const { metadataHopLimit: _default, ...plain } = card(`c${index}`, index + 1, {
        network: `n${at}`,
        groups,
        antiSpoofing,
        publish: publish ? [{ protocol: 'tcp', hostPort: 8000 + index, guestPort: 80 }] : [],
        ...(ipv4 ? { ipv4: `10.8${at}.0.${10 + index}` } : {}),
        ...(ipv6 ? { ipv6: `fd80:${at}::${10 + index}` } : {}),
        ...(floating ? { floating: `192.0.2.${10 + index}` } : {}),
      });
      return hops === undefined ? plain : { ...plain, metadataHopLimit: hops };
    });
}

function ruleAt(id: string): fc.Arbitrary<PlannedRule> {
  const remote = fc.oneof(
    fc.constant({}),
    fc.constantFrom('10.0.0.0/8', '192.0.2.7/32', 'fd00::/8', '::/0').map((cidr) => ({ cidr })),
    fc.constantFrom(...groupIds).map((groupId) => ({ group: groupId.toLowerCase(), groupId })),
  );
  const what = fc.constantFrom<Partial<PlannedRule>>(
    { protocol: 'any' },
    { protocol: 'tcp', fromPort: 22 },
    { protocol: 'udp', fromPort: 1000, toPort: 2000 },
    { protocol: 'icmp', fromPort: 8, toPort: 0 },
    { protocol: 'icmpv6' },
  );
  return fc
    .tuple(fc.constantFrom('ingress' as const, 'egress' as const), remote, what)
    .map(([direction, end, rest]) => rule(id, { direction, ...end, ...rest }));
}

function groupAt(id: string): fc.Arbitrary<PlannedGroup> {
  return fc
    .subarray([1, 2, 3, 4])
    .chain((numbers) => fc.tuple(...numbers.map((number) => ruleAt(`${id}R${number}`))))
    .map((rules) => group(id, ...rules));
}

export const plans: fc.Arbitrary<NetworkPlan> = fc
  .record({
    generation: fc.integer({ min: 1, max: 4095 }),
    networks: fc.tuple(...[0, 1, 2].map(networkAt)).chain((all) => fc.subarray(all)),
    ports: fc.tuple(...[0, 1, 2, 3, 4].map(cardAt)).chain((all) => fc.subarray(all)),
    groups: fc.tuple(...groupIds.map(groupAt)).chain((all) => fc.subarray(all)),
  })
  .map(planOf);
