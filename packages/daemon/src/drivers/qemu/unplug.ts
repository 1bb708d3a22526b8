// Unplugging: the guest is asked to let go of a disk or a card, asked again as long as it does not, and its consent is QEMU's
// DEVICE_DELETED. A guest that runs no driver for hot-plug, or stands still, never lets go.
import { setTimeout as delay } from 'node:timers/promises';
import { WirtError } from '@wirt/api';
import type { QmpEvent } from '@wirt/qemu';
import { type Ask, isRefusal } from './control.ts';
import { refused } from './disk-context.ts';

/** QEMU passes a second request on when the first is some seconds old; its answer tells of an event that was missed, too. */
const againMs = 2_000;

export interface Unplugs {
  /** Returns when the guest has let go. Throws the error of its kind, also when the signal's deadline is over. */
  unplug(name: string, signal: AbortSignal): Promise<void>;
  /** Whether somebody waits for this event. */
  onEvent(event: QmpEvent): boolean;
}

type Outcome = 'deleted' | 'refused';

export interface UnplugOptions {
  readonly id: string;
  readonly ask: Ask;
  readonly code: 'volume.detach_refused' | 'network.detach_refused';
  /** As it is called in messages. */
  nameOf(name: string): string;
  deviceOf(name: string): string;
}

export function createUnplugs({ id, ask, code, nameOf, deviceOf }: UnplugOptions): Unplugs {
  const waiting = new Map<string, (outcome: Outcome) => void>();

  const unplug = async (name: string, signal: AbortSignal): Promise<void> => {
    const device = deviceOf(name);
    const told = Promise.withResolvers<Outcome>();
    waiting.set(device, told.resolve);
    try {
      for (;;) {
        if (!(await press(ask, device, signal))) return;
        const outcome = await Promise.race([told.promise, delay(againMs, 'silent' as const, { signal })]);
        if (outcome === 'deleted') return;
        if (outcome === 'refused') throw new Error('The guest’s operating system keeps it.');
      }
    } catch (error) {
      throw explain(error, code, `Instance ${id} did not let go of ${nameOf(name)}.`, signal);
    } finally {
      waiting.delete(device);
    }
  };

  return {
    unplug,
    onEvent(event) {
      if (event.event !== 'DEVICE_DELETED' && event.event !== 'DEVICE_UNPLUG_GUEST_ERROR') return false;
      const settle = waiting.get(event.data.device ?? '');
      settle?.(event.event === 'DEVICE_DELETED' ? 'deleted' : 'refused');
      return settle !== undefined;
    },
  };
}

/** False when there is no such device. */
async function press(ask: Ask, device: string, signal: AbortSignal): Promise<boolean> {
  try {
    await ask('device_del', { id: device }, signal);
    return true;
  } catch (error) {
    if (!isRefusal(error)) throw error;
    if (error.class === 'DeviceNotFound') return false;
    if (error.desc.includes('already in the process of unplug')) return true;
    throw error;
  }
}

function explain(error: unknown, code: UnplugOptions['code'], message: string, signal: AbortSignal): unknown {
  const hint = 'See whether it is in use in the guest, and whether the guest runs; or stop it first.';
  if (isRefusal(error)) return refused(error, code, message, hint);
  if (error instanceof WirtError) return error;
  if (!signal.aborted) return new WirtError(code, message, { cause: error, hint });
  const { reason } = signal;
  const isDeadline = reason instanceof DOMException && reason.name === 'TimeoutError';
  return isDeadline ? new WirtError(code, message, { hint }) : reason;
}
