// A machine's files made of a table, in directories that `removeFiles` takes away after each test.
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
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
export async function writeTable(root: string, table: Readonly<Record<string, string>>): Promise<void> {
  for (const [path, content] of Object.entries(table)) {
    const file = join(root, path);
    if (path.endsWith('/')) {
      await mkdir(file, { recursive: true });
      continue;
    }
    await mkdir(dirname(file), { recursive: true });
    if (content.startsWith('-> ')) await symlink(content.slice(3), file);
    else await writeFile(file, content);
  }
}

export async function filesOf(table: Readonly<Record<string, string>>): Promise<HostFiles> {
  const root = await makeRoot();
  await writeTable(root, table);
  return createHostFiles(root);
}
