/** Subnets in CIDR notation, taken apart. What is none is undefined, and never an exception. */
import { BlockList, isIP, isIPv4, isIPv6 } from 'node:net';

export interface Subnet {
  readonly family: 4 | 6;
  readonly address: string;
  readonly prefix: number;
}

export function parseSubnet(text: string): Subnet | undefined {
  const [address = '', bits = '', more] = text.split('/');
  const family = isIPv4(address) ? 4 : isIPv6(address) && !address.includes('%') ? 6 : undefined;
  if (family === undefined || more !== undefined || !/^\d{1,3}$/.test(bits)) return undefined;
  const prefix = Number(bits);
  return prefix <= (family === 4 ? 32 : 128) ? { family, address, prefix } : undefined;
}

/** `255.255.255.0` of 24. */
export function netmask(prefix: number): string {
  const mask = prefix === 0 ? 0 : (0xffff_ffff << (32 - prefix)) >>> 0;
  return [24, 16, 8, 0].map((shift) => (mask >>> shift) & 255).join('.');
}

/** Neither everything, nor a single address, nor what has a meaning of its own on every link. */
export function isForGuests({ family, address, prefix }: Subnet): boolean {
  if (family === 4)
    return prefix >= 8 && prefix <= 30 && !/^(0|127|22[4-9]|23\d|24\d|25[0-5])\./.test(address);
  return prefix >= 16 && prefix <= 126 && !/^(fe[89ab]|ff|::)/i.test(address);
}

export function holds({ family, address, prefix }: Subnet, other: string): boolean {
  if (isIP(other) !== family) return false;
  const name = family === 4 ? 'ipv4' : 'ipv6';
  const list = new BlockList();
  list.addSubnet(address, prefix, name);
  return list.check(other, name);
}

export function overlap(one: Subnet, other: Subnet): boolean {
  if (one.family !== other.family) return false;
  return one.prefix <= other.prefix ? holds(one, other.address) : holds(other, one.address);
}

/** As the kernel and dnsmasq write it. */
export function shortest(address: string): string {
  return isIPv6(address) && !address.includes('%')
    ? new URL(`http://[${address}]`).hostname.slice(1, -1)
    : address;
}
