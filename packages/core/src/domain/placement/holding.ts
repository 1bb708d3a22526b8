/** What a placed guest holds from then on, as the planner counts it for the next ones. Pure. */
import type { Holding, Placement, PlacementRequest } from './placement.ts';

export function holdingOf(request: PlacementRequest, { dedicated, guestNodes }: Placement): Holding {
  const { name, pins, maxCpus, pageSizeKib } = request;
  const own = new Set(dedicated);
  const pinned = new Set([
    ...Object.values(pins.vcpus).flat(),
    ...(pins.emulator ?? []),
    ...(pins.iothreads ?? []),
  ]);
  const memoryMib: Record<number, number> = {};
  for (const node of guestNodes) {
    if (node.hostNode !== undefined)
      memoryMib[node.hostNode] = (memoryMib[node.hostNode] ?? 0) + node.memoryMib;
  }
  return {
    name,
    dedicated,
    pinned: [...pinned].filter((cpu) => !own.has(cpu)).sort((a, b) => a - b),
    vcpus: maxCpus,
    nodes: [...new Set(guestNodes.flatMap(({ cpuNodes }) => cpuNodes))].sort((a, b) => a - b),
    memoryMib,
    ...(pageSizeKib === undefined ? {} : { pageSizeKib }),
  };
}
