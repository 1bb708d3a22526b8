/** What a guest sees of the nodes it is on: its own nodes, with their vCPUs, memory and distances, and its sockets. Pure. */
import type { Shape } from './cores.ts';
import type { GuestNode, Placement } from './placement.ts';
import { distanceBetween, localDistance } from './survey.ts';
import type { HostNode } from './topology.ts';

/** What a node of the host gives to the guest. */
export interface Share {
  readonly node: HostNode;
  readonly memoryMib: number;
  /** Cores of the guest, by number. */
  readonly cores: readonly number[];
}

/** A guest node of the whole guest, bound to nothing. */
export function unboundNode(memoryMib: number, maxCpus: number): GuestNode {
  return {
    memoryMib,
    vcpus: Array.from({ length: maxCpus }, (_, vcpu) => vcpu),
    cpuNodes: [],
    distances: [localDistance],
  };
}

interface Group {
  readonly node: HostNode;
  readonly memoryMib: number;
  readonly cores: number;
  readonly sources: readonly ShareCount[];
}

/** As `Share`, before the guest's cores have numbers. */
export interface ShareCount {
  readonly node: HostNode;
  readonly memoryMib: number;
  readonly cores: number;
}

/**
 * A guest node for each node that gives memory. One that gives only processors has its vCPUs in the guest node whose memory is nearest: guests do not
 * like nodes without memory. Those with vCPUs come first.
 */
export function groupShares(shares: readonly ShareCount[]): Group[] {
  const holders = shares.filter(({ memoryMib }) => memoryMib > 0);
  const nearest = (from: HostNode): ShareCount | undefined =>
    holders.reduce<ShareCount | undefined>(
      (best, next) =>
        best === undefined || distanceBetween(from, next.node) < distanceBetween(from, best.node)
          ? next
          : best,
      undefined,
    );
  const groups = holders.map((holder): Group => {
    const guests = shares.filter(
      (share) => share.memoryMib === 0 && share.cores > 0 && nearest(share.node) === holder,
    );
    const sources = [holder, ...guests].filter(({ cores }) => cores > 0);
    return { ...holder, cores: sources.reduce((sum, { cores }) => sum + cores, 0), sources };
  });
  return [...groups.filter(({ cores }) => cores > 0), ...groups.filter(({ cores }) => cores === 0)];
}

/** Cores of the guest for each share of each group: first those whose pins are there, then in the order of the numbers. */
export function numberCores(
  groups: readonly Group[],
  cores: number,
  homes: ReadonlyMap<number, number>,
): { readonly node: HostNode; readonly memoryMib: number; readonly shares: readonly Share[] }[] {
  const homed = new Map<number, number[]>();
  for (const [core, node] of homes) homed.set(node, [...(homed.get(node) ?? []), core]);
  let next = 0;
  const take = (): number => {
    while (homes.has(next)) next += 1;
    return next++;
  };
  return groups.map(({ node, memoryMib, sources }) => ({
    node,
    memoryMib,
    shares: sources.map((source) => {
      const own = homed.get(source.node.id) ?? [];
      const more = Array.from({ length: Math.min(cores, source.cores) - own.length }, take);
      return {
        node: source.node,
        memoryMib: source.memoryMib,
        cores: [...own, ...more].sort((a, b) => a - b),
      };
    }),
  }));
}

export function guestNodesOf(groups: ReturnType<typeof numberCores>, threads: number): GuestNode[] {
  return groups.map(({ node, memoryMib, shares }) => ({
    memoryMib,
    vcpus: shares
      .flatMap(({ cores }) => cores)
      .sort((a, b) => a - b)
      .flatMap((core) => vcpusOf(core, threads)),
    hostNode: node.id,
    cpuNodes: shares.map((share) => share.node.id).sort((a, b) => a - b),
    distances: groups.map((to) => distanceBetween(node, to.node)),
  }));
}

/** QEMU numbers vCPUs by socket, then core, then thread. */
export function vcpusOf(core: number, threads: number): number[] {
  return Array.from({ length: threads }, (_, thread) => core * threads + thread);
}

/** A socket for each guest node with vCPUs, or fewer, so that they are of one size and no node lies in two of them. */
export function topologyOf(
  guestNodes: readonly GuestNode[],
  { cores, threads }: Shape,
): Placement['topology'] {
  const spans = guestNodes
    .filter(({ vcpus }) => vcpus.length > 0)
    .map(({ vcpus }) => ({ first: vcpus[0] ?? 0, last: vcpus.at(-1) ?? 0 }));
  for (let sockets = spans.length; sockets > 1; sockets--) {
    if (cores % sockets !== 0) continue;
    const size = (cores / sockets) * threads;
    if (spans.every(({ first, last }) => Math.floor(first / size) === Math.floor(last / size))) {
      return { sockets, cores: cores / sockets, threads };
    }
  }
  return { sockets: 1, cores, threads };
}
