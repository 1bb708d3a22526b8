// Words that go into nft scripts: each is checked here, so that nothing that a user wrote can be read as more than one word. Addresses
// come out in the form in which nft prints them. Throws `network.failed` for what is no such word.
import { isIPv4, isIPv6, SocketAddress } from 'node:net';
import { WirtError } from '@wirt/api';

const identifier = /^[A-Za-z0-9_-]{1,64}$/;
const interfaceName = /^[A-Za-z0-9_.:@-]{1,15}$/;
const mac = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/;

/** An id of ours, within a longer name or a comment. */
export function idWord(id: string): string {
  return check(id, identifier, 'an id');
}

/** An interface name, in quotes. */
export function interfaceWord(name: string): string {
  return `"${check(name, interfaceName, 'the name of an interface')}"`;
}

export function macWord(address: string): string {
  return check(address.toLowerCase(), mac, 'a MAC address');
}

export type AddressFamily = 4 | 6;

export function familyOf(address: string): AddressFamily {
  return address.includes(':') ? 6 : 4;
}

export function addressWord(address: string): string {
  // There is one way to write an IPv4 address, and isIPv4 takes no other.
  return isIPv4(address) ? address : canonicalIpv6(address);
}

const canonicalIpv6 = remembered((address: string): string => {
  if (isIPv6(address) && !address.includes('%'))
    return new SocketAddress({ address, family: 'ipv6' }).address;
  throw new WirtError('network.failed', `'${address}' is no IP address.`);
});

const maxRemembered = 50_000;

/** Plans have the same words again and again. */
export function remembered(make: (word: string) => string): (word: string) => string {
  const known = new Map<string, string>();
  return (word) => {
    const before = known.get(word);
    if (before !== undefined) return before;
    const made = make(word);
    if (known.size >= maxRemembered) known.clear();
    known.set(word, made);
    return made;
  };
}

export function cidrWord(cidr: string): string {
  const [address = '', prefix = ''] = cidr.split('/');
  const bits = familyOf(address) === 6 ? 128 : 32;
  if (!/^\d{1,3}$/.test(prefix) || Number(prefix) > bits)
    throw new WirtError('network.failed', `'${cidr}' is not in CIDR notation.`);
  return Number(prefix) === bits ? addressWord(address) : `${addressWord(address)}/${Number(prefix)}`;
}

export function portWord(port: number): string {
  if (Number.isInteger(port) && port >= 0 && port <= 65_535) return String(port);
  throw new WirtError('network.failed', `${port} is no port number.`);
}

/** The 128 bits of an IPv6 address, as nft writes a number. */
export const bitsOf = remembered((address: string): string => {
  const canonical = addressWord(address);
  const tail = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(canonical);
  const text =
    tail === null ? canonical : `${tail[1]}${hexPair(tail[2], tail[3])}:${hexPair(tail[4], tail[5])}`;
  const [head = '', rest] = text.split('::');
  const before = head === '' ? [] : head.split(':');
  const after = rest === undefined || rest === '' ? [] : rest.split(':');
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => '0');
  const words = rest === undefined ? before : [...before, ...zeros, ...after];
  return `0x${words
    .map((word) => word.padStart(4, '0'))
    .join('')
    .replace(/^0+(?=.)/, '')}`;
});

/** The 48 bits of a MAC address, as nft writes a number. */
export const bitsOfMac = remembered((address: string): string => {
  const digits = macWord(address).replaceAll(':', '');
  return `0x${digits.replace(/^0+(?=.)/, '')}`;
});

function hexPair(high = '0', low = '0'): string {
  return (Number(high) * 256 + Number(low)).toString(16);
}

function check(word: string, pattern: RegExp, what: string): string {
  if (pattern.test(word)) return word;
  throw new WirtError('network.failed', `'${word}' is not ${what} that can go to nft.`);
}
