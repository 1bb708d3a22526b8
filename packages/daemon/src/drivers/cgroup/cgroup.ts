// ResourceControl on cgroupfs: one group per guest, `/<parent>/<tag>/<id>`, in every hierarchy of use (v1, v2, hybrid),
// found again by that name. Hierarchies that may not be written are left out, with one line in the log. Limits: limits.ts;
// what guests use: usage.ts. Under systemd the guest has a scope instead: scope.ts.
import { existsSync, readFileSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { posix } from 'node:path';
import { WirtError } from '@wirt/api';
import type { ControlGroup, Logger, ResourceControl } from '@wirt/core';
import { type CgroupMount, parseCgroupMounts } from '../../platform/cgroup-mounts.ts';
import { errnoOf, makeGroup, removeEmpty, removeGroup } from './groups.ts';
import {
  chooseHierarchies,
  groupPath,
  type Hierarchy,
  isSafeName,
  joinFile,
  parseOomKills,
  usedControllers,
} from './layout.ts';
import { createGroupLimits } from './limits.ts';
import { spareDescriptors } from './open-files.ts';
import { followReservations, isReserved } from './reservations.ts';
import { createScopeControl } from './scope.ts';
import { createUsageReader } from './usage.ts';

export interface CgroupOptions {
  /** Short id of this daemon; many live side by side under one parent. */
  readonly tag: string;
  readonly parent?: string;
  /** Only hierarchies mounted here or below are used. */
  readonly root?: string;
  /** Instead of what /proc/self/mountinfo says. */
  readonly mounts?: readonly CgroupMount[];
  readonly controllers?: ReadonlySet<string>;
  /** systemd runs this machine: guests are started in transient scopes, and no group is made here. */
  readonly systemd: boolean;
  readonly logger: Logger;
  /** How long killed processes may take to leave their group. */
  readonly removeTimeoutMs?: number;
  readonly procRoot?: string;
  /** Where the schedulers of disks are, which I/O weights need. */
  readonly sysBlock?: string;
}

const hint = 'See `wirt host check`, and `cat /proc/self/mountinfo | grep cgroup`.';

export function createCgroupControl(options: CgroupOptions): ResourceControl {
  const { tag, parent = 'wirt', root = '/sys/fs/cgroup', logger } = options;
  const { procRoot = '/proc', sysBlock = '/sys/block' } = options;
  for (const name of [tag, parent])
    if (!isSafeName(name)) throw new Error(`'${name}' cannot be part of a control group's name.`);
  const mounts = options.mounts ?? parseCgroupMounts(readFileSync('/proc/self/mountinfo', 'utf8'), root);
  if (options.systemd) return createScopeControl({ tag, mounts, procRoot, sysBlock });

  const hierarchies = findHierarchies(mounts, options.controllers ?? usedControllers, logger);
  const namesOf = (id: string): string[] => {
    if (!isSafeName(id)) throw new WirtError('host.cgroup_failed', `'${id}' cannot name a control group.`);
    return [parent, tag, id];
  };
  const descriptors = spareDescriptors();
  const limiting = createGroupLimits({
    hierarchies,
    namesOf,
    parentNames: [parent, tag],
    procRoot,
    sysBlock,
    descriptors,
    onRemade: (id) => usage.forget(id),
  });
  const usage = createUsageReader({ procRoot, descriptors, placesOf: (id) => limiting.placesOf(id) });
  const forget = (id: string): void => {
    limiting.forget(id);
    usage.forget(id);
  };

  return {
    limit: limiting.limit,
    limits: limiting.limits,
    refuses: limiting.refuses,
    usage: usage.read,

    async create(id) {
      const names = namesOf(id);
      const places = limiting.placesOf(id);
      const wasReserved = isReserved(places);
      forget(id);
      const refused: Hierarchy[] = [];
      for (const hierarchy of hierarchies) {
        try {
          // What a daemon before has left behind goes with its limits and its counters; not with a process in it.
          await removeEmpty(groupPath(hierarchy, ...names)).catch(() => false);
          await makeGroup(hierarchy, names);
        } catch (cause) {
          if (!isRefusal(cause)) throw await undone(id, names, hierarchies, cause);
          refused.push(hierarchy);
        }
      }
      leaveOut(hierarchies, refused, logger);
      if (wasReserved) followReservations(places);
      return joinFilesOf(hierarchies, names);
    },

    async remove(id, signal) {
      const names = namesOf(id);
      const places = limiting.placesOf(id);
      const wasReserved = isReserved(places);
      forget(id);
      const deadlineMs = options.removeTimeoutMs ?? 5_000;
      for (const hierarchy of hierarchies) {
        const group = groupPath(hierarchy, ...names);
        const removal = await removeGroup(hierarchy, group, { deadlineMs, signal }).catch(
          (cause: unknown) => {
            signal.throwIfAborted();
            throw new WirtError('host.cgroup_failed', `The control group of ${id} could not be removed.`, {
              cause,
              hint,
            });
          },
        );
        if (!removal.done) throw stillBusy(id, group, removal.pids, deadlineMs);
        await prune(hierarchy, names);
      }
      if (wasReserved) followReservations(places);
    },

    async list() {
      const ids = new Set<string>();
      for (const hierarchy of hierarchies)
        for (const id of await directories(groupPath(hierarchy, parent, tag))) ids.add(id);
      return [...ids].toSorted();
    },

    async oomKills(id) {
      const names = namesOf(id);
      const memory = hierarchies.find(({ controllers }) => controllers.includes('memory'));
      if (memory === undefined) return 0;
      const file = memory.version === 'v2' ? 'memory.events' : 'memory.oom_control';
      const text = await readFile(posix.join(groupPath(memory, ...names), file), 'utf8').catch(() => '');
      return parseOomKills(text);
    },
  };
}

/** A list that shrinks: what may not be written is taken out when it is found out. */
function findHierarchies(
  mounts: readonly CgroupMount[],
  used: ReadonlySet<string>,
  logger: Logger,
): Hierarchy[] {
  const v2 = mounts.find(({ version }) => version === 'v2');
  const file = v2 === undefined ? '' : posix.join(v2.mountPoint, 'cgroup.controllers');
  const hierarchies = chooseHierarchies(mounts, existsSync(file) ? readFileSync(file, 'utf8') : '', used);
  const readOnly = new Set(mounts.filter((mount) => mount.readOnly).map(({ mountPoint }) => mountPoint));
  leaveOut(
    hierarchies,
    hierarchies.filter(({ mountPoint }) => readOnly.has(mountPoint)),
    logger,
  );
  return hierarchies;
}

function leaveOut(hierarchies: Hierarchy[], refused: readonly Hierarchy[], logger: Logger): void {
  if (refused.length === 0) return;
  logger.warn('cgroup.left_out', {
    hierarchies: refused.map(({ mountPoint }) => mountPoint),
    why: 'They may not be written: guests have no group of their own there, so they are not limited or counted.',
  });
  for (const hierarchy of refused) {
    const at = hierarchies.indexOf(hierarchy);
    // Two creations at the same time find out the same; the second has nothing left to take out.
    if (at >= 0) hierarchies.splice(at, 1);
  }
}

function isRefusal(error: unknown): boolean {
  return ['EACCES', 'EPERM', 'EROFS'].includes(errnoOf(error) ?? '');
}

function joinFilesOf(hierarchies: readonly Hierarchy[], names: readonly string[]): ControlGroup {
  return { joinFiles: hierarchies.map((hierarchy) => joinFile(hierarchy, groupPath(hierarchy, ...names))) };
}

/** Takes back the groups made before the one that failed; a group with processes in it was there before and stays. */
async function undone(
  id: string,
  names: readonly string[],
  hierarchies: readonly Hierarchy[],
  cause: unknown,
): Promise<WirtError> {
  for (const hierarchy of hierarchies) {
    const isGone = await removeEmpty(groupPath(hierarchy, ...names)).catch(() => false);
    if (isGone) await prune(hierarchy, names).catch(() => undefined);
  }
  return new WirtError('host.cgroup_failed', `The control group of ${id} could not be made.`, {
    cause,
    hint,
  });
}

/** Empty directories of this daemon, and of the last daemon, go too. */
async function prune(hierarchy: Hierarchy, names: readonly string[]): Promise<void> {
  for (let depth = names.length - 1; depth >= 1; depth -= 1)
    if (!(await removeEmpty(groupPath(hierarchy, ...names.slice(0, depth))))) return;
}

async function directories(path: string): Promise<string[]> {
  try {
    const entries = await readdir(path, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw new WirtError('host.cgroup_failed', `The control groups in ${path} could not be listed.`, {
      cause: error,
      hint,
    });
  }
}

function stillBusy(id: string, group: string, pids: readonly number[], deadlineMs: number): WirtError {
  const who = pids.length > 0 ? `processes ${pids.join(', ')} are` : 'something is';
  return new WirtError('host.cgroup_failed', `The control group of ${id} could not be removed.`, {
    cause: new Error(`${who} still in ${group}, ${deadlineMs} ms after being killed`),
    hint: 'A process that SIGKILL does not end waits for the kernel (`ps -o pid,stat,wchan`); remove again when it is gone.',
    details: { group, pids: [...pids] },
  });
}
