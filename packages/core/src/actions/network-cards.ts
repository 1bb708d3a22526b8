/**
 * Cards on networks: who has which address and port of the host, and the choice for new ones. What is chosen is anybody’s until it is
 * committed, so all of it runs in the lane of networks.
 */
import { type Instance, type Network, type Nic, type PublishedPort, WirtError } from '@wirt/api';
import { type Addresses, chooseAddresses } from '../domain/network/addresses.ts';
import { canonicalAddress, contains, parseAddress, parseSubnet } from '../domain/network/ip.ts';
import { defaultGroup } from '../domain/network/rules.ts';
import { ensureGroup, ensureNetwork, unsupported } from './network-new.ts';
import type { Shared } from './parts.ts';

type Owner = Pick<Instance, 'id' | 'name' | 'project'>;

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

function cardName({ name }: Pick<Instance, 'name'>, nic: Pick<Nic, 'name'>): string {
  return `${nic.name} of ${name}`;
}

/** Addresses of a network that are taken, and who has them. Records have them in their canonical form. */
export function takenOn(shared: Pick<Shared, 'instances'>, network: Network): Map<string, string> {
  const taken = new Map<string, string>();
  for (const { instance, nic } of cardsOn(shared, network))
    for (const address of [nic.ipv4, nic.ipv6])
      if (address !== undefined) taken.set(address, cardName(instance, nic));
  return taken;
}

/**
 * The cards with their addresses, checked against all others. Throws `network.not_found`, `network.unsupported`,
 * `network.addresses_exhausted`, `network.address_taken`, `network.port_taken`, `group.not_found`.
 */
export async function placeCards(shared: Shared, owner: Owner, nics: readonly Nic[]): Promise<Nic[]> {
  const placed: Nic[] = [];
  for (const nic of nics) {
    const network = await ensureNetwork(shared, nic.network, owner.project);
    requireDriver(shared, network);
    await requireGroups(shared, nic.securityGroups, owner.project);
    const addresses = addressesFor(shared, owner, network, nic, placed);
    const one = { ...nic, ...addresses };
    requireMac(shared, owner, network, one, placed);
    requireReachable(shared, owner, network, one);
    await requirePorts(shared, owner, { ...one, added: one.publish }, placed);
    placed.push(one);
  }
  return placed;
}

/** A network that was made with another driver cannot be used with this one. */
export function requireDriver(
  { network: driver }: Pick<Shared, 'network'>,
  { name, spec, status }: Network,
): void {
  if (status.driver === driver.driver) return;
  if (driver.driver === 'user' && spec.kind === 'nat') return;
  throw unsupported(
    `Network ${name} was made with the network driver “${status.driver}”, and wirtd runs with “${driver.driver}”.`,
    `Create another network, or run wirtd with \`--network-driver ${status.driver}\`.`,
  );
}

export async function requireGroups(
  shared: Shared,
  names: readonly string[],
  project: string,
): Promise<void> {
  const other = names.find((name) => name !== defaultGroup);
  if (shared.network.driver === 'user' && other !== undefined)
    throw unsupported(`Without root there are no security groups, so that ${other} cannot guard a card.`);
  for (const name of names) await ensureGroup(shared, name, project);
}

function addressesFor(
  shared: Shared,
  owner: Owner,
  network: Network,
  { name, ipv4, ipv6 }: Nic,
  others: readonly Nic[],
): Addresses {
  const wanted = { ...(ipv4 === undefined ? {} : { ipv4 }), ...(ipv6 === undefined ? {} : { ipv6 }) };
  if (shared.network.driver === 'user') {
    if (ipv4 === undefined && ipv6 === undefined) return {};
    throw unsupported(`Card ${name} of ${owner.name} cannot have an address of its own without root.`);
  }
  const taken = takenOn(shared, network);
  for (const nic of others)
    for (const address of nic.network === network.name ? [nic.ipv4, nic.ipv6] : [])
      if (address !== undefined) taken.set(address, cardName(owner, nic));
  if (network.spec.kind !== 'bridged')
    return chooseAddresses({ name: network.name, ...network.spec }, wanted, taken);
  const own: Addresses = Object.fromEntries(
    Object.entries(wanted).map(([family, address]) => [family, canonicalAddress(address) ?? address]),
  );
  for (const address of Object.values(own)) {
    const holder = taken.get(address);
    if (holder !== undefined) throw addressTaken(`${address} on network ${network.name}`, holder);
  }
  return own;
}

function addressTaken(what: string, holder: string): WirtError {
  return new WirtError('network.address_taken', `${what} is taken: ${holder} has it.`, {
    hint: 'Choose another, or detach that card.',
  });
}

