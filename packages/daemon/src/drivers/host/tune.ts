// Sets what of the host guests' speed hangs on and nobody else's does: shared memory gets transparent huge pages where a program asks
// for them (admin-guide/mm/transhuge.rst, "shmem_enabled"), as QEMU does for guests' memory. What somebody has chosen stays.
import { writeFile } from 'node:fs/promises';
import type { Logger } from '@wirt/core';
import { createHostFiles, type HostFiles } from './host-files.ts';
import { parseChoice } from './memory.ts';

const path = '/sys/kernel/mm/transparent_hugepage/shmem_enabled';

export interface TuneOptions {
  readonly logger: Logger;
  readonly files?: HostFiles;
  readonly write?: (path: string, text: string) => Promise<void>;
}

/** `never` is the kernel's default, and means that nobody has chosen; the kernel forgets what is set here when it ends. Never throws. */
export async function tuneHost({
  logger,
  files = createHostFiles(),
  write = writeFile,
}: TuneOptions): Promise<void> {
  const found = parseChoice(await files.line(path));
  if (found !== 'never') return;
  try {
    await write(path, 'advise');
    logger.info('host.tuned', { path, before: found, value: 'advise' });
  } catch (error) {
    logger.warn('host.not_tuned', { path, error });
  }
}
