// The limits of a running guest's disks: of all together by the throttle group that every disk's uppermost node is in, of each by its
// device. What is already so is left alone, since QEMU begins to count anew with every change. Read back from QEMU each time.
// Source: QEMU qapi/block-core.json (block_set_io_throttle, throttle-group), block/throttle-groups.c.
import { type Throttle, WirtError } from '@wirt/api';
import type { GuestTuning, Logger } from '@wirt/core';
import type { QmpReturn } from '@wirt/qemu';
import { type Ask, isRefusal, noAbort } from './control.ts';
import { readBlockState, type Throttling } from './disk-chain.ts';
import { type DiskContext, refused } from './disk-context.ts';
import { diskOfDevice } from './disk-names.ts';
import { throttleGroup } from './disk-nodes.ts';
import {
  fromDeviceLimits,
  fromGroupLimits,
  isSameThrottle,
  isUnlimited,
  toDeviceLimits,
  toGroupLimits,
} from './throttle-limits.ts';

export interface ThrottleContext extends Pick<DiskContext, 'id' | 'ask' | 'exclusively'> {
  readonly logger: Logger;
}

type Limits = Parameters<GuestTuning['throttle']>[0];
type Inserted = NonNullable<QmpReturn<'query-block'>[number]['inserted']>;

const objects = '/objects';
const group = { path: `${objects}/${throttleGroup}`, property: 'limits' } as const;

/** A guest of an earlier version has none, and its disks are in none. */
export async function hasThrottleGroup(ask: Ask, signal: AbortSignal): Promise<boolean> {
  const there = await ask('qom-list', { path: objects }, signal);
  return there.some(({ name }) => name === throttleGroup);
}

/** What QEMU refuses of one disk keeps the others from nothing: the first refusal is thrown when all the rest is set. */
export async function setThrottles(
  context: ThrottleContext,
  { all, each }: Limits,
  signal: AbortSignal,
): Promise<void> {
  const { id, ask } = context;
  const devices = await readDevices(ask, signal);
  const failures: unknown[] = [];
  for (const [disk, { qdev, inserted }] of devices) {
    const wanted = each[disk] ?? {};
    if (isSameThrottle(fromDeviceLimits(inserted), wanted)) continue;
    signal.throwIfAborted();
    await ask('block_set_io_throttle', { id: qdev, ...toDeviceLimits(wanted) }, noAbort).catch(
      (error: unknown) => {
        // Who does not answer will not answer for the next one either.
        if (!isRefusal(error)) throw error;
        const message = `Disk ${disk} of instance ${id} could not be held to its limits.`;
        failures.push(refused(error, 'limit.failed', message));
      },
    );
  }
  await setGroup(context, all, signal).catch((error: unknown) => failures.push(error));
  if (failures.length > 0) throw failures[0];
}

async function setGroup(context: ThrottleContext, all: Throttle, signal: AbortSignal): Promise<void> {
  const { id, ask } = context;
  if (!(await hasThrottleGroup(ask, signal))) {
    if (isUnlimited(all)) return;
    throw new WirtError(
      'limit.unsupported',
      `The disks of instance ${id} cannot be held together to limits.`,
      {
        cause: new Error('Its QEMU was started by an earlier version.'),
        hint: `It can from its next start on: \`wirt stop ${id}\`, \`wirt start ${id}\`. Limits of each disk act at once.`,
      },
    );
  }
  if (isSameThrottle(fromGroupLimits(await ask('qom-get', group, signal)), all)) return;
  try {
    await ask('qom-set', { ...group, value: toGroupLimits(all) }, noAbort);
  } catch (error) {
    throw refused(error, 'limit.failed', `The disks of instance ${id} could not be held to their limits.`);
  }
  await context.exclusively(() => wakeWaiting(context));
}

/**
 * A request that waits was told by the old limit for how long, maybe for hours, and all others wait behind it. Opening the filter anew
 * as it is lets those that wait pass.
 */
async function wakeWaiting({ id, ask, logger }: ThrottleContext): Promise<void> {
  const { drives } = await readBlockState(ask, noAbort);
  const devices = await readDevices(ask, noAbort);
  for (const { disk, top } of drives.values()) {
    const inserted = devices.get(disk)?.inserted;
    if (top?.throttle === undefined || inserted === undefined) continue;
    await ask('blockdev-reopen', { options: [reopened(top.throttle, inserted)] }, noAbort).catch(
      (error: unknown) => {
        if (!isRefusal(error)) throw error;
        // What waits then passes as the old limit had it.
        logger.warn('guest.throttle_not_reopened', { id, disk, error });
      },
    );
  }
}

function reopened({ node, below }: Throttling, { ro, cache }: Inserted) {
  return {
    driver: 'throttle',
    'node-name': node,
    file: below,
    'throttle-group': throttleGroup,
    'read-only': ro,
    cache: { direct: cache.direct, 'no-flush': cache['no-flush'] },
    discard: 'unmap',
  } as const;
}

export async function readThrottles(ask: Ask, signal: AbortSignal): Promise<Limits> {
  const all = (await hasThrottleGroup(ask, signal))
    ? fromGroupLimits(await ask('qom-get', group, signal))
    : {};
  const each: Record<string, Throttle> = {};
  for (const [disk, { inserted }] of await readDevices(ask, signal)) {
    const throttle = fromDeviceLimits(inserted);
    if (!isUnlimited(throttle)) each[disk] = throttle;
  }
  return { all, each };
}

interface LimitedDevice {
  /** As block_set_io_throttle takes it: the part of the device that has the disk. */
  readonly qdev: string;
  readonly inserted: Inserted;
}

/** By name of the disk; a drive without a medium has nothing that could be limited. */
async function readDevices(ask: Ask, signal: AbortSignal): Promise<ReadonlyMap<string, LimitedDevice>> {
  const devices = new Map<string, LimitedDevice>();
  for (const { qdev = '', inserted } of await ask('query-block', {}, signal)) {
    const disk = diskOfDevice(qdev);
    if (disk !== undefined && inserted !== undefined) devices.set(disk, { qdev, inserted });
  }
  return devices;
}
