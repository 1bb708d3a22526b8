/**
 * What is lent to whom, one small file for each loan in a directory of the daemon's own. Durable before anything is lent, so that it is
 * taken back also after a crash. Files of other names are left alone.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { isAbsolute, join, normalize } from 'node:path';
import { writeFileAtomically } from './atomic-file.ts';
import { hasErrno } from './fs-error.ts';

export interface LoanRecord {
  readonly uid: number;
  readonly read: readonly string[];
  readonly write?: string | undefined;
  /** Of what is read: what had to be opened to all, since there were no access lists. */
  readonly openedToAll: readonly string[];
}

export interface LoanRecords {
  newName(): string;
  /** Durable on return; replaces an earlier one of the same name. */
  keep(name: string, record: LoanRecord): Promise<void>;
  drop(name: string): Promise<void>;
  /** `undefined` for what cannot be read as a record. */
  list(): Promise<Map<string, LoanRecord | undefined>>;
}

const recordName = /^[0-9a-f]{16}\.json$/;
const MAX_UID = 2 ** 32 - 2;

export function createLoanRecords(directory: string): LoanRecords {
  return {
    newName: () => `${randomBytes(8).toString('hex')}.json`,
    async keep(name, { uid, read, write, openedToAll }) {
      await mkdir(directory, { recursive: true, mode: 0o700 });
      const text = JSON.stringify({ uid, read, write, openedToAll });
      await writeFileAtomically(join(directory, name), text, { mode: 0o600 });
    },
    drop: (name) => rm(join(directory, name), { force: true }),
    async list() {
      const names = await readdir(directory).catch((error: unknown) => {
        if (hasErrno(error, 'ENOENT')) return [];
        throw error;
      });
      const found = new Map<string, LoanRecord | undefined>();
      for (const name of names)
        if (recordName.test(name))
          found.set(name, parseRecord(await readFile(join(directory, name), 'utf8')));
      return found;
    },
  };
}

export function parseRecord(text: string): LoanRecord | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { uid, read, write, openedToAll }: Partial<Record<keyof LoanRecord, unknown>> = value;
  const isUid = typeof uid === 'number' && Number.isInteger(uid) && uid > 0 && uid <= MAX_UID;
  if (!isUid || !isPaths(read) || !isPaths(openedToAll)) return undefined;
  if (write !== undefined && !isPath(write)) return undefined;
  return { uid, read, write, openedToAll };
}

function isPaths(value: unknown): value is string[] {
  return Array.isArray(value) && value.every(isPath);
}

function isPath(value: unknown): value is string {
  return (
    typeof value === 'string' && isAbsolute(value) && normalize(value) === value && !value.includes('\0')
  );
}
