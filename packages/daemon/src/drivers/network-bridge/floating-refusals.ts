/**
 * Why an address cannot stand for a card: it is somebody's already, has a meaning of its own, or nobody outside would look for it at this host.
 * Who else on the wire has it cannot be known here.
 */
import { isIP, isIPv6 } from 'node:net';
import { readIp, readLinks } from './ip.ts';
import type { LinkState } from './link-state.ts';
import type { HostNames } from './names.ts';
import type { Refusal } from './refusals.ts';
import { holds, netmask, parseSubnet, type Subnet, shortest } from './subnet.ts';

/** What the host has, and who is its way out. */
export interface FloatingGround {
  readonly links: ReadonlyMap<string, LinkState>;
  readonly routers: ReadonlySet<string>;
}

export async function readFloatingGround(signal: AbortSignal): Promise<FloatingGround> {
  const [links, ...routes] = await Promise.all([
    readLinks(signal),
    ...['-4', '-6'].map((family) => readIp(['-j', family, 'route', 'show', 'table', 'all'], signal)),
  ]);
  return { links, routers: new Set(routes.flatMap(parseRouters)) };
}

interface JsonHop {
  readonly gateway?: string;
  readonly via?: { readonly host?: string };
}

/** Next hops of all routes. */
export function parseRouters(json: string): string[] {
  const parsed: unknown = json.trim() === '' ? [] : JSON.parse(json);
  const routes = Array.isArray(parsed) ? (parsed as (JsonHop & { nexthops?: readonly JsonHop[] })[]) : [];
  return routes
    .flatMap((route) => [route, ...(route.nexthops ?? [])])
    .flatMap(({ gateway, via }) => gateway ?? via?.host ?? [])
    .map(shortest);
}

const meanings: readonly (readonly [subnet: string, meaning: string])[] = [
  ['0.0.0.0/8', 'means no address'],
  ['127.0.0.0/8', 'is a loopback address'],
  ['169.254.0.0/16', 'is a link-local address'],
  ['224.0.0.0/4', 'is a multicast address'],
  ['240.0.0.0/4', 'is no address of a host'],
  ['::/128', 'means no address'],
  ['::1/128', 'is a loopback address'],
  ['::ffff:0:0/96', 'is an IPv4 address in other clothes'],
  ['fe80::/10', 'is a link-local address'],
  ['ff00::/8', 'is a multicast address'],
];

const within = (subnet: string, address: string): boolean => {
  const parsed = parseSubnet(subnet);
  return parsed !== undefined && holds(parsed, address);
};

/** `floating`: those that are on the host for cards. */
export function whyNotFloating(
  text: string,
  { links, routers }: FloatingGround,
  names: Pick<HostNames, 'isOurs'>,
  floating: ReadonlySet<string>,
): Refusal | undefined {
  const hint = 'Choose a free address of the network that the host is on: ip -br addr';
  if (isIP(text) === 0 || text.includes('%')) return { why: `${text} is no IP address`, hint };
  const address = shortest(text);
  const meaning = meanings.find(([subnet]) => within(subnet, address))?.[1];
  if (meaning !== undefined) return { why: `it ${meaning}`, hint };
  const bits = isIPv6(address) ? 128 : 32;
  const all = [...links.values()].flatMap((link) =>
    link.addresses.flatMap((each) => {
      const subnet = parseSubnet(each);
      return subnet === undefined ? [] : [{ link, subnet }];
    }),
  );
  const own = all.find(({ subnet }) => subnet.address === address);
  if (own !== undefined && !(floating.has(address) && own.subnet.prefix === bits))
    return { why: `it is the host’s own, on ${own.link.name}`, hint };
  if (routers.has(address)) return { why: 'it is that of a router of the host', hint };
  const [place] = all.filter(({ subnet }) => subnet.prefix < bits && holds(subnet, address));
  if (place === undefined)
    return {
      why: 'it is in the subnet of no interface of the host, so that nobody would look for it here',
      hint: `${hint}. An address that others route to this host is one for a guest on a network of kind \`routed\`.`,
    };
  if (names.isOurs(place.link)) return { why: `it is in the subnet of ${place.link.name}, for guests`, hint };
  if (isEdge(place.subnet, address))
    return { why: `it is the network or broadcast address of ${place.link.name}`, hint };
  return undefined;
}

/** RFC 3021: of two addresses, both are hosts'. */
function isEdge({ family, address, prefix }: Subnet, other: string): boolean {
  if (family === 6 || prefix >= 31) return false;
  const bytes = (text: string): number[] => text.split('.').map(Number);
  const mask = bytes(netmask(prefix));
  const rest = bytes(other).map((byte, at) => byte & ~(mask[at] ?? 0) & 255);
  const ones = mask.map((byte) => ~byte & 255);
  const isSame = bytes(address).every((byte, at) => byte === bytes(other)[at]);
  return !isSame && (rest.every((byte) => byte === 0) || rest.join() === ones.join());
}
