/**
 * Whole physical cores for a guest with dedicated processors. Threads of one core share its caches and execution units, so a core is taken whole: its
 * threads are vCPUs of one guest core, or the sibling idles.
 */
import { printCpuList } from '@wirt/api';
import { takenRefusal } from './check-request.ts';
import type { Core } from './host-index.ts';
import type { IdList, PlacementRequest, Refusal } from './placement.ts';
import type { Survey } from './survey.ts';

/** How a guest's cores become those of the host. */
export interface Shape {
  /** Of a core of the guest. */
  readonly threads: number;
  /** Of the guest. */
  readonly cores: number;
  /** For dedicated ones: threads of a core of the host that vCPUs run on; `threads` or 1. */
  readonly perCore?: number;
}

/** The shapes a guest may have, in the order in which they are tried. */
export function shapesOf(
  { dedicated, maxCpus, topology, pins }: PlacementRequest,
  { cores }: Survey,
): Shape[] {
  if (!dedicated || Object.keys(pins.vcpus).length > 0) {
    const threads = topology?.threads ?? 1;
    return [{ threads, cores: maxCpus / threads }];
  }
  const hasThreads = (count: number): boolean => cores.some(({ cpus }) => cpus.length >= count);
  if (topology !== undefined) {
    const { threads } = topology;
    const shape = { threads, cores: maxCpus / threads };
    return threads > 1 && hasThreads(threads) ? [{ ...shape, perCore: threads }] : [{ ...shape, perCore: 1 }];
  }
  const pairs = { threads: 2, cores: maxCpus / 2, perCore: 2 };
  const single = { threads: 1, cores: maxCpus, perCore: 1 };
  return maxCpus % 2 === 0 && hasThreads(2) ? [pairs, single] : [single];
}

/**
 * Cores that can be dedicated, by node. The host's first core comes last: its kernel does its own work there. Where guests share the processors of a
 * node, one core stays for them. What the request pins its own emulator and iothreads to is left out.
 */
export function freeCores(
  perCore: number,
  { pins }: PlacementRequest,
  survey: Survey,
): ReadonlyMap<number, readonly Core[]> {
  const { cores, ownerOf, pinnedBy } = survey;
  const held = new Set([
    ...ownerOf.keys(),
    ...pinnedBy.keys(),
    ...(pins.emulator ?? []),
    ...(pins.iothreads ?? []),
  ]);
  const free = new Map<number, Core[]>(survey.nodes.map(({ node }) => [node.id, []]));
  const [first, ...others] = cores;
  for (const core of first === undefined ? [] : [...others, first]) {
    if (core.cpus.length >= perCore && !core.cpus.some((cpu) => held.has(cpu)))
      free.get(core.node)?.push(core);
  }
  for (const { node, cpus, vcpusHeld } of survey.nodes) {
    const found = free.get(node.id) ?? [];
    const count = found.reduce((sum, core) => sum + core.cpus.length, 0);
    if (vcpusHeld > 0 && count === cpus.length) found.pop();
  }
  return free;
}

/** The whole cores of processors that a user has chosen; refused where a thread of one is somebody else's. */
export function wholeCores(
  name: string,
  chosen: ReadonlySet<number>,
  { cores, ownerOf, pinnedBy }: Survey,
): { readonly cpus: IdList } | { readonly refusal: Refusal } {
  const cpus = cores.filter((core) => core.cpus.some((cpu) => chosen.has(cpu))).flatMap((core) => core.cpus);
  for (const holders of [ownerOf, pinnedBy]) {
    const taken = cpus.filter((cpu) => holders.has(cpu));
    if (taken.length > 0) return { refusal: takenRefusal(name, 'needs, as a whole core,', taken, holders) };
  }
  return { cpus: cpus.sort((a, b) => a - b) };
}

/** Nobody is left without a processor: not the host, nor guests that share those of a node. */
export function leftoverRefusal(name: string, dedicated: IdList, { nodes }: Survey): Refusal | undefined {
  if (dedicated.length === 0) return undefined;
  const taken = new Set(dedicated);
  const left = nodes.map(({ cpus }) => cpus.filter((cpu) => !taken.has(cpu)).length);
  const bare = nodes.find(({ vcpusHeld, cpus }, at) => vcpusHeld > 0 && cpus.length > 0 && left[at] === 0);
  const isHostBare = left.every((count) => count === 0);
  if (!isHostBare && bare === undefined) return undefined;
  const whom = isHostBare
    ? 'for the host itself and for other guests'
    : `for the guests that share node ${bare?.node.id}`;
  return {
    code: 'host.cpus_taken',
    message: `${name} would have processors ${printCpuList(dedicated)} to itself, and leave none ${whom}.`,
    hint: 'Give it fewer vCPUs with `--cpus`, or no dedicated processors.',
    details: { needed: dedicated.length, left: left.reduce((sum, count) => sum + count, 0) },
  };
}
