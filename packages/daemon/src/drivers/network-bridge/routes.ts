/** Subnets that the host reaches without us, from every routing table (a VPN has one of its own). */
import type { HostRoute } from '@wirt/core';
import { readIp } from './ip.ts';
import { parseSubnet } from './subnet.ts';

interface JsonRoute {
  readonly type?: string;
  readonly dst?: string;
  readonly dev?: string;
  readonly table?: string;
  readonly nexthops?: readonly { readonly dev?: string }[];
}

export async function hostRoutes(
  isOurs: (name: string) => boolean,
  signal: AbortSignal,
): Promise<HostRoute[]> {
  const [ipv4, ipv6] = await Promise.all(
    ['-4', '-6'].map((family) => readIp(['-j', family, 'route', 'show', 'table', 'all'], signal)),
  );
  return [...parseRoutes(ipv4 ?? '', isOurs), ...parseRoutes(ipv6 ?? '', isOurs)];
}

export function parseRoutes(json: string, isOurs: (name: string) => boolean): HostRoute[] {
  const parsed: unknown = json.trim() === '' ? [] : JSON.parse(json);
  return (Array.isArray(parsed) ? (parsed as JsonRoute[]) : []).flatMap((route) => {
    const { type = 'unicast', dst = '', dev = route.nexthops?.[0]?.dev ?? '', table } = route;
    if (table === 'local' || !['unicast', 'blackhole', 'unreachable', 'prohibit'].includes(type)) return [];
    const subnet = parseSubnet(dst.includes('/') ? dst : `${dst}/${dst.includes(':') ? 128 : 32}`);
    // Two halves of everything are how a VPN says default route.
    if (subnet === undefined || subnet.prefix <= 1 || isOurs(dev)) return [];
    if (subnet.family === 6 && /^(fe[89ab]|ff)/i.test(subnet.address)) return [];
    return [{ subnet: `${subnet.address}/${subnet.prefix}`, interface: dev }];
  });
}
