/** The control group of each guest: it holds, counts and names the processes, and limits what they take together. */
import type { InstanceProcess } from '@wirt/api';
import type { GroupLimitKey, GroupLimits } from '../domain/limits/group-limits.ts';

export interface ControlGroup {
  /**
   * Files that the starting process writes `0` into, one per hierarchy, before it has a second thread (some are v1's
   * `tasks`, which moves only the thread that writes); may be empty.
   */
  readonly joinFiles: readonly string[];
  /** Under systemd: the transient scope that the process is started in. */
  readonly scopeUnit?: string;
}

/** Counters of a group since it was made, and what it holds. What the kernel does not tell is absent. */
export interface GroupUsage {
  readonly cpuSeconds: number;
  readonly periods: number;
  readonly throttledPeriods: number;
  readonly throttledSeconds: number;
  readonly memoryBytes: number;
  readonly swappedBytes?: number;
  /** PSI `some avg10`, as a share of 1. */
  readonly pressure: { readonly cpu?: number; readonly memory?: number; readonly io?: number };
  /** Of the threads asked for, in their order: time on a processor, and time ready without one (schedstat's run delay). */
  readonly threads: readonly { readonly cpuSeconds: number; readonly stealSeconds: number }[];
}

export interface ResourceControl {
  /** Makes the guest's group in every hierarchy there is; an existing one is kept. Throws `host.cgroup_failed`. */
  create(id: string): Promise<ControlGroup>;
  /** Kills what is left in the group and removes it. Nothing to remove is fine. Throws `host.cgroup_failed`. */
  remove(id: string, signal: AbortSignal): Promise<void>;
  /** Ids that have a group of this daemon's. */
  list(): Promise<string[]>;
  /**
   * Holds the group to exactly these limits; those that are absent are taken away. In force when it returns. A group that somebody else has
   * removed is made again and takes the process in, with all its threads. The same again costs next to nothing. Throws `limit.unsupported` (with `details.key`, a
   * GroupLimitKey, and nothing changed) for what this host cannot keep, `limit.failed` with the kernel's words as cause.
   */
  limit(id: string, limits: GroupLimits, process: InstanceProcess | undefined): Promise<void>;
  /** The limits as the kernel has them now, rounded as it rounds; undefined where there is no group, or it does not hold the process. Cheap. */
  limits(id: string, process: InstanceProcess | undefined): Promise<GroupLimits | undefined>;
  /** Why this host cannot keep a limit of this kind, with the next step as a hint; undefined when it can. */
  refuses(key: GroupLimitKey): { readonly why: string; readonly hint: string } | undefined;
  /**
   * What a guest uses; undefined where there is no group. Synchronous and made for a thousand in a row: a few reads of files that stay open.
   * `threads`: thread ids of the process.
   */
  usage(id: string, process: InstanceProcess, threads: readonly number[]): GroupUsage | undefined;
  /** How many of the group's processes the kernel has killed for memory; 0 where it is not counted. */
  oomKills(id: string): Promise<number>;
}
