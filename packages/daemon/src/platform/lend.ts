/**
 * Lets a confined process open the files it reads and the one it writes, and no other, for as long as it takes. What is lent is on
 * record before it is lent, so that it is taken back also after a crash, before anybody else has that uid.
 */
import { randomBytes } from 'node:crypto';
import { chmod, mkdir, readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { ErrorCode } from '@wirt/api';
import type { Identity, Logger } from '@wirt/core';
import { writeFileAtomically } from './atomic-file.ts';
import { giveFile } from './file-owner.ts';
import { fsError, hasErrno } from './fs-error.ts';
import { runToSuccess, SubprocessError } from './subprocess.ts';

const OTHERS_READ = 0o004;
const TOOL_DEADLINE_MS = 10_000;
const unsupported = /not supported/i;

interface Loan {
  readonly uid: number;
  readonly read: readonly string[];
  readonly write?: string | undefined;
}

export interface Lender {
  /** Dispose takes back. Throws the lender's code, `host.storage_full`. */
  lend(identity: Identity, files: Omit<Loan, 'uid'>): Promise<AsyncDisposable>;
  /** Takes back what a daemon that died had lent. */
  recover(): Promise<void>;
}

/** Loans under way, of all that one part of the daemon lends, as of all its pools: a copy into one may read from another. */
export interface Loans {
  /** Their records. */
  readonly records: Set<string>;
  /** How many loans a user has of a file: ACL entries do not count. */
  readonly byUser: Map<string, number>;
  /** How many loans there are of a file that was opened to all, because there are no ACLs. */
  readonly toAll: Map<string, number>;
  /** Loans begin and end one after the other, so that none ends what another counts on. */
  turn: Promise<unknown>;
}

export function noLoans(): Loans {
  return { records: new Set(), byUser: new Map(), toAll: new Map(), turn: Promise.resolve() };
}

export interface LenderOptions {
  /** Where loans are on record. */
  readonly directory: string;
  readonly loans: Loans;
  readonly logger: Logger;
  /** Code of errors that are no others of the catalogue. */
  readonly fallback: ErrorCode;
}

export function createLender({ directory, loans, logger, fallback }: LenderOptions): Lender {
  async function begin(identity: Identity, loan: Loan): Promise<AsyncDisposable> {
    const record = join(directory, `${randomBytes(8).toString('hex')}.json`);
    loans.records.add(record);
    await mkdir(directory, { recursive: true, mode: 0o700 });
    await writeFileAtomically(record, JSON.stringify(loan), { mode: 0o600 });
    const read: string[] = [];
    const end = (): Promise<void> => takeBack({ ...loan, read }, record, loans);
    const endInTurn = (): Promise<void> => inTurn(loans, end);
    try {
      if (loan.write !== undefined) await giveFile(loan.write, identity, 0o600);
      for (const path of loan.read) {
        await lendRead(path, loan.uid, { loans, logger });
        read.push(path);
      }
      return { [Symbol.asyncDispose]: endInTurn };
    } catch (error) {
      await end();
      throw error;
    }
  }

  return {
    async lend(identity, { read, write }) {
      // The daemon's own user opens them as they are.
      if (!identity.own) return { [Symbol.asyncDispose]: async () => {} };
      try {
        return await inTurn(loans, async () => {
          const closed: string[] = [];
          for (const path of read)
            if (loans.toAll.has(path) || !isOpenToAll((await stat(path)).mode)) closed.push(path);
          return await begin(identity, { uid: identity.uid, read: closed, write });
        });
      } catch (error) {
        throw fsError(error, 'lend', read.at(-1) ?? directory, fallback);
      }
    },
    async recover() {
      for (const name of await readdir(directory).catch(missingIsEmpty)) {
        const record = join(directory, name);
        if (loans.records.has(record)) continue;
        try {
          const loan: Loan = JSON.parse(await readFile(record, 'utf8'));
          await inTurn(loans, () => takeBack(loan, record, loans));
          logger.info('loan.taken_back', { ...loan });
        } catch (error) {
          logger.warn('loan.not_taken_back', { record, error });
        }
      }
    },
  };
}

function inTurn<T>(loans: Loans, work: () => Promise<T>): Promise<T> {
  const result = loans.turn.then(work);
  loans.turn = result.catch(() => undefined);
  return result;
}

/** A file that was removed meanwhile has nothing to be taken back. */
async function takeBack({ uid, read, write }: Loan, record: string, loans: Loans): Promise<void> {
  if (write !== undefined) await giveFile(write, undefined, 0o600);
  for (const path of read) await endRead(path, uid, loans);
  await rm(record, { force: true });
  loans.records.delete(record);
}

/**
 * By an ACL entry for this one user (acl(5)); where there are none, by opening the file to all who know its name, which no
 * guest can list.
 */
async function lendRead(
  path: string,
  uid: number,
  options: Pick<LenderOptions, 'loans' | 'logger'>,
): Promise<void> {
  const { loans, logger } = options;
  if (!loans.toAll.has(path) && (await setfacl('-m', `u:${uid}:r--`, path))) {
    countUp(loans.byUser, userKey(path, uid));
    return;
  }
  const mode = (await stat(path)).mode & 0o777;
  if (!isOpenToAll(mode)) {
    logger.warn('loan.no_access_lists', { path });
    await chmod(path, mode | OTHERS_READ);
  }
  countUp(loans.toAll, path);
}

/** After a crash nothing is counted, and both ways are undone. */
async function endRead(path: string, uid: number, { byUser, toAll }: Loans): Promise<void> {
  const key = userKey(path, uid);
  const counts = byUser.has(key) ? byUser : toAll;
  if (countDown(counts, counts === byUser ? key : path) > 0) return;
  try {
    await setfacl('-x', `u:${uid}`, path);
    const mode = (await stat(path)).mode & 0o777;
    // Opened without ACL, and not by now a layer that all guests read (0444).
    if (mode === 0o404 || mode === 0o604) await chmod(path, mode & ~OTHERS_READ);
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return;
    throw error;
  }
}

function userKey(path: string, uid: number): string {
  return `${uid} ${path}`;
}

function countUp(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

/** What is left. */
function countDown(counts: Map<string, number>, key: string): number {
  const left = (counts.get(key) ?? 1) - 1;
  if (left > 0) counts.set(key, left);
  else counts.delete(key);
  return left;
}

/** False where there are no ACLs: the file system has none, or the program is not installed. */
async function setfacl(option: '-m' | '-x', entry: string, path: string): Promise<boolean> {
  try {
    await runToSuccess('setfacl', [option, entry, '--', path], { timeoutMs: TOOL_DEADLINE_MS });
    return true;
  } catch (error) {
    if (!(error instanceof SubprocessError)) throw error;
    if (error.isMissing || unsupported.test(error.result?.stderr ?? '')) return false;
    // The words of a missing file are not ours to read: stat tells.
    await stat(path);
    throw error;
  }
}

function isOpenToAll(mode: number): boolean {
  return (mode & OTHERS_READ) !== 0;
}

function missingIsEmpty(error: unknown): string[] {
  if (hasErrno(error, 'ENOENT')) return [];
  throw error;
}
