// Brings a group's files to what is wanted, all or nothing: only what differs is written, in an order that the kernel takes, and
// what was written before a refusal is put back. A ceiling below what is in use is refused, where v2's kernel would kill.
import { constants } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { posix } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { WirtError } from '@wirt/api';
import type { GroupLimits } from '@wirt/core';
import { errnoOf } from './groups.ts';
import type { GroupFile, GroupValues, LimitController } from './limit-dialect.ts';
import { dialects, limitControllers, normalize, planWrites } from './limit-files.ts';
import { keyOfFile } from './limit-support.ts';
import type { ReadShort } from './open-files.ts';
import { type Place, type Places, readShort } from './places.ts';

/** What each controller's files have now. A controller without a group is not in it. */
export type Snapshot = ReadonlyMap<LimitController, GroupValues>;

export function readSnapshot(places: Places, read: ReadShort = readShort): Snapshot {
  const entries = limitControllers.flatMap((controller): [LimitController, GroupValues][] => {
    const place = places[controller];
    return place === undefined ? [] : [[controller, readValues(controller, place, read)]];
  });
  return new Map(entries);
}

function readValues(controller: LimitController, { version, path }: Place, read: ReadShort): GroupValues {
  const values = new Map<string, string>();
  for (const file of dialects[controller][version].files) {
    const text = read(`${path}/${file}`);
    if (text !== undefined) values.set(file, normalize(file, text));
  }
  return values;
}

export function limitsIn(places: Places, snapshot: Snapshot): GroupLimits {
  const parts = limitControllers.map((controller) => {
    const place = places[controller];
    const values = snapshot.get(controller);
    return place === undefined || values === undefined
      ? {}
      : dialects[controller][place.version].parse(values);
  });
  return Object.assign({}, ...parts) as GroupLimits;
}

/** A write that the kernel refused, and to which file. */
class RefusedWrite extends Error {
  override readonly name = 'RefusedWrite';
  readonly file: string;

  constructor(file: string, cause: unknown) {
    super(`${posix.basename(file)} was not written`, { cause });
    this.file = posix.basename(file);
  }
}

/**
 * Throws `limit.failed` or `limit.unsupported` with the old values in force; ENOENT and ENODEV, that the group has gone meanwhile, are thrown
 * as they are. Gives the names of the files that were written.
 */
export async function applyLimits(
  id: string,
  places: Places,
  limits: GroupLimits,
  read?: ReadShort,
): Promise<ReadonlySet<string>> {
  const before = readSnapshot(places, read);
  const written = new Set<string>();
  try {
    for (const [controller, place, values] of placed(places, before)) {
      const dialect = dialects[controller][place.version];
      const writes = planWrites(dialect, dialect.render(limits), values);
      for (const write of writes) {
        if (write[0] === 'memory.max') await makeRoom(place.path, write[1]);
        await writeValue(place.path, write);
        written.add(write[0]);
      }
    }
    return written;
  } catch (error) {
    if (isGone(error)) throw error;
    await restore(places, before);
    throw explained(id, error);
  }
}

function* placed(places: Places, snapshot: Snapshot): Generator<[LimitController, Place, GroupValues]> {
  for (const controller of limitControllers) {
    const place = places[controller];
    const values = snapshot.get(controller);
    if (place !== undefined && values !== undefined) yield [controller, place, values];
  }
}

/** Without O_CREAT: for a file that is not there the kernel would say EACCES, and mean ENOENT. */
const existing = constants.O_WRONLY | constants.O_TRUNC;

async function writeValue(group: string, [file, value]: GroupFile): Promise<void> {
  const path = posix.join(group, file);
  try {
    await writeFile(path, value, { flag: existing });
  } catch (cause) {
    if (isGone(cause)) throw cause;
    throw new RefusedWrite(path, cause);
  }
}

export function isGone(error: unknown): boolean {
  return ['ENOENT', 'ENODEV'].includes(errnoOf(error) ?? '');
}

