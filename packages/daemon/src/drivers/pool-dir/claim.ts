/**
 * The marker file by which a directory is the pool of one wirtd and of no other. It appears whole or not at all, and of two
 * that come at once one finds the other's. A wirtd that is gone for good leaves its marker: taking it away is for people to decide.
 */
import { randomBytes } from 'node:crypto';
import { link, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { WirtError } from '@wirt/api';
import { syncDirectory, writeFileAtomically } from '../../platform/atomic-file.ts';
import { hasErrno } from '../../platform/fs-error.ts';
import type { PoolPaths } from './layout.ts';

export interface Claim {
  /** Id of the pool's record. */
  readonly pool: string;
  /** Tag of the wirtd. */
  readonly owner: string;
}

/**
 * Takes the directory. An own claim for another pool is taken over when nothing lies there: what a wirtd that died while
 * making a pool has left. Throws `pool.owned`.
 */
export async function claimPool(paths: PoolPaths, claim: Claim): Promise<void> {
  // A pool that is full has no room for a marker, and needs no new one.
  const there = await readClaim(paths);
  if (there !== undefined && sameClaim(there, claim)) return;
  const text = `${JSON.stringify({ ...claim, createdAt: new Date().toISOString() })}\n`;
  if (await writeNew(paths, text)) return;
  const found = await readClaim(paths);
  // Its wirtd gave it up in between.
  if (found === undefined) return claimPool(paths, claim);
  if (sameClaim(found, claim)) return;
  if (found === 'unreadable' || found.owner !== claim.owner || !(await isEmpty(paths)))
    throw owned(paths, found, claim);
  await writeFileAtomically(paths.marker, text, { mode: 0o644 });
}

/** Throws `pool.unusable` when the marker is no longer this pool's, as when its file system is not mounted. */
export async function requireClaim(paths: PoolPaths, claim: Claim): Promise<void> {
  const found = await readClaim(paths);
  if (found !== undefined && sameClaim(found, claim)) return;
  throw new WirtError(
    'pool.unusable',
    `The directory ${paths.root} does not hold this pool: ${found === undefined ? 'its file wirt-pool.json is gone' : 'its file wirt-pool.json names another'}.`,
    { hint: `See whether its file system is mounted: findmnt -T ${paths.root}` },
  );
}

/** Gives an own claim up; another's stays. */
export async function releaseClaim(paths: PoolPaths, claim: Claim): Promise<void> {
  const found = await readClaim(paths);
  if (found === undefined || !sameClaim(found, claim)) return;
  await rm(paths.marker, { force: true });
  await syncDirectory(paths.root);
}

/** False when there is a marker already. link(2) takes no name that is there. */
async function writeNew({ root, marker }: PoolPaths, text: string): Promise<boolean> {
  const temporary = join(root, `.wirt-pool-${randomBytes(6).toString('hex')}`);
  try {
    await writeFileAtomically(temporary, text, { mode: 0o644 });
    await link(temporary, marker);
  } catch (error) {
    if (hasErrno(error, 'EEXIST')) return false;
    throw error;
  } finally {
    await rm(temporary, { force: true });
  }
  await syncDirectory(root);
  return true;
}

async function readClaim({ marker }: PoolPaths): Promise<Claim | 'unreadable' | undefined> {
  let text: string;
  try {
    text = await readFile(marker, 'utf8');
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
  try {
    const { pool, owner }: { pool?: unknown; owner?: unknown } = JSON.parse(text) ?? {};
    if (typeof pool === 'string' && typeof owner === 'string') return { pool, owner };
  } catch {
    // Not ours, or damaged: either way not to be taken.
  }
  return 'unreadable';
}

function sameClaim(found: Claim | 'unreadable', { pool, owner }: Claim): boolean {
  return found !== 'unreadable' && found.pool === pool && found.owner === owner;
}

async function isEmpty({ volumes }: PoolPaths): Promise<boolean> {
  try {
    return (await readdir(volumes)).length === 0;
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return true;
    throw error;
  }
}

function owned({ root, marker }: PoolPaths, found: Claim | 'unreadable', { owner }: Claim): WirtError {
  if (found === 'unreadable')
    return new WirtError('pool.owned', `The directory ${root} has a marker that cannot be read: ${marker}.`, {
      hint: `Look into it. When no wirtd uses the directory, remove it: rm ${marker}`,
    });
  const whose = found.owner === owner ? 'another pool of this wirtd' : `the wirtd ${found.owner}`;
  return new WirtError(
    'pool.owned',
    `The directory ${root} belongs to ${whose}, as its pool ${found.pool}.`,
    {
      hint: `Use another directory. When that pool is gone for good, remove its marker: rm ${marker}`,
      details: { ...found },
    },
  );
}
