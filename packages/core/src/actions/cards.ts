/** The cards that there are: who has which address, and of which network an address is. Records have addresses in their canonical form. */
import type { Instance, Network, Nic } from '@wirt/api';
import { type Address, contains, parseSubnet } from '../domain/network/ip.ts';
import type { Shared } from './parts.ts';

export type Owner = Pick<Instance, 'id' | 'name' | 'project'>;

export interface Card {
  readonly instance: Instance;
  readonly nic: Nic;
}

export function* allCards({ instances }: Pick<Shared, 'instances'>): Iterable<Card> {
  for (const instance of instances.after()) for (const nic of instance.spec.nics) yield { instance, nic };
}

export function cardsOn(
  shared: Pick<Shared, 'instances'>,
  { name, project }: Pick<Network, 'name' | 'project'>,
): Card[] {
  return [...allCards(shared)].filter(
    ({ instance, nic }) => nic.network === name && instance.project === project,
  );
}

export function cardName({ name }: Pick<Instance, 'name'>, nic: Pick<Nic, 'name'>): string {
  return `${nic.name} of ${name}`;
}

/** Addresses of a network that are taken, and who has them. Records have them in their canonical form. */
export function takenOn(
  shared: Pick<Shared, 'instances' | 'networking'>,
  network: Network,
): Map<string, string> {
  const taken = new Map<string, string>();
  const lent = shared.networking.lent.get(network.id);
  if (lent !== undefined) taken.set(lent, 'a trace that is being proven');
  for (const { instance, nic } of cardsOn(shared, network))
    for (const address of [nic.ipv4, nic.ipv6])
      if (address !== undefined) taken.set(address, cardName(instance, nic));
  return taken;
}

/** The network whose subnet it is of. */
export function networkWith({ networks }: Pick<Shared, 'networks'>, address: Address): Network | undefined {
  for (const network of networks.after())
    for (const cidr of [network.spec.ipv4, network.spec.ipv6]) {
      const subnet = typeof cidr === 'string' ? parseSubnet(cidr) : undefined;
      if (subnet !== undefined && contains(subnet, address)) return network;
    }
  return undefined;
}
