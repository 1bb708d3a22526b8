/**
 * Names of what the driver makes on the host. An interface name has room for 15 characters: two say what it is, three are of the daemon's tag,
 * seven of what it belongs to; the alias says all of it. A link is ours by its alias, or, where the daemon died before it set one,
 * by the beginning of its name.
 */
import { createHash } from 'node:crypto';
import type { PlannedPort } from '@wirt/core';

const namesKept = 20_000;
const alphabet = 'abcdefghijklmnopqrstuvwxyz234567';

/** What an interface is, by the beginning of its name. */
export const linkPrefixes = {
  bridge: 'wb',
  port: 'wt',
  /** Our end of the pair that joins an uplink bridge. */
  uplink: 'wu',
  /** Its other end, in the uplink bridge. */
  joint: 'wj',
  vlan: 'wv',
  /** Where what a port sends is throttled. */
  shaper: 'wf',
} as const;

export type LinkRole = keyof typeof linkPrefixes;

export interface HostNames {
  readonly tag: string;
  bridge(network: string): string;
  port(port: Pick<PlannedPort, 'instance' | 'nic'>): string;
  /** The interface on which what a port sends is throttled. */
  shaper(port: Pick<PlannedPort, 'instance' | 'nic'>): string;
  /** Of a network: `uplink`, `joint` or `vlan`. */
  ofUplink(role: 'uplink' | 'joint' | 'vlan', network: string): string;
  alias(role: LinkRole, ...words: readonly string[]): string;
  isOurs(link: { readonly name: string; readonly alias?: string | undefined }): boolean;
}

function hash(characters: number, ...words: readonly string[]): string {
  const digest = createHash('sha256').update(words.join('\0')).digest();
  return Array.from(digest.subarray(0, characters), (byte) => alphabet[byte % 32]).join('');
}

/** `tag`: of the daemon, letters, digits and dashes. */
export function createNames(tag: string): HostNames {
  const ofTag = hash(3, tag);
  const known = new Map<string, string>();
  const named = (role: LinkRole, ...words: string[]): string => {
    const key = `${role} ${words.join(' ')}`;
    const before = known.get(key);
    if (before !== undefined) return before;
    // Asked for all ports at every change; those of guests long gone are not kept for ever.
    if (known.size >= namesKept) known.clear();
    const name = `${linkPrefixes[role]}${ofTag}${hash(7, tag, role, ...words)}`;
    known.set(key, name);
    return name;
  };
  const prefixes = Object.values(linkPrefixes).map((prefix) => `${prefix}${ofTag}`);
  const begin = `wirt:${tag}:`;
  return {
    tag,
    bridge: (network) => named('bridge', network),
    port: ({ instance, nic }) => named('port', instance, nic),
    shaper: ({ instance, nic }) => named('shaper', instance, nic),
    ofUplink: (role, network) => named(role, network),
    alias: (role, ...words) => [`wirt:${tag}:${role === 'bridge' ? 'network' : role}`, ...words].join(':'),
    isOurs({ name, alias = '' }) {
      if (alias !== '') return alias.startsWith(begin);
      return name.length === 12 && prefixes.some((prefix) => name.startsWith(prefix));
    },
  };
}

/** A MAC address of our own making, the same one every time: an interface that the kernel names anew would be a stranger to guests. */
export function macFor(...words: readonly string[]): string {
  const digest = createHash('sha256').update(words.join('\0')).digest();
  return ['02', ...Array.from(digest.subarray(0, 5), (byte) => byte.toString(16).padStart(2, '0'))].join(':');
}

/** The link-local address that belongs to a MAC address (RFC 4291, appendix A). */
export function linkLocalOf(mac: string): string {
  const bytes = mac.split(':').map((byte) => Number.parseInt(byte, 16));
  const [first = 0, second = 0, third = 0, ...rest] = bytes;
  const eui = [first ^ 2, second, third, 0xff, 0xfe, ...rest];
  const words = [0, 2, 4, 6].map((at) => (((eui[at] ?? 0) << 8) | (eui[at + 1] ?? 0)).toString(16));
  return `fe80::${words.join(':')}`;
}
