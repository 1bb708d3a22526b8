/** Port: whether the kernel merges equal pages of the memory that allows it (KSM). Source: the kernel's admin-guide/mm/ksm.rst. */
export interface PageMerging {
  /** As the kernel's `run` has it: 0 off, 1 on, 2 off with everything taken apart again. Undefined where the kernel cannot merge. */
  run(): Promise<number | undefined>;
  /** 0: nothing more is merged, and what is merged stays so. Throws what the kernel says. */
  setRun(value: 0 | 1): Promise<void>;
}
