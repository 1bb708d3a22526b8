/** Keeps what instances used, in bounded space: steps of 5 s for an hour, of 5 min for a month (31 days). */
import type { UsagePoint } from '@wirt/api';

/** A sample of a moment; `atMs` is the end of its step, in milliseconds since 1970. */
export type UsageSample = Omit<UsagePoint, 'at'> & { readonly atMs: number };

export interface UsageHistoryStore {
  /**
   * Adds one sample for each instance; means of 5 min come of them by themselves. Synchronous and made for a thousand in a row; not durable at
   * once: a crash of the host may lose the last. Throws `host.storage_full` and `store.failed`; what is there stays readable.
   */
  add(samples: ReadonlyMap<string, UsageSample>): void;
  /**
   * Means over steps of `resolutionMs` that end on its multiples since 1970, oldest first; those with `fromMs` < end <= `toMs`, whole steps only, and where there
   * was a sample. From the coarse ring where `resolutionMs` is not below its step, and for what the fine one has no more; a coarse mean is then
   * in the step in which it ends. Of two samples of the same 5 s the later stays, and the mean of 5 min has both. What is damaged is left out.
   */
  read(
    id: string,
    range: { readonly fromMs: number; readonly toMs: number; readonly resolutionMs: number },
  ): Promise<UsageSample[]>;
  /** Of an instance that is gone. Nothing there is fine. */
  forget(id: string): Promise<void>;
  /** Ids that it has something of. */
  list(): Promise<string[]>;
  close(): void;
}
