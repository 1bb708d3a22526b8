/** The host's processors, memory nodes and huge pages as placement needs them. Pure data; drivers read it from the host, tests have recorded hosts and ones made by rule. */

/** A logical processor that is online. */
export interface HostCpu {
  readonly id: number;
  readonly node: number;
  readonly socket: number;
  /** Unique on the host: threads of one core have the same. */
  readonly core: number;
}

export interface HugePages {
  readonly sizeKib: number;
  readonly total: number;
  readonly free: number;
}

/** A NUMA node that is online. It may have no processors (memory only), or no memory. */
export interface HostNode {
  readonly id: number;
  /** With what is set aside as huge pages, as `MemTotal` of the node counts. */
  readonly totalMib: number;
  /** What guests can have now: free, and what the kernel gives back when asked (its file cache); huge pages do not count. */
  readonly freeMib: number;
  /** To each node by its id, as ACPI's SLIT says it: 10 is here. What is absent is not known. */
  readonly distances: Readonly<Record<number, number>>;
  readonly hugePages: readonly HugePages[];
}

export interface HostTopology {
  readonly cpus: readonly HostCpu[];
  readonly nodes: readonly HostNode[];
}
