/** What the planner is asked for: the instance's own wishes over those of its profile. Pure. */
import { type Instance, type InstancePlacement, parseCpuList } from '@wirt/api';
import type { PlacementRequest } from '../placement/placement.ts';
import type { HostTopology } from '../placement/topology.ts';
import { pageSizesKib, profileOf } from './profile.ts';

type Shape = Pick<Instance, 'name' | 'spec'>;
type Wishes = { readonly spec: Pick<Instance['spec'], 'tuning'> };

/** What of the host decides whether there is anything to plan. */
export interface HostShape {
  readonly nodes: number;
  /** Some guest has processors that are nobody else's. */
  readonly isPartlyDedicated: boolean;
}

export function pageSizeOf({ spec }: Wishes): number | undefined {
  const { hugePages = profileOf(spec.tuning).hugePages } = spec.tuning ?? {};
  return hugePages === 'none' ? undefined : pageSizesKib[hugePages];
}

/** Pages that only the profile asks for are no demand: without them the guest has the host's own. */
export function demandsPages({ spec }: Wishes): boolean {
  return spec.tuning?.hugePages !== undefined;
}

export function withoutPages({ pageSizeKib: _pageSizeKib, ...request }: PlacementRequest): PlacementRequest {
  return request;
}

export function isDedicated({ spec }: Wishes): boolean {
  return spec.tuning?.dedicated ?? profileOf(spec.tuning).dedicated;
}

export function placementOf({ spec }: Wishes): 'auto' | 'none' {
  return spec.tuning?.placement ?? profileOf(spec.tuning).placement;
}

/**
 * Whether the guest has to be placed. On a host with one node and nobody's own processors, the kernel does as well without being told, and
 * the host need not be looked at.
 */
export function needsPlacing(instance: Shape, host: HostShape): boolean {
  const { topology, placement } = instance.spec.tuning ?? {};
  return (
    host.isPartlyDedicated ||
    (placementOf(instance) === 'auto' && (host.nodes > 1 || placement === 'auto')) ||
    isDedicated(instance) ||
    pageSizeOf(instance) !== undefined ||
    userPinsOf(instance) !== undefined ||
    topology !== undefined
  );
}

type UserPins = NonNullable<InstancePlacement['userPins']>;

/** Undefined where the user pins nothing. */
export function userPinsOf({ spec }: Wishes): UserPins | undefined {
  const { vcpuPins, emulatorPin, iothreadPin } = spec.tuning ?? {};
  const pins = {
    ...(vcpuPins === undefined ? {} : { vcpus: vcpuPins }),
    ...(emulatorPin === undefined ? {} : { emulator: emulatorPin }),
    ...(iothreadPin === undefined ? {} : { iothreads: iothreadPin }),
  };
  return Object.keys(pins).length === 0 ? undefined : pins;
}

const ids = (text: string): number[] => parseCpuList(text) ?? [];

export function pinsOfUser({ vcpus = {}, emulator, iothreads }: UserPins): PlacementRequest['pins'] {
  return {
    vcpus: Object.fromEntries(Object.entries(vcpus).map(([vcpu, cpus]) => [vcpu, ids(cpus)])),
    ...(emulator === undefined ? {} : { emulator: ids(emulator) }),
    ...(iothreads === undefined ? {} : { iothreads: ids(iothreads) }),
  };
}

/**
 * `pages`: whether Wirt may make huge pages of free memory. Pages that only the profile asks for are left out where the host has none
 * and cannot be given any; where it has too few, the planner says so of this request, and `withoutPages` is the next.
 */
export function requestOf(
  instance: Shape,
  host: HostTopology,
  pages: { readonly mayReserve: boolean; readonly mayOvercommit?: boolean },
): PlacementRequest {
  const { name, spec } = instance;
  const { cpus, maxCpus = cpus, memoryMib, overcommit, tuning = {} } = spec;
  const { topology } = tuning;
  const sizeKib = pageSizeOf(instance);
  const hasPool = host.nodes.some(({ hugePages }) =>
    hugePages.some((pool) => pool.sizeKib === sizeKib && (pool.total > 0 || pages.mayReserve)),
  );
  const pageSizeKib = !demandsPages(instance) && !hasPool ? undefined : sizeKib;
  return {
    name,
    cpus,
    maxCpus: Math.max(cpus, maxCpus),
    memoryMib,
    ...(pageSizeKib === undefined ? {} : { pageSizeKib }),
    mayReservePages: pages.mayReserve,
    placement: placementOf(instance),
    dedicated: isDedicated(instance),
    pins: pinsOfUser(userPinsOf(instance) ?? {}),
    ...(topology === undefined ? {} : { topology }),
    // How much may be promised beyond is for admission to say.
    overcommit: overcommit || pages.mayOvercommit === true,
  };
}
