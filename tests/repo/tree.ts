// Reads the repository into memory (path -> text), for the rules about it: what git tracks or would track, so that
// folders made by builds stay out. Needs git, as the clone itself did.
import { execFileSync } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

export const root = join(import.meta.dirname, '../..');

/** Paths from the root of all files that are tracked, or new and not ignored. */
export function listFiles(): string[] {
  const listed = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 64 << 20,
  });
  return [...new Set(listed.split('\0'))].filter((path) => path !== '' && isFile(path)).sort();
}

function isFile(path: string): boolean {
  return statSync(join(root, path), { throwIfNoEntry: false })?.isFile() ?? false;
}

export function readText(path: string): string {
  return readFileSync(join(root, path), 'utf8');
}
