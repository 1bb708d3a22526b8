/** A host's processors by number, node and core, sorted once for each list of them: planning on 4096 cores is short only because of it. */
import type { IdList } from './placement.ts';
import type { HostCpu, HostNode, HostTopology } from './topology.ts';

export interface Core {
  readonly node: number;
  /** Its threads that are online; ascending. */
  readonly cpus: IdList;
}

export interface CpuIndex {
  readonly cpus: ReadonlyMap<number, HostCpu>;
  /** Online, by node; ascending. */
  readonly byNode: ReadonlyMap<number, IdList>;
  /** By the lowest of their processors. */
  readonly cores: readonly Core[];
}

/** By the identity of the list, which nobody changes once it is read: whoever reads a host's memory anew keeps the list. */
const known = new WeakMap<HostTopology['cpus'], CpuIndex>();

export function cpuIndexOf({ cpus }: HostTopology): CpuIndex {
  const found = known.get(cpus) ?? makeIndex(cpus);
  known.set(cpus, found);
  return found;
}

function makeIndex(cpus: readonly HostCpu[]): CpuIndex {
  const sorted = [...cpus].sort((a, b) => a.id - b.id);
  const byNode = new Map<number, number[]>();
  const byCore = new Map<number, { readonly node: number; readonly cpus: number[] }>();
  for (const { id, node, core } of sorted) {
    const onNode = byNode.get(node);
    if (onNode === undefined) byNode.set(node, [id]);
    else onNode.push(id);
    const onCore = byCore.get(core);
    if (onCore === undefined) byCore.set(core, { node, cpus: [id] });
    else onCore.cpus.push(id);
  }
  return { cpus: new Map(sorted.map((cpu) => [cpu.id, cpu])), byNode, cores: [...byCore.values()] };
}

/** Ascending by id. A node that only processors name is there too, without memory. */
export function nodesOf({ nodes }: HostTopology, { byNode }: CpuIndex): HostNode[] {
  const told = new Set(nodes.map(({ id }) => id));
  const unknown = [...byNode.keys()].filter((id) => !told.has(id));
  const bare = unknown.map((id): HostNode => ({ id, totalMib: 0, freeMib: 0, distances: {}, hugePages: [] }));
  return [...nodes, ...bare].sort((a, b) => a.id - b.id);
}
