// Hosts in the shapes that real ones have, made by rule: from one node with two cores to 64 nodes with 4096 cores and 64 TiB.
import type { Holding, PlacementRequest } from './placement.ts';
import type { HostCpu, HostNode, HostTopology } from './topology.ts';

export interface HostShape {
  readonly nodes: number;
  readonly coresPerNode: number;
  readonly threads: 1 | 2;
  readonly mibPerNode: number;
  /** Nodes of one socket are near each other. */
  readonly nodesPerSocket?: number;
  /** Siblings are numbered after all first threads, as on x86 (0 and 128), and not next to them (0 and 1). */
  readonly areSiblingsLast?: boolean;
  /** By node; what is absent is all free. */
  readonly freeMib?: Readonly<Record<number, number>>;
  readonly totalMib?: Readonly<Record<number, number>>;
  /** Free and total pages of each node. */
  readonly hugePages?: Readonly<
    Record<number, { readonly sizeKib: number; readonly total: number; readonly free: number }>
  >;
  readonly offline?: readonly number[];
  /** Nodes without processors. */
  readonly memoryOnly?: readonly number[];
}

export function hostOf(shape: HostShape): HostTopology {
  const { nodes, nodesPerSocket = 1 } = shape;
  const ids = Array.from({ length: nodes }, (_, id) => id);
  const socketOf = (node: number): number => Math.floor(node / nodesPerSocket);
  return {
    cpus: ids.flatMap((node) => cpusOf(shape, node, socketOf(node))),
    nodes: ids.map((id): HostNode => {
      const totalMib = shape.totalMib?.[id] ?? shape.mibPerNode;
      const pool = shape.hugePages?.[id];
      const far = (other: number): number => (socketOf(id) === socketOf(other) ? 12 : 32);
      return {
        id,
        totalMib,
        freeMib: shape.freeMib?.[id] ?? totalMib - ((pool?.total ?? 0) * (pool?.sizeKib ?? 0)) / 1024,
        distances: Object.fromEntries(ids.map((other) => [other, other === id ? 10 : far(other)])),
        hugePages: pool === undefined ? [] : [pool],
      };
    }),
  };
}

function cpusOf(shape: HostShape, node: number, socket: number): HostCpu[] {
  const { nodes, coresPerNode, threads, areSiblingsLast = true, offline = [], memoryOnly = [] } = shape;
  if (memoryOnly.includes(node)) return [];
  return Array.from({ length: coresPerNode }, (_, index) => node * coresPerNode + index)
    .flatMap((core) =>
      Array.from({ length: threads }, (_, thread): HostCpu => {
        const id = areSiblingsLast ? thread * nodes * coresPerNode + core : core * threads + thread;
        return { id, node, socket, core };
      }),
    )
    .filter(({ id }) => !offline.includes(id));
}

/** A notebook's: performance cores with two threads, and efficiency cores with one. */
export function hybridHost(performanceCores: number, efficiencyCores: number): HostTopology {
  const { nodes } = hostOf({ nodes: 1, coresPerNode: 1, threads: 1, mibPerNode: 32_768 });
  const cpus = Array.from({ length: performanceCores * 2 + efficiencyCores }, (_, id): HostCpu => {
    const isPair = id < performanceCores * 2;
    return { id, node: 0, socket: 0, core: isPair ? Math.floor(id / 2) : id - performanceCores };
  });
  return { cpus, nodes };
}

export const hosts = {
  small: hostOf({ nodes: 1, coresPerNode: 2, threads: 1, mibPerNode: 24_576 }),
  twoSockets: hostOf({ nodes: 2, coresPerNode: 8, threads: 2, mibPerNode: 65_536 }),
  eightNodes: hostOf({ nodes: 8, coresPerNode: 16, threads: 2, mibPerNode: 64_512, nodesPerSocket: 4 }),
  largest: hostOf({ nodes: 64, coresPerNode: 64, threads: 1, mibPerNode: 1_048_576, nodesPerSocket: 8 }),
};

export function requestOf(part: Partial<PlacementRequest> = {}): PlacementRequest {
  const cpus = part.cpus ?? part.maxCpus ?? 2;
  return {
    name: 'web',
    cpus,
    maxCpus: cpus,
    memoryMib: 1024,
    placement: 'auto',
    dedicated: false,
    pins: { vcpus: {} },
    overcommit: false,
    ...part,
  };
}

export function holding(part: Partial<Holding> = {}): Holding {
  return { name: 'db', dedicated: [], vcpus: 2, nodes: [], memoryMib: {}, ...part };
}
