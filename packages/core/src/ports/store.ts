/**
 * Where records live: keys with JSON values, revisions, compare-and-set, transactions, a watch that resumes, and
 * values that expire. Shaped so that SQLite and etcd both fit. What `write` has acknowledged survives power loss.
 */

/** Any JSON value. The store hands back what was put, as a value of its own. */
export type Json =
  | null
  | boolean
  | number
  | string
  | readonly Json[]
  | { readonly [key: string]: Json | undefined };

export interface StoredRecord {
  readonly key: string;
  readonly value: Json;
  /** Revision of the transaction that wrote it last. */
  readonly revision: number;
}

export type Write =
  | {
      readonly type: 'put';
      readonly key: string;
      readonly value: Json;
      /** Compare-and-set: the key's present revision; 0 when it must not exist. Unconditional without it. */
      readonly ifRevision?: number;
      /** The record expires this long after the write, as by an etcd lease; expiry is a delete that watchers see. */
      readonly ttlMs?: number;
    }
  | { readonly type: 'delete'; readonly key: string; readonly ifRevision?: number };

export interface Change {
  readonly revision: number;
  /** Wall-clock time of the write, ms since 1970. */
  readonly atMs: number;
  readonly key: string;
  /** Undefined when deleted. */
  readonly value: Json | undefined;
  /** The value before; undefined when created. */
  readonly previous: Json | undefined;
}

export interface Store extends AsyncDisposable {
  get(key: string): Promise<StoredRecord | undefined>;
  /** Records whose key begins with `prefix`, by key; at most `limit` behind the key `after`. */
  list(prefix: string, page?: { readonly after?: string; readonly limit?: number }): Promise<StoredRecord[]>;
  /**
   * All writes or none; one new revision, which is returned when it is durable. Throws `store.conflict` (details:
   * key) when a condition fails, `host.storage_full`, `host.storage_read_only` or `store.failed` otherwise.
   */
  write(writes: readonly Write[]): Promise<number>;
  /** The revision of the latest transaction; 0 in an empty store. */
  revision(): Promise<number>;
  /**
   * Changes of keys beginning with `prefix`, each once and in order, first those after `since`, then live, until
   * `signal` aborts (ends without an error). Without `since`: from now on, where every write counts that was not
   * acknowledged at the call, since those who wrote it may still show what was before. Throws `event.compacted` when
   * changes after `since` are no longer kept.
   */
  watch(
    prefix: string,
    options: { readonly since?: number; readonly signal: AbortSignal },
  ): AsyncIterable<Change>;
}
