// Makes and removes one group in one hierarchy. Never leaves a half-made cpuset, and waits, on a deadline, for the
// kernel to let go of a group whose processes were killed.
import { mkdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { posix } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { groupPath, type Hierarchy, parseProcs } from './layout.ts';

export function errnoOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException | null)?.code;
}

/** Makes `names[0]/names[1]/…`, existing ones are kept. Another daemon may prune an empty parent in between. */
export async function makeGroup(hierarchy: Hierarchy, names: readonly string[]): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      for (let depth = 1; depth <= names.length; depth += 1) {
        const parent = groupPath(hierarchy, ...names.slice(0, depth - 1));
        if (hierarchy.version === 'v2') await enableControllers(parent, hierarchy.controllers);
        const made = await makeDirectory(groupPath(hierarchy, ...names.slice(0, depth)));
        // Also where it was there before: the daemon that made it may have died in between.
        if (hierarchy.controllers.includes('cpuset') && hierarchy.version === 'v1')
          await inheritCpuset(parent, made);
      }
      return;
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT' || attempt >= 5) throw error;
    }
  }
}

async function makeDirectory(path: string): Promise<string> {
  try {
    await mkdir(path, { mode: 0o755 });
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error;
  }
  return path;
}

/** A v1 cpuset begins without processors and memory nodes, and takes no process before it has both (cpusets(7)). */
async function inheritCpuset(parent: string, group: string): Promise<void> {
  for (const file of ['cpuset.cpus', 'cpuset.mems']) {
    const own = (await readFile(posix.join(group, file), 'utf8')).trim();
    if (own !== '') continue;
    const value = (await readFile(posix.join(parent, file), 'utf8')).trim();
    await writeFile(posix.join(group, file), value);
  }
}

/** One by one, since one that cannot be had (a real-time cpu group, say) refuses the whole line. */
async function enableControllers(group: string, controllers: readonly string[]): Promise<void> {
  const file = posix.join(group, 'cgroup.subtree_control');
  const enabled = (await readFile(file, 'utf8')).split(/\s+/);
  for (const name of controllers) {
    if (enabled.includes(name)) continue;
    try {
      await writeFile(file, `+${name}`);
    } catch (error) {
      // Without the controller the group still holds its processes; `wirt host check` names what is missing.
      if (!['EBUSY', 'EOPNOTSUPP', 'ENOENT', 'EINVAL'].includes(errnoOf(error) ?? '')) throw error;
    }
  }
}

/** Kills every process of the group: at once on v2 (`cgroup.kill`, Linux 5.14), one by one elsewhere. */
export async function killGroup(hierarchy: Hierarchy, group: string): Promise<void> {
  if (hierarchy.version === 'v2' && (await tryWrite(posix.join(group, 'cgroup.kill'), '1'))) return;
  // A frozen process does not die before it is thawed (v1's freezer; v2's kills through it).
  if (hierarchy.controllers.includes('freezer')) await tryWrite(posix.join(group, 'freezer.state'), 'THAWED');
  for (const pid of await groupProcs(group)) {
    if (pid === process.pid) continue;
    try {
      process.kill(pid, 'SIGKILL');
    } catch (error) {
      if (errnoOf(error) !== 'ESRCH') throw error;
    }
  }
}

export async function groupProcs(group: string): Promise<number[]> {
  try {
    return parseProcs(await readFile(posix.join(group, 'cgroup.procs'), 'utf8'));
  } catch (error) {
    // ENODEV: the group was removed while its file was open.
    if (['ENOENT', 'ENODEV'].includes(errnoOf(error) ?? '')) return [];
    throw error;
  }
}

async function tryWrite(file: string, text: string): Promise<boolean> {
  try {
    await writeFile(file, text, { flag: 'r+' });
    return true;
  } catch {
    return false;
  }
}

export type Removal = { readonly done: true } | { readonly done: false; readonly pids: readonly number[] };

/** Kills and removes until the group is gone; after `deadlineMs` it tells who is left in it. */
export async function removeGroup(
  hierarchy: Hierarchy,
  group: string,
  options: { readonly deadlineMs: number; readonly signal: AbortSignal },
): Promise<Removal> {
  const end = performance.now() + options.deadlineMs;
  for (let waitMs = 1; ; waitMs = Math.min(waitMs * 2, 50)) {
    if (await removeEmpty(group)) return { done: true };
    await killGroup(hierarchy, group);
    if (await removeEmpty(group)) return { done: true };
    if (performance.now() >= end) return { done: false, pids: await groupProcs(group) };
    await sleep(waitMs, undefined, { signal: options.signal });
  }
}

/** False while somebody is in it. rmdir(2) on a group gives EBUSY for processes and for groups below. */
export async function removeEmpty(group: string): Promise<boolean> {
  try {
    await rmdir(group);
  } catch (error) {
    const errno = errnoOf(error) ?? '';
    if (errno === 'EBUSY' || errno === 'ENOTEMPTY') return false;
    if (errno !== 'ENOENT') throw error;
  }
  return true;
}
