// Which limits this host can keep: the controller is there and may be written, its groups have the file (which the root does
// not show: a group of Wirt's is looked at, or made for a moment), and, for I/O weights, a disk's scheduler heeds them.
import { mkdirSync, readdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { posix } from 'node:path';
import { WirtError } from '@wirt/api';
import type { GroupLimitKey, GroupLimits } from '@wirt/core';
import { groupPath, type Hierarchy } from './layout.ts';
import type { LimitController } from './limit-dialect.ts';
import { minCores } from './limit-files-cpu.ts';
import { readShort } from './places.ts';

export interface Refusal {
  readonly why: string;
  readonly hint: string;
}

interface Need {
  readonly controller: LimitController;
  /** One of them is enough. */
  readonly files: Readonly<Record<'v1' | 'v2', readonly string[]>>;
  readonly hint: string;
}

const newerKernel = 'It came with Linux 5.14; see `uname -r`.';
const swapAccounting = 'Start the kernel with `swapaccount=1` (and CONFIG_SWAP).';

const needs = {
  cores: {
    controller: 'cpu',
    files: { v1: ['cpu.cfs_quota_us'], v2: ['cpu.max'] },
    hint: 'The kernel needs CONFIG_CFS_BANDWIDTH.',
  },
  burstMs: {
    controller: 'cpu',
    files: { v1: ['cpu.cfs_burst_us'], v2: ['cpu.max.burst'] },
    hint: newerKernel,
  },
  weight: {
    controller: 'cpu',
    files: { v1: ['cpu.shares'], v2: ['cpu.weight'] },
    hint: 'The kernel needs CONFIG_FAIR_GROUP_SCHED.',
  },
  ceilingMib: {
    controller: 'memory',
    files: { v1: ['memory.limit_in_bytes'], v2: ['memory.max'] },
    hint: 'The kernel needs CONFIG_MEMCG.',
  },
  reservationMib: {
    controller: 'memory',
    files: { v1: ['memory.soft_limit_in_bytes'], v2: ['memory.low'] },
    hint: 'The kernel needs CONFIG_MEMCG.',
  },
  swapMib: {
    controller: 'memory',
    files: { v1: ['memory.memsw.limit_in_bytes'], v2: ['memory.swap.max'] },
    hint: swapAccounting,
  },
  ioWeight: {
    controller: 'io',
    files: { v1: ['blkio.bfq.weight', 'blkio.weight'], v2: ['io.weight', 'io.bfq.weight'] },
    hint: 'Load the scheduler: `modprobe bfq`.',
  },
} as const satisfies Record<GroupLimitKey, Need>;

/** Which limit a file is of, so that a refused write can name it. */
export function keyOfFile(file: string): GroupLimitKey {
  // The keys of the table, which Object.keys forgets.
  const keys = Object.keys(needs) as GroupLimitKey[];
  const found = keys.find((key) =>
    [...needs[key].files.v1, ...needs[key].files.v2].some((one) => one === file),
  );
  return found ?? 'cores';
}

/** Every file that a limit may be in, for hosts where systemd makes the groups and none can be looked at before. */
export const allFiles: ReadonlySet<string> = new Set(
  Object.values(needs).flatMap(({ files }) => [...files.v1, ...files.v2]),
);

/** Throws `limit.unsupported` for the first limit that is refused, before anything is changed. */
export function refuseUnsupported(
  id: string,
  limits: GroupLimits,
  refuses: (key: GroupLimitKey) => Refusal | undefined,
): void {
  for (const [key, value] of Object.entries(limits) as [GroupLimitKey, number | undefined][]) {
    if (value === undefined) continue;
    const refusal = refuses(key) ?? beyond(key, value);
    if (refusal === undefined) continue;
    throw new WirtError('limit.unsupported', `This host cannot keep the limit ${key} of ${id}.`, {
      cause: new Error(refusal.why),
      hint: refusal.hint,
      details: { key },
    });
  }
}

/** Values that the kernel would take as others. */
function beyond(key: GroupLimitKey, value: number): Refusal | undefined {
  if (key !== 'cores' || value === 0 || value >= minCores) return undefined;
  return {
    why: `The kernel counts processor time from ${minCores} cores.`,
    hint: `Ask for ${minCores} cores or more.`,
  };
}

const carriers: Record<LimitController, readonly string[]> = {
  cpu: ['cpu'],
  memory: ['memory'],
  io: ['blkio', 'io'],
};

/** `filesOf`: what a group has in the hierarchy; undefined where none can be made. */
export function refusalOf(
  key: GroupLimitKey,
  hierarchies: readonly Hierarchy[],
  filesOf: (hierarchy: Hierarchy) => ReadonlySet<string> | undefined,
  sysBlock: string,
): Refusal | undefined {
  const { controller, files, hint }: Need = needs[key];
  const names = carriers[controller];
  const hierarchy = hierarchies.find(({ controllers }) => names.some((name) => controllers.includes(name)));
  if (hierarchy === undefined)
    return {
      why: `This host has no ${names.join(' or ')} controller that wirtd may use.`,
      hint: 'See `cat /proc/cgroups` and `grep cgroup /proc/self/mountinfo`: it may be disabled, read-only, or not delegated to wirtd.',
    };
  const present = filesOf(hierarchy);
  if (present === undefined)
    return {
      why: `wirtd may make no control group in ${hierarchy.mountPoint}.`,
      hint: 'Run wirtd as root, or delegate the controller to its user.',
    };
  const found = files[hierarchy.version].filter((file) => present.has(file));
  if (found.length === 0)
    return {
      why: `The kernel has no ${files[hierarchy.version].join(' and no ')} in its control groups.`,
      hint,
    };
  return key === 'ioWeight' ? unheeded(found, hierarchy.mountPoint, sysBlock) : undefined;
}

/** An I/O weight is taken by the kernel whatever the disks do; it acts only where a scheduler divides by it. */
function unheeded(files: readonly string[], mountPoint: string, sysBlock: string): Refusal | undefined {
  const heeding = files.some((file) => {
    if (file === 'io.weight')
      return /\benable=1\b/.test(readShort(posix.join(mountPoint, 'io.cost.qos')) ?? '');
    const scheduler = file === 'blkio.weight' ? '[cfq]' : '[bfq]';
    return disksOf(sysBlock).some((disk) =>
      readShort(posix.join(sysBlock, disk, 'queue/scheduler'))?.includes(scheduler),
    );
  });
  if (heeding) return undefined;
  return {
    why: 'No disk of this host has a scheduler that divides by weight.',
    hint: 'Choose one: `echo bfq > /sys/block/DISK/queue/scheduler`, after `modprobe bfq` where it is not there.',
  };
}

function disksOf(sysBlock: string): string[] {
  try {
    return readdirSync(sysBlock);
  } catch {
    return [];
  }
}

/**
 * The files of the groups that Wirt makes at `names` in a hierarchy, which may not be made yet: it is made for the moment of one call,
 * synchronously, so that nobody in this process sees it. Undefined where it may not be made.
 */
export function probeFiles(hierarchy: Hierarchy, names: readonly string[]): ReadonlySet<string> | undefined {
  const made: string[] = [];
  try {
    for (let depth = 1; depth <= names.length; depth += 1) {
      if (hierarchy.version === 'v2')
        enable(groupPath(hierarchy, ...names.slice(0, depth - 1)), hierarchy.controllers);
      const path = groupPath(hierarchy, ...names.slice(0, depth));
      if (makeDirectory(path)) made.push(path);
    }
    return new Set(readdirSync(groupPath(hierarchy, ...names)));
  } catch {
    return undefined;
  } finally {
    for (const path of made.toReversed()) removeDirectory(path);
  }
}

function enable(group: string, controllers: readonly string[]): void {
  const file = posix.join(group, 'cgroup.subtree_control');
  const enabled = (readShort(file) ?? '').split(/\s+/);
  for (const name of controllers) {
    if (enabled.includes(name)) continue;
    try {
      writeFileSync(file, `+${name}`, { flag: 'r+' });
    } catch {
      // The file of the limit is then not there, which is what is asked.
    }
  }
}

function makeDirectory(path: string): boolean {
  try {
    mkdirSync(path, { mode: 0o755 });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

function removeDirectory(path: string): void {
  try {
    rmdirSync(path);
  } catch {
    // Another daemon has put its own group in it: it is that one's now.
  }
}
