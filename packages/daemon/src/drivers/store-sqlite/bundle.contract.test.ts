// The store in a bundle, where its worker is a file of another name beside it. In bundles the worker must stay small.
import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const local = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

function bundle(entry: string, outfile: string, ...more: string[]): void {
  const flags = ['--bundle', '--platform=node', '--format=esm', '--target=node24', '--log-level=error'];
  execFileSync(
    local('../../../../../node_modules/.bin/esbuild'),
    [entry, `--outfile=${outfile}`, ...flags, ...more],
    {
      timeout: 20_000,
    },
  );
}

it('finds its worker beside the bundle, and loads nothing of the contract into it', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'wirt-bundle-'));
  try {
    const metaPath = join(directory, 'meta.json');
    bundle(local('./worker.ts'), join(directory, 'store-worker.mjs'), `--metafile=${metaPath}`);
    const meta: { inputs: object } = JSON.parse(await readFile(metaPath, 'utf8'));
    expect(Object.keys(meta.inputs).filter((path) => !path.includes('store-sqlite'))).toEqual([]);

    const script = `
      import { openSqliteStore } from '${local('./open.ts')}';
      const silent = () => {};
      const logger = { debug: silent, info: silent, warn: silent, error: silent };
      await using store = await openSqliteStore({ directory: process.argv[2], logger });
      console.log(await store.write([{ type: 'put', key: 'a', value: 1 }]));
    `;
    await writeFile(join(directory, 'main.ts'), script);
    bundle(join(directory, 'main.ts'), join(directory, 'wirtd.mjs'));
    const output = execFileSync(process.execPath, [join(directory, 'wirtd.mjs'), join(directory, 'state')], {
      encoding: 'utf8',
      timeout: 20_000,
    });
    expect(output).toBe('1\n');
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
});
