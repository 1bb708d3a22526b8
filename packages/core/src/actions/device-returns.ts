/**
 * Gives back what ended guests still have of the host's devices, once it can be: the kernel was not through with a device, or it did not
 * answer to its reset. What is stuck is left alone meanwhile; what fails is tried again ever less often.
 */
import type { Instance } from '@wirt/api';
import { deviceDeadlineMs } from './device-pool.ts';
import { giveDevicesBack } from './instance-devices.ts';
import type { Shared } from './parts.ts';

/** In passes, from one try to the next. */
const longestPause = 64;

interface Tried {
  times: number;
  /** The number of the pass. */
  nextAt: number;
}

/** For each pass, by its number. Returns at once: a device that hangs once more holds up no pass. */
export function createDeviceReturns(shared: Shared): (pass: number) => void {
  const { instances, devices, lanes, logger } = shared;
  const tried = new Map<string, Tried>();
  let isBusy = false;

  async function giveBack(due: readonly Instance[], pass: number): Promise<void> {
    const inventory = await devices.inventory(AbortSignal.timeout(deviceDeadlineMs));
    const stuck = new Set(inventory.flatMap((each) => (each.stuck === undefined ? [] : [each.address])));
    const ready = due.filter(({ status }) => !status.devices?.some(({ address }) => stuck.has(address)));
    await Promise.all(
      ready.map(async ({ id }) => {
        const times = (tried.get(id)?.times ?? 0) + 1;
        tried.set(id, { times, nextAt: pass + Math.min(2 ** times, longestPause) });
        await lanes.run(id, async () => {
          // What fails is logged there.
          if (isLeft(instances.get(id))) await giveDevicesBack(shared, id).catch(() => undefined);
        });
      }),
    );
  }

  return (pass) => {
    const left = [...instances.after()].filter(isLeft);
    for (const id of tried.keys()) if (!left.some((each) => each.id === id)) tried.delete(id);
    const due = left.filter(({ id }) => (tried.get(id)?.nextAt ?? 0) <= pass);
    if (isBusy || due.length === 0) return;
    isBusy = true;
    giveBack(due, pass)
      .catch((error: unknown) => logger.warn('device.returns_failed', { error }))
      .finally(() => {
        isBusy = false;
      });
  };
}

/** Of others, an operation gives them back. */
function isLeft(instance: Instance | undefined): boolean {
  if (instance === undefined) return false;
  const { state, process, devices = [] } = instance.status;
  return (state === 'stopped' || state === 'crashed') && process === undefined && devices.length > 0;
}
