// Where a guest's groups are: names and paths in every hierarchy that is of use, and the line that a process writes
// itself in by. Pure; cgroup.ts does the work.
import { posix } from 'node:path';
import type { CgroupMount } from '../../platform/cgroup-mounts.ts';

/** A hierarchy in which guests get a group, and what it is for. */
export interface Hierarchy {
  readonly version: 'v1' | 'v2';
  readonly mountPoint: string;
  readonly controllers: readonly string[];
}

/**
 * What guests' groups are for: holding the processes (freezer, pids) and, with the policies to come, limiting them.
 *
 * Left out: `devices` (v1), because a group without rules allows what its parent allows, and the guest's own uid is
 * already kept from devices by their file modes; `net_cls` and `net_prio`, because packets are told apart by tap; named
 * hierarchies, which belong to systemd; `hugetlb`, until guests use huge pages: on a hybrid host it would be the only
 * reason to join v2, and joining v2 waits for an RCU grace period (10 to 20 ms of every start, see `joinFile`).
 */
export const usedControllers: ReadonlySet<string> = new Set([
  'cpu',
  'cpuacct',
  'cpuset',
  'memory',
  'blkio',
  'io',
  'pids',
  'freezer',
]);

/** The hierarchies with a controller of use; `v2Controllers` is the text of the v2 root's `cgroup.controllers`. */
export function chooseHierarchies(
  mounts: readonly CgroupMount[],
  v2Controllers: string,
  used: ReadonlySet<string>,
): Hierarchy[] {
  const isPureV2 = mounts.every((mount) => mount.version === 'v2');
  return mounts.flatMap(({ version, mountPoint, controllers }) => {
    const present = version === 'v2' ? v2Controllers.split(/\s+/).filter(Boolean) : controllers;
    const chosen = present.filter((name) => used.has(name));
    // On a pure v2 host the group holds and counts the processes even where no controller is delegated.
    return chosen.length > 0 || isPureV2 ? [{ version, mountPoint, controllers: chosen }] : [];
  });
}

/** Ids, tags and parents become directory names. */
export function isSafeName(name: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/.test(name);
}

export function groupPath(hierarchy: Hierarchy, ...names: readonly string[]): string {
  return posix.join(hierarchy.mountPoint, ...names);
}

/**
 * The file that a starting process writes `0` into. For v1 it is `tasks`, which moves one thread: right for a process
 * that still has only one, and it spares the wait for an RCU grace period that the kernel takes to hold all threads
 * still for a write to `cgroup.procs` (measured: 0.05 ms instead of 10 to 20 ms). v2 only has the slow way.
 */
export function joinFile(hierarchy: Hierarchy, group: string): string {
  return posix.join(group, hierarchy.version === 'v2' ? 'cgroup.procs' : 'tasks');
}

/** `oom_kill 3` in v2's memory.events and v1's memory.oom_control; 0 where the kernel does not count. */
export function parseOomKills(text: string): number {
  return Number(/^oom_kill (\d+)$/m.exec(text)?.[1] ?? 0);
}

/** Pids of `cgroup.procs`. A process of another pid namespace is shown as 0, which is nobody to send a signal to. */
export function parseProcs(text: string): number[] {
  return text
    .split('\n')
    .map(Number)
    .filter((pid) => Number.isSafeInteger(pid) && pid > 1);
}
