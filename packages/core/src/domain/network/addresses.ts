/**
 * Addresses of cards: the lowest free one, or the one that was asked for. Never the network's own, the gateway's or the broadcast
 * address. Throws `network.addresses_exhausted` and `network.address_taken`.
 */
import { WirtError } from '@wirt/api';
import { addressText, contains, type Family, parseAddress, parseSubnet, type Subnet } from './ip.ts';

/** A network, as far as its addresses go. */
export interface AddressSpace {
  readonly name: string;
  readonly ipv4?: string | null | undefined;
  readonly ipv6?: string | null | undefined;
}

export interface Addresses {
  readonly ipv4?: string;
  readonly ipv6?: string;
}

/** Who has an address: a sentence’s subject, as `nic0 of web`. */
export type TakenAddresses = ReadonlyMap<string, string>;

const says = { ipv4: 'IPv4', ipv6: 'IPv6' } as const satisfies Record<Family, string>;

function spaceOf({ name, ...space }: AddressSpace, family: Family): Subnet | undefined {
  const text = space[family];
  if (text === undefined || text === null) return undefined;
  const subnet = parseSubnet(text);
  if (subnet === undefined) throw new RangeError(`${name} has the subnet ${JSON.stringify(text)}`);
  return subnet;
}

/** How many cards there can be. In IPv4 the network, the gateway and the broadcast address are none. */
function firstOf({ first }: Subnet): bigint {
  return first + 2n;
}

function lastOf({ family, last }: Subnet): bigint {
  return family === 'ipv4' ? last - 1n : last;
}

/** Checks what was asked for, and chooses what was not. `taken` are the addresses of all cards on the network. */
export function chooseAddresses(space: AddressSpace, wanted: Addresses, taken: TakenAddresses): Addresses {
  const ipv4 = addressOf(space, 'ipv4', wanted.ipv4, taken);
  const subnet = spaceOf(space, 'ipv4');
  // The same place in both, so that people recognise one by the other.
  const place = ipv4 === undefined || subnet === undefined ? undefined : parseAddress(ipv4)?.value;
  const offset = place === undefined || subnet === undefined ? undefined : place - subnet.first;
  const ipv6 = addressOf(space, 'ipv6', wanted.ipv6, taken, offset);
  return { ...(ipv4 === undefined ? {} : { ipv4 }), ...(ipv6 === undefined ? {} : { ipv6 }) };
}

function addressOf(
  space: AddressSpace,
  family: Family,
  wanted: string | undefined,
  taken: TakenAddresses,
  offset?: bigint,
): string | undefined {
  const subnet = spaceOf(space, family);
  if (wanted !== undefined) return requireAddress(space, family, subnet, wanted, taken);
  return subnet === undefined ? undefined : lowestFree(space, subnet, taken, offset);
}

function requireAddress(
  { name }: AddressSpace,
  family: Family,
  subnet: Subnet | undefined,
  wanted: string,
  taken: TakenAddresses,
): string {
  const address = parseAddress(wanted);
  const refuse = (why: string): WirtError =>
    new WirtError('network.address_taken', `${wanted} cannot be an address on network ${name}: ${why}.`, {
      hint: `Leave it out for a free one, or see who has which: \`wirt network show ${name}\`.`,
      details: { network: name, address: wanted },
    });
  if (subnet === undefined) throw refuse(`it has no ${says[family]} subnet`);
  if (address === undefined || !contains(subnet, address)) throw refuse('it is not of its subnet');
  if (address.value === subnet.first) throw refuse('it is the network’s own');
  if (address.value === subnet.first + 1n) throw refuse('it is the gateway’s');
  if (address.value > lastOf(subnet)) throw refuse('it is the broadcast address');
  const text = addressText(address);
  const holder = taken.get(text);
  if (holder !== undefined) throw refuse(`${holder} has it`);
  return text;
}

function lowestFree(
  { name }: AddressSpace,
  subnet: Subnet,
  taken: TakenAddresses,
  offset: bigint | undefined,
): string {
  const { family, first, prefix } = subnet;
  if (offset !== undefined) {
    const text = addressText({ family, value: first + offset });
    if (!taken.has(text)) return text;
  }
  for (let value = firstOf(subnet); value <= lastOf(subnet); value += 1n) {
    const text = addressText({ family, value });
    if (!taken.has(text)) return text;
  }
  const count = lastOf(subnet) - firstOf(subnet) + 1n;
  throw new WirtError(
    'network.addresses_exhausted',
    `Network ${name} (${addressText({ family, value: first })}/${prefix}) has ${count} addresses for cards, and all are taken.`,
    {
      hint: 'Remove instances or cards from it, or create a network with a larger subnet: `wirt network create NAME --ipv4 CIDR`.',
      details: { network: name, addresses: Number(count) },
    },
  );
}

/** The highest free one, where a card of our own is needed for a moment. */
export function highestFree(space: AddressSpace, family: Family, taken: TakenAddresses): string | undefined {
  const subnet = spaceOf(space, family);
  if (subnet === undefined) return undefined;
  for (let value = lastOf(subnet); value >= firstOf(subnet); value -= 1n) {
    const text = addressText({ family, value });
    if (!taken.has(text)) return text;
  }
  return undefined;
}
