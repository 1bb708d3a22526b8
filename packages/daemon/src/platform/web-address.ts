/**
 * Which addresses wirtd asks on behalf of people. Never link-local ones and those where clouds answer with credentials
 * (metadata services); this host itself only when it was asked for in so many words, never by a redirect. https, or http
 * where the caller allows it. Pure; name look-ups are checked by the request with `addressProblem`.
 */
import { BlockList, isIP } from 'node:net';

/** What was asked for is not done; the sentence may be shown, and has no secret of the address. */
export class WebRefusal extends Error {
  override readonly name = 'WebRefusal';
}

export interface AddressRules {
  /** http to any host: the caller knows the digest of what is to come. Otherwise http is for this host alone. */
  readonly plainHttp: boolean;
  /** This host itself may be asked. */
  readonly loopback: boolean;
}

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8);
loopback.addAddress('::1', 'ipv6');

const refused = new BlockList();
for (const [net, prefix] of [
  // "This network": connects to this host.
  ['0.0.0.0', 8],
  // Link-local (RFC 3927), where most clouds have their metadata service.
  ['169.254.0.0', 16],
  // Multicast, reserved and broadcast.
  ['224.0.0.0', 3],
  // Metadata of Alibaba Cloud, and Azure's platform address.
  ['100.100.100.200', 32],
  ['168.63.129.16', 32],
] as const) {
  refused.addSubnet(net, prefix);
}
for (const [net, prefix] of [
  // IPv4 in a deprecated clothing, and `::`.
  ['::', 96],
  ['fe80::', 10],
  ['ff00::', 8],
  // Metadata of Amazon EC2.
  ['fd00:ec2::254', 128],
  // 169.254.0.0/16, 127.0.0.0/8 and 0.0.0.0/8 behind NAT64 (RFC 6052) and 6to4 (RFC 3056).
  ['64:ff9b::a9fe:0', 112],
  ['64:ff9b::7f00:0', 104],
  ['64:ff9b::', 104],
  ['2002:a9fe::', 32],
  ['2002:7f00::', 24],
  ['2002::', 24],
] as const) {
  refused.addSubnet(net, prefix, 'ipv6');
}

export function isLoopback(address: string): boolean {
  const family = isIP(address);
  return family !== 0 && loopback.check(address, family === 4 ? 'ipv4' : 'ipv6');
}

/** Why an IP address is not asked, completing "which …"; undefined when it may be. */
export function addressProblem(address: string, rules: Pick<AddressRules, 'loopback'>): string | undefined {
  const family = isIP(address);
  if (family === 0) return 'is no address';
  if (isLoopback(address)) return rules.loopback ? undefined : 'is this host itself';
  const isRefused = refused.check(address, family === 4 ? 'ipv4' : 'ipv6');
  return isRefused ? 'is a link-local, metadata or reserved address' : undefined;
}

/** The host of `url` as the resolver and sockets want it: IPv6 without brackets. */
export function hostOf(url: URL): string {
  return url.hostname.replace(/^\[(.*)\]$/, '$1');
}

/** Whether `url` says in so many words that it is this host: what is looked up must then also be this host. */
export function namesLoopback(url: URL): boolean {
  const host = hostOf(url);
  return host === 'localhost' || host.endsWith('.localhost') || isLoopback(host);
}

/** Throws `WebRefusal`. */
export function checkedUrl(text: string, rules: AddressRules): URL {
  const url = URL.parse(text);
  if (url === null) throw new WebRefusal('It is no address.');
  checkUrl(url, rules);
  return url;
}

/** Where a redirect from `from` leads. Never from https to http. Throws `WebRefusal`. */
export function redirected(from: URL, location: string, rules: AddressRules): URL {
  const to = URL.parse(location, from.href);
  if (to === null) throw new WebRefusal('It redirects to what is no address.');
  if (from.protocol === 'https:' && to.protocol === 'http:') {
    throw new WebRefusal(`It redirects from https to http, to ${shownUrl(to)}.`);
  }
  checkUrl(to, rules);
  return to;
}

function checkUrl(url: URL, rules: AddressRules): void {
  if (url.protocol !== 'https:' && url.protocol !== 'http:') {
    throw new WebRefusal(`Only https and http are fetched, not ${url.protocol.slice(0, 20)}`);
  }
  if (url.username !== '' || url.password !== '') {
    throw new WebRefusal('The address has a user name or password in it, which records and logs would keep.');
  }
  const host = hostOf(url);
  if (isIP(host) !== 0) {
    const problem = addressProblem(host, rules);
    if (problem !== undefined) throw new WebRefusal(`${host} ${problem}.`);
  }
  if (url.protocol === 'http:' && !rules.plainHttp && !namesLoopback(url)) {
    throw new WebRefusal('Over http anybody on the way could change what is sent.');
  }
}

/** The address to show: no user name, no password, no query (which may be a signature), not endless. */
export function shownUrl(url: URL | string): string {
  const parsed = typeof url === 'string' ? URL.parse(url) : url;
  if (parsed === null) return 'the address';
  const { protocol, host, pathname, search } = parsed;
  const shown = `${protocol}//${host}${pathname}${search === '' ? '' : '?…'}`;
  return shown.length > 300 ? `${shown.slice(0, 300)}…` : shown;
}