/** So much at once, since a write to memory.reclaim comes back when all of it is done, and a slow swap may take long. */
const reclaimChunk = 64 * 2 ** 20;

export interface Reclaiming {
  readonly timeoutMs?: number;
  /** Asks the kernel for so much back; replaced in tests, since the kernel's pace cannot be. */
  readonly reclaim?: (file: string, bytes: number) => Promise<unknown>;
}

/**
 * v2 takes a memory.max below what is in use, and kills for the rest (cgroup-v2.rst); v1 gives EBUSY. Here both refuse: what can be
 * reclaimed is (memory.reclaim, Linux 5.19), as long as it gets less and the deadline allows, and what then is still in use stays.
 */
export async function makeRoom(group: string, wanted: string, how: Reclaiming = {}): Promise<void> {
  if (wanted === 'max') return;
  const { timeoutMs = 5_000, reclaim = askBack } = how;
  const inUse = (): number => Number(readShort(posix.join(group, 'memory.current')) ?? 0);
  const end = performance.now() + timeoutMs;
  for (let used = inUse(), before = Number.POSITIVE_INFINITY; used > Number(wanted); used = inUse()) {
    if (used >= before) throw inTheWay(used, 'cannot be reclaimed');
    before = used;
    const chunk = Math.min(reclaimChunk, used - Number(wanted));
    const isInTime = await within(
      end - performance.now(),
      reclaim(posix.join(group, 'memory.reclaim'), chunk),
    );
    if (!isInTime && inUse() > Number(wanted))
      throw inTheWay(inUse(), `could not be reclaimed within ${timeoutMs / 1_000} s`);
  }
}

function inTheWay(usedBytes: number, why: string): RefusedWrite {
  return new RefusedWrite(
    'memory.max',
    new Error(`${Math.ceil(usedBytes / 2 ** 20)} MiB are in use and ${why}`),
  );
}

/** EAGAIN: less than asked for could be reclaimed. Whatever it says, what counts is what is in use after. */
function askBack(file: string, bytes: number): Promise<void> {
  return writeFile(file, String(bytes), { flag: existing }).catch(() => undefined);
}

/** A write that the kernel does not end cannot be taken back: it is left to itself, and does no harm beyond its chunk. */
async function within(timeoutMs: number, work: Promise<unknown>): Promise<boolean> {
  const timer = new AbortController();
  const { signal } = timer;
  try {
    return await Promise.race([work.then(() => true), sleep(Math.max(0, timeoutMs), false, { signal })]);
  } finally {
    timer.abort();
  }
}

/** Best effort, and in the kernel's order again. */
async function restore(places: Places, before: Snapshot): Promise<void> {
  for (const [controller, place, now] of placed(places, readSnapshot(places))) {
    const old = [...(before.get(controller) ?? [])];
    for (const write of planWrites(dialects[controller][place.version], old, now))
      await writeValue(place.path, write).catch(() => undefined);
  }
}

/** What a refused write means for the limit. Other errors stay as they are. */
export function explained(id: string, error: unknown): unknown {
  if (!(error instanceof RefusedWrite)) return error;
  const key = keyOfFile(error.file);
  const errno = errnoOf(error.cause) ?? '';
  if (['EACCES', 'EPERM', 'EROFS', 'EOPNOTSUPP'].includes(errno))
    return new WirtError('limit.unsupported', `The limit ${key} of ${id} may not be set on this host.`, {
      cause: error,
      hint: 'The file may not be written by wirtd: see `wirt host check`, and `grep cgroup /proc/self/mountinfo`.',
      details: { key, file: error.file },
    });
  const isTooLow = errno === 'EBUSY' || error.file === 'memory.max';
  return new WirtError('limit.failed', `The limit ${key} of ${id} could not be put in force.`, {
    cause: error,
    hint: isTooLow
      ? 'More is in use than the ceiling allows: choose a higher one, or make the guest smaller first (`wirt set NAME memory=`).'
      : 'What was in force before is still; see `dmesg`.',
    details: { key, file: error.file },
  });
}
