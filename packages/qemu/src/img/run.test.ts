import { mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { runQemuImg } from './run.ts';

test('a program reads an inherited file by its descriptor, though its name is gone', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'run-img-'));
  try {
    const path = join(directory, 'file');
    await writeFile(path, 'content');
    await using file = await open(path, 'r');
    await rm(path);
    const script = "process.stdout.write(require('node:fs').readFileSync('/proc/self/fd/3', 'utf8'))";
    const end = await runQemuImg({
      launcher: [process.execPath, '-e', script],
      subcommand: 'info',
      args: [],
      timeoutMs: 10_000,
      descriptors: [file.fd],
    });
    expect(end).toMatchObject({ exitCode: 0, stdout: 'content' });
  } finally {
    await rm(directory, { recursive: true });
  }
});
