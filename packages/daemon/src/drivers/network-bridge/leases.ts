/** dnsmasq's file of leases: IPv4 by MAC, then `duid …`, then IPv6 by DUID. Read leniently: it is written while it is read. */
import type { PlannedPort } from '@wirt/core';

export interface Lease {
  readonly address: string;
  /** Undefined for IPv6, where a client is known by its DUID. */
  readonly mac?: string;
  /** Undefined: for ever. */
  readonly untilMs?: number;
}

export function parseLeases(text: string): Lease[] {
  return text.split('\n').flatMap((line) => {
    const [until = '', who = '', address = ''] = line.split(' ');
    if (!/^\d+$/.test(until) || address === '') return [];
    const untilMs = Number(until) * 1000;
    return [
      {
        address,
        ...(address.includes(':') ? {} : { mac: who.replace(/^\d\d-/, '').toLowerCase() }),
        ...(untilMs === 0 ? {} : { untilMs }),
      },
    ];
  });
}

/** Addresses of ports whose lease is another's. Whose an IPv6 lease is, is seen by the IPv4 lease of the same card. */
export function staleLeases(
  leases: readonly Lease[],
  ports: readonly Pick<PlannedPort, 'mac' | 'ipv4' | 'ipv6'>[],
): Set<string> {
  const holders = new Map(leases.map(({ address, mac }) => [address, mac]));
  const stale = new Set<string>();
  for (const { mac, ipv4, ipv6 } of ports) {
    const holder = ipv4 === undefined ? mac : holders.get(ipv4);
    if (ipv4 !== undefined && holder !== undefined && holder !== mac) stale.add(ipv4);
    if (ipv6 !== undefined && holders.has(ipv6) && holder !== mac) stale.add(ipv6);
  }
  return stale;
}

/** Without the leases of these addresses. */
export function withoutLeases(text: string, addresses: ReadonlySet<string>): string {
  return text
    .split('\n')
    .filter((line) => !addresses.has(line.split(' ')[2] ?? ''))
    .join('\n');
}
