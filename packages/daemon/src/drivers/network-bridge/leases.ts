/** dnsmasq's file of leases: IPv4 by MAC, then `duid …`, then IPv6 by DUID. Read leniently: it is written while it is read. */

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

/** Without the leases of these addresses. */
export function withoutLeases(text: string, addresses: ReadonlySet<string>): string {
  return text
    .split('\n')
    .filter((line) => !addresses.has(line.split(' ')[2] ?? ''))
    .join('\n');
}
