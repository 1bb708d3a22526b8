/** A host's processors and nodes by number, sorted once for each topology that is read: planning a guest on 4096 cores is short only because of it. */
import type { IdList } from './placement.ts';
import type { HostCpu, HostNode, HostTopology } from './topology.ts';

export interface Core {
  readonly node: number;
  /** Its threads that are online; ascending. */
  readonly cpus: IdList;
}

export interface IndexedNode {
  readonly node: HostNode;
  /** Online; ascending. */
  readonly cpus: IdList;
}

export interface HostIndex {
  readonly cpus: ReadonlyMap<number, HostCpu>;
  /** Ascending by id. A node that only processors name is there too, without memory. */
  readonly nodes: readonly IndexedNode[];
  /** By the lowest of their processors. */
  readonly cores: readonly Core[];
}

/** By the identity of the topology, which nobody changes once it is read. */
const known = new WeakMap<HostTopology, HostIndex>();

export function indexOf(host: HostTopology): HostIndex {
  const found = known.get(host) ?? makeIndex(host);
  known.set(host, found);
  return found;
}

function makeIndex({ cpus, nodes }: HostTopology): HostIndex {
  const sorted = [...cpus].sort((a, b) => a.id - b.id);
  const byNode = new Map<number, { readonly node: HostNode; readonly cpus: number[] }>();
  for (const node of nodes) byNode.set(node.id, { node, cpus: [] });
  const byCore = new Map<number, { readonly node: number; readonly cpus: number[] }>();
  for (const { id, node, core } of sorted) {
    const onNode = byNode.get(node) ?? { node: emptyNode(node), cpus: [] };
    const onCore = byCore.get(core) ?? { node, cpus: [] };
    onNode.cpus.push(id);
    onCore.cpus.push(id);
    byNode.set(node, onNode);
    byCore.set(core, onCore);
  }
  return {
    cpus: new Map(sorted.map((cpu) => [cpu.id, cpu])),
    nodes: [...byNode.values()].sort((a, b) => a.node.id - b.node.id),
    cores: [...byCore.values()],
  };
}

function emptyNode(id: number): HostNode {
  return { id, totalMib: 0, freeMib: 0, distances: {}, hugePages: [] };
}
