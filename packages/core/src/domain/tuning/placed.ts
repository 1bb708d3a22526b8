/** A placement as the record of an instance has it, as the planner has it, and as QEMU and its threads are told. Pure. */
import { type Instance, type InstancePlacement, parseCpuList, printCpuList } from '@wirt/api';
import type { GuestPins, PlannedPlacement } from '../guest.ts';
import type { Placement } from '../placement/placement.ts';

export function recordOf(
  placement: Placement,
  {
    pageSizeKib,
    reserved,
    userPins,
  }: {
    readonly pageSizeKib: number | undefined;
    readonly reserved: NonNullable<InstancePlacement['reserved']>;
    readonly userPins: InstancePlacement['userPins'];
  },
): InstancePlacement {
  const { nodes, dedicated, groupCpus, emulatorPins, iothreadPins, topology, guestNodes, reasons } =
    placement;
  return {
    nodes: [...nodes],
    ...(pageSizeKib === undefined ? {} : { pageSizeKib }),
    ...(reserved.length === 0 ? {} : { reserved }),
    ...(userPins === undefined ? {} : { userPins }),
    ...(dedicated.length === 0 ? {} : { dedicated: printCpuList(dedicated) }),
    ...(groupCpus === undefined ? {} : { groupCpus: printCpuList(groupCpus) }),
    vcpuPins: Object.fromEntries(
      Object.entries(placement.vcpuPins).map(([vcpu, cpus]) => [vcpu, printCpuList(cpus)]),
    ),
    ...(emulatorPins === undefined ? {} : { emulatorPin: printCpuList(emulatorPins) }),
    ...(iothreadPins === undefined ? {} : { iothreadPin: printCpuList(iothreadPins) }),
    topology: { ...topology },
    guestNodes: guestNodes.map(({ memoryMib, vcpus, hostNode, cpuNodes, distances }) => ({
      memoryMib,
      vcpus: printCpuList(vcpus),
      ...(hostNode === undefined ? {} : { hostNode }),
      cpuNodes: [...cpuNodes],
      distances: [...distances],
    })),
    reasons: [...reasons],
  };
}

const ids = (text: string): number[] => parseCpuList(text) ?? [];

export function placementOfRecord(record: InstancePlacement): Placement {
  const { nodes, dedicated, groupCpus, emulatorPin, iothreadPin, topology, guestNodes, reasons } = record;
  return {
    nodes,
    dedicated: dedicated === undefined ? [] : ids(dedicated),
    ...(groupCpus === undefined ? {} : { groupCpus: ids(groupCpus) }),
    vcpuPins: Object.fromEntries(Object.entries(record.vcpuPins).map(([vcpu, cpus]) => [vcpu, ids(cpus)])),
    ...(emulatorPin === undefined ? {} : { emulatorPins: ids(emulatorPin) }),
    ...(iothreadPin === undefined ? {} : { iothreadPins: ids(iothreadPin) }),
    topology,
    guestNodes: guestNodes.map(({ memoryMib, vcpus, hostNode, cpuNodes, distances }) => ({
      memoryMib,
      vcpus: ids(vcpus),
      ...(hostNode === undefined ? {} : { hostNode }),
      cpuNodes,
      distances,
    })),
    reasons,
  };
}

export function plannedOf(
  { guestNodes, topology }: Placement,
  pageSizeKib: number | undefined,
): PlannedPlacement {
  return {
    nodes: guestNodes.map(({ memoryMib, vcpus, hostNode, distances }) => ({
      memoryMib,
      vcpus,
      distances,
      ...(hostNode === undefined ? {} : { hostNode }),
    })),
    topology,
    ...(pageSizeKib === undefined ? {} : { pageSizeKib }),
  };
}

/** `shared`: processors that are nobody's alone, for a guest that is confined to none. */
export function pinsOf(placement: Placement, shared: readonly number[]): GuestPins {
  const { groupCpus = shared, vcpuPins, emulatorPins, iothreadPins } = placement;
  return {
    group: groupCpus,
    vcpus: vcpuPins,
    ...(emulatorPins === undefined ? {} : { emulator: emulatorPins }),
    ...(iothreadPins === undefined ? {} : { iothreads: iothreadPins }),
  };
}

/** As it runs: memory that is asked for is rounded up to whole pages, where those are huge. */
export function inWholePages(instance: Instance): Instance {
  const { spec, status } = instance;
  const { pageSizeKib } = status.placement ?? {};
  if (pageSizeKib === undefined) return instance;
  const pageMib = pageSizeKib / 1024;
  const memoryMib = Math.ceil(spec.memoryMib / pageMib) * pageMib;
  return { ...instance, spec: { ...spec, memoryMib } };
}
