// A `qemu-img` in front of the real one, which notes that it was called and does what a test wants done at that moment:
// so that a test can say that no foreign file was opened, or fill a disk in the middle of a copy. It runs as whoever
// calls it, which is a user without rights when wirtd copies.
import { execFile } from 'node:child_process';
import { chmod, mkdtemp, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface ToolSpy extends AsyncDisposable {
  /** For a daemon: finds this `qemu-img` first. */
  readonly env: Readonly<Record<string, string>>;
  /** The command lines so far. */
  calls(): Promise<string[]>;
  /** A file that everybody may write, for what the text below finds out. */
  readonly notes: string;
  /** Shell text to run before each call from now on; empty: nothing. */
  before(script: string): Promise<void>;
}

export async function spyOnTools(): Promise<ToolSpy> {
  const directory = await realpath(await mkdtemp(join(tmpdir(), 'wirt-tools-')));
  await chmod(directory, 0o755);
  const { stdout } = await run('sh', ['-c', 'command -v qemu-img']);
  const calls = join(directory, 'calls');
  const hook = join(directory, 'hook');
  const notes = join(directory, 'notes');
  for (const file of [calls, notes]) {
    await writeFile(file, '');
    await chmod(file, 0o666);
  }
  await writeFile(hook, '');
  const tool = join(directory, 'qemu-img');
  await writeFile(tool, `#!/bin/sh\necho "$*" >>${calls}\n. ${hook}\nexec ${stdout.trim()} "$@"\n`);
  await chmod(tool, 0o755);
  return {
    env: { PATH: `${directory}:${process.env['PATH']}` },
    notes,
    calls: async () => (await readFile(calls, 'utf8')).split('\n').filter(Boolean),
    before: (script) => writeFile(hook, `${script}\n`),
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }),
  };
}
