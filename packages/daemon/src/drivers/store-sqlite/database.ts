/**
 * Opens the database of one state directory for one process: exclusive (the kernel drops the lock when the process
 * dies, however it dies), durable at COMMIT, in the schema of this version. Runs in the worker.
 *
 * The lock is SQLite's fcntl lock on wirt.db. Such a lock is lost when the process closes any descriptor of that
 * file, so nothing else in wirtd may ever open it.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { failureOf, isBusy } from './failure.ts';
import type { WireFailure } from './protocol.ts';

const SCHEMA_VERSION = 1;

/** Alone on the file, and without the shared-memory file that several processes would need. */
const PRAGMAS = `
  PRAGMA locking_mode = EXCLUSIVE;
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = FULL;
  PRAGMA cache_size = -1024;
  PRAGMA journal_size_limit = 8388608;
  PRAGMA trusted_schema = OFF;
  BEGIN EXCLUSIVE;
  COMMIT;
`;

const SCHEMA = `
  BEGIN EXCLUSIVE;
  CREATE TABLE records (
    key TEXT NOT NULL PRIMARY KEY,
    text TEXT NOT NULL,
    revision INTEGER NOT NULL,
    expires_at_ms INTEGER,
    ttl_ms INTEGER
  ) STRICT;
  CREATE INDEX records_by_expiry ON records (expires_at_ms) WHERE expires_at_ms IS NOT NULL;
  CREATE TABLE changes (
    seq INTEGER PRIMARY KEY,
    revision INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    key TEXT NOT NULL,
    text TEXT,
    previous_text TEXT
  ) STRICT;
  CREATE INDEX changes_by_revision ON changes (revision);
  PRAGMA user_version = ${SCHEMA_VERSION};
  COMMIT;
`;

export type OpenResult =
  | { readonly type: 'opened'; readonly database: DatabaseSync }
  | { readonly type: 'failed'; readonly failure: WireFailure };

export function openDatabase(directory: string): OpenResult {
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(join(directory, 'wirt.db'), { timeout: 0 });
    database.exec(PRAGMAS);
    const version = Number(database.prepare('PRAGMA user_version').get()?.['user_version']);
    if (version > SCHEMA_VERSION) {
      database.close();
      return { type: 'failed', failure: newerSchema(directory, version) };
    }
    if (version === 0) database.exec(SCHEMA);
  } catch (error) {
    const failure = isBusy(error) ? alreadyRunning(directory) : failureOf(error, 'open the store', directory);
    if (database?.isOpen) database.close();
    return { type: 'failed', failure };
  }
  writePid(directory);
  return { type: 'opened', database };
}

export function closeDatabase(database: DatabaseSync, directory: string): void {
  // Before the lock is given up: afterwards the file could be the next daemon's.
  rmSync(pidPath(directory), { force: true });
  database.close();
}

function pidPath(directory: string): string {
  return join(directory, 'wirtd.pid');
}

function writePid(directory: string): void {
  try {
    writeFileSync(pidPath(directory), `${process.pid}\n`, { mode: 0o644 });
  } catch {
    // The file only names the holder of the lock to others; a full disk must not keep the daemon from starting.
  }
}

function alreadyRunning(directory: string): WireFailure {
  const pid = readLivingPid(directory);
  return {
    code: 'daemon.already_running',
    message:
      pid === undefined
        ? `Another process uses the state directory ${directory}.`
        : `The process ${pid} uses the state directory ${directory}.`,
    hint:
      pid === undefined
        ? `Find it with: fuser -v ${join(directory, 'wirt.db')}; or give this wirtd another directory: --state-dir`
        : `Use the one that runs, stop it (kill ${pid}), or give this wirtd another directory: --state-dir`,
    cause: undefined,
    details: pid === undefined ? { directory } : { directory, pid },
  };
}

/** The pid in the file, unless it is a dead process's: a daemon that was killed leaves its file behind. */
function readLivingPid(directory: string): number | undefined {
  let pid: number;
  try {
    pid = Number.parseInt(readFileSync(pidPath(directory), 'utf8'), 10);
  } catch {
    return undefined;
  }
  if (!(pid > 0)) return undefined;
  try {
    process.kill(pid, 0);
    return pid;
  } catch (error) {
    // EPERM: it lives, as another user's.
    return error instanceof Error && 'code' in error && error.code === 'EPERM' ? pid : undefined;
  }
}

function newerSchema(directory: string, version: number): WireFailure {
  return {
    code: 'store.failed',
    message: `The store in ${directory} was written by a newer wirtd (schema ${version}, this one knows ${SCHEMA_VERSION}).`,
    hint: `Start the newer wirtd, or restore the copy of ${directory} from before the upgrade.`,
    cause: undefined,
    details: { directory, version },
  };
}
