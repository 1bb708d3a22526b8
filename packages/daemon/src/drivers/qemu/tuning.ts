// What is changed of a running guest by QEMU alone, and the counters that QEMU keeps. Put together from throttle, memory and vCPUs.
import type { DiskCounters, GuestPins, GuestTuning, Logger } from '@wirt/core';
import type { QmpEvent } from '@wirt/qemu';
import type { HotplugAgent } from './agent-hotplug.ts';
import type { Ask } from './control.ts';
import { diskOfDevice } from './disk-names.ts';
import type { DisksLink } from './disks.ts';
import { type MemoryContext, readMemory, resizeMemory, setBalloon } from './memory.ts';
import { pinThreads } from './pins.ts';
import { readThrottles, setThrottles } from './throttle.ts';
import { createVcpus } from './vcpus.ts';

export interface TuningLink extends GuestTuning {
  onEvent(event: QmpEvent): void;
  /** Tells threads that came since, as those of a disk that was plugged in, what the others were told. */
  pinAgain(signal: AbortSignal): Promise<void>;
}

export interface TuningOptions {
  readonly id: string;
  readonly pid: number;
  readonly ask: Ask;
  readonly logger: Logger;
  readonly disks: Pick<DisksLink, 'exclusively'>;
  readonly hotplug: HotplugAgent;
}

export function createTuning(options: TuningOptions): TuningLink {
  const { id, pid, ask, logger, disks, hotplug } = options;
  let pins: GuestPins | undefined;
  const listeners = new Set<(event: QmpEvent) => void>();
  const vcpus = createVcpus({ id, ask, onlineVcpus: (plug, signal) => hotplug.onlineVcpus(plug, signal) });
  const throttled = { id, ask, logger, exclusively: disks.exclusively };
  const memory: MemoryContext = {
    id,
    ask,
    onlineMemory: (signal) => hotplug.onlineMemory(signal),
    onEvent(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
  const pinAgain = async (signal: AbortSignal): Promise<void> => {
    if (pins !== undefined) await pinThreads({ id, pid, ask }, pins, signal);
  };
  return {
    pinAgain,
    onEvent(event) {
      vcpus.onEvent(event);
      for (const listener of listeners) listener(event);
    },
    throttle: (limits, signal) => setThrottles(throttled, limits, signal),
    throttles: (signal) => readThrottles(ask, signal),
    balloon: (targetMib, signal) => setBalloon({ id, ask }, targetMib, signal),
    memory: (signal) => readMemory(ask, signal),
    resizeMemory: (targetMib, signal) => resizeMemory(memory, targetMib, signal),
    vcpus: (signal) => vcpus.vcpus(signal),
    async resizeVcpus(target, signal) {
      const now = await vcpus.resizeVcpus(target, signal);
      // A new one has the processors of the thread that made it.
      await pinAgain(signal);
      return now;
    },
    async pin(given, signal) {
      await pinThreads({ id, pid, ask }, given, signal);
      pins = given;
    },
    vcpuThreads: (signal) => vcpus.vcpuThreads(signal),
    disks: (signal) => readCounters(ask, signal),
  };
}

async function readCounters(ask: Ask, signal: AbortSignal): Promise<DiskCounters[]> {
  const devices = await ask('query-blockstats', {}, signal);
  return devices.flatMap(({ qdev = '', stats }) => {
    const name = diskOfDevice(qdev);
    return name === undefined
      ? []
      : {
          name,
          readBytes: stats.rd_bytes,
          writtenBytes: stats.wr_bytes,
          reads: stats.rd_operations,
          writes: stats.wr_operations,
        };
  });
}
