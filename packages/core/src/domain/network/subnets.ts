/**
 * Subnets of networks: which can be one, which is free, and which is chosen where none is asked for. Everything that is refused is
 * `network.subnet_conflict`, naming what is in the way.
 */
import { WirtError } from '@wirt/api';
import { ulidBytes } from '../identity.ts';
import type { PlannedSubnet } from '../network-plan.ts';
import {
  type Address,
  addressText,
  contains,
  type Family,
  hasHostBits,
  overlaps,
  parseSubnet,
  type Subnet,
} from './ip.ts';

/** A subnet that is taken, and by what: `network lab`, `eth0 of the host`. */
export interface TakenSubnet {
  readonly subnet: string;
  readonly by: string;
}

function subnet(text: string): Subnet {
  const parsed = parseSubnet(text);
  if (parsed === undefined) throw new RangeError(`${JSON.stringify(text)} is not in CIDR notation`);
  return parsed;
}

/** What no network may lie in (IANA's special-purpose registries), and what the metadata service answers on. */
const forbidden = [
  ['0.0.0.0/8', 'addresses of “this network”'],
  ['127.0.0.0/8', 'loopback addresses'],
  ['169.254.0.0/16', 'link-local addresses, among them the metadata service’s'],
  ['224.0.0.0/4', 'multicast addresses'],
  ['240.0.0.0/4', 'reserved addresses'],
  ['fe80::/10', 'link-local addresses'],
  ['ff00::/8', 'multicast addresses'],
  ['fd00:ec2::/64', 'the metadata service’s addresses'],
].map(([text = '', what]) => ({ subnet: subnet(text), what }));

const allowedIpv6 = ['2000::/3', 'fc00::/7'].map(subnet);

/** What the address is, where no card and no host can have it for others to reach; undefined for ordinary ones. */
export function specialOf(address: Address): string | undefined {
  const within = forbidden.find((one) => contains(one.subnet, address));
  if (within !== undefined) return `it is one of the ${within.what}`;
  return address.family === 'ipv4' || allowedIpv6.some((one) => contains(one, address))
    ? undefined
    : 'it is neither global nor unique local';
}

/** Where free ones are looked for, in this order. */
const pools = ['10.64.0.0/10', '172.16.0.0/12', '192.168.0.0/16'].map(subnet);

const prefixes = {
  ipv4: { min: 8, max: 29, said: '/8 to /29' },
  ipv6: { min: 64, max: 64, said: '/64' },
} as const satisfies Record<Family, unknown>;

function conflict(message: string, hint: string, details?: Record<string, unknown>): WirtError {
  return new WirtError('network.subnet_conflict', message, {
    hint,
    ...(details === undefined ? {} : { details }),
  });
}

/** Throws `network.subnet_conflict` for what can be the subnet of no network. */
export function requireSubnet(text: string, family: Family): Subnet {
  const parsed = parseSubnet(text);
  if (parsed?.family !== family)
    throw conflict(
      `${text} is no ${family === 'ipv4' ? 'IPv4' : 'IPv6'} subnet.`,
      'Write it as ADDRESS/LENGTH.',
    );
  const canonical = `${addressText({ family, value: parsed.first })}/${parsed.prefix}`;
  if (hasHostBits(text)) throw conflict(`${text} is no network address.`, `Write ${canonical}.`);
  const { min, max, said } = prefixes[family];
  if (parsed.prefix < min || parsed.prefix > max)
    throw conflict(
      `${text} has the wrong size: a network’s ${family === 'ipv4' ? 'IPv4' : 'IPv6'} subnet is ${said}.`,
      'Choose another length.',
    );
  const within = forbidden.find((one) => overlaps(one.subnet, parsed));
  if (within !== undefined)
    throw conflict(
      `${text} overlaps ${within.what}.`,
      'Choose one of 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 or fd00::/8.',
    );
  if (family === 'ipv6' && !allowedIpv6.some((one) => contains(one, { family, value: parsed.first })))
    throw conflict(`${text} is neither global nor unique local.`, 'Choose one below fd00::/8.');
  return parsed;
}

/** Throws `network.subnet_conflict`, naming what has it. */
export function requireFree(wanted: Subnet, taken: readonly TakenSubnet[]): void {
  const other = taken.find((one) => isIn(one.subnet, wanted));
  if (other === undefined) return;
  const text = `${addressText({ family: wanted.family, value: wanted.first })}/${wanted.prefix}`;
  throw conflict(
    `${text} overlaps ${other.subnet}, which is of ${other.by}.`,
    `Choose another subnet, or leave \`--${wanted.family}\` out for a free one.`,
    { overlaps: other.subnet, by: other.by },
  );
}

function isIn(text: string, wanted: Subnet): boolean {
  const other = parseSubnet(text);
  return other !== undefined && overlaps(other, wanted);
}

/** A free /24, from a place on that differs by id, so that hosts that meet later seldom have the same. */
export function chooseIpv4(id: string, taken: readonly TakenSubnet[]): string {
  const others = taken
    .flatMap((one) => parseSubnet(one.subnet) ?? [])
    .filter(({ family }) => family === 'ipv4');
  const start = Number(
    ulidBytes(id)
      .subarray(10)
      .reduce((sum, byte) => (sum * 256n + BigInt(byte)) % 0xffff_ffffn, 0n),
  );
  for (const pool of pools) {
    const count = 1 << (24 - pool.prefix);
    for (let number = 0; number < count; number += 1) {
      const first = pool.first + BigInt((start + number) % count) * 256n;
      const free = { family: 'ipv4', prefix: 24, first, last: first + 255n } as const;
      if (!others.some((other) => overlaps(other, free)))
        return `${addressText({ family: 'ipv4', value: first })}/24`;
    }
  }
  throw conflict('There is no free IPv4 subnet.', 'Name one with `--ipv4`, or none with `--ipv4 none`.');
}

/** A free unique local /64 (RFC 4193); its global id is of the random part of `id`. */
export function chooseIpv6(id: string, taken: readonly TakenSubnet[]): string {
  const others = taken
    .flatMap((one) => parseSubnet(one.subnet) ?? [])
    .filter(({ family }) => family === 'ipv6');
  const global = ulidBytes(id)
    .subarray(11)
    .reduce((sum, byte) => sum * 256n + BigInt(byte), 0n);
  for (let number = 0n; number < 0x1_0000n; number += 1n) {
    const first = ((0xfdn << 56n) | (global << 16n) | number) << 64n;
    const free = { family: 'ipv6', prefix: 64, first, last: first + (1n << 64n) - 1n } as const;
    const metadata = forbidden.some((one) => overlaps(one.subnet, free));
    if (!metadata && !others.some((other) => overlaps(other, free)))
      return `${addressText({ family: 'ipv6', value: first })}/64`;
  }
  throw conflict('There is no free IPv6 subnet.', 'Name one with `--ipv6`, or none with `--ipv6 none`.');
}

/** The host’s own address in it is the first. */
export function plannedSubnet(text: string): PlannedSubnet {
  const { family, first } = subnet(text);
  return { subnet: text, gateway: addressText({ family, value: first + 1n }) };
}
