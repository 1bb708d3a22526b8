// Limits of a guest's groups on cgroupfs, set and read back where they act. A group that somebody else has removed is made again,
// limited, and takes the guest's process back in. systemd's guests: scope-limits.ts.
import { existsSync } from 'node:fs';
import { type InstanceProcess, WirtError } from '@wirt/api';
import type { GroupLimitKey, GroupLimits, ResourceControl } from '@wirt/core';
import { makeGroup } from './groups.ts';
import { groupPath, type Hierarchy } from './layout.ts';
import { applyLimits, isGone, limitsIn, readSnapshot } from './limit-apply.ts';
import { maxBfqWeight } from './limit-files-io.ts';
import { probeFiles, type Refusal, refusalOf, refuseUnsupported } from './limit-support.ts';
import { bringBack, strayedFrom } from './membership.ts';
import { type Descriptors, KeptFiles, type ReadShort } from './open-files.ts';
import { type Places, placesOf, readShort } from './places.ts';
import { followReservations, isReservationHeldUp } from './reservations.ts';

export interface GroupLimitsOptions {
  /** May shrink: what is found to be not writable is taken out. */
  readonly hierarchies: readonly Hierarchy[];
  /** Of a guest's group. Throws for an id that cannot be one. */
  readonly namesOf: (id: string) => readonly string[];
  /** Of the directory that guests' groups are in. */
  readonly parentNames: readonly string[];
  readonly procRoot: string;
  readonly sysBlock: string;
  /** The groups of this guest are others from now on. */
  readonly onRemade: (id: string) => void;
  readonly descriptors: Descriptors;
}

export type GroupLimiting = Pick<ResourceControl, 'limit' | 'limits' | 'refuses'> & {
  placesOf(id: string): Places;
  /** Closes what is open for the guest, whose groups are removed or made. */
  forget(id: string): void;
};

const attempts = 3;

export function createGroupLimits(options: GroupLimitsOptions): GroupLimiting {
  const { hierarchies, namesOf, parentNames, procRoot, sysBlock } = options;
  const filesOf = createFileProbe(parentNames);
  const kept = new KeptFiles(options.descriptors);
  const placesOfId = (id: string): Places => {
    const names = namesOf(id);
    return placesOf(hierarchies, (hierarchy) => groupPath(hierarchy, ...names));
  };
  const hasIoCost = (): boolean => {
    const hierarchy = hierarchies.find(({ controllers }) => controllers.includes('io'));
    return hierarchy !== undefined && filesOf(hierarchy)?.has('io.weight') === true;
  };
  const refuses = (key: GroupLimitKey): Refusal | undefined => refusalOf(key, hierarchies, filesOf, sysBlock);

  /** Hierarchies in which the guest has no group, or its process is somewhere else. */
  const lacking = (id: string, process: InstanceProcess | undefined): Hierarchy[] => {
    const names = namesOf(id);
    const missing =
      process === undefined
        ? hierarchies.filter((hierarchy) => !existsSync(groupPath(hierarchy, ...names)))
        : strayedFrom(hierarchies, names, process.pid, procRoot, kept.readerOf(id));
    if (missing.length > 0) kept.forget(id);
    return missing;
  };
  const readerFor = (id: string, process: InstanceProcess | undefined): ReadShort =>
    process === undefined ? readShort : kept.readerOf(id);

  async function mended(
    id: string,
    limits: GroupLimits,
    process: InstanceProcess | undefined,
  ): Promise<boolean> {
    const names = namesOf(id);
    const missing = lacking(id, process);
    for (const hierarchy of missing) await makeGroup(hierarchy, names);
    if (missing.length > 0) options.onRemade(id);
    // Limited before the process is in it, which is then never without.
    const places = placesOfId(id);
    const written = await applyLimits(id, places, limits, readerFor(id, process));
    const hasReservation = (limits.reservationMib ?? 0) > 0;
    if (written.has('memory.low') || (hasReservation && !isReservationHeldUp(places)))
      followReservations(places);
    if (missing.length > 0 && process !== undefined) await bringBack(id, missing, names, process, procRoot);
    return lacking(id, process).length === 0;
  }

  return {
    placesOf: placesOfId,
    forget: (id) => kept.forget(id),
    refuses,

    async limit(id, limits, process) {
      const version = placesOfId(id).memory?.version;
      refuseUnsupported(
        id,
        limits,
        (key) => refuses(key) ?? contradiction(key, limits, version, hasIoCost()),
      );
      let cause: unknown = new Error('it was removed again and again');
      // Somebody else may remove the group at any moment, then also between the steps.
      for (let attempt = 1; attempt <= attempts; attempt += 1) {
        try {
          if (await mended(id, limits, process)) return;
        } catch (error) {
          if (error instanceof WirtError) throw error;
          cause = error;
          if (!isGone(error)) break;
        }
      }
      throw new WirtError('limit.failed', `The control group of ${id} could not be held to its limits.`, {
        cause,
        hint: 'Look for who else manages control groups here: `systemd-cgls`, `ps`.',
      });
    },

    async limits(id, process) {
      if (lacking(id, process).length > 0 || hierarchies.length === 0) return undefined;
      const places = placesOfId(id);
      return limitsIn(places, readSnapshot(places, readerFor(id, process)));
    },
  };
}

/** What is of a kind that can be had, but not with this value or without another. */
function contradiction(
  key: GroupLimitKey,
  { ceilingMib, ioWeight = 100 }: GroupLimits,
  memoryVersion: 'v1' | 'v2' | undefined,
  hasIoCost: boolean,
): Refusal | undefined {
  if (key === 'swapMib' && memoryVersion === 'v1' && !ceilingMib)
    return {
      why: 'Version 1 of control groups limits swap only together with memory.',
      hint: 'Give a ceiling too: `wirt set NAME memory.ceiling=auto`.',
    };
  if (key === 'ioWeight' && ioWeight > maxBfqWeight && !hasIoCost)
    return {
      why: `The disks of this host are shared by weights of up to ${maxBfqWeight}.`,
      hint: `Ask for ${maxBfqWeight} or less.`,
    };
  return undefined;
}

/** Looks once for each hierarchy; again, where no group could be made. */
function createFileProbe(
  names: readonly string[],
): (hierarchy: Hierarchy) => ReadonlySet<string> | undefined {
  const known = new Map<string, ReadonlySet<string>>();
  return (hierarchy) => {
    const files = known.get(hierarchy.mountPoint) ?? probeFiles(hierarchy, names);
    if (files !== undefined) known.set(hierarchy.mountPoint, files);
    return files;
  };
}
