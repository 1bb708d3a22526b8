// Reservations of version 2 up the tree. A group's memory.low protects no more than its ancestors' allow (cgroup-v2.rst, "memory.low"), so the
// directories that guests' groups are in reserve what their guests do together. Not `max`: where the hierarchy is mounted with
// memory_recursiveprot, what a parent has left over protects the guests that reserve nothing.
import { closeSync, constants, openSync, readdirSync, writeSync } from 'node:fs';
import { posix } from 'node:path';
import { type Places, readShort } from './places.ts';

const file = 'memory.low';

/** Nothing where memory is limited by version 1, whose soft limit asks no ancestor. */
function groupOf({ memory }: Places): string | undefined {
  return memory?.version === 'v2' ? memory.path : undefined;
}

export function isReserved(places: Places): boolean {
  const group = groupOf(places);
  return group !== undefined && lowOf(group) > 0;
}

/** Whether the directories above reserve what the group does; those that another version has made do not. */
export function isReservationHeldUp(places: Places): boolean {
  const group = groupOf(places);
  return group === undefined || parentsOf(group).every((parent) => lowOf(parent) >= lowOf(group));
}

/**
 * After a reservation has changed or its group has gone: the two directories above get the sum of what is in them. In one go, so that nobody
 * in this process changes another meanwhile. Best effort: without it the guest runs, and is protected less.
 */
export function followReservations(places: Places): void {
  const group = groupOf(places);
  if (group === undefined) return;
  for (const parent of parentsOf(group)) {
    try {
      const below = readdirSync(parent, { withFileTypes: true })
        .filter((entry) => entry.isDirectory())
        .map(({ name }) => lowOf(posix.join(parent, name)));
      const sum = below.reduce((total, bytes) => total + bytes, 0);
      if (sum === lowOf(parent)) continue;
      const value = Number.isFinite(sum) ? String(sum) : 'max';
      writeExisting(posix.join(parent, file), value);
    } catch {
      // Pruned with its last guest, or not ours to write.
    }
  }
}

/** Without O_CREAT: where there is no such file, there is nothing to follow. */
function writeExisting(path: string, value: string): void {
  const descriptor = openSync(path, constants.O_WRONLY | constants.O_TRUNC);
  try {
    writeSync(descriptor, value);
  } finally {
    closeSync(descriptor);
  }
}

/** `<parent>/<tag>` and then `<parent>`. */
function parentsOf(group: string): readonly string[] {
  const own = posix.dirname(group);
  return [own, posix.dirname(own)];
}

function lowOf(group: string): number {
  const text = (readShort(posix.join(group, file)) ?? '0').trim();
  return text === 'max' ? Number.POSITIVE_INFINITY : Number(text);
}
