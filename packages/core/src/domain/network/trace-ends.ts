/** The two ends of a traced packet: whose address each is, as the plan and the host have them. */
import type { NetworkPlan, PlannedNetwork, PlannedPort } from '../network-plan.ts';
import { canonicalAddress, contains, type Family, parseAddress, parseSubnet } from './ip.ts';

export type TraceEnd = { readonly instance: string } | { readonly address: string };

const metadataAddresses: readonly string[] = ['169.254.169.254', 'fd00:ec2::254'];

export type End =
  | { readonly kind: 'guest'; readonly port: PlannedPort; readonly floating?: string }
  | { readonly kind: 'host'; readonly address: string; readonly network: PlannedNetwork }
  /** An address that the host has elsewhere than on our networks. */
  | { readonly kind: 'self'; readonly address: string }
  | { readonly kind: 'metadata'; readonly address: string }
  | { readonly kind: 'nobody'; readonly address: string; readonly network: PlannedNetwork }
  | { readonly kind: 'outside'; readonly address: string };

/** Where both are guests with several cards, those that are on one network. */
export function endsOf(
  plan: NetworkPlan,
  { from, to, family }: { readonly from: TraceEnd; readonly to: TraceEnd; readonly family: Family },
  ofHost: ReadonlySet<string>,
): [End, End] {
  const froms = candidates(plan, from, family, ofHost);
  const tos = candidates(plan, to, family, ofHost);
  for (const one of froms)
    for (const other of tos)
      if (one.kind === 'guest' && other.kind === 'guest' && one.port.network === other.port.network)
        return [one, other];
  const nowhere: End = { kind: 'outside', address: '' };
  return [froms[0] ?? nowhere, tos[0] ?? nowhere];
}

function candidates(plan: NetworkPlan, end: TraceEnd, family: Family, ofHost: ReadonlySet<string>): End[] {
  if ('instance' in end)
    return plan.ports
      .filter(({ instance }) => instance === end.instance)
      .map((port) => ({ kind: 'guest', port }));
  const address = canonicalAddress(end.address) ?? end.address;
  if (metadataAddresses.includes(address)) return [{ kind: 'metadata', address }];
  const guest = plan.ports.find((port) => port[family] === address);
  if (guest !== undefined) return [{ kind: 'guest', port: guest }];
  const behind = plan.ports.find(
    ({ floating }) => floating !== undefined && canonicalAddress(floating) === address,
  );
  if (behind !== undefined) return [{ kind: 'guest', port: behind, floating: address }];
  const network = plan.networks.find((one) => holds(one, address));
  if (network === undefined) return [{ kind: ofHost.has(address) ? 'self' : 'outside', address }];
  const isHost = network[family]?.gateway === address;
  return [{ kind: isHost ? 'host' : 'nobody', address, network }];
}

function holds(network: PlannedNetwork, address: string): boolean {
  const parsed = parseAddress(address);
  return [network.ipv4, network.ipv6].some((planned) => {
    const subnet = planned === undefined ? undefined : parseSubnet(planned.subnet);
    return subnet !== undefined && parsed !== undefined && contains(subnet, parsed);
  });
}
