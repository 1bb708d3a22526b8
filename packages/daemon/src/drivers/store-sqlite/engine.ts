/**
 * Records, changes and revisions on an open database: the store itself, synchronous and without waiting. One call of
 * `commit` is one transaction on disk for many logical ones, each of which is all or nothing and has its own revision.
 */
import type { DatabaseSync, SQLOutputValue } from 'node:sqlite';
import { failureOf } from './failure.ts';
import { endOfPrefix } from './key-range.ts';
import type {
  ChangePage,
  WatchPosition,
  WireChange,
  WireFailure,
  WireRecord,
  WireWrite,
} from './protocol.ts';
import { prepareStatements } from './statements.ts';

const PAGE_CHANGES = 256;
const PAGE_CHARACTERS = 1 << 20;
const EXPIRED_AT_ONCE = 256;
/** So many transactions in a row that the host refuses, and the rest of a group is refused without being tried. */
const HOPELESS_AFTER = 3;

export interface EngineClock {
  wallMs(): number;
  monotonicMs(): number;
}

export interface EngineOptions {
  readonly database: DatabaseSync;
  readonly directory: string;
  readonly keepChanges: number;
  readonly clock: EngineClock;
}

/** The answer to each transaction of a group, in order: its revision, or why nothing of it was done. */
export type CommitResult =
  | { readonly type: 'committed'; readonly revision: number }
  | { readonly type: 'failed'; readonly failure: WireFailure };

export interface Commit {
  readonly results: readonly CommitResult[];
  readonly changes: readonly WireChange[];
}

/** Where the store stands. Replaced as a whole when a transaction is on disk, so that a rollback needs no repair. */
interface Head {
  revision: number;
  seq: number;
  oldestSeq: number;
  oldestRevision: number;
}

export class Engine {
  readonly #database: DatabaseSync;
  readonly #sql: ReturnType<typeof prepareStatements>;
  readonly #directory: string;
  readonly #keepChanges: number;
  readonly #clock: EngineClock;
  // Records expire on a clock that runs on monotonic time from the wall-clock time at opening: a clock that is set
  // while the daemon runs changes nothing. One set back between two runs adds no more than the record's own time.
  readonly #openedAt: { readonly wallMs: number; readonly monotonicMs: number };
  #head: Head;

  constructor({ database, directory, keepChanges, clock }: EngineOptions) {
    this.#database = database;
    this.#sql = prepareStatements(database);
    this.#directory = directory;
    this.#keepChanges = keepChanges;
    this.#clock = clock;
    this.#openedAt = { wallMs: clock.wallMs(), monotonicMs: clock.monotonicMs() };
    try {
      this.#sql.clampExpiry.run({ now: this.#expiryNowMs() });
    } catch {
      // On a full disk: the records then live longer than asked, which is no reason not to start.
    }
    this.#head = this.#readHead();
  }

  revision(): number {
    return this.#head.revision;
  }

  get(key: string): WireRecord | undefined {
    const row = this.#sql.get.get(key);
    return row ? toRecord(row) : undefined;
  }

