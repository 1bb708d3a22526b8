/**
 * The store on node:sqlite: one database per state directory, opened by one process, written in a worker thread with
 * group commit. Records and changes are JSON text on disk; checks of keys and values happen here, before anything is sent.
 */
import { constants } from 'node:fs';
import { access, mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import { WirtError } from '@wirt/api';
import type { Change, Json, Logger, Store, StoredRecord, Write } from '@wirt/core';
import { syncDirectory } from '../../platform/atomic-file.ts';
import { fsError, hasErrno } from '../../platform/fs-error.ts';
import type { ChangePage, WatchPosition, WireChange, WireRecord, WireWrite } from './protocol.ts';
import { WorkerLink } from './worker-link.ts';

export interface SqliteStoreOptions {
  /** The state directory; made when it does not exist. */
  readonly directory: string;
  readonly logger: Logger;
  /** So many changes, at least, can be watched from the past. */
  readonly keepChanges?: number;
  /** Where the worker's file is, when not beside this one. */
  readonly workerUrl?: URL;
}

/** Sources run as they are; a bundle has its worker beside it, under a name of its own. */
const DEFAULT_WORKER_URL = import.meta.url.endsWith('.ts')
  ? new URL('./worker.ts', import.meta.url)
  : new URL('./store-worker.mjs', import.meta.url);

/**
 * Throws `daemon.already_running` when another opener has the directory, `host.permission_denied`,
 * `host.storage_full`, `host.storage_read_only`, or `store.failed` (damaged, or written by a newer version).
 */
export async function openSqliteStore(options: SqliteStoreOptions): Promise<Store> {
  const { directory, logger, keepChanges = 20_000, workerUrl = DEFAULT_WORKER_URL } = options;
  if (!(Number.isSafeInteger(keepChanges) && keepChanges > 0)) {
    throw new RangeError(`keepChanges must be a whole number above 0, not ${keepChanges}`);
  }
  await prepareDirectory(directory);
  const link = new WorkerLink({ directory, keepChanges }, workerUrl, logger);
  const revision = await link.opened();
  logger.info('store.opened', { directory, revision });
  return createStore(link);
}

async function prepareDirectory(directory: string): Promise<void> {
  try {
    // Guests run as users of their own and must be able to pass through to their image's files.
    await mkdir(directory, { recursive: true, mode: 0o711 });
    await access(directory, constants.R_OK | constants.W_OK | constants.X_OK);
    // `wx` opens no file that is there already: closing a second descriptor of it would drop a holder's lock.
    const file = await open(join(directory, 'wirt.db'), 'wx', 0o600);
    await file.close();
    await syncDirectory(directory);
  } catch (error) {
    if (hasErrno(error, 'EEXIST')) return;
    throw fsError(error, 'prepare the state directory', directory, 'store.failed');
  }
}

function createStore(link: WorkerLink): Store {
  return {
    async get(key) {
      checkKey(key);
      const record = await link.get(key);
      return record && toStored(record);
    },
    async list(prefix, page = {}) {
      checkKey(prefix);
      if (page.after !== undefined) checkKey(page.after);
      return (await link.list(prefix, page.after, page.limit)).map(toStored);
    },
    async write(writes) {
      return await link.write(toWire(writes));
    },
    async revision() {
      return await link.revision();
    },
    watch(prefix, { since, signal }) {
      checkKey(prefix);
      // Asked for now, not when somebody iterates: "from now on" means from this call on.
      const from: WatchPosition =
        since === undefined ? { type: 'now', known: link.known } : { type: 'revision', revision: since };
      const first = link.changes(prefix, from, signal);
      first.catch(() => {});
      return followChanges(link, prefix, first, signal);
    },
    async [Symbol.asyncDispose]() {
      await link.close();
    },
  };
}

/**
 * The consumer pulls: one page is held, the rest stays on disk. So a watcher that falls behind costs nothing, and
 * learns by `event.compacted` when it has fallen too far.
 */
async function* followChanges(
  link: WorkerLink,
  prefix: string,
  first: Promise<ChangePage | undefined>,
  signal: AbortSignal,
): AsyncGenerator<Change, void, undefined> {
  let page = await first;
  while (page) {
    for (const change of page.changes) {
      if (signal.aborted) return;
      yield toChange(change);
    }
    page = await link.changes(prefix, { type: 'seq', seq: page.seq }, signal);
  }
}

function toWire(writes: readonly Write[]): WireWrite[] {
  const keys = new Set<string>();
  return writes.map((write): WireWrite => {
    const { key, ifRevision } = write;
    checkKey(key);
    if (keys.has(key)) throw new WirtError('internal', `A transaction writes the record ${key} twice.`);
    keys.add(key);
    switch (write.type) {
      case 'put':
        return { key, text: toText(write.value, key), ifRevision, ttlMs: checkTtl(write.ttlMs, key) };
      case 'delete':
        return { key, text: undefined, ifRevision, ttlMs: undefined };
    }
  });
}

/** Keys are compared as UTF-8: a lone surrogate has none, and would become another key. */
function checkKey(key: string): void {
  if (!key.isWellFormed()) throw new WirtError('internal', 'A key of the store is not well-formed Unicode.');
}

function checkTtl(ttlMs: number | undefined, key: string): number | undefined {
  if (ttlMs === undefined || (ttlMs > 0 && ttlMs <= Number.MAX_SAFE_INTEGER / 2)) return ttlMs;
  throw new WirtError('internal', `The record ${key} cannot expire after ${ttlMs} ms.`);
}

function toText(value: Json, key: string): string {
  // The declared type is `string`, yet a function or undefined that slipped past the types gives undefined.
  const text: string | undefined = JSON.stringify(value);
  if (text === undefined) throw new WirtError('internal', `The value of the record ${key} is not JSON.`);
  return text;
}

/** Only text that `toText` made is in the database, so what it parses to is JSON. */
function fromText(text: string): Json {
  return JSON.parse(text) as Json;
}

function toStored({ key, text, revision }: WireRecord): StoredRecord {
  return { key, value: fromText(text), revision };
}

function toChange({ revision, atMs, key, text, previousText }: WireChange): Change {
  return {
    revision,
    atMs,
    key,
    value: text === undefined ? undefined : fromText(text),
    previous: previousText === undefined ? undefined : fromText(previousText),
  };
}
