// Which disks QEMU has stopped the guest for. Its event names a block node, which is a job's own while one runs.
// Source: QEMU qapi/block-core.json (query-block, BlockDeviceIoStatus).
import type { GuestEvent, Logger } from '@wirt/core';
import { type Ask, noAbort } from './control.ts';
import { diskOfDevice } from './disk-names.ts';

type DiskFailure = Extract<GuestEvent, { kind: 'disk-error' }>;

export interface FailureOptions {
  readonly id: string;
  readonly ask: Ask;
  readonly logger: Logger;
  emit(event: DiskFailure): void;
}

/** Asks QEMU, and tells of each disk. That the guest stands still for one is known without it. */
export function tellFailedDisks({ id, ask, logger, emit }: FailureOptions): void {
  failedDisks(ask).then(
    (failures) => {
      for (const failure of failures) emit(failure);
    },
    (error: unknown) => logger.warn('guest.failed_disk_unknown', { id, error }),
  );
}

async function failedDisks(ask: Ask): Promise<DiskFailure[]> {
  const drives = await ask('query-block', {}, noAbort);
  return drives.flatMap((drive) => {
    const disk = diskOfDevice(drive.qdev ?? '');
    const status = drive['io-status'] ?? 'ok';
    if (disk === undefined || status === 'ok') return [];
    return [{ kind: 'disk-error', disk, noSpace: status === 'nospace' } as const];
  });
}
