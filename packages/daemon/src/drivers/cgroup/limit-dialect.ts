// The shape of limits in the kernel's files: one dialect for each controller in each version of control groups.
import type { GroupLimits } from '@wirt/core';

export type LimitController = 'cpu' | 'memory' | 'io';

export type GroupFile = readonly [file: string, value: string];

/** Files of one group, as normalize() gives them; those that are not there are left out. */
export type GroupValues = ReadonlyMap<string, string>;

/** One controller in one version. */
export interface Dialect {
  /** All that it may read or write. */
  readonly files: readonly string[];
  /** Every file with the value that it should have, also where the limit is absent. */
  render(limits: GroupLimits): GroupFile[];
  parse(values: GroupValues): GroupLimits;
  /** Files that must be written before others, seen what is there and what is to be; lower ranks go first. Default: 0. */
  rank?(wanted: GroupFile, current: GroupValues): number;
}
