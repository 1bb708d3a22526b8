// What the limits of a group are in the kernel's files, per controller and version of control groups. Pure: rendering, reading
// back, and the order of writes that the kernel takes. Sources: Documentation/admin-guide/cgroup-v2.rst,
// cgroup-v1/{memory,blkio-controller}.rst, scheduler/sched-bwc.rst. What a host does not have: limit-support.ts.
import type { Dialect, GroupFile, GroupValues, LimitController } from './limit-dialect.ts';
import { cpuV1, cpuV2 } from './limit-files-cpu.ts';
import { ioV1, ioV2 } from './limit-files-io.ts';
import { memoryV1, memoryV2 } from './limit-files-memory.ts';

export const dialects = {
  cpu: { v1: cpuV1, v2: cpuV2 },
  memory: { v1: memoryV1, v2: memoryV2 },
  io: { v1: ioV1, v2: ioV2 },
} as const satisfies Record<LimitController, Record<'v1' | 'v2', Dialect>>;

/** Memory first, since that is what the kernel may refuse. */
export const limitControllers = ['memory', 'cpu', 'io'] as const satisfies readonly LimitController[];

/** What v1 shows where nothing is limited: the most that a page counter holds. Pages are of 4 KiB to 64 KiB. */
const unlimitedBytes = 2 ** 62;

/** One value in one spelling: `default 100` of v2's weights is `100`, v1's unlimited bytes are `-1`. */
export function normalize(file: string, text: string): string {
  const line = (text.split('\n', 1)[0] ?? '').trim().replace(/^default /, '');
  return file.endsWith('_in_bytes') && Number(line) >= unlimitedBytes ? '-1' : line;
}

/** What differs, in an order in which the kernel takes it. Files that are not there are not written. */
export function planWrites(
  dialect: Dialect,
  wanted: readonly GroupFile[],
  current: GroupValues,
): GroupFile[] {
  const changes = wanted.filter(([file, value]) => current.has(file) && current.get(file) !== value);
  const rank = (change: GroupFile): number => dialect.rank?.(change, current) ?? 0;
  return changes.toSorted((a, b) => rank(a) - rank(b));
}
