/**
 * Who may open the files of layers: whom they are given to, and the confined processes that read some of them, or write one, for as long as it takes.
 * One table for the whole daemon, since both change the same files; what is on loan is on record first, and taken back after
 * a crash before anybody else has that uid. What a file's access is to be follows from the table alone, and is written whole.
 */
import type { FileHandle } from 'node:fs/promises';
import type { ErrorCode } from '@wirt/api';
import type { Identity, Logger } from '@wirt/core';
import {
  accessOf,
  closedToOthers,
  daemonAccess,
  dropAccessList,
  type FileAccess,
  isOpenToAll,
  openedToAll,
  setAccess,
  setAccessList,
  withOpened,
} from './file-access.ts';
import { fsError, hasErrno } from './fs-error.ts';
import { createLoanRecords, type LoanRecord } from './loan-records.ts';

export interface LentFiles {
  readonly read: readonly string[];
  /** Of the daemon's alone, and again afterwards. */
  readonly write?: string;
}

export interface Loans {
  /**
   * Dispose takes back, all that it can; while something could not be, the uid counts as lent to. Throws `fallback`,
   * `host.storage_full`; nothing is lent then.
   */
  lend(identity: Identity, files: LentFiles, fallback: ErrorCode): Promise<AsyncDisposable>;
  /** Who may open a file from now on; who has it on loan goes on reading it. */
  give(file: FileHandle, path: string, access: FileAccess): Promise<void>;
  /** Takes back what a daemon that died had lent. Call before any uid is released. */
  recover(): Promise<void>;
  /** Whether something may still be open to this uid that was lent to it. */
  isLentTo(uid: number): boolean;
}

export interface LoansOptions {
  /** Where loans are on record; of the daemon alone. */
  readonly directory: string;
  readonly logger: Logger;
}

interface Loan extends LoanRecord {
  readonly name: string;
  readonly gid: number;
  readonly openedToAll: string[];
}

interface LentFile {
  /** What it is given to, loans aside. */
  base: FileAccess;
  readonly readers: Set<Loan>;
  readonly writers: Set<Loan>;
  /** Has an access list of ours. */
  isListed: boolean;
  /** The file system, or the host, has no access lists. */
  hasNoLists: boolean;
  /** Its access was changed here, and is to be as the table says. */
  isOurs: boolean;
}

const WRITTEN = 0o660;
const noLoan: AsyncDisposable = { [Symbol.asyncDispose]: () => Promise.resolve() };

export function createLoans({ directory, logger }: LoansOptions): Loans {
  const records = createLoanRecords(directory);
  const files = new Map<string, LentFile>();
  const inTurn = createTurns();
  /** On record. */
  const standing = new Map<string, number>();

  async function join(path: string, loan: Loan): Promise<void> {
    await withOpened(path, async (file) => {
      const lent = files.get(path) ?? newLentFile(await accessOf(file));
      files.set(path, lent);
      if (path === loan.write) {
        lent.writers.add(loan);
        lent.base = daemonAccess();
        lent.isOurs = true;
      } else lent.readers.add(loan);
      await apply(file, path, lent, () => noteOpened(path, lent));
    });
  }

  /** A file that was removed meanwhile has nothing to be taken back. */
  async function leave(path: string, loan: Loan): Promise<void> {
    const lent = files.get(path);
    if (lent === undefined) return;
    lent.readers.delete(loan);
    lent.writers.delete(loan);
    await unlessGone(withOpened(path, (file) => apply(file, path, lent, () => noteOpened(path, lent))));
    if (lent.readers.size === 0 && lent.writers.size === 0) files.delete(path);
  }

  /** Also for a daemon that comes after this one. */
  async function noteOpened(path: string, { readers }: LentFile): Promise<void> {
    logger.warn('loan.no_access_lists', { path });
    for (const loan of readers) {
      if (loan.openedToAll.includes(path)) continue;
      loan.openedToAll.push(path);
      await records.keep(loan.name, loan);
    }
  }

  async function begin(loan: Loan, onPath: (path: string) => void): Promise<AsyncDisposable> {
    await records.keep(loan.name, loan);
    standing.set(loan.name, loan.uid);
    const begun: string[] = [];
    const end = (): Promise<void> =>
      takeBack(loan.name, begun, (path) => inTurn(path, () => leave(path, loan)));
    try {
      for (const path of pathsOf(loan)) {
        onPath(path);
        begun.push(path);
        await inTurn(path, () => join(path, loan));
      }
      return { [Symbol.asyncDispose]: end };
    } catch (error) {
      await end().catch((failure: unknown) =>
        logger.error('loan.not_taken_back', { uid: loan.uid, error: failure }),
      );
      throw error;
    }
  }

  /** What cannot be taken back keeps nothing else from it, and stays on record. */
  async function takeBack(
    name: string,
    paths: readonly string[],
    one: (path: string) => Promise<void>,
  ): Promise<void> {
    const failures: unknown[] = [];
    for (const path of paths)
      await one(path).catch((error: unknown) => failures.push(fsError(error, 'take back', path)));
    if (failures.length > 0) throw failures[0];
    await records.drop(name);
    standing.delete(name);
  }

  return {
    async lend({ own, uid, gid }, { read, write }, fallback) {
      // The daemon's own user opens them as they are.
      if (!own) return noLoan;
      const loan = { name: records.newName(), uid, gid, read: [...new Set(read)], write, openedToAll: [] };
      let at = directory;
      try {
        return await begin(loan, (path) => {
          at = path;
        });
      } catch (error) {
        throw fsError(error, 'lend', at, fallback);
      }
    },
    give: (file, path, access) =>
      inTurn(path, async () => {
        const lent = files.get(path);
        if (lent === undefined) return await setAccess(file, path, access);
        lent.base = access;
        lent.isOurs = true;
        await apply(file, path, lent, () => noteOpened(path, lent));
      }),
    async recover() {
      for (const [name, record] of await records.list()) {
        if (standing.has(name)) continue;
        if (record === undefined) {
          logger.error('loan.record_unreadable', { directory, name });
          continue;
        }
        standing.set(name, record.uid);
        try {
          await takeBack(name, pathsOf(record), (path) =>
            // Where this one lends the file too, its access was written anew.
            inTurn(path, async () => (files.has(path) ? undefined : await takeBackStale(path, record))),
          );
          logger.info('loan.taken_back', { ...record });
        } catch (error) {
          logger.error('loan.not_taken_back', { uid: record.uid, error });
        }
      }
    },
    isLentTo: (uid) => [...standing.values()].includes(uid),
  };
}

