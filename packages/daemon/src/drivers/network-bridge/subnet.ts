/** Subnets in CIDR notation, taken apart. What is none is undefined, and never an exception. */
import { isIPv4, isIPv6 } from 'node:net';

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
