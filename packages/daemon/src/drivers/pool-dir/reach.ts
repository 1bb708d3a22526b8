/**
 * Whether guests, who run as users of their own, can come to the files of a pool: every directory on the way must let them
 * pass. Nothing is changed on directories that are not the pool's.
 */
import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { WirtError } from '@wirt/api';

const OTHERS_PASS = 0o001;

/** From the root of the file system down to `path` itself. */
export function directoriesTo(path: string): string[] {
  const parent = dirname(path);
  return parent === path ? [path] : [...directoriesTo(parent), path];
}

/** Throws `pool.unusable` with the first directory that guests cannot pass. */
export async function requirePassable(path: string): Promise<void> {
  for (const directory of directoriesTo(path)) {
    if (((await stat(directory)).mode & OTHERS_PASS) !== 0) continue;
    throw new WirtError(
      'pool.unusable',
      `Guests cannot reach ${path}: ${directory} lets no other user pass.`,
      {
        hint: `Let them pass, without seeing what is in it: chmod o+x ${directory}`,
        details: { directory },
      },
    );
  }
}
