// Which uids of a range have a process, in one pass over /proc. Claims already keep guests apart; this catches a guest that
// runs on after its claim was lost, as when somebody emptied the directory of claims.
import { readdirSync, readFileSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import type { UidRange } from './uid-range.ts';

export function createUidScan({ first, count }: UidRange): () => Promise<ReadonlySet<number>> {
  let running: Promise<ReadonlySet<number>> | undefined;
  let next: Promise<ReadonlySet<number>> | undefined;

  async function scan(): Promise<ReadonlySet<number>> {
    const used = new Set<number>();
    const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
    for (const [index, pid] of pids.entries()) {
      // Reads of /proc do not block; still, a thousand of them are not done in one go.
      if (index % 64 === 63) await turn();
      for (const uid of uidsOf(pid)) if (uid >= first && uid < first + count) used.add(uid);
    }
    return used;
  }

  // Who asks while a pass is under way shares the pass after it: its answer must not be older than the question.
  return function used(): Promise<ReadonlySet<number>> {
    if (running === undefined) {
      running = scan().finally(() => {
        running = undefined;
      });
      return running;
    }
    next ??= running
      .catch(() => undefined)
      .then(() => {
        next = undefined;
        return used();
      });
    return next;
  };
}

function uidsOf(pid: string): number[] {
  try {
    const line = /^Uid:\s+(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1];
    return (line ?? '').split(/\s+/).map(Number);
  } catch {
    return []; // gone in between
  }
}
