// Machine-wide claims on uids: a file `<directory>/<uid>` holding {tag, id}, appearing whole or not at all (written aside, then
// linked), so that any number of daemons share a range. Files of other daemons, and files that cannot be read as a claim,
// are never touched: such a uid counts as taken.
import { link, mkdir, readdir, readFile, unlink, writeFile } from 'node:fs/promises';
import { posix } from 'node:path';

export interface Claim {
  readonly tag: string;
  readonly id: string;
}

export function parseClaim(text: string): Claim | undefined {
  try {
    const claim: unknown = JSON.parse(text);
    if (typeof claim !== 'object' || claim === null) return undefined;
    const { tag, id } = claim as Record<string, unknown>;
    return typeof tag === 'string' && typeof id === 'string' ? { tag, id } : undefined;
  } catch {
    return undefined;
  }
}

export interface Claims {
  /** False when somebody has it. Makes the directory when it is missing. */
  take(uid: number, id: string): Promise<boolean>;
  /** Gives it back, if it is this daemon's for this id. */
  drop(uid: number, id: string): Promise<void>;
  isOwn(uid: number, id: string): Promise<boolean>;
  /** Uids that somebody has. */
  taken(): Promise<Set<number>>;
  /** This daemon's claims, by id. */
  own(): Promise<Map<string, number>>;
}

export function createClaims(directory: string, tag: string): Claims {
  const fileOf = (uid: number): string => posix.join(directory, String(uid));

  async function isOwn(uid: number, id: string): Promise<boolean> {
    const claim = await readClaim(fileOf(uid));
    return claim?.tag === tag && claim.id === id;
  }

  return {
    isOwn,

    async take(uid, id) {
      await mkdir(directory, { recursive: true, mode: 0o755 });
      const aside = posix.join(directory, `.${tag}.${id}.${process.pid}`);
      try {
        await writeFile(aside, `${JSON.stringify({ tag, id } satisfies Claim)}\n`);
        await link(aside, fileOf(uid));
        return true;
      } catch (error) {
        if (errnoOf(error) === 'EEXIST') return false;
        throw error;
      } finally {
        await unlink(aside).catch(() => undefined);
      }
    },

    async drop(uid, id) {
      if (await isOwn(uid, id)) await unlink(fileOf(uid)).catch(ignoreMissing);
    },

    async taken() {
      return new Set(uidsOf(await namesIn(directory)));
    },

    async own() {
      const names = await namesIn(directory);
      await sweepAside(directory, tag, names);
      const claims = new Map<string, number>();
      for (const uid of uidsOf(names)) {
        const claim = await readClaim(fileOf(uid));
        if (claim?.tag === tag) claims.set(claim.id, uid);
      }
      return claims;
    },
  };
}

function uidsOf(names: readonly string[]): number[] {
  return names.filter((name) => /^[1-9]\d*$/.test(name)).map(Number);
}

async function namesIn(directory: string): Promise<string[]> {
  return (await readdir(directory).catch(ignoreMissing)) ?? [];
}

async function readClaim(file: string): Promise<Claim | undefined> {
  const text = await readFile(file, 'utf8').catch(ignoreMissing);
  return text === undefined ? undefined : parseClaim(text);
}

/** A daemon of this tag that died while it wrote left its file aside; this process may be writing its own just now. */
async function sweepAside(directory: string, tag: string, names: readonly string[]): Promise<void> {
  for (const name of names)
    if (name.startsWith(`.${tag}.`) && !name.endsWith(`.${process.pid}`))
      await unlink(posix.join(directory, name)).catch(ignoreMissing);
}

function ignoreMissing(error: unknown): undefined {
  if (errnoOf(error) !== 'ENOENT') throw error;
}

function errnoOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException | null)?.code;
}
