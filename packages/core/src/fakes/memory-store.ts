/** The Store port in memory, for tests of actions. Keeps every change; nothing is durable. */
import { WirtError } from '@wirt/api';
import type { Change, Json, Store, StoredRecord, Write } from '../ports/store.ts';

export interface MemoryStore extends Store {
  /** How many turns of the event loop a write takes. */
  turns: number;
  /** Makes the next writes fail until called with undefined. */
  failWith(error: Error | undefined): void;
}

export function createMemoryStore(): MemoryStore {
  const records = new Map<string, StoredRecord>();
  const changes: Change[] = [];
  const wakers = new Set<() => void>();
  let revision = 0;
  let failure: Error | undefined;

  function check(write: Write): void {
    const present = records.get(write.key)?.revision ?? 0;
    if (write.ifRevision === undefined || write.ifRevision === present) return;
    throw new WirtError('store.conflict', `${write.key} is at revision ${present}.`, {
      details: { key: write.key },
    });
  }

  function apply(write: Write): void {
    const previous = records.get(write.key)?.value;
    // What JSON cannot say must not survive the store, as it would not survive a real one.
    const value = write.type === 'put' ? (JSON.parse(JSON.stringify(write.value)) as Json) : undefined;
    if (value === undefined) records.delete(write.key);
    else records.set(write.key, { key: write.key, value, revision });
    if (value !== undefined || previous !== undefined)
      changes.push({ revision, atMs: 0, key: write.key, value, previous });
  }

  const store: MemoryStore = {
    turns: 1,
    get: (key) => Promise.resolve(records.get(key)),
    list: (prefix, { after = '', limit = Number.POSITIVE_INFINITY } = {}) =>
      Promise.resolve(
        [...records.values()]
          .filter(({ key }) => key.startsWith(prefix) && key > after)
          .sort((a, b) => (a.key < b.key ? -1 : 1))
          .slice(0, limit),
      ),
    write: async (writes) => {
      for (let turn = 0; turn < store.turns; turn += 1) await Promise.resolve();
      if (failure !== undefined) throw failure;
      for (const write of writes) check(write);
      revision += 1;
      for (const write of writes) apply(write);
      for (const wake of wakers) wake();
      return revision;
    },
    revision: () => Promise.resolve(revision),
    async *watch(prefix, { since = revision, signal }) {
      let next = changes.findIndex((change) => change.revision > since);
      if (next < 0) next = changes.length;
      while (!signal.aborted) {
        const change = changes[next];
        if (change === undefined) {
          await new Promise<void>((resolve) => {
            const wake = (): void => {
              wakers.delete(wake);
              resolve();
            };
            wakers.add(wake);
            signal.addEventListener('abort', wake, { once: true });
          });
          continue;
        }
        next += 1;
        if (change.key.startsWith(prefix)) yield change;
      }
    },
    failWith: (error) => {
      failure = error;
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
  return store;
}
