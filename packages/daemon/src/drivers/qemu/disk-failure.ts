// Which disks QEMU has stopped the guest for. The event itself names a block node, which is a job's own while one runs.
// Source: QEMU qapi/block-core.json (query-block, BlockDeviceIoStatus).
import { type Ask, noAbort } from './control.ts';
import { diskOfDevice } from './disk-names.ts';

export interface FailedDisk {
  readonly disk: string;
  readonly noSpace: boolean;
}

export async function failedDisks(ask: Ask): Promise<FailedDisk[]> {
  const drives = await ask('query-block', {}, noAbort);
  return drives.flatMap((drive) => {
    const disk = diskOfDevice(drive.qdev ?? '');
    const status = drive['io-status'] ?? 'ok';
    return disk === undefined || status === 'ok' ? [] : [{ disk, noSpace: status === 'nospace' }];
  });
}
