/** The control group of each guest. Limits come with their own issue; here it holds, counts and names the processes. */

export interface ControlGroup {
  /**
   * Files that the starting process writes `0` into, one per hierarchy, before it has a second thread (some are v1's
   * `tasks`, which moves only the thread that writes); may be empty.
   */
  readonly joinFiles: readonly string[];
  /** Under systemd: the transient scope that the process is started in. */
  readonly scopeUnit?: string;
}

export interface ResourceControl {
  /** Makes the guest's group in every hierarchy there is; an existing one is kept. Throws `host.cgroup_failed`. */
  create(id: string): Promise<ControlGroup>;
  /** Kills what is left in the group and removes it. Nothing to remove is fine. Throws `host.cgroup_failed`. */
  remove(id: string, signal: AbortSignal): Promise<void>;
  /** Ids that have a group of this daemon's. */
  list(): Promise<string[]>;
  /** How many of the group's processes the kernel has killed for memory; 0 where it is not counted. */
  oomKills(id: string): Promise<number>;
}
