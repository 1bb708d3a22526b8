// Where each controller has a guest's group, and which groups a process is in: v1, v2 and hybrid hosts, controller by
// controller. Reads are synchronous, into one buffer: files of the kernel's memory, a few bytes, a thousand times in a row.
import { closeSync, openSync, readSync } from 'node:fs';
import type { Hierarchy } from './layout.ts';
import type { LimitController } from './limit-dialect.ts';

export interface Place {
  readonly version: 'v1' | 'v2';
  readonly path: string;
}

/** A controller that is not here is not there for guests. */
export interface Places extends Partial<Record<LimitController, Place>> {
  /** Counts processor time: v1's cpuacct, or any v2 group. */
  readonly accounting?: Place;
  /** Only v2's groups have pressure of their own. */
  readonly pressure?: Place;
}

/** `pathOf`: where the group is in a hierarchy; undefined where it has none. */
export function placesOf(
  hierarchies: readonly Hierarchy[],
  pathOf: (hierarchy: Hierarchy) => string | undefined,
): Places {
  const placeOf = (carries: (hierarchy: Hierarchy) => boolean): Place | undefined => {
    const hierarchy = hierarchies.find(carries);
    const path = hierarchy === undefined ? undefined : pathOf(hierarchy);
    return hierarchy === undefined || path === undefined ? undefined : { version: hierarchy.version, path };
  };
  const having = (...names: string[]) =>
    placeOf(({ controllers }) => names.some((name) => controllers.includes(name)));
  const v2 = placeOf(({ version }) => version === 'v2');
  const found = {
    cpu: having('cpu'),
    memory: having('memory'),
    io: having('blkio', 'io'),
    accounting: having('cpuacct') ?? v2,
    pressure: v2,
  };
  return Object.fromEntries(Object.entries(found).filter(([, place]) => place !== undefined));
}

/** Paths of a process in `/proc/PID/cgroup`, by controller; v2's under the empty name. cgroups(7). */
export function parseMemberships(text: string): ReadonlyMap<string, string> {
  const entries = text.split('\n').flatMap((line): [string, string][] => {
    const [, controllers, path] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? [];
    if (controllers === undefined || path === undefined) return [];
    return controllers.split(',').map((controller) => [controller, path]);
  });
  return new Map(entries);
}

/** The path of a process in a hierarchy, as the mount point's root has it. */
export function membershipIn(
  memberships: ReadonlyMap<string, string>,
  { version, controllers }: Hierarchy,
): string | undefined {
  return memberships.get(version === 'v2' ? '' : (controllers[0] ?? ''));
}

export function readMemberships(
  pid: number,
  procRoot: string,
  read: (path: string) => string | undefined = readShort,
): ReadonlyMap<string, string> {
  return parseMemberships(read(`${procRoot}/${pid}/cgroup`) ?? '');
}

const buffer = Buffer.allocUnsafe(16 * 1024);

/** The beginning of a file, up to 16 KiB; undefined where there is none, or its group or process is going. */
export function readShort(file: string): string | undefined {
  let descriptor: number | undefined;
  try {
    descriptor = openSync(file, 'r');
    return buffer.toString('latin1', 0, readSync(descriptor, buffer, 0, buffer.length, 0));
  } catch {
    return undefined;
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
}

/** The same of a descriptor that stays open; throws what the kernel says when its group or process has gone. */
export function readOpen(descriptor: number): string {
  return buffer.toString('latin1', 0, readSync(descriptor, buffer, 0, buffer.length, 0));
}
