/**
 * SQLite's result codes as errors of the catalogue (https://sqlite.org/rescode.html). SQLite tells a full disk apart,
 * but reports a quota or a file system gone read-only as a plain I/O error: then a small probe file asks the kernel.
 */
import { closeSync, fsyncSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { WireFailure } from './protocol.ts';

const PERM = 3;
const BUSY = 5;
const READONLY = 8;
const IOERR = 10;
const CORRUPT = 11;
const FULL = 13;
const CANTOPEN = 14;
const NOTADB = 26;

/** The primary result code of an error from node:sqlite; undefined for any other error. */
function primaryCode(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('errcode' in error) || typeof error.errcode !== 'number')
    return undefined;
  return error.errcode & 0xff;
}

export function isBusy(error: unknown): boolean {
  return primaryCode(error) === BUSY;
}

/** `operation` as in "write to the store in /var/lib/wirt". */
export function failureOf(error: unknown, operation: string, directory: string): WireFailure {
  const cause = error instanceof Error ? error.message : String(error);
  const make = (code: WireFailure['code'], hint: string): WireFailure => {
    return { code, message: `Could not ${operation} in ${directory}.`, hint, cause, details: { directory } };
  };
  switch (primaryCode(error)) {
    case FULL:
      return make('host.storage_full', fullHint(directory));
    case READONLY:
      return make('host.storage_read_only', readOnlyHint(directory));
    case PERM:
    case CANTOPEN:
    case IOERR: {
      const errno = probeWrite(directory);
      if (errno === 'ENOSPC' || errno === 'EDQUOT') return make('host.storage_full', fullHint(directory));
      if (errno === 'EROFS') return make('host.storage_read_only', readOnlyHint(directory));
      if (errno === 'EACCES' || errno === 'EPERM') {
        return make('host.permission_denied', `Give wirtd's user the directory: chown -R USER ${directory}`);
      }
      return make('store.failed', `Look for errors of the disk: dmesg | tail; ls -l ${directory}`);
    }
    case CORRUPT:
    case NOTADB:
      return make(
        'store.failed',
        `The database is damaged. Stop wirtd, keep a copy of the directory, and restore wirt.db from a backup; ` +
          `sqlite3 ${join(directory, 'wirt.db')} .recover saves what is readable.`,
      );
    default:
      return make('store.failed', `Look for errors of the disk: dmesg | tail; ls -l ${directory}`);
  }
}

function fullHint(directory: string): string {
  return `Free space on the file system: df -h ${directory}; du -xsh ${directory}/*. Wirt goes on by itself.`;
}

function readOnlyHint(directory: string): string {
  return `See why it is read-only: findmnt -T ${directory}; dmesg | tail. Then: mount -o remount,rw`;
}

/** The errno with which a small durable write in `directory` fails; undefined when it works. */
function probeWrite(directory: string): string | undefined {
  const path = join(directory, '.write-probe');
  try {
    const file = openSync(path, 'w', 0o600);
    try {
      writeSync(file, Buffer.alloc(8192));
      fsyncSync(file);
    } finally {
      closeSync(file);
      rmSync(path, { force: true });
    }
    return undefined;
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : undefined;
  }
}
