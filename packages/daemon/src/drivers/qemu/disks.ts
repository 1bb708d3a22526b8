// The disks of a running guest: plugged in and out, grown, and switched to overlays. What a command that failed has left in
// QEMU is closed again before the error is told; what was left by a daemon that died, before the next change.
import type { GuestDisks, Logger } from '@wirt/core';
import type { QmpEvent } from '@wirt/qemu';
import { serially } from '../../platform/serial.ts';
import type { Ask } from './control.ts';
import { attachDisk } from './disk-attach.ts';
import { dropUnused, readBlockState } from './disk-chain.ts';
import { growDisk } from './disk-grow.ts';
import { changeMedium } from './disk-medium.ts';
import { deviceOf, diskOfDevice } from './disk-names.ts';
import type { AioChoice } from './disk-nodes.ts';
import { overlayDisks } from './disk-overlay.ts';
import { type PullContext, pullDisk } from './disk-pull.ts';
import { createUnplugs } from './unplug.ts';

export interface DisksLink extends GuestDisks {
  /** Does it when no other change of QEMU's block nodes is under way. */
  exclusively<T>(work: () => Promise<T>): Promise<T>;
  onEvent(event: QmpEvent): void;
}

export interface DisksOptions {
  readonly id: string;
  readonly ask: Ask;
  readonly logger: Logger;
  /** Aborted when the guest has ended or was let go of; its reason is what then is thrown. */
  readonly ended: AbortSignal;
  chooseAio(): Promise<AioChoice>;
}

export function createDisks(options: DisksOptions): DisksLink {
  const { id, ask, logger, ended } = options;
  const exclusively = serially();
  const unplugs = createUnplugs({
    id,
    ask,
    code: 'volume.detach_refused',
    nameOf: (disk) => `disk ${disk}`,
    deviceOf,
  });
  const listeners = new Set<(event: QmpEvent) => void>();
  const context: PullContext = {
    id,
    ask,
    chooseAio: () => options.chooseAio(),
    exclusively,
    ended,
    onEvent(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };

  return {
    onEvent(event) {
      for (const listener of [...listeners]) listener(event);
      if (unplugs.onEvent(event) || event.event !== 'DEVICE_DELETED') return;
      // A guest that lets go of a disk long after it was asked to.
      if (diskOfDevice(event.data.device ?? '') === undefined) return;
      exclusively(() => dropUnused(ask)).catch((error: unknown) => {
        logger.warn('guest.disk_not_closed', { id, device: event.data.device, error });
      });
    },
    exclusively,
    attach: (disk, signal) => exclusively(() => attachDisk(context, disk, signal)),
    async detach(name, signal) {
      await unplugs.unplug(name, signal);
      await exclusively(() => dropUnused(ask));
    },
    resize: (name, sizeBytes, signal) => growDisk(context, name, sizeBytes, signal),
    changeMedium: (name, source, signal) => exclusively(() => changeMedium(context, name, source, signal)),
    overlay: (overlays, signal) => exclusively(() => overlayDisks(context, overlays, signal)),
    async chains(signal) {
      const { drives } = await readBlockState(ask, signal);
      return new Map([...drives.values()].map(({ disk, layers }) => [disk, layers]));
    },
    pull: (work, pullOptions) => pullDisk(context, work, pullOptions),
  };
}
