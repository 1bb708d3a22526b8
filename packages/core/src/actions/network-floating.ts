/** What leads in from outside: whether it can on this network, and whether an address is free to stand for a card. Runs in the lane of networks. */
import { type Network, type Nic, WirtError } from '@wirt/api';
import { canonicalAddress, parseAddress } from '../domain/network/ip.ts';
import { specialOf } from '../domain/network/subnets.ts';
import { allCards, cardName, networkWith, type Owner } from './cards.ts';
import { unsupported } from './network-new.ts';
import type { Shared } from './parts.ts';

/** As it is compared, and as the kernel writes it. */
export function canonicalFloating(nic: Nic): Nic {
  const { floating } = nic;
  return floating === undefined ? nic : { ...nic, floating: canonicalAddress(floating) ?? floating };
}

/**
 * What leads in from outside must be able to, and a floating address be nobody’s. `former` is the one that the card has already. Throws
 * `network.unsupported`, `network.address_taken`.
 */
export async function requireReachable(
  shared: Shared,
  owner: Owner,
  { name: network, spec: { kind } }: Network,
  nic: Nic,
  former?: string,
): Promise<void> {
  const { publish, floating } = nic;
  if (publish.length === 0 && floating === undefined) return;
  const card = cardName(owner, nic);
  if (floating !== undefined && shared.network.driver === 'user')
    throw unsupported(
      `Card ${card} cannot have a floating address without root.`,
      'Publish ports instead: `--publish 8080:80`.',
    );
  if (kind === 'isolated')
    throw unsupported(
      `Card ${card} is on the isolated network ${network}, which nothing enters.`,
      'Give it a card on another network.',
    );
  if (kind === 'bridged')
    throw unsupported(
      `Card ${card} is on the bridged network ${network}, where it is reached by its own address.`,
      'Leave `--publish` and `--floating` out.',
    );
  if (floating !== undefined && floating !== former) await requireFloating(shared, owner, nic, floating);
}

async function requireFloating(shared: Shared, owner: Owner, nic: Nic, wanted: string): Promise<void> {
  const address = parseAddress(wanted);
  const own = wanted.includes(':') ? nic.ipv6 : nic.ipv4;
  const refuse = (
    why: string,
    hint = 'Choose a free address of the network that the host is on.',
  ): WirtError =>
    new WirtError(
      'network.address_taken',
      `${wanted} cannot be the floating address of ${cardName(owner, nic)}: ${why}.`,
      { hint },
    );
  if (address === undefined || own === undefined) throw refuse('the card has no address of its family');
  const special = specialOf(address);
  if (special !== undefined) throw refuse(special);
  const network = networkWith(shared, address);
  if (network !== undefined) throw refuse(`it is of network ${network.name}`);
  for (const card of allCards(shared)) {
    const { floating, ipv4, ipv6 } = card.nic;
    const isItself = card.instance.id === owner.id && card.nic.name === nic.name;
    const isFloating = floating !== undefined && canonicalAddress(floating) === wanted;
    if ((isFloating && !isItself) || ipv4 === wanted || ipv6 === wanted)
      throw refuse(`${cardName(card.instance, card.nic)} has it`);
  }
  const refused = await shared.network.floatingRefused(wanted);
  if (refused !== undefined) throw refuse(refused.why.replace(/\.$/, ''), refused.hint);
}
