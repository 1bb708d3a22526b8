// What /proc says of processes (proc(5)). A process is known by pid and start time together, since pids come again.
import { readdir, readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { InstanceProcess } from '@wirt/api';

export interface ProcessStat {
  readonly state: string;
  readonly parent: number;
  /** Its process group. */
  readonly group: number;
  readonly startTicks: number;
}

/** The program's name, in parentheses, may hold anything: fields are counted from the last one. */
export function parseStat(text: string): ProcessStat | undefined {
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const [state, parent, group] = fields;
  const startTicks = Number(fields[19]);
  if (state === undefined || parent === undefined || !Number.isSafeInteger(startTicks)) return undefined;
  return { state, parent: Number(parent), group: Number(group), startTicks };
}

/** Undefined when there is no such process. */
export async function readStat(pid: number): Promise<ProcessStat | undefined> {
  try {
    return parseStat(await readFile(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return undefined;
  }
}

/** Arguments of a process; none for kernel threads and processes that are gone. */
export async function readCommandLine(pid: number): Promise<string[]> {
  try {
    return (await readFile(`/proc/${pid}/cmdline`, 'utf8')).split('\0').slice(0, -1);
  } catch {
    return [];
  }
}

/** Real uid and gid. */
export async function readOwner(pid: number): Promise<{ uid: number; gid: number } | undefined> {
  try {
    const status = await readFile(`/proc/${pid}/status`, 'latin1');
    const real = (key: string): number => Number(new RegExp(`^${key}:\\s+(\\d+)`, 'm').exec(status)?.[1]);
    const owner = { uid: real('Uid'), gid: real('Gid') };
    return Number.isNaN(owner.uid + owner.gid) ? undefined : owner;
  } catch {
    return undefined;
  }
}

export async function readProcess(pid: number): Promise<InstanceProcess | undefined> {
  const [stat, owner] = await Promise.all([readStat(pid), readOwner(pid)]);
  if (stat === undefined || owner === undefined || isOver(stat)) return undefined;
  return { pid, startTicks: stat.startTicks, ...owner };
}

export async function listPids(): Promise<number[]> {
  return (await readdir('/proc')).filter((name) => /^[0-9]+$/.test(name)).map(Number);
}

export type Identified = Pick<InstanceProcess, 'pid' | 'startTicks'>;

/** A zombie has ended. */
export async function isAlive({ pid, startTicks }: Identified): Promise<boolean> {
  const stat = await readStat(pid);
  return stat !== undefined && stat.startTicks === startTicks && !isOver(stat);
}

/** Whether a process of this group has not ended. Asked by number and not by name: a process that is being replaced by another program has none for a moment. */
export async function isGroupAlive(group: number): Promise<boolean> {
  const all = await Promise.all((await listPids()).map(readStat));
  return all.some((stat) => stat !== undefined && stat.group === group && !isOver(stat));
}

/** Sends a signal to this very process. False when it is gone. */
export async function signalProcess(process_: Identified, signal: NodeJS.Signals): Promise<boolean> {
  if (!(await isAlive(process_))) return false;
  try {
    process.kill(process_.pid, signal);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}

/** True when the process is gone, false after `timeoutMs`. The kernel tells nobody but the parent: so this looks again. */
export async function waitUntilGone(
  process_: Identified,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  for (let pauseMs = 1; await isAlive(process_); pauseMs = Math.min(pauseMs * 2, 50)) {
    signal?.throwIfAborted();
    if (performance.now() >= deadline) return false;
    await delay(pauseMs);
  }
  return true;
}

function isOver({ state }: ProcessStat): boolean {
  return state === 'Z' || state === 'X';
}
