/**
 * Decides where on the host a guest runs, and what it sees of that: nodes, processors, memory, topology. Pure and deterministic: the same request on the
 * same ground gives the same answer. It fails by a refusal with the sums, never by an exception, and only where the guest really does not fit; memory of
 * the host's own pages is looked at where it is bound to nodes, and otherwise left to admission.
 */
import { requestRefusal } from './check-request.ts';
import { confine } from './confine.ts';
import { freeCores, leftoverRefusal, type Shape, shapesOf, wholeCores } from './cores.ts';
import { coreRoom, type Fit, fitOn, type Wanted } from './fit.ts';
import { groupShares, guestNodesOf, numberCores, topologyOf, unboundNode, vcpusOf } from './guest-nodes.ts';
import type { Core } from './host-index.ts';
import { type MemoryNeed, memoryNeed, memoryViews, roomOf } from './memory.ts';
import type {
  IdList,
  Placement,
  PlacementGround,
  PlacementRequest,
  PlacementResult,
  Refusal,
} from './placement.ts';
import { cpuReasons, memoryReasons, nodeReasons, topologyReasons } from './reasons.ts';
import { coresRefusal, memoryRefusal, sum } from './refuse.ts';
import { type Survey, surveyOf } from './survey.ts';

interface Task {
  readonly request: PlacementRequest;
  readonly survey: Survey;
  readonly memory: MemoryNeed;
  /** Its memory is bound to nodes. */
  readonly isBound: boolean;
}

export function planPlacement(request: PlacementRequest, ground: PlacementGround): PlacementResult {
  const survey = surveyOf(ground);
  const invalid = requestRefusal(request, survey);
  if (invalid !== undefined) return refused(invalid);
  const hasCpus = survey.nodes.some(({ cpus }) => cpus.length > 0);
  const hasMemory = survey.nodes.some(({ node }) => node.totalMib > 0);
  const isBound = request.placement === 'auto' && hasCpus && hasMemory;
  const task: Task = { request, survey, memory: memoryNeed(request), isBound };
  if (!isBound && !holdsSomewhere(task)) return refused(memoryRefusal(request, task.memory, survey));
  return isBound || request.dedicated ? placeOnNodes(task) : placeAnywhere(task);
}

function refused(refusal: Refusal): PlacementResult {
  return { kind: 'refused', refusal };
}

/** Huge pages are needed wherever they are; of the host's own pages admission keeps the account. */
function holdsSomewhere({ request, survey, memory }: Task): boolean {
  if (memory.pageSizeKib === undefined) return true;
  return memoryViews(request).some((view) => sum(roomOf(survey.nodes, memory, view)) >= memory.units);
}

function placeAnywhere({ request, survey, memory }: Task): PlacementResult {
  const { maxCpus, pins } = request;
  const topology = request.topology ?? { sockets: 1, cores: maxCpus, threads: 1 };
  const guestNodes = [unboundNode(memory.units * memory.unitMib, maxCpus)];
  const where = {
    nodes: [],
    dedicated: [],
    guestNodes,
    topology,
    ...confine(request, { guestNodes, dedicated: [], vcpuPins: pins.vcpus }, survey),
  };
  const why =
    request.placement === 'none'
      ? 'It runs wherever the kernel likes, as asked for.'
      : 'It runs wherever the kernel likes: the host tells of no processors and memory by node.';
  const reasons = [
    ...memoryReasons(request, memory),
    why,
    ...topologyReasons(request, where),
    ...cpuReasons(request, { threads: 1, cores: maxCpus }, { ...where, reasons: [] }),
  ];
  return { kind: 'placed', placement: { ...where, reasons } };
}

function placeOnNodes(task: Task): PlacementResult {
  const { request, survey, memory, isBound } = task;
  const wishes = shapesOf(request, survey).map((shape) => wish(task, shape));
  // Where no memory is bound, processors alone decide.
  const views = isBound ? memoryViews(request) : (['free'] as const);
  for (const view of views) {
    for (const wanted of wishes) {
      const fit = fitOn(wanted, survey, view);
      if (fit !== undefined) return finish(task, wanted, fit);
    }
  }
  const shortages = wishes.map((wanted) => ({ wanted, room: coreRoom(wanted, survey).room }));
  const [shortage] = shortages;
  // Told for the first shape: it needs the fewest cores.
  return shortage !== undefined && shortages.every(({ wanted, room }) => sum(room) < wanted.shape.cores)
    ? refused(coresRefusal(request, shortage.wanted.shape, shortage.room, survey))
    : refused(memoryRefusal(request, memory, survey));
}

