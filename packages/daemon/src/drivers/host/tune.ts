// Sets what of the host guests' speed hangs on and nobody else's does: shared memory gets transparent huge pages where a program asks
// for them (admin-guide/mm/transhuge.rst, "shmem_enabled"), as QEMU does for guests' memory. What somebody has chosen stays.
import type { Logger } from '@wirt/core';
import { createHostFiles, type HostFiles } from '../../platform/host-files.ts';
import { createSysfsWrites, type SysfsWrites } from '../../platform/sysfs-writes.ts';
import { parseChoice } from './memory.ts';

const path = '/sys/kernel/mm/transparent_hugepage/shmem_enabled';
const deadlineMs = 2_000;

export interface TuneOptions {
  readonly logger: Logger;
  readonly files?: HostFiles;
  readonly writes?: SysfsWrites;
}

/** `never` is the kernel's default, and means that nobody has chosen; the kernel forgets what is set here when it ends. Never throws. */
export async function tuneHost(options: TuneOptions): Promise<void> {
  const { logger, files = createHostFiles(), writes = createSysfsWrites() } = options;
  const before = parseChoice(await files.line(path));
  if (before === 'never') await set({ logger, writes }, { path, before, value: 'advise' });
}

async function set(
  { logger, writes }: { readonly logger: Logger; readonly writes: SysfsWrites },
  change: { readonly path: string; readonly before: string; readonly value: string },
): Promise<void> {
  try {
    await writes.write(change.path, change.value, AbortSignal.timeout(deadlineMs));
    logger.info('host.tuned', change);
  } catch (error) {
    logger.warn('host.not_tuned', { ...change, error });
  }
}
