/**
 * Cards on networks: who has which address and port of the host, and the choice for new ones. What is chosen is anybody’s until it is
 * committed, so all of it runs in the lane of networks.
 */
import { type Network, type Nic, type PublishedPort, WirtError } from '@wirt/api';
import { macOf } from '../domain/identity.ts';
import { type Addresses, chooseAddresses } from '../domain/network/addresses.ts';
import { canonicalAddress, parseAddress } from '../domain/network/ip.ts';
import { defaultGroup } from '../domain/network/rules.ts';
import { specialOf } from '../domain/network/subnets.ts';
import { allCards, cardName, networkWith, type Owner, takenOn } from './cards.ts';
import { canonicalFloating, requireReachable } from './network-floating.ts';
import { ensureGroup, ensureNetwork, unsupported } from './network-new.ts';
import type { Shared } from './parts.ts';

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
    const one = canonicalFloating({ ...nic, ...addresses });
    await requireOnWire(shared, owner, network, one, placed);
    await requireReachable(shared, owner, network, one);
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
    if (holder !== undefined) throw addressTaken(`${address} on network ${network.name}`, `${holder} has it`);
    requireElsewhere(shared, address);
  }
  return own;
}

/** An address of the uplink is none of our own subnets’, nor one that stands for a card. */
function requireElsewhere(shared: Shared, text: string): void {
  const address = parseAddress(text);
  const refuse = (why: string): WirtError =>
    new WirtError('network.address_taken', `${text} cannot be an address on a bridged network: ${why}.`, {
      hint: 'Choose one of the network that the uplink is on, or leave it out.',
    });
  if (address === undefined) throw refuse('it is no address');
  const special = specialOf(address);
  if (special !== undefined) throw refuse(special);
  const network = networkWith(shared, address);
  if (network !== undefined) throw refuse(`it is of network ${network.name}`);
  for (const { instance, nic } of allCards(shared))
    if (nic.floating !== undefined && canonicalAddress(nic.floating) === text)
      throw refuse(`it is the floating address of ${cardName(instance, nic)}`);
}

function addressTaken(what: string, why: string): WirtError {
  return new WirtError('network.address_taken', `${what} is taken: ${why}.`, {
    hint: 'Choose another, or detach that card.',
  });
}

/**
 * A MAC address is one card’s on the whole host, since link-local addresses are made of it and guards know cards by it; and none of what
 * the host itself has on its wires. What it chose itself needs no look at the host.
 */
async function requireOnWire(
  shared: Shared,
  owner: Owner,
  network: Network,
  { mac, name, slot, ipv4, ipv6 }: Nic,
  others: readonly Nic[],
): Promise<void> {
  const what = `The MAC address ${mac}`;
  const own = others.find((nic) => nic.mac === mac);
  if (own !== undefined) throw addressTaken(what, `${cardName(owner, own)} has it`);
  for (const { instance, nic } of allCards(shared))
    if (nic.mac === mac && !(instance.id === owner.id && nic.name === name))
      throw addressTaken(what, `${cardName(instance, nic)} has it`);
  const isChosen = mac === macOf(owner.id, slot);
  const uplinked = network.spec.kind === 'bridged' ? [ipv4, ipv6].filter((one) => one !== undefined) : [];
  if (isChosen && uplinked.length === 0) return;
  for (const { name: port, mac: theirs, addresses } of await shared.network.interfaces()) {
    if (theirs === mac && !isChosen) throw addressTaken(what, `${port} of the host has it`);
    const address = uplinked.find((one) => addresses.some((theirs) => canonicalAddress(theirs) === one));
    if (address !== undefined) throw addressTaken(address, `${port} of the host has it`);
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

/**
 * Throws `network.port_taken` when a program of the host listens there. Gateways are Wirt’s own: what listens there is for guests, and is
 * not what is published; so nothing can be published there.
 */
export async function requireNoListener(
  { network, networks }: Pick<Shared, 'network' | 'networks'>,
  ports: readonly PublishedPort[],
): Promise<void> {
  if (ports.length === 0) return;
  const gateways = new Map(
    [...networks.after()].flatMap(({ name, status }) => status.gateways.map((one) => [one, name] as const)),
  );
  for (const port of ports) {
    const { protocol, hostPort, hostAddress } = port;
    const lan = hostAddress === undefined ? undefined : gateways.get(canonicalAddress(hostAddress) ?? '');
    if (lan !== undefined) throw portTaken(port, `that is the gateway of network ${lan}`);
    const find = (besides: Iterable<string>) =>
      network.listener(protocol, hostPort, hostAddress, [...besides]);
    const found = await find(gateways.keys());
    // Looked at again, since it seldom comes to that: what listens at a gateway does so by its link-local address as well.
    const listener = found === undefined ? undefined : await find(await beside(network, gateways));
    if (listener !== undefined) throw portTaken(port, listener.replace(/\.$/, ''));
  }
}

/** Every address of the interfaces that have a gateway’s. */
async function beside(
  network: Shared['network'],
  gateways: ReadonlyMap<string, unknown>,
): Promise<Set<string>> {
  const isOwn = (address: string): boolean => gateways.has(canonicalAddress(address) ?? address);
  const own = (await network.interfaces()).filter(({ addresses }) => addresses.some(isOwn));
  return new Set([...gateways.keys(), ...own.flatMap(({ addresses }) => addresses)]);
}
