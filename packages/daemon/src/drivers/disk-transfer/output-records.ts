/** What exports have made outside, one small file each in the state directory. Records that nobody needs any more go by their age. */
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomically } from '../../platform/atomic-file.ts';
import { hasErrno } from '../../platform/fs-error.ts';

/** Nobody undoes an export that is older. */
const REMEMBERED_MS = 30 * 24 * 3600 * 1000;

export interface MadeOutput {
  readonly path: string;
  readonly kind: 'file' | 'folder';
  readonly dev: string;
  readonly ino: string;
  readonly isFinished: boolean;
}

export interface OutputRecords {
  /** Durable on return; replaces an earlier one of the same path. */
  keep(made: MadeOutput): Promise<void>;
  find(path: string): Promise<MadeOutput | undefined>;
  forget(path: string): Promise<void>;
  /** And forgets the old ones. */
  list(): Promise<MadeOutput[]>;
}

export function createOutputRecords(directory: string): OutputRecords {
  const fileOf = (path: string): string =>
    join(directory, `${createHash('sha256').update(path).digest('hex').slice(0, 40)}.json`);
  return {
    async keep(made) {
      await mkdir(directory, { recursive: true, mode: 0o700 });
      await writeFileAtomically(fileOf(made.path), JSON.stringify(made), { mode: 0o600 });
    },
    find: (path) => readRecord(fileOf(path)),
    forget: (path) => rm(fileOf(path), { force: true }),
    async list() {
      const names = await readdir(directory).catch((error: unknown) => {
        if (hasErrno(error, 'ENOENT')) return [];
        throw error;
      });
      const found: MadeOutput[] = [];
      for (const name of names) {
        const made = await readRecord(join(directory, name));
        const { mtimeMs } = await stat(join(directory, name));
        if (made === undefined || Date.now() - mtimeMs > REMEMBERED_MS) await rm(join(directory, name));
        if (made !== undefined) found.push(made);
      }
      return found;
    },
  };
}

async function readRecord(file: string): Promise<MadeOutput | undefined> {
  try {
    return JSON.parse(await readFile(file, 'utf8'));
  } catch (error) {
    // A record that cannot be read says nothing that may be removed.
    if (hasErrno(error, 'ENOENT') || error instanceof SyntaxError) return undefined;
    throw error;
  }
}
