// Whether a guest's process is in its groups, and back into them with all its threads when somebody has moved it out.
import { constants } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { posix } from 'node:path';
import { type InstanceProcess, WirtError } from '@wirt/api';
import { groupPath, type Hierarchy } from './layout.ts';
import type { ReadShort } from './open-files.ts';
import { membershipIn, readMemberships, readShort } from './places.ts';

/** The hierarchies in which the process is not in the group of these names; all of them when it has ended. */
export function strayedFrom(
  hierarchies: readonly Hierarchy[],
  names: readonly string[],
  pid: number,
  procRoot: string,
  read?: ReadShort,
): Hierarchy[] {
  const memberships = readMemberships(pid, procRoot, read);
  // The kernel shows a path below the root of our cgroup namespace, which need not be the root of the mount.
  const end = `/${names.join('/')}`;
  return hierarchies.filter((hierarchy) => !membershipIn(memberships, hierarchy)?.endsWith(end));
}

/** `cgroup.procs` takes a process whole, on v1 too (its `tasks` would move one thread). Throws `limit.failed`. */
export async function bringBack(
  id: string,
  strayed: readonly Hierarchy[],
  names: readonly string[],
  process: InstanceProcess,
  procRoot: string,
): Promise<void> {
  // Another process may have the number by now, and is not to be limited.
  const isStill = startTicksOf(process.pid, procRoot) === process.startTicks;
  if (!isStill) throw notMoved(id, new Error(`process ${process.pid} has ended`));
  for (const hierarchy of strayed)
    await writeFile(posix.join(groupPath(hierarchy, ...names), 'cgroup.procs'), String(process.pid), {
      flag: constants.O_WRONLY,
    }).catch((cause: unknown) => {
      throw notMoved(id, cause);
    });
}

/** Field 22 of `/proc/PID/stat`, counted from behind the name, which may have anything in it. proc_pid_stat(5). */
export function startTicksOf(pid: number, procRoot: string): number | undefined {
  const stat = readShort(posix.join(procRoot, String(pid), 'stat'));
  const field = stat?.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  return field === undefined ? undefined : Number(field);
}

function notMoved(id: string, cause: unknown): WirtError {
  return new WirtError('limit.failed', `The process of ${id} could not be put back into its control group.`, {
    cause,
    hint: 'See `wirt show` whether the guest is running, and `cat /proc/PID/cgroup` of its QEMU.',
  });
}
