/**
 * Port: the host's pools of huge pages, by NUMA node. A driver sets what the kernel holds and says what there is; which guest
 * is promised which pages is core's business. Source: the kernel's admin-guide/mm/hugetlbpage.rst.
 */
export interface NodePages {
  readonly node: number;
  readonly sizeKib: number;
  /** All of them, those in use and those in surplus too. */
  readonly total: number;
  /** In nobody's use; some may be promised already to a process that has not touched them. */
  readonly free: number;
  /** In use, and more than was set: the kernel takes each as soon as its user lets go. */
  readonly surplus: number;
}

export interface HugePageReserve {
  /** By node, then by size. Sizes that the host does not have are absent. */
  pages(signal: AbortSignal): Promise<readonly NodePages[]>;
  /**
   * Sets how many pages the node holds, and answers how many there are then. That is fewer where memory is too scattered,
   * or where the node or the size is not there (0); more where pages are in use, which are never taken away (they become
   * `surplus`). Not atomic towards others who set the same pool: callers that add to it take turns.
   * Throws `host.permission_denied`, `host.storage_read_only` (sysfs is mounted read-only), and the signal's reason, with
   * what was reserved until then kept.
   */
  setTotal(node: number, sizeKib: number, total: number, signal: AbortSignal): Promise<number>;
}
