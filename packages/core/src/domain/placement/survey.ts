/** The host as the planner looks at it: what each node still has to give, now that other guests hold their part. Pure. */
import { type Core, cpuIndexOf, nodesOf } from './host-index.ts';
import type { Holding, IdList, PlacementGround } from './placement.ts';
import type { HostCpu, HostNode } from './topology.ts';

/** Of ACPI: what a node is to itself, and to others where the firmware says nothing. */
export const localDistance = 10;
const remoteDistance = 20;

export interface NodeSurvey {
  readonly node: HostNode;
  /** Online, and not dedicated to other guests; ascending. */
  readonly cpus: IdList;
  readonly onlineCount: number;
  /** vCPUs of guests that share the processors. */
  readonly vcpusHeld: number;
  /** Promised to other guests, of the host's own pages. */
  readonly promisedMib: number;
  /** Promised to other guests, by the size of the huge pages in KiB. */
  readonly promisedHugeMib: ReadonlyMap<number, number>;
}

export interface Survey {
  /** Ascending by id. */
  readonly nodes: readonly NodeSurvey[];
  readonly cpus: ReadonlyMap<number, HostCpu>;
  readonly cores: readonly Core[];
  /** Who has a processor for itself. */
  readonly ownerOf: ReadonlyMap<number, string>;
  /** Who is pinned to a processor and shares it. */
  readonly pinnedBy: ReadonlyMap<number, string>;
}

interface Account {
  readonly node: HostNode;
  readonly online: IdList;
  vcpusHeld: number;
  promisedMib: number;
  readonly promisedHugeMib: Map<number, number>;
}

export function surveyOf({ host, holdings }: PlacementGround): Survey {
  const index = cpuIndexOf(host);
  const { cpus, cores, byNode } = index;
  const ownerOf = new Map<number, string>();
  const pinnedBy = new Map<number, string>();
  const accounts = new Map<number, Account>();
  for (const node of nodesOf(host, index)) {
    const online = byNode.get(node.id) ?? [];
    accounts.set(node.id, { node, online, vcpusHeld: 0, promisedMib: 0, promisedHugeMib: new Map() });
  }
  for (const holding of holdings) {
    for (const cpu of holding.dedicated) ownerOf.set(cpu, holding.name);
    for (const cpu of holding.pinned ?? []) pinnedBy.set(cpu, holding.name);
    enter(holding, accounts);
  }
  const surveys = [...accounts.values()].map(({ online, ...account }) => ({
    ...account,
    onlineCount: online.length,
    cpus: ownerOf.size === 0 ? online : online.filter((cpu) => !ownerOf.has(cpu)),
  }));
  return { nodes: surveys, cpus, cores, ownerOf, pinnedBy };
}

function enter(
  { dedicated, nodes, vcpus, memoryMib, pageSizeKib }: Holding,
  accounts: ReadonlyMap<number, Account>,
): void {
  if (dedicated.length === 0) {
    const hasCpus = (id: number): boolean => (accounts.get(id)?.online.length ?? 0) > 0;
    const count = nodes.filter(hasCpus).length;
    for (const id of nodes) {
      const account = accounts.get(id);
      if (account !== undefined && hasCpus(id)) account.vcpusHeld += vcpus / count;
    }
  }
  for (const id in memoryMib) {
    const account = accounts.get(Number(id));
    const mib = memoryMib[id] ?? 0;
    if (account === undefined) continue;
    if (pageSizeKib === undefined) account.promisedMib += mib;
    else account.promisedHugeMib.set(pageSizeKib, (account.promisedHugeMib.get(pageSizeKib) ?? 0) + mib);
  }
}

/** What the host says; at least 11 and at most 254 to others, since a guest's kernel throws away a table with anything else. */
export function distanceBetween(from: HostNode, to: HostNode): number {
  if (from.id === to.id) return localDistance;
  const said = from.distances[to.id] ?? to.distances[from.id] ?? remoteDistance;
  return Math.min(254, Math.max(localDistance + 1, said));
}

/** All processors that are online and not dedicated to a guest, ascending: where guests with `groupCpus` undefined run, and the host itself. */
export function sharedCpus({ host, holdings }: PlacementGround): number[] {
  const taken = new Set(holdings.flatMap(({ dedicated }) => dedicated));
  return host.cpus
    .map(({ id }) => id)
    .filter((id) => !taken.has(id))
    .sort((a, b) => a - b);
}
