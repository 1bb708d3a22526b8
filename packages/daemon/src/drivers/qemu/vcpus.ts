// The vCPUs of a running guest: plugged in one by one, brought online by the agent, and taken out by ACPI's eject when the guest consents.
// QEMU is asked each time, but for the threads, which are asked for often.
// Source: QEMU qapi/machine.json (query-hotpluggable-cpus, query-cpus-fast), docs/system/cpu-hotplug.rst.
import { WirtError } from '@wirt/api';
import type { GuestTuning } from '@wirt/core';
import type { QmpEvent, QmpReturn } from '@wirt/qemu';
import { type Ask, isRefusal, noAbort } from './control.ts';
import { refused } from './disk-context.ts';
import { isOver, tick } from './patience.ts';
import { assertCanPlug, markGone } from './vcpu-gone.ts';

/** How often the guest is asked to let go, and how often it is looked whether it has: QEMU 7.2 does not tell. */
const againMs = 2_000;
const lookMs = 50;

export interface VcpusOptions {
  readonly id: string;
  readonly ask: Ask;
  /** Brings vCPUs online that the agent did not know before `plug`; where no agent answers, `plug` is all that is done. */
  onlineVcpus(plug: () => Promise<number>, signal: AbortSignal): Promise<void>;
}

export interface Vcpus extends Pick<GuestTuning, 'vcpus' | 'resizeVcpus' | 'vcpuThreads'> {
  onEvent(event: QmpEvent): void;
}

type Slot = QmpReturn<'query-hotpluggable-cpus'>[number];

export function createVcpus({ id, ask, onlineVcpus }: VcpusOptions): Vcpus {
  let threads: readonly number[] | undefined;
  let changes = 0;
  const changed = (): void => {
    threads = undefined;
    changes += 1;
  };
  const count = async (signal: AbortSignal) => {
    const slots = await readSlots(ask, signal);
    if (slots !== undefined) return { plugged: slots.filter(isPlugged).length, max: slots.length };
    const { length } = await ask('query-cpus-fast', {}, signal);
    return { plugged: length, max: length };
  };
  const plug = async (slots: readonly Slot[], target: number, signal: AbortSignal): Promise<number> => {
    const free = slots.filter((slot) => !isPlugged(slot));
    const now = slots.length - free.length;
    const wanted = free.slice(0, target - now);
    await assertCanPlug({ id, ask }, signal);
    for (const { type, props } of wanted) {
      signal.throwIfAborted();
      const place = [props['socket-id'], props['die-id'], props['core-id'], props['thread-id']];
      const device = { driver: type, id: `vcpu-${place.map((part) => part ?? 0).join('-')}`, ...props };
      await ask('device_add', device, noAbort).catch((error: unknown) => {
        throw refused(error, 'limit.failed', `Instance ${id} could not be given another vCPU.`);
      });
    }
    return wanted.length;
  };
  const unplug = async (slots: readonly Slot[], target: number, signal: AbortSignal): Promise<void> => {
    const paths = slots.flatMap((slot) => slot['qom-path'] ?? []);
    for (const path of paths.slice(target).toReversed()) await takeOut({ id, ask }, path, signal);
  };

  return {
    onEvent(event) {
      if (event.event === 'DEVICE_DELETED') changed();
    },
    vcpus: count,
    async resizeVcpus(target, signal) {
      const slots = await readSlots(ask, signal);
      const now = await count(signal);
      if (target === now.plugged) return now;
      if (slots === undefined || target < 1 || target > now.max) throw unsupported(id, target, now);
      changed();
      try {
        if (target < now.plugged) await unplug(slots, target, signal);
        else await onlineVcpus(() => plug(slots, target, signal), signal);
        return await count(signal);
      } catch (error) {
        // What the guest has not let go of in time it keeps until it does.
        if (!isOver(signal)) throw error;
        return await count(noAbort);
      } finally {
        changed();
      }
    },
    async vcpuThreads(signal) {
      if (threads !== undefined) return threads;
      const since = changes;
      const read = await readThreads(ask, signal);
      if (since === changes) threads = read;
      return read;
    },
  };
}

/** Returns when the guest has let go. */
async function takeOut(
  { id, ask }: Pick<VcpusOptions, 'id' | 'ask'>,
  path: string,
  signal: AbortSignal,
): Promise<void> {
  const isThere = async (): Promise<boolean> =>
    (await readSlots(ask, signal))?.some((slot) => slot['qom-path'] === path) ?? false;
  const stays = await markGone(ask, signal);
  const never = Promise.withResolvers<void>().promise;
  for (let pressed = Number.NEGATIVE_INFINITY; await isThere(); ) {
    if (performance.now() - pressed >= againMs) {
      pressed = performance.now();
      try {
        await ask('device_del', { id: path }, noAbort);
      } catch (error) {
        if (isRefusal(error) && error.class === 'DeviceNotFound') return;
        await stays();
        const hint = 'See whether the guest has started up and knows ACPI; or stop it first.';
        throw refused(error, 'limit.failed', `Instance ${id} did not let go of a vCPU.`, hint);
      }
    }
    await tick(never, lookMs, signal);
  }
}

async function readThreads(ask: Ask, signal: AbortSignal): Promise<readonly number[]> {
  const cpus = await ask('query-cpus-fast', {}, signal);
  return cpus.toSorted((one, other) => one['cpu-index'] - other['cpu-index']).map((cpu) => cpu['thread-id']);
}

/** Plugged in or not, the first one first; undefined for a machine that has none but those of its start. */
async function readSlots(ask: Ask, signal: AbortSignal): Promise<readonly Slot[] | undefined> {
  try {
    const slots = await ask('query-hotpluggable-cpus', {}, signal);
    return slots.toSorted((one, other) => orderOf(one) - orderOf(other));
  } catch (error) {
    if (isRefusal(error)) return undefined;
    throw error;
  }
}

const isPlugged = (slot: Slot): boolean => slot['qom-path'] !== undefined;

/** No topology has more than 4096 of a kind. */
function orderOf({ props }: Slot): number {
  const parts = [props['socket-id'], props['die-id'], props['core-id'], props['thread-id']];
  return parts.reduce<number>((order, part) => order * 4096 + (part ?? 0), 0);
}

function unsupported(id: string, target: number, now: { readonly plugged: number; readonly max: number }) {
  const what = `Instance ${id} cannot have ${target} vCPUs while it runs.`;
  const cause = new Error(`It has ${now.plugged} and can have between 1 and ${now.max}.`);
  const hint = `It can from its next start on: \`wirt stop ${id}\`, \`wirt start ${id}\`.`;
  return new WirtError('limit.unsupported', what, { cause, hint });
}
