/** Packets that rates have dropped, by interface, over queueing disciplines that come and go: each counts from nought. */
import type { Qdisc } from './tc-state.ts';

export interface DropCounts {
  take(qdiscs: ReadonlyMap<string, Pick<Qdisc, 'dropped'>>): void;
  of(name: string): number;
  /** Forgets all others. */
  keep(names: { has(name: string): boolean }): void;
}

export function createDropCounts(): DropCounts {
  const counts = new Map<string, { readonly earlier: number; readonly last: number }>();
  return {
    take(qdiscs) {
      for (const [name, { dropped }] of qdiscs) {
        const { earlier, last } = counts.get(name) ?? { earlier: 0, last: 0 };
        if (dropped === last) continue;
        counts.set(name, { earlier: dropped < last ? earlier + last : earlier, last: dropped });
      }
      // A name that is there no more belonged to a port that is gone, or has another rate soon.
      for (const [name, { earlier, last }] of counts)
        if (!qdiscs.has(name) && last > 0) counts.set(name, { earlier: earlier + last, last: 0 });
    },
    of(name) {
      const { earlier = 0, last = 0 } = counts.get(name) ?? {};
      return earlier + last;
    },
    keep(names) {
      for (const name of counts.keys()) if (!names.has(name)) counts.delete(name);
    },
  };
}