  *list(prefix: string, after: string | undefined, limit: number | undefined): Generator<WireRecord> {
    const rows = this.#sql.list.iterate({
      prefix,
      // The least key above `after`.
      from: after === undefined ? '' : `${after}\0`,
      end: endOfPrefix(prefix) ?? null,
      limit: limit ?? -1,
    });
    for (const row of rows) yield toRecord(row);
  }

  /** The first changes behind `from`, maybe none yet; or why the watch cannot go on from there. */
  changes(prefix: string, from: WatchPosition): ChangePage | WireFailure {
    const seq = this.#seqOf(from);
    if (typeof seq !== 'number') return seq;
    const rows = this.#sql.changesAfter.iterate({ seq, from: prefix, end: endOfPrefix(prefix) ?? null });
    return firstPage(rows.map(toChange), this.#head.seq);
  }

  /** Each of `transactions` all or nothing; on disk when it returns. Throws never. */
  commit(transactions: readonly (readonly WireWrite[])[]): Commit {
    try {
      return this.#attempt(transactions);
    } catch {
      return this.#commitEach(transactions);
    }
  }

  /** Deletes what is due, some at a time; ask `nextExpiryMs` again afterwards. */
  expire(): Commit {
    const due = this.#sql.due.all({ now: this.#expiryNowMs(), limit: EXPIRED_AT_ONCE });
    if (due.length === 0) return { results: [], changes: [] };
    return this.commit([due.map((row) => ({ key: textIn(row, 'key') ?? '', ...DELETE }))]);
  }

  /** Milliseconds until a record expires; undefined when none ever does. */
  nextExpiryMs(): number | undefined {
    const at = this.#sql.nextExpiry.get()?.['at'];
    return at === undefined || at === null ? undefined : Math.max(0, Number(at) - this.#expiryNowMs());
  }

  #expiryNowMs(): number {
    return Math.floor(this.#openedAt.wallMs + this.#clock.monotonicMs() - this.#openedAt.monotonicMs);
  }

  #readHead(): Head {
    const first = this.#sql.firstChange.get();
    const last = this.#sql.lastChange.get();
    return {
      revision: Number(last?.['revision'] ?? 0),
      seq: Number(last?.['seq'] ?? 0),
      oldestSeq: Number(first?.['seq'] ?? 1),
      oldestRevision: Number(first?.['revision'] ?? 1),
    };
  }

  /** One transaction on disk. Throws, with nothing done, when SQLite fails. */
  #attempt(transactions: readonly (readonly WireWrite[])[]): Commit {
    const draft = { ...this.#head };
    const changes: WireChange[] = [];
    this.#database.exec('BEGIN IMMEDIATE');
    try {
      const results = transactions.map((writes) => this.#apply(writes, draft, changes));
      if (changes.length > 0) this.#prune(draft);
      this.#database.exec('COMMIT');
      this.#head = draft;
      return { results, changes };
    } catch (error) {
      // SQLite has rolled back by itself after some errors, such as a full disk.
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
      throw error;
    }
  }

  /** One by one, so that a transaction that cannot be done takes no other with it. */
  #commitEach(transactions: readonly (readonly WireWrite[])[]): Commit {
    const results: CommitResult[] = [];
    const changes: WireChange[] = [];
    let refusedInARow = 0;
    let last: CommitResult | undefined;
    for (const writes of transactions) {
      if (last && refusedInARow >= HOPELESS_AFTER) {
        results.push(last);
        continue;
      }
      try {
        const commit = this.#attempt([writes]);
        results.push(...commit.results);
        changes.push(...commit.changes);
        refusedInARow = 0;
      } catch (error) {
        last = { type: 'failed', failure: failureOf(error, 'write to the store', this.#directory) };
        results.push(last);
        refusedInARow += 1;
      }
    }
    return { results, changes };
  }

  /** Inside a transaction: all of `writes` or, when a condition fails, nothing. */
  #apply(writes: readonly WireWrite[], draft: Head, changes: WireChange[]): CommitResult {
    for (const write of writes) {
      const failure = this.#violated(write);
      if (failure) return { type: 'failed', failure };
    }
    const revision = draft.revision + 1;
    const atMs = this.#clock.wallMs();
    for (const { key, text, ttlMs } of writes) {
      const previousText = textIn(this.#sql.textOf.get(key), 'text');
      if (text === undefined && previousText === undefined) continue;
      if (text === undefined) this.#sql.remove.run(key);
      else {
        const expiresAtMs = ttlMs === undefined ? null : Math.ceil(this.#expiryNowMs() + ttlMs);
        this.#sql.put.run(key, text, revision, expiresAtMs, ttlMs === undefined ? null : Math.ceil(ttlMs));
      }
      const seq = draft.seq + 1;
      this.#sql.addChange.run(seq, revision, atMs, key, text ?? null, previousText ?? null);
      draft.seq = seq;
      draft.revision = revision;
      changes.push({ seq, revision, atMs, key, text, previousText });
    }
    return { type: 'committed', revision: draft.revision };
  }

  #violated(write: WireWrite): WireFailure | undefined {
    if (write.ifRevision === undefined) return undefined;
    const revision = Number(this.#sql.revisionOf.get(write.key)?.['revision'] ?? 0);
    return revision === write.ifRevision ? undefined : conflict(write.key, write.ifRevision, revision);
  }

  /** Drops whole transactions of which more than `keepChanges` newer changes are kept; a few percent late. */
  #prune(draft: Head): void {
    const kept = draft.seq - draft.oldestSeq + 1;
    if (kept <= this.#keepChanges + Math.ceil(this.#keepChanges / 16)) return;
    const first = this.#sql.changeAt.get(draft.seq - this.#keepChanges + 1);
    if (!first || Number(first['revision']) <= draft.oldestRevision) return;
    const oldest = this.#sql.firstOfRevision.get(Number(first['revision']));
    draft.oldestRevision = Number(first['revision']);
    draft.oldestSeq = Number(oldest?.['seq']);
    this.#sql.prune.run(draft.oldestSeq);
  }

  /** The change behind which a watch begins, or why it cannot. */
  #seqOf(from: WatchPosition): number | WireFailure {
    const head = this.#head;
    switch (from.type) {
      case 'now':
        // Only expiries can have pruned what the caller does not know yet, and those it need not hear of.
        return this.#seqBehind(Math.max(from.known, head.oldestRevision - 1));
      case 'seq':
        return from.seq < head.oldestSeq - 1 ? compacted(head) : from.seq;
      case 'revision': {
        if (from.revision < head.oldestRevision - 1 || from.revision > head.revision) return compacted(head);
        return this.#seqBehind(from.revision);
      }
    }
  }

  #seqBehind(revision: number): number {
    const next = this.#sql.firstAfterRevision.get(revision);
    return next ? Number(next['seq']) - 1 : this.#head.seq;
  }
}

const DELETE = { text: undefined, ifRevision: undefined, ttlMs: undefined } as const;

/** As many of `changes` as one answer carries, and the position behind them: `endSeq` when there are no more. */
export function firstPage(changes: Iterable<WireChange>, endSeq: number): ChangePage {
  const page: WireChange[] = [];
  let characters = 0;
  for (const change of changes) {
    if (page.length >= PAGE_CHANGES || characters > PAGE_CHARACTERS)
      return { changes: page, seq: lastSeq(page) };
    page.push(change);
    characters += (change.text?.length ?? 0) + (change.previousText?.length ?? 0);
  }
  return { changes: page, seq: endSeq };
}

function lastSeq(page: readonly WireChange[]): number {
  return page.at(-1)?.seq ?? 0;
}

type Row = Record<string, SQLOutputValue>;

/** A column of type TEXT; undefined for NULL. */
function textIn(row: Row | undefined, column: string): string | undefined {
  const value = row?.[column];
  return typeof value === 'string' ? value : undefined;
}

function toRecord(row: Row): WireRecord {
  return {
    key: textIn(row, 'key') ?? '',
    text: textIn(row, 'text') ?? 'null',
    revision: Number(row['revision']),
  };
}

function toChange(row: Row): WireChange {
  return {
    seq: Number(row['seq']),
    revision: Number(row['revision']),
    atMs: Number(row['at_ms']),
    key: textIn(row, 'key') ?? '',
    text: textIn(row, 'text'),
    previousText: textIn(row, 'previous_text'),
  };
}

function conflict(key: string, expected: number, revision: number): WireFailure {
  let message = `The record ${key} is at revision ${revision}, not ${expected}.`;
  if (revision === 0) message = `The record ${key} does not exist; revision ${expected} was expected.`;
  else if (expected === 0) message = `The record ${key} exists already, at revision ${revision}.`;
  const hint = 'Read the record again and repeat the change on what it is now.';
  return { code: 'store.conflict', message, hint, cause: undefined, details: { key, revision } };
}

function compacted(head: Head): WireFailure {
  return {
    code: 'event.compacted',
    message: `Changes are kept from revision ${head.oldestRevision} to ${head.revision}; the revision asked for is outside.`,
    hint: 'Read the present state again, and watch from its revision.',
    cause: undefined,
    details: { oldestRevision: head.oldestRevision, revision: head.revision },
  };
}
