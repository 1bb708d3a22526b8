/** What a network's ports have done, as their guests see it: what the tap sends, the guest receives. */
import { readFile } from 'node:fs/promises';
import type { NicCounters } from '@wirt/api';
import type { NetworkPlan, ObservedNetwork, ObservedPort } from '@wirt/core';
import type { Firewall } from './firewall.ts';
import { readIp } from './ip.ts';
import { type Lease, parseLeases } from './leases.ts';
import { objects } from './link-state.ts';
import type { HostNames } from './names.ts';
import type { Shadows } from './shadows.ts';
import { shortest } from './subnet.ts';

interface Count {
  readonly bytes?: number;
  readonly packets?: number;
  readonly dropped?: number;
}

export async function observeNetwork(
  network: string,
  at: {
    readonly plan: NetworkPlan;
    readonly names: HostNames;
    readonly firewall: Firewall;
    readonly leases: string;
    readonly shadows: Pick<Shadows, 'of'>;
  },
  signal: AbortSignal,
): Promise<ObservedNetwork> {
  const { plan, names, firewall } = at;
  const [links, leases, { rules, spoofed }, shadows] = await Promise.all([
    // A network whose bridge is not there has no ports either.
    readIp(['-j', '-s', 'link', 'show', 'master', names.bridge(network)], signal).catch((error: unknown) => {
      signal.throwIfAborted();
      if (error instanceof Error) return '';
      throw error;
    }),
    readFile(at.leases, 'utf8').then(parseLeases, () => [] as Lease[]),
    firewall.observe(signal),
    // Who looks at a network sees the rest of it all the same.
    at.shadows.of(names.bridge(network), signal).catch(() => {
      signal.throwIfAborted();
      return [];
    }),
  ]);
  const counts = new Map(objects(links).map((link) => [link.ifname, countersOf(link)]));
  const leaseOf = new Map(leases.map((lease) => [lease.address, lease]));
  const ports = plan.ports.filter((port) => port.network === network);
  const groupNames = new Map(plan.groups.map(({ id, name }) => [id, name]));
  const here = new Set(ports.flatMap(({ groups }) => groups.map((group) => groupNames.get(group))));
  return {
    ports: ports.map((port): ObservedPort => {
      const name = names.port(port);
      return {
        instance: port.instance,
        nic: port.nic,
        interface: name,
        leases: [port.ipv4, port.ipv6].flatMap((address) => {
          const lease = address === undefined ? undefined : leaseOf.get(shortest(address));
          if (lease === undefined || (lease.mac !== undefined && lease.mac !== port.mac)) return [];
          return [
            { address: lease.address, ...(lease.untilMs === undefined ? {} : { untilMs: lease.untilMs }) },
          ];
        }),
        counters: counts.get(name) ?? countersOf({}),
        spoofed: spoofed.get(name) ?? 0,
      };
    }),
    rules: rules.filter(({ group }) => here.has(group)),
    ...(shadows.length === 0 ? {} : { shadows }),
  };
}

function countersOf(link: object): NicCounters {
  const { rx = {}, tx = {} } = (link as { stats64?: { rx?: Count; tx?: Count } }).stats64 ?? {};
  return {
    receivedBytes: tx.bytes ?? 0,
    receivedPackets: tx.packets ?? 0,
    receivedDropped: tx.dropped ?? 0,
    sentBytes: rx.bytes ?? 0,
    sentPackets: rx.packets ?? 0,
    sentDropped: rx.dropped ?? 0,
  };
}
