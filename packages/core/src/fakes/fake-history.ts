/** What instances used, in memory and without an end. */
import type { UsageHistoryStore, UsageSample } from '../ports/usage-history.ts';

export interface FakeHistory extends UsageHistoryStore {
  readonly samples: Map<string, UsageSample[]>;
}

export function createFakeHistory(): FakeHistory {
  const samples = new Map<string, UsageSample[]>();
  return {
    samples,
    add: (all) => {
      for (const [id, sample] of all) samples.set(id, [...(samples.get(id) ?? []), sample]);
    },
    read: async (id, { fromMs, toMs }) =>
      (samples.get(id) ?? []).filter(({ atMs }) => atMs > fromMs && atMs <= toMs),
    forget: async (id) => void samples.delete(id),
    list: async () => [...samples.keys()],
    close: () => undefined,
  };
}
