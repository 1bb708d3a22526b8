/** What of the host is promised to guests, added up from their records as a start adds it up, and who is placed where. */
import { type HostCapacity, type HostTopologyView, printCpuList } from '@wirt/api';
import type { Holding } from '../domain/placement/placement.ts';
import { promisableMib, promisableVcpus, promisedOf, reservationMib } from './admission.ts';
import type { Shared } from './parts.ts';
import { observedPool } from './pool.ts';
import { poolPromises, poolSpaces } from './pool-promise.ts';

export async function capacityOf(shared: Shared): Promise<HostCapacity> {
  const { placing, settings, instances, admitted } = shared;
  const [host, memory, spaces, pools] = await Promise.all([
    placing.host(),
    shared.host.memory(),
    poolSpaces(shared),
    Promise.all([...shared.pools.after()].map((pool) => observedPool(shared, pool))),
  ]);
  const promises = new Map(poolPromises(shared, spaces).map((one) => [one.name, one]));
  const { cpuOvercommit, memoryOvercommit } = settings.value;
  const { hugePagesMib = 0, totalMib, availableMib } = memory;
  const holdings = placing.holdings();
  const promised = promisedOf(shared);
  const held = [...instances.after()].filter(
    ({ id, status }) => status.process !== undefined || admitted.has(id),
  );
  const dedicated = holdings.flatMap((holding) => holding.dedicated).toSorted((a, b) => a - b);
  return {
    settings: settings.value,
    cpus: {
      online: host.cpus.length,
      promisable: promisableVcpus(host.cpus.length, promised.ownCpus, cpuOvercommit),
      promised: promised.vcpus,
      dedicated: printCpuList(dedicated),
    },
    memory: {
      totalMib,
      availableMib,
      promisableMib: promisableMib(memory, memoryOvercommit),
      promisedMib: promised.memoryMib,
      reservedMib: held.reduce((sum, instance) => sum + reservationMib(shared, instance), 0),
      hugePagesMib,
    },
    hugePages: host.nodes.flatMap((node) =>
      node.hugePages.map(({ sizeKib, total, free }) => ({
        node: node.id,
        sizeKib,
        total,
        free,
        promised: promisedPages(holdings, node.id, sizeKib),
      })),
    ),
    pools: pools.map(({ name, status }) => ({
      ...{ name, capacityBytes: 0, promisableBytes: 0, runningBytes: 0 },
      promisedBytes: status.provisionedBytes,
      ...promises.get(name),
      allocatedBytes: status.allocatedBytes ?? 0,
    })),
  };
}

function promisedPages(holdings: readonly Holding[], node: number, sizeKib: number): number {
  return holdings
    .filter(({ pageSizeKib }) => pageSizeKib === sizeKib)
    .reduce((sum, { memoryMib }) => sum + Math.ceil(((memoryMib[node] ?? 0) * 1024) / sizeKib), 0);
}

export async function topologyOf({ placing, instances }: Shared): Promise<HostTopologyView> {
  const host = await placing.host();
  const owners = new Map(
    placing.holdings().flatMap(({ name, dedicated }) => dedicated.map((cpu) => [cpu, name])),
  );
  const placed = [...instances.after()].flatMap(({ name, status }) =>
    status.placement === undefined ? [] : [{ name, nodes: status.placement.nodes }],
  );
  return {
    nodes: host.nodes.map(({ id, totalMib, freeMib, distances, hugePages }) => ({
      node: id,
      cpus: printCpuList(host.cpus.filter((cpu) => cpu.node === id).map((cpu) => cpu.id)),
      totalMib,
      freeMib,
      distances: Object.entries(distances).map(([node, distance]) => ({ node: Number(node), distance })),
      hugePages: hugePages.map((pool) => ({ ...pool })),
      instances: placed.filter(({ nodes }) => nodes.includes(id)).map(({ name }) => name),
    })),
    cpus: host.cpus.map(({ id, node, socket, core }) => {
      const dedicatedTo = owners.get(id);
      return { cpu: id, node, socket, core, ...(dedicatedTo === undefined ? {} : { dedicatedTo }) };
    }),
  };
}
