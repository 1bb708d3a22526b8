// Limits of guests in systemd's scopes. Who owns a unit sets its properties, and nobody writes to its files (systemd's
// CGROUP_DELEGATION.md); what is in force is read from those files all the same. Sources: systemd.resource-control(5).
import { existsSync } from 'node:fs';
import { posix } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type InstanceProcess, WirtError } from '@wirt/api';
import type { GroupLimitKey, GroupLimits, ResourceControl } from '@wirt/core';
import type { CgroupMount } from '../../platform/cgroup-mounts.ts';
import { chooseHierarchies, type Hierarchy, usedControllers } from './layout.ts';
import { explained, limitsIn, makeRoom, readSnapshot } from './limit-apply.ts';
import { allFiles, type Refusal, refusalOf, refuseUnsupported } from './limit-support.ts';
import { membershipIn, type Places, placesOf, readMemberships, readShort } from './places.ts';
import type { Systemctl } from './systemctl.ts';

const mib = 1024 * 1024;

/** Values of all properties; empty where systemd is to have none. CPUQuota has two decimals of a percent. */
export function propertiesOf(limits: GroupLimits): ReadonlyMap<string, string> {
  const { cores, weight, ceilingMib, reservationMib, swapMib, ioWeight } = limits;
  const weightOf = (value: number | undefined): string => (value && value !== 100 ? String(value) : '');
  return new Map([
    ['MemoryMax', ceilingMib ? String(ceilingMib * mib) : 'infinity'],
    ['MemoryLow', String((reservationMib ?? 0) * mib)],
    ['MemorySwapMax', swapMib === undefined ? 'infinity' : String(swapMib * mib)],
    ['CPUQuota', cores ? `${Math.max(0.1, Math.round(cores * 10_000) / 100)}%` : ''],
    ['CPUWeight', weightOf(weight)],
    ['IOWeight', weightOf(ioWeight)],
  ]);
}

export interface ScopeLimitsOptions {
  readonly mounts: readonly CgroupMount[];
  readonly procRoot: string;
  readonly sysBlock: string;
  readonly systemctl: Systemctl;
  readonly unitOf: (id: string) => string;
  /** The unit's path below each hierarchy's root; undefined where there is no such unit. */
  readonly controlGroupOf: (unit: string) => Promise<string | undefined>;
  /** How long systemd may take from taking a property to writing it. */
  readonly applyTimeoutMs?: number;
}

export type ScopeLimiting = Pick<ResourceControl, 'limit' | 'limits' | 'refuses'> & {
  placesOf(id: string, process: InstanceProcess): Places | undefined;
};

