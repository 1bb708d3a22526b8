// For tests: who guests are, whether passt can be used here, and which of them run below a directory.
import { execFileSync } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import type { Logger } from '@wirt/core';

const nothing = (): void => {};
export const silentLogger: Logger = { debug: nothing, info: nothing, warn: nothing, error: nothing };

export const isRoot = process.geteuid?.() === 0;

/** As root a uid that nobody has. */
export const owner = isRoot
  ? { uid: 987_653, gid: 987_653 }
  : { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };

/** A sentence; '' where it is there. */
export function passtMissing(): string {
  try {
    execFileSync('passt', ['--version'], { stdio: 'ignore' });
  } catch {
    return 'passt is not installed';
  }
  const routes = execFileSync('ip', ['route', 'show', 'default'], { encoding: 'utf8' });
  return routes === '' ? 'the host has no default route, which passt stands for' : '';
}

export async function passtsBelow(runDirectory: string): Promise<number[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const commands = await Promise.all(
    pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')),
  );
  return pids.filter((_pid, index) => commands[index]?.includes(`${runDirectory}/passt/`)).map(Number);
}