function wish({ request, survey, memory, isBound }: Task, shape: Shape): Wanted {
  const homes = homesOf(request, shape, survey);
  const own =
    request.dedicated && shape.perCore !== undefined
      ? { own: freeCores(shape.perCore, request, survey) }
      : {};
  const { near = {} } = request;
  return { shape, homes, near, ...own, memory: isBound ? memory : { ...memory, units: 0 } };
}

/** The node of each core of the guest that is pinned: that of the first processor its first pinned vCPU may run on. */
function homesOf({ pins }: PlacementRequest, { threads }: Shape, { cpus }: Survey): Map<number, number> {
  const homes = new Map<number, number>();
  for (const [vcpu, [cpu = -1]] of Object.entries(pins.vcpus)) {
    const core = Math.floor(Number(vcpu) / threads);
    const node = cpus.get(cpu)?.node;
    if (node !== undefined && !homes.has(core)) homes.set(core, node);
  }
  return homes;
}

function finish(task: Task, wanted: Wanted, fit: Fit): PlacementResult {
  const { request, survey, memory, isBound } = task;
  const { shape, homes } = wanted;
  const counts = fit.shares.map(({ survey: { node }, cores, units }) => ({
    node,
    cores,
    // Without memory that is bound, each node stands for itself.
    memoryMib: isBound ? units * memory.unitMib : 1,
  }));
  const groups = numberCores(groupShares(counts), shape.cores, homes);
  const bound = guestNodesOf(groups, shape.threads);
  const nodeIds = fit.shares.map((share) => share.survey.node.id);
  const guestNodes = isBound
    ? bound
    : [{ ...unboundNode(memory.units * memory.unitMib, request.maxCpus), cpuNodes: nodeIds }];
  const taken = dedicate(task, wanted, groups);
  if ('refusal' in taken) return refused(taken.refusal);
  const leftover = leftoverRefusal(request.name, taken.dedicated, survey);
  if (leftover !== undefined) return refused(leftover);
  const topology = request.topology ?? topologyOf(guestNodes, shape);
  const confined = confine(request, { ...taken, guestNodes }, survey);
  const nodes = isBound ? nodeIds : [];
  const placement: Placement = {
    nodes,
    guestNodes,
    topology,
    dedicated: taken.dedicated,
    ...confined,
    reasons: [],
  };
  const where = isBound
    ? nodeReasons(request, fit, survey.nodes.length)
    : [`Its memory is wherever the kernel likes${request.placement === 'none' ? ', as asked for' : ''}.`];
  const reasons = [
    ...memoryReasons(request, memory),
    ...where,
    ...topologyReasons(request, placement),
    ...cpuReasons(request, shape, placement),
  ];
  return { kind: 'placed', placement: { ...placement, reasons } };
}

type Taken = Pick<Placement, 'dedicated' | 'vcpuPins'>;

function dedicate(
  { request, survey }: Task,
  { shape, own }: Wanted,
  groups: ReturnType<typeof numberCores>,
): Taken | { readonly refusal: Refusal } {
  const { name, dedicated, pins } = request;
  if (!dedicated) return { dedicated: [], vcpuPins: {} };
  if (own === undefined) {
    const whole = wholeCores(name, new Set(Object.values(pins.vcpus).flat()), survey);
    return 'refusal' in whole ? whole : { dedicated: whole.cpus, vcpuPins: pins.vcpus };
  }
  const { threads, perCore = threads } = shape;
  const each = threads / perCore;
  const vcpuPins: Record<number, IdList> = {};
  const taken: Core[] = [];
  for (const { node, cores: numbers } of groups.flatMap(({ shares }) => shares)) {
    const hostCores = own.get(node.id)?.slice(0, numbers.length * each) ?? [];
    taken.push(...hostCores);
    const cpus = hostCores.flatMap((core) => core.cpus.slice(0, perCore));
    for (const [place, vcpu] of numbers.flatMap((core) => vcpusOf(core, threads)).entries()) {
      const cpu = cpus[place];
      if (cpu !== undefined) vcpuPins[vcpu] = [cpu];
    }
  }
  return { dedicated: taken.flatMap((core) => core.cpus).sort((a, b) => a - b), vcpuPins };
}
