/** Processors, nodes and huge pages in memory. Pages are made of nothing, up to what a test allows. */
import type { HostCpu, HostNode, HostTopology } from '../domain/placement/topology.ts';
import type { HugePageReserve, NodePages } from '../ports/host-memory.ts';
import type { HostTopologyReader } from '../ports/host-topology.ts';
import type { PageMerging } from '../ports/page-merging.ts';

export interface FakeTopology extends HostTopologyReader, HugePageReserve {
  host: HostTopology;
  /** How many huge pages of any size the kernel can make on a node. */
  mostPages: number;
  /** Whether wirtd may make any at all; in force with its next start. */
  mayReserve: boolean;
  /** Whether equal pages are merged, as the kernel counts it. */
  readonly merging: PageMerging & { value: number | undefined };
  /** What each pool was set to, by `node/sizeKib`. */
  readonly totals: Record<string, number>;
}

/** `nodes` nodes with as many processors each, one socket to a node, and no huge pages. */
export function hostOf(nodes: number, cpusOfNode: number, memoryMib = 1_000_000): HostTopology {
  const cpus: HostCpu[] = [];
  const all: HostNode[] = [];
  for (let node = 0; node < nodes; node += 1) {
    for (let place = 0; place < cpusOfNode; place += 1) {
      const id = node * cpusOfNode + place;
      cpus.push({ id, node, socket: node, core: id });
    }
    const distances = Object.fromEntries(
      Array.from({ length: nodes }, (_, other) => [other, other === node ? 10 : 20]),
    );
    const hugePages = [{ sizeKib: 2048, total: 0, free: 0 }];
    all.push({ id: node, totalMib: memoryMib, freeMib: memoryMib, distances, hugePages });
  }
  return { cpus, nodes: all };
}

export function createFakeTopology(): FakeTopology {
  const totals: Record<string, number> = {};
  const pages = (): NodePages[] =>
    fake.host.nodes.flatMap(({ id, hugePages }) =>
      hugePages.map(({ sizeKib, total, free }) => ({ node: id, sizeKib, total, free, surplus: 0 })),
    );
  const merging: FakeTopology['merging'] = {
    value: 0,
    run: () => Promise.resolve(merging.value),
    setRun: (value) => {
      merging.value = value;
      return Promise.resolve();
    },
  };
  const fake: FakeTopology = {
    host: hostOf(1, 8),
    mostPages: 10_000,
    mayReserve: true,
    totals,
    merging,
    read: () => Promise.resolve(fake.host),
    pages: () => Promise.resolve(pages()),
    setTotal: (node, sizeKib, total) => {
      const given = Math.min(total, fake.mostPages);
      totals[`${node}/${sizeKib}`] = given;
      const nodes = fake.host.nodes.map((one) =>
        one.id !== node
          ? one
          : {
              ...one,
              hugePages: one.hugePages.map((pool) =>
                pool.sizeKib !== sizeKib
                  ? pool
                  : { sizeKib, total: given, free: Math.max(0, pool.free + given - pool.total) },
              ),
            },
      );
      fake.host = { ...fake.host, nodes };
      return Promise.resolve(given);
    },
  };
  return fake;
}
