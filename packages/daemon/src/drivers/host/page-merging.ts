// The kernel's switch for merging equal pages (admin-guide/mm/ksm.rst), by /sys/kernel/mm/ksm.
import type { PageMerging } from '@wirt/core';
import type { HostFiles } from '../../platform/host-files.ts';
import type { SysfsWrites } from '../../platform/sysfs-writes.ts';

const path = '/sys/kernel/mm/ksm/run';
const deadlineMs = 2_000;

export function createPageMerging({
  files,
  writes,
}: {
  readonly files: HostFiles;
  readonly writes: SysfsWrites;
}): PageMerging {
  return {
    run: () => files.number(path),
    setRun: (value) => writes.write(path, String(value), AbortSignal.timeout(deadlineMs)),
  };
}
