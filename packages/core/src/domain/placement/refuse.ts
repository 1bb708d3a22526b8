/** Refusals of guests that do not fit, with the sums: what is needed, and what each node has. Pure. */
import type { Shape } from './cores.ts';
import { freeMib, freePages, type MemoryNeed, poolOf } from './memory.ts';
import type { PlacementRequest, Refusal } from './placement.ts';
import type { NodeSurvey, Survey } from './survey.ts';

const nodesNamed = 8;

/** "node 0: 5, node 1: 7 and 62 more nodes" */
function byNode(nodes: readonly NodeSurvey[], free: readonly number[]): string {
  const told = nodes.slice(0, nodesNamed).map(({ node }, at) => `node ${node.id}: ${free[at] ?? 0}`);
  const more = nodes.length - told.length;
  return told.join(', ') + (more > 0 ? ` and ${more} more nodes` : '');
}

function details(nodes: readonly NodeSurvey[], free: readonly number[]): Record<string, number> {
  const byId = Object.fromEntries(nodes.map(({ node }, at) => [`node${node.id}`, free[at] ?? 0]));
  return { free: sum(free), ...byId };
}

export function sum(counts: readonly number[]): number {
  return counts.reduce((total, count) => total + count, 0);
}

export function memoryRefusal(request: PlacementRequest, need: MemoryNeed, { nodes }: Survey): Refusal {
  return need.pageSizeKib === undefined
    ? ordinaryRefusal(request, nodes)
    : hugePageRefusal(request, need, need.pageSizeKib, nodes);
}

function ordinaryRefusal({ name, memoryMib }: PlacementRequest, nodes: readonly NodeSurvey[]): Refusal {
  const free = nodes.map(freeMib);
  return {
    code: 'host.insufficient_memory',
    message: `${name} needs ${memoryMib} MiB, and the nodes have ${sum(free)} MiB free of other guests: ${byNode(nodes, free)}.`,
    hint: 'Give it less with `--memory`, stop others with `wirt stop`, or take the risk with `--overcommit`.',
    details: { neededMib: memoryMib, ...details(nodes, free) },
  };
}

function hugePageRefusal(
  { name, mayReservePages }: PlacementRequest,
  { units, unitMib }: MemoryNeed,
  sizeKib: number,
  nodes: readonly NodeSurvey[],
): Refusal {
  const needed = Math.ceil((units * unitMib * 1024) / sizeKib);
  const free = nodes.map((node) => freePages(node, sizeKib));
  const spare = mayReservePages === true ? ', and too little free memory to make more of' : '';
  const pools = nodes.filter((node) => poolOf(node, sizeKib) !== undefined);
  return {
    code: 'host.insufficient_huge_pages',
    message: `${name} needs ${needed} huge ${needed === 1 ? 'page' : 'pages'} of ${sizeKib} KiB, and the nodes have ${sum(free)} free${spare}: ${byNode(nodes, free)}.`,
    hint: hugePageHint(name, pools, { sizeKib, missing: needed - sum(free) }),
    details: { neededPages: needed, pageSizeKib: sizeKib, ...details(nodes, free) },
  };
}

/** What to write, for the node with the most memory to make pages of. */
function hugePageHint(
  name: string,
  pools: readonly NodeSurvey[],
  { sizeKib, missing }: { readonly sizeKib: number; readonly missing: number },
): string {
  const [first, ...others] = pools;
  if (first === undefined) {
    return `The host has no pages of ${sizeKib} KiB; use another size, or none: \`wirt set ${name} hugepages=none\`.`;
  }
  const roomiest = others.reduce((best, next) => (freeMib(next) > freeMib(best) ? next : best), first);
  const total = (poolOf(roomiest, sizeKib)?.total ?? 0) + Math.max(1, missing);
  const file = `/sys/devices/system/node/node${roomiest.node.id}/hugepages/hugepages-${sizeKib}kB/nr_hugepages`;
  return `Set more aside: \`echo ${total} > ${file}\`; or do without: \`wirt set ${name} hugepages=none\`.`;
}

/** `free` are cores of the guest that each node has room for. */
export function coresRefusal(
  { name, maxCpus }: PlacementRequest,
  { cores, threads, perCore = 1 }: Shape,
  free: readonly number[],
  { nodes }: Survey,
): Refusal {
  const each = threads / perCore;
  const hostCores = free.map((count) => count * each);
  const kind = perCore > 1 ? `whole cores of ${perCore} threads` : 'whole cores';
  return {
    code: 'host.cpus_taken',
    message:
      `${name} needs ${cores * each} ${kind} for ${maxCpus} vCPUs with dedicated processors, and the nodes have ` +
      `${sum(hostCores)} that can be had: ${byNode(nodes, hostCores)}.`,
    hint: 'Give it fewer vCPUs with `--cpus`, stop others that have dedicated processors with `wirt stop`, or let it share.',
    details: { neededCores: cores * each, ...details(nodes, hostCores) },
  };
}