/** Writes what a file's access is to be. `beforeOpening` is called before it is opened to all. */
async function apply(
  file: FileHandle,
  path: string,
  lent: LentFile,
  beforeOpening: () => Promise<void>,
): Promise<void> {
  const [writer] = lent.writers;
  const access = writer === undefined ? lent.base : { ...daemonAccess(WRITTEN), gid: writer.gid };
  if (lent.readers.size === 0 || isOpenToAll(access)) {
    if (!lent.isOurs) return;
    await setAccess(file, path, access);
    if (!lent.isListed) return;
    await dropAccessList(path);
    lent.isListed = false;
    await setAccess(file, path, access);
    return;
  }
  lent.isOurs = true;
  if (!lent.hasNoLists) {
    await setAccess(file, path, access);
    const uids = new Set([...lent.readers].map(({ uid }) => uid));
    lent.hasNoLists = (await setAccessList(path, access, [...uids])) !== 'done';
    lent.isListed = !lent.hasNoLists;
    if (lent.isListed) return;
  }
  await beforeOpening();
  // To all who know its name, which no guest can list.
  await setAccess(file, path, openedToAll(access));
}

/** Of a daemon that died. */
async function takeBackStale(path: string, record: LoanRecord): Promise<void> {
  await unlessGone(
    withOpened(path, async (file) => {
      if (path === record.write) return await setAccess(file, path, daemonAccess());
      await dropAccessList(path);
      const now = await accessOf(file);
      const isShared = now.mode === 0o444 && now.gid === daemonAccess().gid;
      if (record.openedToAll.includes(path) && !isShared) await setAccess(file, path, closedToOthers(now));
    }),
  );
}

function newLentFile(base: FileAccess): LentFile {
  const nobody = { readers: new Set<Loan>(), writers: new Set<Loan>() };
  return { base, ...nobody, isListed: false, hasNoLists: false, isOurs: false };
}

function pathsOf({ read, write }: LoanRecord): string[] {
  return write === undefined ? [...read] : [write, ...read.filter((path) => path !== write)];
}

async function unlessGone(work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!hasErrno(error, 'ENOENT')) throw error;
  }
}

/** One after the other for each file, and side by side for several. */
function createTurns(): <T>(path: string, work: () => Promise<T>) => Promise<T> {
  const last = new Map<string, Promise<unknown>>();
  return (path, work) => {
    const result = (last.get(path) ?? Promise.resolve()).then(work);
    const settled = result
      .catch(() => undefined)
      .then(() => {
        if (last.get(path) === settled) last.delete(path);
      });
    last.set(path, settled);
    return result;
  };
}
