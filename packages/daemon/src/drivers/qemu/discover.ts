// Finds this daemon's guests in one pass over /proc. A guest is whatever is a child of its shim, since the shim's command
// line cannot be forged by a hostile QEMU; and, should the shim be gone, what carries the guest's name in its own command line.
// In doubt a guest is running: from the shim's first instruction to the last of QEMU.
import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { FoundGuest } from '@wirt/core';
import { guestName } from './arguments.ts';
import { type Directories, guestPaths, isSafeId } from './paths.ts';
import {
  type Identified,
  isAlive,
  listPids,
  readCommandLine,
  readProcess,
  readStat,
  signalProcess,
  waitUntilGone,
} from './proc.ts';
import { shimMarker } from './shim.ts';

const atOnce = 32;
/** Between the shim's start and its fork, and between QEMU's end and the shim's. */
const shimAloneMs = 250;

export interface DiscoverOptions extends Directories {
  readonly tag: string;
}

interface Seen {
  readonly pid: number;
  readonly parent: number;
  readonly commandLine: readonly string[];
}

export async function discover(options: DiscoverOptions): Promise<FoundGuest[]> {
  let found = await look(options);
  const deadline = performance.now() + shimAloneMs;
  while (found.some(({ alone }) => alone) && performance.now() < deadline) {
    await delay(10);
    found = await look(options);
  }
  return found.map(({ id, process }) => ({ id, process }));
}

async function look(options: DiscoverOptions): Promise<(FoundGuest & { readonly alone: boolean })[]> {
  const seen = await readAll();
  const shims = await findShims(seen, options);
  const candidates = new Map<number, { id: string; alone: boolean; trusted: boolean }>();
  for (const [pid, id] of shims) candidates.set(pid, { id, alone: true, trusted: true });
  for (const { pid, parent, commandLine } of seen) {
    const id = shims.get(parent);
    if (id !== undefined) {
      // The shim itself is no guest once it has a child; its child may still look like it.
      candidates.delete(parent);
      candidates.set(pid, { id, alone: false, trusted: true });
    } else if (!shims.has(pid)) {
      const named = guestOf(commandLine, options.tag);
      if (named !== undefined) candidates.set(pid, { id: named, alone: false, trusted: false });
    }
  }
  const found = await inBatches([...candidates], async ([pid, { id, alone, trusted }]) => {
    const process = await readProcess(pid);
    if (process === undefined) return undefined;
    if (!trusted && !(await belongs(process.uid, id, options))) return undefined;
    return { id, process, alone };
  });
  return found.filter((each) => each !== undefined);
}

async function readAll(): Promise<Seen[]> {
  const seen = await inBatches(await listPids(), async (pid) => {
    const [commandLine, stat_] = await Promise.all([readCommandLine(pid), readStat(pid)]);
    return stat_ === undefined ? undefined : { pid, parent: stat_.parent, commandLine };
  });
  return seen.filter((each) => each !== undefined);
}

/** The shims of this daemon, by pid. Their children that have not become another program yet look alike and are left out. */
async function findShims(seen: readonly Seen[], options: DiscoverOptions): Promise<Map<number, string>> {
  const alike = new Map<number, string>();
  for (const { pid, commandLine } of seen) {
    const id = shimOf(commandLine, options);
    if (id !== undefined) alike.set(pid, id);
  }
  const shims = new Map<number, string>();
  for (const { pid, parent } of seen) {
    const id = alike.get(pid);
    if (id === undefined || alike.has(parent)) continue;
    const process = await readProcess(pid);
    // Anybody may start a shell with such arguments.
    if (process?.uid === daemonUid()) shims.set(pid, id);
  }
  return shims;
}

function shimOf(commandLine: readonly string[], options: DiscoverOptions): string | undefined {
  const at = commandLine.indexOf(shimMarker);
  const id = at === -1 ? undefined : commandLine[at + 1];
  if (id === undefined || !isSafeId(id)) return undefined;
  return commandLine[at + 2] === guestPaths(options, id).run ? id : undefined;
}

function guestOf(commandLine: readonly string[], tag: string): string | undefined {
  const name = commandLine[commandLine.indexOf('-name') + 1];
  const match = commandLine.includes('-uuid') ? /^guest=wirt-[^,]*?-([0-9A-Z]+),/.exec(name ?? '') : null;
  const id = match?.[1];
  if (id === undefined || !isSafeId(id)) return undefined;
  return name?.startsWith(`guest=${guestName(tag, id)},`) ? id : undefined;
}

/** Anybody may call a process by a guest's name. Where it is not on file whose it must be, it is taken for a guest. */
async function belongs(uid: number, id: string, options: DiscoverOptions): Promise<boolean> {
  const text = await readFile(guestPaths(options, id).uid, 'latin1').catch(() => '');
  return !/^\d+\n$/.test(text) || uid === Number(text) || uid === daemonUid();
}

/**
 * Kills a guest by the process that it was found as, and returns when that and its shim are gone; found as its shim alone, also
 * when what the shim has started meanwhile is gone.
 */
export async function killFound(found: FoundGuest, signal: AbortSignal): Promise<void> {
  const stat = await readStat(found.process.pid);
  const shim = stat && {
    pid: stat.parent,
    isShim: (await readCommandLine(stat.parent)).includes(shimMarker),
  };
  const shimStat = shim?.isShim ? await readStat(shim.pid) : undefined;
  const isShim = (await readCommandLine(found.process.pid)).includes(shimMarker);
  const children = isShim ? await childrenOf(found.process.pid) : [];
  if (isShim) await killGroup(found.process);
  else await signalProcess(found.process, 'SIGKILL');
  for (const each of [found.process, ...children]) while (!(await waitUntilGone(each, 1_000, signal)));
  if (shim && shimStat)
    await waitUntilGone({ pid: shim.pid, startTicks: shimStat.startTicks }, 1_000, signal);
}

async function childrenOf(parent: number): Promise<Identified[]> {
  const stats = await inBatches(await listPids(), async (pid) => {
    const stat = await readStat(pid);
    return stat?.parent === parent ? { pid, startTicks: stat.startTicks } : undefined;
  });
  return stats.filter((each) => each !== undefined);
}

/** A shim that has no child yet is ended with what it may just be starting. It leads a group of its own. */
async function killGroup(shim: Identified): Promise<void> {
  if (!(await isAlive(shim))) return;
  try {
    process.kill(-shim.pid, 'SIGKILL');
  } catch {
    // No leader: a child of the shim that has not become QEMU yet.
    await signalProcess(shim, 'SIGKILL');
  }
}

function daemonUid(): number {
  return process.geteuid?.() ?? 0;
}

async function inBatches<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (let at = 0; at < items.length; at += atOnce) {
    results.push(...(await Promise.all(items.slice(at, at + atOnce).map(work))));
  }
  return results;
}
