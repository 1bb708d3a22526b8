/** The dnsmasqs of all networks that want one: started with their network, told of its ports, ended with it. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { WirtError } from '@wirt/api';
import type { Logger, NetworkPlan, PlannedNetwork, PlannedPort, Repaired } from '@wirt/core';
import { createDnsmasq, type Dnsmasq } from './dnsmasq.ts';
import { isServed } from './dnsmasq-config.ts';
import { endServers, sweep } from './leftovers.ts';
import type { HostNames } from './names.ts';

export interface ServersOptions {
  readonly names: HostNames;
  readonly runDirectory: string;
  readonly stateDirectory: string;
  readonly resolvConf: string;
  readonly logger: Logger;
  onRepair(repaired: Repaired): void;
}

export interface Servers {
  /** Ends what a daemon before this one left, and what the plan has no more. */
  takeOver(plan: NetworkPlan): Promise<void>;
  /** Ends those of networks that are no more, or are others; tells the others of their ports. */
  update(plan: NetworkPlan): Promise<void>;
  /** Starts those that do not run, and those of bridges that were made anew. Networks whose bridge is not there are left out. */
  start(
    plan: NetworkPlan,
    bridgesMade: ReadonlySet<string>,
    without: ReadonlySet<string>,
  ): Promise<WirtError[]>;
  leasesOf(network: string): string;
  release(): void;
}

export function createServers(options: ServersOptions): Servers {
  const { names, logger, onRepair, resolvConf } = options;
  const running = new Map<string, { readonly dnsmasq: Dnsmasq; readonly key: string }>();
  const runRoot = join(options.runDirectory, 'network');
  const stateRoot = join(options.stateDirectory, 'network');
  const leasesOf = (network: string): string => join(stateRoot, `${network}.leases`);
  let user: Promise<{ user: string; group: string }> | undefined;

  async function create(network: PlannedNetwork): Promise<Dnsmasq> {
    user ??= unprivileged();
    const setting = {
      interface: names.bridge(network.id),
      files: { directory: join(runRoot, network.id), leases: leasesOf(network.id) },
      resolvConf,
      ...(await user),
    };
    return createDnsmasq({
      network,
      setting,
      logger,
      onRestarted: (how) =>
        onRepair({ network: network.id, what: `dnsmasq of network ${network.name} had ended (${how})` }),
    });
  }

  const byNetwork = (plan: NetworkPlan): Map<string, PlannedPort[]> =>
    Map.groupBy(plan.ports, ({ network }) => network);

  return {
    leasesOf,
    async takeOver(plan) {
      await endServers(runRoot);
      const served = plan.networks.filter(isServed).map(({ id }) => id);
      await Promise.all([
        sweep(runRoot, new Set(served)),
        sweep(stateRoot, new Set(served.map((id) => `${id}.leases`))),
      ]);
    },
    async update(plan) {
      const wanted = new Map(plan.networks.filter(isServed).map((network) => [network.id, keyOf(network)]));
      const ports = byNetwork(plan);
      const work: Promise<void>[] = [];
      for (const [id, { dnsmasq, key }] of running) {
        if (wanted.get(id) === key) {
          work.push(dnsmasq.update(ports.get(id) ?? []));
          continue;
        }
        running.delete(id);
        work.push(dnsmasq.stop());
      }
      await Promise.all(work);
    },
    async start(plan, bridgesMade, without) {
      const ports = byNetwork(plan);
      const results = await Promise.allSettled(
        plan.networks.filter(isServed).map(async (network) => {
          const { id } = network;
          const there = running.get(id);
          if (without.has(id) || (there?.dnsmasq.isRunning() && !bridgesMade.has(names.bridge(id)))) return;
          const dnsmasq = there?.dnsmasq ?? (await create(network));
          running.set(id, { dnsmasq, key: keyOf(network) });
          await dnsmasq.update(ports.get(id) ?? []);
          await dnsmasq.start();
        }),
      );
      return results.flatMap((result) => (result.status === 'rejected' ? [result.reason as WirtError] : []));
    },
    release() {
      for (const { dnsmasq } of running.values()) dnsmasq.release();
    },
  };
}

const keyOf = (network: PlannedNetwork): string => JSON.stringify(network);

/** The user that Debian's package makes for it, else nobody. */
async function unprivileged(): Promise<{ user: string; group: string }> {
  const [users, groups] = await Promise.all(
    ['/etc/passwd', '/etc/group'].map((file) => readFile(file, 'utf8').catch(() => '')),
  );
  const rows = (users ?? '').split('\n').map((line) => line.split(':'));
  const row = rows.find(([name]) => name === 'dnsmasq') ?? rows.find(([name]) => name === 'nobody');
  const [user = 'nobody', , , gid = '65534'] = row ?? [];
  const group = (groups ?? '')
    .split('\n')
    .find((line) => line.split(':')[2] === gid)
    ?.split(':')[0];
  return { user, group: group ?? 'nogroup' };
}
