// The doors of the Makefile, opened as a person opens them: without what an outer make, or a wirtd of one's own, has set.
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { plainEnvironment } from './image.ts';

export const cloneRoot = join(import.meta.dirname, '../../..');

export interface MakeResult {
  readonly exitCode: number | null;
  readonly output: string;
}

export async function make(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<MakeResult> {
  const inherited = Object.entries(plainEnvironment()).filter(
    ([name]) => !/^(MAKE|MFLAGS|GNUMAKE)/.test(name),
  );
  const child = spawn('make', ['--no-print-directory', '-C', cloneRoot, ...args], {
    env: { ...Object.fromEntries(inherited), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    signal: AbortSignal.timeout(170_000),
  });
  const exit = new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  const [stdout, stderr, exitCode] = await Promise.all([text(child.stdout), text(child.stderr), exit]);
  return { exitCode, output: stdout + stderr };
}
