/**
 * Memory that nodes have to give. A guest takes its memory only as it touches it, so what is free now may be promised already: free is the smaller of
 * what the node has free and of what it has in all, less what other guests were promised. What QEMU itself needs is left to admission.
 */
import type { IdList, Placement, PlacementGround, PlacementRequest } from './placement.ts';
import { type NodeSurvey, surveyOf } from './survey.ts';
import type { HugePages } from './topology.ts';

/** The smallest piece that memory is divided in: whole pages, and whole MiB. */
export interface MemoryNeed {
  readonly unitMib: number;
  readonly units: number;
  readonly pageSizeKib?: number;
}

/**
 * What is counted as there: `free` now; with the pages that `reserve` would make of free memory; in `total`, whatever is promised; `beyond` that, for a
 * guest that is larger than the host and is spread as its memory is.
 */
export type MemoryView = 'free' | 'reserve' | 'total' | 'beyond';

export function memoryNeed({ memoryMib, pageSizeKib }: PlacementRequest): MemoryNeed {
  const unitMib = pageSizeKib === undefined ? 1 : Math.max(1, Math.ceil(pageSizeKib / 1024));
  const units = Math.ceil(memoryMib / unitMib);
  return { unitMib, units, ...(pageSizeKib === undefined ? {} : { pageSizeKib }) };
}

/** The ways to look at memory, in the order in which they are tried. */
export function memoryViews({ pageSizeKib, overcommit, mayReservePages }: PlacementRequest): MemoryView[] {
  if (pageSizeKib !== undefined) return mayReservePages === true ? ['free', 'reserve'] : ['free'];
  return overcommit ? ['free', 'total', 'beyond'] : ['free'];
}

/** Units that each node can give, in the order of the nodes. */
export function roomOf(nodes: readonly NodeSurvey[], need: MemoryNeed, view: MemoryView): number[] {
  if (need.pageSizeKib !== undefined) {
    const size = need.pageSizeKib;
    const pagesOf = view === 'reserve' ? pagesAtMost : freePages;
    return nodes.map((node) => Math.floor((pagesOf(node, size) * size) / 1024 / need.unitMib));
  }
  const room = nodes.map((node) => (view === 'free' ? freeMib(node) : ordinaryMib(node)));
  if (view !== 'beyond') return room;
  const weights = room.some((mib) => mib > 0) ? room : nodes.map(({ node }) => node.totalMib);
  const whole = weights.reduce((sum, mib) => sum + mib, 0);
  return whole === 0 ? room : weights.map((mib) => Math.ceil((mib * need.units) / whole));
}

/** Without what is set aside as huge pages. */
function ordinaryMib({ node }: NodeSurvey): number {
  const hugeMib = node.hugePages.reduce((sum, { sizeKib, total }) => sum + (sizeKib * total) / 1024, 0);
  return Math.max(0, Math.floor(node.totalMib - hugeMib));
}

export function freeMib(survey: NodeSurvey): number {
  const leftMib = Math.min(survey.node.freeMib, ordinaryMib(survey) - survey.promisedMib);
  return Math.max(0, Math.floor(leftMib - pagesToComeMib(survey)));
}

/** Of huge pages that were promised to guests being started, and are yet to be made of the node's own memory. */
function pagesToComeMib(survey: NodeSurvey): number {
  let sumMib = 0;
  for (const [sizeKib, promisedMib] of survey.promisedHugeMib)
    sumMib += Math.max(0, promisedMib - ((poolOf(survey, sizeKib)?.total ?? 0) * sizeKib) / 1024);
  return sumMib;
}

export function poolOf({ node }: NodeSurvey, sizeKib: number): HugePages | undefined {
  return node.hugePages.find((pool) => pool.sizeKib === sizeKib);
}

export function freePages(survey: NodeSurvey, sizeKib: number): number {
  const pool = poolOf(survey, sizeKib);
  if (pool === undefined) return 0;
  const promised = Math.ceil(((survey.promisedHugeMib.get(sizeKib) ?? 0) * 1024) / sizeKib);
  return Math.max(0, Math.min(pool.free, pool.total - promised));
}

/** With those that can be made of free memory, where the node knows pages of that size. */
function pagesAtMost(survey: NodeSurvey, sizeKib: number): number {
  if (poolOf(survey, sizeKib) === undefined) return 0;
  return freePages(survey, sizeKib) + Math.floor((freeMib(survey) * 1024) / sizeKib);
}

/** A pool to enlarge before the guest starts. `total` is what to write to the node's `nr_hugepages`. */
export interface PagesToReserve {
  readonly node: number;
  readonly sizeKib: number;
  readonly missing: number;
  readonly total: number;
}

/** What is short of the huge pages of a guest that was placed with `mayReservePages`; empty where there are enough. */
export function pagesToReserve(
  { guestNodes }: Pick<Placement, 'guestNodes'>,
  pageSizeKib: number,
  ground: PlacementGround,
): PagesToReserve[] {
  const { nodes } = surveyOf(ground);
  return guestNodes.flatMap(({ memoryMib, hostNode }) => {
    const on: IdList = hostNode === undefined ? nodes.map(({ node }) => node.id) : [hostNode];
    const from = nodes.filter(({ node }) => on.includes(node.id));
    const free = from.reduce((sum, node) => sum + freePages(node, pageSizeKib), 0);
    return enlarged(from, pageSizeKib, Math.ceil((memoryMib * 1024) / pageSizeKib) - free);
  });
}

function enlarged(nodes: readonly NodeSurvey[], sizeKib: number, missing: number): PagesToReserve[] {
  const found: PagesToReserve[] = [];
  let left = missing;
  for (const survey of nodes) {
    const more = Math.min(left, pagesAtMost(survey, sizeKib) - freePages(survey, sizeKib));
    if (more <= 0) continue;
    const total = (poolOf(survey, sizeKib)?.total ?? 0) + more;
    found.push({ node: survey.node.id, sizeKib, missing: more, total });
    left -= more;
  }
  return found;
}
