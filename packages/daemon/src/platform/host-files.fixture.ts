// A machine's files made of a table, in directories that `removeFiles` takes away after each test.
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createHostFiles, type HostFiles } from './host-files.ts';

const roots: string[] = [];

export async function removeFiles(): Promise<void> {
  for (const root of roots.splice(0)) await rm(root, { recursive: true });
}

/** An empty machine. */
export async function makeRoot(): Promise<string> {
  const root = await mkdtemp(join(tmpdir(), 'wirt-host-'));
  roots.push(root);
  return root;
}

/** Content by absolute path; `-> name` makes a symbolic link, and a path that ends in `/` a directory. */
export function writeTable(root: string, table: Readonly<Record<string, string>>): void {
  // At once and not in the background: thousands of small files take a tenth of the time.
  const made = new Set<string>();
  const makeDirectory = (path: string): void => {
    if (!made.has(path)) mkdirSync(path, { recursive: true });
    made.add(path);
  };
  for (const [path, content] of Object.entries(table)) {
    const file = join(root, path);
    makeDirectory(path.endsWith('/') ? file : dirname(file));
    if (path.endsWith('/')) continue;
    if (content.startsWith('-> ')) symlinkSync(content.slice(3), file);
    else writeFileSync(file, content);
  }
}

export async function filesOf(table: Readonly<Record<string, string>>): Promise<HostFiles> {
  const root = await makeRoot();
  writeTable(root, table);
  return createHostFiles(root);
}
