/**
 * The words before a program that confine it: its control groups, its user, no capabilities and no way to get any, no network,
 * limits on memory, time and files. Each word replaces the one before it by exec, so that the process that was started is
 * the program, and ends when it is killed. The program also ends when the daemon does. Seccomp is the program's own affair.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import type { Confinement, Identity } from '@wirt/core';
import { hasErrno } from './fs-error.ts';

/** Failures before the program runs; 126 and 127 are the shell's and setpriv's. */
export const cannotJoinStatus = 125;

/**
 * Shell text that joins the groups, in a variable `joins` their number and then their files as arguments; it takes those away.
 * Writing 0 to cgroup.procs moves the writer (cgroups(7)): `echo` is a builtin, so it moves this shell.
 */
export const joinGroups = `
  while [ "$joins" -gt 0 ]; do
    echo 0 > "$1" || { echo "cannot join the control group by $1" >&2; exit ${cannotJoinStatus}; }
    shift
    joins=$((joins - 1))
  done`;

const script = `
joins=$1
shift
${joinGroups}
exec "$@"
`;

/** What the kernel holds the program to; it is killed, or refused, past it. Not given: not limited. */
export interface ProcessLimits {
  readonly addressSpaceBytes?: number;
  /** Processor time, all threads together. */
  readonly cpuSeconds?: number;
  /** Size to which it may write a file. */
  readonly fileBytes?: number;
}

const OPEN_FILES = 1024;
const PROCESSES = 256;
const LEAVING_MS = 5_000;
const LEAVING_POLL_MS = 5;

/** QEMU's threads: else the heap of each reserves address space of its own, the more the more processors there are (mallopt(3)). */
export const fewHeaps = ['env', 'MALLOC_ARENA_MAX=4'] as const;

/** For `launcher` of packages/qemu, and for `runProgram`: the first word is the program, the others come before its own arguments. */
export function confinedLauncher({ identity, controlGroup }: Confinement, limits: ProcessLimits): string[] {
  const { joinFiles, scopeUnit } = controlGroup;
  return [
    // A program may be the second of its work: its scope must not stay behind as failed.
    ...(scopeUnit === undefined ? [] : scope(scopeUnit, identity.own, ['--collect'])),
    ...['sh', '-c', script, 'wirt-confined', String(joinFiles.length), ...joinFiles],
    // An ordinary user may not; and has to come before privileges are dropped.
    ...(identity.own ? ['unshare', '--net'] : []),
    ...['prlimit', ...limitOptions(limits, identity.own)],
    ...setpriv(identity),
    ...['--pdeathsig=KILL', '--'],
  ];
}

/** Nothing of the daemon's but what finding programs takes, and under systemd what finding systemd takes. */
export function confinedEnvironment({
  controlGroup: { scopeUnit },
}: Pick<Confinement, 'controlGroup'>): Record<string, string> {
  const names = scopeUnit === undefined ? ['PATH'] : ['PATH', 'XDG_RUNTIME_DIR', 'DBUS_SESSION_BUS_ADDRESS'];
  const kept = names.flatMap((name) => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return { ...Object.fromEntries(kept), LC_ALL: 'C.UTF-8' };
}

/**
 * Kills whatever is left in the control groups, and waits for it to be gone: what has left its parent and its process group, too, and
 * still has files open. Where systemd makes the group, systemd ends it. Throws when somebody does not go.
 */
export async function endConfined({ controlGroup }: Pick<Confinement, 'controlGroup'>): Promise<void> {
  const until = performance.now() + LEAVING_MS;
  for (const file of controlGroup.joinFiles)
    for (let pids = await killMembers(file); pids.length > 0; pids = await killMembers(file)) {
      if (performance.now() > until) throw new Error(`The processes ${pids.join(', ')} cannot be ended.`);
      await setTimeout(LEAVING_POLL_MS);
    }
}

async function killMembers(joinFile: string): Promise<number[]> {
  const text = await readFile(joinFile, 'utf8').catch(() => '');
  // What writes 0 there means itself, and so would kill(2).
  const pids = text
    .split('\n')
    .map(Number)
    .filter((pid) => pid > 1 && pid !== process.pid);
  // At once, so that none is born meanwhile (Linux 5.14, v2); else one by one.
  if (pids.length > 0 && (await killAtOnce(join(dirname(joinFile), 'cgroup.kill')))) return pids;
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch (error) {
      if (!hasErrno(error, 'ESRCH')) throw error;
    }
  }
  return pids;
}

async function killAtOnce(file: string): Promise<boolean> {
  return await writeFile(file, '1', { flag: 'r+' }).then(
    () => true,
    () => false,
  );
}

function limitOptions(limits: ProcessLimits, ownUser: boolean): string[] {
  const given = {
    as: limits.addressSpaceBytes,
    cpu: limits.cpuSeconds,
    fsize: limits.fileBytes,
    nofile: OPEN_FILES,
    // Counted by user: for one who has other processes it would be their limit too.
    nproc: ownUser ? PROCESSES : undefined,
    core: 0,
  };
  return Object.entries(given).flatMap(([name, value]) =>
    value === undefined ? [] : [`--${name}=${Math.ceil(value)}`],
  );
}

/** `--scope` moves systemd-run itself into the scope and then becomes the command, with its descriptors. */
export function scope(unit: string, privileged: boolean, options: readonly string[] = []): string[] {
  const manager = privileged ? [] : ['--user'];
  const properties = ['-p', 'Delegate=yes'];
  return ['systemd-run', ...manager, '--scope', '--quiet', ...options, `--unit=${unit}`, ...properties, '--'];
}

/** Becomes the user and gives up every privilege; more options, or `--` and the command, come after. */
export function setpriv(identity: Identity): string[] {
  const label = identity.selinuxLabel === undefined ? [] : [`--selinux-label=${identity.selinuxLabel}`];
  if (!identity.own) return ['setpriv', '--no-new-privs', ...label];
  return [
    'setpriv',
    `--reuid=${identity.uid}`,
    `--regid=${identity.gid}`,
    identity.groups.length === 0 ? '--clear-groups' : `--groups=${identity.groups.join(',')}`,
    '--no-new-privs',
    '--inh-caps=-all',
    '--ambient-caps=-all',
    '--bounding-set=-all',
    ...label,
  ];
}
