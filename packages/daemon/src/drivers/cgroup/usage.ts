// What guests use, a thousand in a row: files that stay open and one shared buffer. Memory is what is held against the ceiling, page
// cache included (v1's usage_in_bytes, v2's memory.current), not what the process has mapped.
import { posix } from 'node:path';
import type { InstanceProcess } from '@wirt/api';
import type { GroupUsage } from '@wirt/core';
import { type Descriptors, OpenFile } from './open-files.ts';
import { type Place, type Places, readShort } from './places.ts';
import {
  fieldOf,
  pressureIn,
  processSecondsIn,
  residentBytesIn,
  threadUsageIn,
  throttlingIn,
} from './usage-files.ts';

export interface UsageReader {
  read(id: string, process: InstanceProcess, threads: readonly number[]): GroupUsage | undefined;
  /** Closes what is open for the guest: before its group is removed, and when it is another. */
  forget(id: string): void;
}

export interface UsageOptions {
  /** Asked once for a group and process; undefined where there is no group. */
  readonly placesOf: (id: string, process: InstanceProcess) => Places | undefined;
  readonly procRoot: string;
  readonly descriptors: Descriptors;
}

interface Watched {
  readonly pid: number;
  readonly files: GroupFiles;
  readonly threads: Map<number, OpenFile>;
}

export function createUsageReader(options: UsageOptions): UsageReader {
  const { placesOf, procRoot, descriptors } = options;
  const watched = new Map<string, Watched>();

  function forget(id: string): void {
    const one = watched.get(id);
    if (one === undefined) return;
    for (const file of Object.values(one.files)) file?.close();
    for (const file of one.threads.values()) file.close();
    watched.delete(id);
  }

  function watch(id: string, process: InstanceProcess): Watched | undefined {
    const known = watched.get(id);
    if (known?.pid === process.pid) return known;
    forget(id);
    const places = placesOf(id, process);
    if (places === undefined) return undefined;
    const files = openGroup(places, descriptors);
    const one: Watched = { pid: process.pid, files, threads: new Map() };
    watched.set(id, one);
    return one;
  }

  function threadFile({ pid, threads }: Watched, thread: number): OpenFile {
    const known = threads.get(thread);
    if (known !== undefined) return known;
    const path = posix.join(procRoot, String(pid), 'task', String(thread), 'schedstat');
    const file = new OpenFile(path, descriptors);
    threads.set(thread, file);
    return file;
  }

  return {
    forget,
    read(id, process, threads) {
      const one = watch(id, process);
      const group = one && readGroup(one.files, posix.join(procRoot, String(process.pid)));
      if (one === undefined || group === undefined) {
        forget(id);
        return undefined;
      }
      // vCPUs that were unplugged.
      if (one.threads.size > threads.length)
        for (const [thread, file] of one.threads)
          if (!threads.includes(thread)) {
            file.close();
            one.threads.delete(thread);
          }
      // A thread that has just ended counts nothing.
      return {
        ...group,
        threads: threads.map((thread) => threadUsageIn(threadFile(one, thread).read() ?? '')),
      };
    },
  };
}

interface GroupFiles {
  /** v1's cpuacct.usage; v2's is in `stat`. */
  readonly accounting: OpenFile | undefined;
  readonly stat: OpenFile | undefined;
  readonly memory: OpenFile | undefined;
  /** v1: memory and swap together. v2: swap. */
  readonly swap: OpenFile | undefined;
  readonly swapWithMemory: OpenFile | undefined;
  readonly cpuPressure: OpenFile | undefined;
  readonly memoryPressure: OpenFile | undefined;
  readonly ioPressure: OpenFile | undefined;
}

function openGroup({ accounting, cpu, memory, pressure }: Places, descriptors: Descriptors): GroupFiles {
  const open = (place: Place | undefined, file: string): OpenFile | undefined =>
    place && new OpenFile(posix.join(place.path, file), descriptors);
  const only = (place: Place | undefined, version: Place['version']): Place | undefined =>
    place?.version === version ? place : undefined;
  return {
    accounting: open(only(accounting, 'v1'), 'cpuacct.usage'),
    stat: open(cpu ?? only(accounting, 'v2'), 'cpu.stat'),
    memory: open(memory, memory?.version === 'v1' ? 'memory.usage_in_bytes' : 'memory.current'),
    swap: open(only(memory, 'v2'), 'memory.swap.current'),
    swapWithMemory: open(only(memory, 'v1'), 'memory.memsw.usage_in_bytes'),
    cpuPressure: open(pressure, 'cpu.pressure'),
    memoryPressure: open(pressure, 'memory.pressure'),
    ioPressure: open(pressure, 'io.pressure'),
  };
}

/** Undefined where the group has gone. What no controller counts is asked of the process. */
function readGroup(files: GroupFiles, processDirectory: string): Omit<GroupUsage, 'threads'> | undefined {
  const accounting = files.accounting?.read();
  const stat = files.stat?.read();
  const memory = files.memory?.read();
  // What counts is there in every group of its hierarchy: without it, this one was removed.
  const counters = [
    [files.accounting, accounting],
    [files.stat, stat],
    [files.swapWithMemory, memory],
  ] as const;
  if (counters.some(([file, text]) => file !== undefined && text === undefined)) return undefined;
  if (accounting === undefined && stat === undefined && memory === undefined) return undefined;
  const seconds = accounting === undefined ? usageOf(stat) : Number(accounting) / 1e9;
  const memoryBytes =
    memory === undefined
      ? residentBytesIn(readShort(posix.join(processDirectory, 'status')) ?? '')
      : Number(memory);
  const swappedBytes = swapped(files, memoryBytes);
  return {
    cpuSeconds: seconds ?? processSecondsIn(readShort(posix.join(processDirectory, 'stat')) ?? ''),
    ...throttlingIn(stat ?? ''),
    memoryBytes,
    ...(swappedBytes !== undefined && { swappedBytes }),
    pressure: pressureOf(files),
  };
}

function usageOf(stat: string | undefined): number | undefined {
  const microseconds = stat === undefined ? undefined : fieldOf(stat, 'usage_usec');
  return microseconds === undefined ? undefined : microseconds / 1e6;
}

function swapped({ swap, swapWithMemory }: GroupFiles, memoryBytes: number): number | undefined {
  const own = swap?.read();
  if (own !== undefined) return Number(own);
  const both = swapWithMemory?.read();
  // The two are read one after the other, so that the difference may be a page below nothing.
  return both === undefined ? undefined : Math.max(0, Number(both) - memoryBytes);
}

function pressureOf({ cpuPressure, memoryPressure, ioPressure }: GroupFiles): GroupUsage['pressure'] {
  if (cpuPressure === undefined) return {};
  const of = (file: OpenFile | undefined): number | undefined => pressureIn(file?.read() ?? '');
  const [cpu, memory, io] = [of(cpuPressure), of(memoryPressure), of(ioPressure)];
  return {
    ...(cpu !== undefined && { cpu }),
    ...(memory !== undefined && { memory }),
    ...(io !== undefined && { io }),
  };
}
