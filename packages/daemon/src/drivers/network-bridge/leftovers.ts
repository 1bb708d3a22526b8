/** What a daemon that died left: servers that still run, directories of networks that are no more. */
import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { hasErrno } from '../../platform/fs-error.ts';

const leavingMs = 3_000;
const pollMs = 5;

/** Ends the dnsmasqs whose configuration is below `directory`, and returns when they are gone. */
export async function endServers(directory: string): Promise<void> {
  const pids = await serversOf(directory);
  for (const pid of pids) signalTo(pid, 'SIGTERM');
  const untilMs = performance.now() + leavingMs;
  for (const pid of pids)
    while ((await serves(pid, directory)) && performance.now() < untilMs) await setTimeout(pollMs);
  for (const pid of pids) if (await serves(pid, directory)) signalTo(pid, 'SIGKILL');
}

export async function serversOf(directory: string): Promise<number[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  const ours = await Promise.all(pids.map(async (pid) => ((await serves(pid, directory)) ? [pid] : [])));
  return ours.flat();
}

async function serves(pid: number, directory: string): Promise<boolean> {
  const words = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0');
  return words[0] === 'dnsmasq' && words.some((word) => word.startsWith(`--conf-file=${directory}/`));
}

function signalTo(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (!hasErrno(error, 'ESRCH')) throw error;
  }
}

/** Removes what is in the directory and is not named in `kept`. */
export async function sweep(directory: string, kept: ReadonlySet<string>): Promise<void> {
  const names = await readdir(directory).catch(() => []);
  await Promise.all(
    names
      .filter((name) => !kept.has(name))
      .map((name) => rm(join(directory, name), { recursive: true, force: true })),
  );
}