export function createScopeLimits(options: ScopeLimitsOptions): ScopeLimiting {
  const { mounts, procRoot, sysBlock, systemctl, unitOf, controlGroupOf, applyTimeoutMs = 2_000 } = options;
  const hierarchies = chooseHierarchies(mounts, delegatedControllers(mounts), usedControllers);

  /** Asked of the kernel, since a thousand guests cannot each ask systemd. */
  function placesOfProcess(id: string, { pid }: InstanceProcess): Places | undefined {
    const memberships = readMemberships(pid, procRoot);
    const end = `/${unitOf(id)}`;
    if (![...memberships.values()].some((path) => path.endsWith(end))) return undefined;
    return placesOf(hierarchies, (hierarchy) => {
      const path = membershipIn(memberships, hierarchy);
      // On v1 systemd makes a group only in the hierarchies that the unit has a property for.
      return path?.endsWith(end) ? posix.join(hierarchy.mountPoint, path) : undefined;
    });
  }

  async function find(id: string, process: InstanceProcess | undefined): Promise<Places | undefined> {
    if (process !== undefined) return placesOfProcess(id, process);
    const path = await controlGroupOf(unitOf(id));
    if (path === undefined) return undefined;
    return placesOf(hierarchies, (hierarchy) => {
      const full = posix.join(hierarchy.mountPoint, path);
      return existsSync(full) ? full : undefined;
    });
  }

  async function set(id: string, changes: ReadonlyMap<string, string>): Promise<void> {
    const assignments = [...changes].map(([name, value]) => `${name}=${value}`);
    const { exitCode, stderr } = await systemctl([
      'set-property',
      '--runtime',
      '--',
      unitOf(id),
      ...assignments,
    ]);
    if (exitCode !== 0) throw new Error(stderr.trim() || `systemctl ended with ${exitCode}`);
  }

  const refuses = (key: GroupLimitKey): Refusal | undefined =>
    refusedBySystemd(key, hierarchies) ?? refusalOf(key, hierarchies, () => allFiles, sysBlock);

  async function change(id: string, limits: GroupLimits, process: InstanceProcess): Promise<void> {
    const before = await find(id, process);
    // Without a scope nothing is limited, which may be what is wanted.
    if (before === undefined && differences(propertiesOf({}), propertiesOf(limits)).size === 0) return;
    if (before === undefined) throw new Error(`there is no scope ${unitOf(id)} with the process in it`);
    const was = propertiesOf(limitsIn(before, readSnapshot(before)));
    const wanted = propertiesOf(limits);
    const changes = differences(was, wanted);
    if (changes.size === 0) return;
    const ceiling = changes.get('MemoryMax');
    if (ceiling !== undefined && ceiling !== 'infinity' && before.memory?.version === 'v2')
      await makeRoom(before.memory.path, ceiling);
    await set(id, changes);
    const left = await untilInForce(() => find(id, process), wanted, applyTimeoutMs);
    if (left.size === 0) return;
    await set(id, new Map([...changes.keys()].map((name) => [name, was.get(name) ?? '']))).catch(
      () => undefined,
    );
    throw new Error(`systemd took ${[...left.keys()].join(', ')}, and the kernel does not have it`);
  }

  return {
    placesOf: placesOfProcess,
    refuses,

    async limit(id, limits, process) {
      refuseUnsupported(id, limits, refuses);
      if (process === undefined) return;
      await change(id, limits, process).catch((cause: unknown) => {
        const known = explained(id, cause);
        if (known instanceof WirtError) throw known;
        throw new WirtError('limit.failed', `The scope of ${id} could not be held to its limits.`, {
          cause,
          hint: `See \`systemctl status ${unitOf(id)}\`. A guest whose scope has gone gets another at its next start.`,
        });
      });
    },

    async limits(id, process) {
      const places = await find(id, process);
      return places && limitsIn(places, readSnapshot(places));
    },
  };
}

function differences(
  was: ReadonlyMap<string, string>,
  wanted: ReadonlyMap<string, string>,
): Map<string, string> {
  return new Map([...wanted].filter(([name, value]) => was.get(name) !== value));
}

/** systemd writes soon after it has answered. What is then still not as wanted, or nothing. */
async function untilInForce(
  find: () => Promise<Places | undefined>,
  wanted: ReadonlyMap<string, string>,
  timeoutMs: number,
): Promise<ReadonlyMap<string, string>> {
  const end = performance.now() + timeoutMs;
  for (let waitMs = 1; ; waitMs = Math.min(waitMs * 2, 50)) {
    const places = await find();
    const left = places && differences(propertiesOf(limitsIn(places, readSnapshot(places))), wanted);
    if (left?.size === 0 || performance.now() >= end) return left ?? wanted;
    await sleep(waitMs);
  }
}

function refusedBySystemd(key: GroupLimitKey, hierarchies: readonly Hierarchy[]): Refusal | undefined {
  if (key === 'burstMs')
    return {
      why: 'systemd has no property for a burst of the processor, and the files of its units are not written around it.',
      hint: 'Leave `cpu.burst` out, or ask for more `cpu.cores`.',
    };
  if (key === 'reservationMib')
    return {
      why: 'The kernel protects no more of a guest than of the slice that systemd has put it in, whose MemoryLow= is not set by wirtd.',
      hint: 'Leave `memory.reservation` out, or keep other guests small with `memory.ceiling`.',
    };
  const isV1 = hierarchies.some(
    ({ version, controllers }) => version === 'v1' && controllers.includes('memory'),
  );
  if (isV1 && key === 'swapMib')
    return {
      why: 'systemd sets it only with version 2 of control groups.',
      hint: 'Start the host with `systemd.unified_cgroup_hierarchy=1`.',
    };
  return undefined;
}

/** What may be set on v2: root's is all there is; a user's own manager has what was delegated to it. */
function delegatedControllers(mounts: readonly CgroupMount[]): string {
  const v2 = mounts.find(({ version }) => version === 'v2');
  if (v2 === undefined) return '';
  const uid = process.geteuid?.() ?? 0;
  const manager = uid === 0 ? '' : `user.slice/user-${uid}.slice/user@${uid}.service`;
  return readShort(posix.join(v2.mountPoint, manager, 'cgroup.controllers')) ?? '';
}
