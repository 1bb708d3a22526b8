/** The processors that the threads of a placed guest may use, as other guests come and go. Pure. */
import type { IdList, Placement, PlacementGround, PlacementRequest } from './placement.ts';
import { type Survey, surveyOf } from './survey.ts';

type Confined = Pick<Placement, 'vcpuPins' | 'emulatorPins' | 'iothreadPins' | 'groupCpus'>;

/** Where the guest is, and which of its vCPUs have a processor of their own. */
type Placed = Pick<Placement, 'guestNodes' | 'dedicated' | 'vcpuPins'>;

/**
 * The same placement after other guests took processors for themselves or gave them back: what is shared shrinks and grows, what is dedicated or pinned by
 * the user stays. Call it for each running guest after a change of who has dedicated processors. `ground` is without the guest itself.
 */
export function reconfine(
  request: PlacementRequest,
  placement: Placement,
  ground: PlacementGround,
): Placement {
  const { nodes, dedicated, guestNodes, topology, reasons } = placement;
  return {
    nodes,
    dedicated,
    guestNodes,
    topology,
    reasons,
    ...confine(request, placement, surveyOf(ground)),
  };
}

export function confine({ pins }: PlacementRequest, placed: Placed, survey: Survey): Confined {
  const { guestNodes, dedicated } = placed;
  const own = new Set(dedicated);
  const sharedOn = (nodes: IdList): number[] =>
    survey.nodes
      .filter(({ node }) => nodes.includes(node.id))
      .flatMap(({ cpus }) => cpus)
      .filter((cpu) => !own.has(cpu))
      .sort((a, b) => a - b);
  const everywhere = (): number[] => sharedOn(survey.nodes.map(({ node }) => node.id));
  const cpuNodes = [...new Set(guestNodes.flatMap((node) => node.cpuNodes))];
  const isBound = cpuNodes.length > 0;
  const near = sharedOn(cpuNodes);
  const around = near.length > 0 ? near : everywhere();
  const userPins = {
    ...(pins.emulator === undefined ? {} : { emulatorPins: pins.emulator }),
    ...(pins.iothreads === undefined ? {} : { iothreadPins: pins.iothreads }),
  };
  if (dedicated.length > 0) {
    const threads = { emulatorPins: around, iothreadPins: around, ...userPins };
    const groupCpus = union(dedicated, threads.emulatorPins, threads.iothreadPins);
    return { vcpuPins: placed.vcpuPins, ...threads, groupCpus };
  }
  const vcpuPins: Record<number, IdList> = {};
  for (const node of guestNodes.length > 1 ? guestNodes : []) {
    const cpus = sharedOn(node.cpuNodes);
    for (const vcpu of node.vcpus) vcpuPins[vcpu] = cpus.length > 0 ? cpus : around;
  }
  Object.assign(vcpuPins, pins.vcpus);
  if (!isBound) return { vcpuPins, ...userPins };
  const pinned = [...Object.values(pins.vcpus), pins.emulator ?? [], pins.iothreads ?? []];
  return { vcpuPins, ...userPins, groupCpus: union(around, ...pinned) };
}

function union(...lists: readonly IdList[]): number[] {
  return [...new Set(lists.flat())].sort((a, b) => a - b);
}
