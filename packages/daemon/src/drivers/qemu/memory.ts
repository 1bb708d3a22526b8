// The memory of a running guest: what it has, what the balloon leaves of it, and more or less of it by virtio-mem. QEMU is asked each
// time. QEMU's balloon knows nothing of what was plugged in: its figures are those of the memory at the start.
// Source: QEMU qapi/machine.json (balloon, query-memory-devices, MEMORY_DEVICE_SIZE_CHANGE), docs of virtio-mem.
import { WirtError } from '@wirt/api';
import type { GuestMemory } from '@wirt/core';
import type { QmpEvent } from '@wirt/qemu';
import { type Ask, isRefusal, noAbort } from './control.ts';
import { refused } from './disk-context.ts';
import { balloonDevice, memoryDevice } from './memory-devices.ts';
import { isOver, tick } from './patience.ts';

const mib = 1024 * 1024;
/** A guest that has neither taken nor given anything for so long has stopped. */
const stallMs = 5_000;
const lookMs = 250;
const peripherals = '/machine/peripheral';

export interface MemoryContext {
  readonly id: string;
  readonly ask: Ask;
  /** Brings what was plugged in online, where an agent answers. */
  onlineMemory(signal: AbortSignal): Promise<void>;
  onEvent(listener: (event: QmpEvent) => void): () => void;
}

interface Plugged {
  readonly requestedBytes: number;
  readonly bytes: number;
  readonly maxBytes: number;
  readonly blockBytes: number;
}

async function readPlugged(ask: Ask, signal: AbortSignal): Promise<Plugged | undefined> {
  for (const device of await ask('query-memory-devices', {}, signal)) {
    if (device.type !== 'virtio-mem' || device.data.id !== memoryDevice) continue;
    const { data } = device;
    return {
      requestedBytes: data['requested-size'],
      bytes: data.size,
      maxBytes: data['max-size'],
      blockBytes: data['block-size'],
    };
  }
  return undefined;
}

async function readBaseBytes(ask: Ask, signal: AbortSignal): Promise<number> {
  return (await ask('query-memory-size-summary', {}, signal))['base-memory'];
}

export async function readMemory(ask: Ask, signal: AbortSignal): Promise<GuestMemory> {
  const [base, plugged] = [await readBaseBytes(ask, signal), await readPlugged(ask, signal)];
  const extra = plugged?.bytes ?? 0;
  return {
    bootMib: base / mib,
    pluggedMib: (base + extra) / mib,
    maxMib: (base + (plugged?.maxBytes ?? 0)) / mib,
    ...(await readBalloon(ask, extra, signal)),
  };
}

async function readBalloon(
  ask: Ask,
  extraBytes: number,
  signal: AbortSignal,
): Promise<Pick<GuestMemory, 'balloonMib' | 'freePageReporting'>> {
  try {
    const { actual } = await ask('query-balloon', {}, signal);
    const property = { path: `${peripherals}/${balloonDevice}`, property: 'free-page-reporting' };
    const freePageReporting = (await ask('qom-get', property, signal)) === true;
    return { balloonMib: Math.floor((actual + extraBytes) / mib), freePageReporting };
  } catch (error) {
    if (!isRefusal(error)) throw error;
    return {};
  }
}

export async function setBalloon(
  { id, ask }: Pick<MemoryContext, 'id' | 'ask'>,
  targetMib: number,
  signal: AbortSignal,
): Promise<void> {
  const [base, plugged] = [await readBaseBytes(ask, signal), await readPlugged(ask, signal)];
  const left = targetMib * mib - (plugged?.bytes ?? 0);
  try {
    await ask('balloon', { value: Math.min(Math.max(left, mib), base) }, noAbort);
  } catch (error) {
    const what = `The balloon of instance ${id} could not be set to ${targetMib} MiB.`;
    if (isRefusal(error) && error.class === 'DeviceNotActive')
      throw new WirtError('limit.unsupported', what, { cause: error, hint: atNextStart(id) });
    throw refused(error, 'limit.failed', what);
  }
}

export async function resizeMemory(
  context: MemoryContext,
  targetMib: number,
  signal: AbortSignal,
): Promise<GuestMemory> {
  const { ask } = context;
  const [base, plugged] = [await readBaseBytes(ask, signal), await readPlugged(ask, signal)];
  const wanted = targetMib * mib - base;
  if (plugged === undefined && wanted === 0) return readMemory(ask, signal);
  if (plugged === undefined || wanted < 0 || wanted > plugged.maxBytes)
    throw unsupported(context.id, targetMib, { base, plugged });
  const requested = Math.ceil(wanted / plugged.blockBytes) * plugged.blockBytes;
  if (requested !== plugged.requestedBytes) {
    const path = `${peripherals}/${memoryDevice}`;
    const request = { path, property: 'requested-size', value: requested };
    await ask('qom-set', request, noAbort).catch((error: unknown) => {
      const what = `The memory of instance ${context.id} could not be changed to ${targetMib} MiB.`;
      throw refused(error, 'limit.failed', what);
    });
  }
  await settle(context, requested, signal);
  return readMemory(ask, isOver(signal) ? noAbort : signal);
}

/** Until the guest has what was asked for, does nothing any more, or the deadline is over. */
async function settle(context: MemoryContext, requestedBytes: number, signal: AbortSignal): Promise<void> {
  let changed = Promise.withResolvers<void>();
  const stop = context.onEvent((event) => {
    if (event.event === 'MEMORY_DEVICE_SIZE_CHANGE') changed.resolve();
  });
  try {
    let before = -1;
    for (let since = performance.now(); performance.now() - since < stallMs; ) {
      const bytes = (await readPlugged(context.ask, signal))?.bytes ?? requestedBytes;
      if (bytes !== before) since = performance.now();
      // Memory that is not online is none to the guest, and Linux takes only so much of it.
      if (bytes > before && bytes <= requestedBytes) await context.onlineMemory(signal);
      before = bytes;
      if (bytes === requestedBytes) return;
      await tick(changed.promise, lookMs, signal);
      changed = Promise.withResolvers();
    }
  } catch (error) {
    if (!isOver(signal)) throw error;
  } finally {
    stop();
  }
}

function unsupported(
  id: string,
  targetMib: number,
  { base, plugged }: { readonly base: number; readonly plugged: Plugged | undefined },
): WirtError {
  const what = `Instance ${id} cannot be given ${targetMib} MiB while it runs.`;
  const [least, most] = [base / mib, (base + (plugged?.maxBytes ?? 0)) / mib];
  const cause = new Error(
    plugged === undefined
      ? `It was started with ${least} MiB and no room for more or less.`
      : `It was started with ${least} MiB, which it keeps, and can have up to ${most} MiB.`,
  );
  return new WirtError('limit.unsupported', what, { cause, hint: atNextStart(id) });
}

const atNextStart = (id: string): string =>
  `It can from its next start on: \`wirt stop ${id}\`, \`wirt start ${id}\`.`;
