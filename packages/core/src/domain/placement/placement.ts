/** What is asked of the planner, what is taken already, and what it answers. Pure data. */
import type { HostTopology } from './topology.ts';

/** Numbers of processors or nodes, ascending, none twice. */
export type IdList = readonly number[];

/** What a running or admitted guest holds. */
export interface Holding {
  /** The instance's name, for refusals. */
  readonly name: string;
  /** Processors that nobody else may use. */
  readonly dedicated: IdList;
  /** Processors that its user has pinned it to and that it shares: no other guest gets them for itself. */
  readonly pinned?: IdList;
  readonly vcpus: number;
  /** Nodes that its vCPUs run on; empty where they run anywhere. */
  readonly nodes: IdList;
  /** Of its memory, by node; what is not placed is under none. */
  readonly memoryMib: Readonly<Record<number, number>>;
  /** Size of the huge pages that its memory is of; undefined: of the host's own pages. */
  readonly pageSizeKib?: number;
}

export interface PlacementRequest {
  readonly name: string;
  readonly cpus: number;
  readonly memoryMib: number;
  /** Size of the huge pages it is given; undefined: those of the host. `memoryMib` is rounded up to it. */
  readonly pageSizeKib?: number;
  /** Wirt may make huge pages of free memory: `pagesToReserve` says then which. */
  readonly mayReservePages?: boolean;
  /** `auto`: on the fewest nodes that hold it; `none`: wherever the kernel likes. */
  readonly placement: 'auto' | 'none';
  /** Every vCPU gets a processor of its own, and no other guest runs there. */
  readonly dedicated: boolean;
  /** What the user has pinned by hand; wins over what the planner would choose. */
  readonly pins: {
    /** By number of the vCPU. */
    readonly vcpus: Readonly<Record<number, IdList>>;
    readonly emulator?: IdList;
    readonly iothreads?: IdList;
  };
  /** Of the guest, where the user wants it; else it follows from the host's. `sockets * cores * threads` is `maxCpus`. */
  readonly topology?: { readonly sockets: number; readonly cores: number; readonly threads: number };
  readonly maxCpus: number;
  /** By node of the host, how many of its devices hang there: such nodes are preferred. */
  readonly near?: Readonly<Record<number, number>>;
  /** The guest may start although the nodes have less memory. Huge pages are never overcommitted: a guest that touches one that is not there dies. */
  readonly overcommit: boolean;
}

/** A node of the guest, with memory, and with vCPUs but where the host's node has no processors to give. */
export interface GuestNode {
  readonly memoryMib: number;
  readonly vcpus: IdList;
  /** That its memory is bound to; undefined: to none. */
  readonly hostNode?: number;
  /** Nodes of the host on whose processors its vCPUs run: `hostNode`, and those near it that give processors and no memory. */
  readonly cpuNodes: IdList;
  /** To each node of the guest, in their order; 10 is here. */
  readonly distances: readonly number[];
}

export interface Placement {
  /** Of the host, ascending; empty: anywhere. */
  readonly nodes: IdList;
  /** Processors of each vCPU, by its number; what is absent runs wherever the guest's group may. */
  readonly vcpuPins: Readonly<Record<number, IdList>>;
  /** Where QEMU's own threads, and those of its disks, run; undefined: with the vCPUs. */
  readonly emulatorPins?: IdList;
  readonly iothreadPins?: IdList;
  /** The processors of the guest as a whole; undefined: all that are not dedicated to others. */
  readonly groupCpus?: IdList;
  /** Whole cores: those of the vCPUs and their siblings that idle. */
  readonly dedicated: IdList;
  /** What the guest sees. One node where it is on one, or on none in particular. */
  readonly guestNodes: readonly GuestNode[];
  readonly topology: { readonly sockets: number; readonly cores: number; readonly threads: number };
  /** One sentence for each decision, in the order they were made, for `wirt show --tuning`. */
  readonly reasons: readonly string[];
}

export type PlacementResult =
  | { readonly kind: 'placed'; readonly placement: Placement }
  | { readonly kind: 'refused'; readonly refusal: Refusal };

/** Why a guest cannot be placed; what the sums are is in `details`. */
export interface Refusal {
  readonly code:
    | 'host.no_such_cpu'
    | 'host.cpus_taken'
    | 'host.insufficient_huge_pages'
    | 'host.insufficient_memory'
    | 'instance.invalid_topology';
  readonly message: string;
  readonly hint: string;
  readonly details: Readonly<Record<string, string | number>>;
}

export interface PlacementGround {
  readonly host: HostTopology;
  /** Of all guests but the one that is placed. */
  readonly holdings: readonly Holding[];
}
