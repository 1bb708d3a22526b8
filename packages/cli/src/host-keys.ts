/** The keys of `wirt host set`, for parser, help and completion. */
import type { HostSettings } from '@wirt/api';

export interface HostKey {
  readonly key: string;
  readonly field: keyof HostSettings;
  readonly summary: string;
}

export const hostKeys: readonly HostKey[] = [
  {
    key: 'cpu-overcommit',
    field: 'cpuOvercommit',
    summary: 'vCPUs that may be promised, as a multiple of the processors',
  },
  {
    key: 'memory-overcommit',
    field: 'memoryOvercommit',
    summary: 'Memory that may be promised, as a multiple of what is in no pool of huge pages',
  },
  {
    key: 'pool-overcommit',
    field: 'poolOvercommit',
    summary: 'Sizes of volumes that may be promised, as a multiple of the capacity of their pool',
  },
];
