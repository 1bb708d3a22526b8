/** IP addresses and subnets as numbers, so that they can be compared and counted. Text in, canonical text out (RFC 5952 for IPv6). */
import ipaddr from 'ipaddr.js';

export type Family = 'ipv4' | 'ipv6';

export interface Address {
  readonly family: Family;
  readonly value: bigint;
}

export interface Subnet {
  readonly family: Family;
  readonly prefix: number;
  /** The network address and the last address; both belong to it. */
  readonly first: bigint;
  readonly last: bigint;
}

const bits = { ipv4: 32, ipv6: 128 } as const satisfies Record<Family, number>;

/** Undefined for what is no address. */
export function parseAddress(text: string): Address | undefined {
  // Forms such as `10.1` or `0x0a000001` are addresses to C's inet_aton, and to nobody who means one.
  if (!ipaddr.isValid(text) || text.includes('%')) return undefined;
  const parsed = ipaddr.parse(text);
  if (parsed.kind() === 'ipv4' && !ipaddr.IPv4.isValidFourPartDecimal(text)) return undefined;
  const value = parsed.toByteArray().reduce((sum, byte) => sum * 256n + BigInt(byte), 0n);
  return { family: parsed.kind(), value };
}

export function addressText({ family, value }: Address): string {
  if (family === 'ipv4') {
    // By hand, since choosing one of many writes all that are taken.
    const number = Number(value);
    return `${(number >>> 24) & 0xff}.${(number >>> 16) & 0xff}.${(number >>> 8) & 0xff}.${number & 0xff}`;
  }
  const bytes = Array.from({ length: 16 }, (_, at) => Number((value >> BigInt(120 - 8 * at)) & 0xffn));
  return new ipaddr.IPv6(bytes).toRFC5952String();
}

/** As it is compared with others; undefined for what is no address. */
export function canonicalAddress(text: string): string | undefined {
  const address = parseAddress(text);
  return address === undefined ? undefined : addressText(address);
}

/** Undefined for what is no CIDR notation. Host bits are taken off: see `hasHostBits`. */
export function parseSubnet(text: string): Subnet | undefined {
  const [, written, length] = /^([^/]+)\/(\d{1,3})$/.exec(text) ?? [];
  const address = written === undefined ? undefined : parseAddress(written);
  const prefix = Number(length);
  if (address === undefined || prefix > bits[address.family]) return undefined;
  const size = 1n << BigInt(bits[address.family] - prefix);
  const first = address.value - (address.value % size);
  return { family: address.family, prefix, first, last: first + size - 1n };
}

export function hasHostBits(text: string): boolean {
  const subnet = parseSubnet(text);
  return subnet !== undefined && parseAddress(text.split('/')[0] ?? '')?.value !== subnet.first;
}

export function subnetText({ family, first, prefix }: Subnet): string {
  return `${addressText({ family, value: first })}/${prefix}`;
}

export function contains(subnet: Subnet, { family, value }: Address): boolean {
  return family === subnet.family && value >= subnet.first && value <= subnet.last;
}

export function overlaps(one: Subnet, other: Subnet): boolean {
  return one.family === other.family && one.first <= other.last && other.first <= one.last;
}