function requireMac(
  shared: Shared,
  owner: Owner,
  network: Network,
  { mac, name }: Nic,
  others: readonly Nic[],
): void {
  const holder = cardsOn(shared, network).find(
    ({ instance, nic }) => nic.mac === mac && !(instance.id === owner.id && nic.name === name),
  );
  if (holder !== undefined)
    throw addressTaken(
      `The MAC address ${mac} on network ${network.name}`,
      cardName(holder.instance, holder.nic),
    );
  const own = others.find((nic) => nic.mac === mac && nic.network === network.name);
  if (own !== undefined) throw addressTaken(`The MAC address ${mac}`, cardName(owner, own));
}

/** What leads in from outside must be able to, and a floating address be nobody’s. */
export function requireReachable(
  shared: Shared,
  owner: Owner,
  { name: network, spec: { kind } }: Network,
  nic: Nic,
): void {
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
  if (floating !== undefined) requireFloating(shared, owner, nic, floating);
}

function requireFloating(shared: Shared, owner: Owner, nic: Nic, text: string): void {
  const address = parseAddress(text);
  const own = text.includes(':') ? nic.ipv6 : nic.ipv4;
  const refuse = (why: string): WirtError =>
    new WirtError(
      'network.address_taken',
      `${text} cannot be the floating address of ${cardName(owner, nic)}: ${why}.`,
      {
        hint: 'Choose a free address of the network that the host is on.',
      },
    );
  if (address === undefined || own === undefined) throw refuse('the card has no address of its family');
  for (const { name, spec } of shared.networks.after())
    for (const cidr of [spec.ipv4, spec.ipv6]) {
      const subnet = typeof cidr === 'string' ? parseSubnet(cidr) : undefined;
      if (subnet !== undefined && contains(subnet, address)) throw refuse(`it is of network ${name}`);
    }
  const wanted = canonicalAddress(text);
  for (const card of allCards(shared)) {
    const { floating } = card.nic;
    const isItself = card.instance.id === owner.id && card.nic.name === nic.name;
    if (!isItself && floating !== undefined && canonicalAddress(floating) === wanted)
      throw refuse(`${cardName(card.instance, card.nic)} has it`);
  }
}

function meet(one: PublishedPort, other: PublishedPort): boolean {
  if (one.protocol !== other.protocol || one.hostPort !== other.hostPort) return false;
  const [here, there] = [one.hostAddress, other.hostAddress];
  return here === undefined || there === undefined || canonicalAddress(here) === canonicalAddress(there);
}

export function samePort(one: PublishedPort, other: PublishedPort): boolean {
  return meet(one, other) && one.hostAddress === other.hostAddress && one.guestPort === other.guestPort;
}

function portText({ protocol, hostPort, hostAddress }: PublishedPort): string {
  const at = hostAddress === undefined ? '' : ` at ${hostAddress}`;
  return `${protocol.toUpperCase()} port ${hostPort}${at}`;
}

function portTaken(port: PublishedPort, who: string): WirtError {
  return new WirtError('network.port_taken', `${portText(port)} of the host is taken: ${who}.`, {
    hint: `Publish another one: \`--publish PORT:${port.guestPort}\`.`,
    details: { protocol: port.protocol, port: port.hostPort },
  });
}

/** `added` are those of its ports that it has not had before. Throws `network.port_taken`, saying by whom. */
export async function requirePorts(
  shared: Shared,
  owner: Owner,
  nic: Pick<Nic, 'name' | 'publish'> & { readonly added: readonly PublishedPort[] },
  others: readonly Nic[] = [],
): Promise<void> {
  for (const [index, port] of nic.publish.entries()) {
    if (nic.publish.slice(0, index).some((one) => meet(one, port)))
      throw portTaken(port, 'it is published twice');
    const own = others.find(({ publish }) => publish.some((one) => meet(one, port)));
    if (own !== undefined) throw portTaken(port, `it is published for ${cardName(owner, own)}`);
  }
  if (nic.added.length === 0) return;
  for (const card of allCards(shared)) {
    if (card.instance.id === owner.id && card.nic.name === nic.name) continue;
    const port = nic.added.find((one) => card.nic.publish.some((other) => meet(one, other)));
    if (port !== undefined) throw portTaken(port, `it is published for ${cardName(card.instance, card.nic)}`);
  }
  await requireNoListener(shared, nic.added);
}

/** Throws `network.port_taken` when a program of the host listens there. */
export async function requireNoListener(
  { network }: Pick<Shared, 'network'>,
  ports: readonly PublishedPort[],
): Promise<void> {
  for (const port of ports) {
    const listener = await network.listener(port.protocol, port.hostPort, port.hostAddress);
    if (listener !== undefined) throw portTaken(port, listener.replace(/\.$/, ''));
  }
}
