// The processors of the host that the threads of a guest may use, set by util-linux' taskset: QEMU's own seccomp filter denies it
// sched_setaffinity, and a guest's threads are not wirtd's. Threads that QEMU makes later have the processors of the one that makes them.
// Source: sched_setaffinity(2), QEMU qapi/machine.json (query-cpus-fast), qapi/misc.json (query-iothreads).
import { readdir, readFile } from 'node:fs/promises';
import { printCpuList, WirtError } from '@wirt/api';
import type { GuestPins } from '@wirt/core';
import { runToSuccess, SubprocessError } from '../../platform/subprocess.ts';
import type { Ask } from './control.ts';

const timeoutMs = 5_000;
const atOnce = 4;

export interface PinsContext {
  readonly id: string;
  readonly pid: number;
  readonly ask: Ask;
}

/** In force when it returns, on threads that were made meanwhile, too. Throws `limit.failed`, `host.tool_missing`, `instance.unresponsive`. */
export async function pinThreads(context: PinsContext, pins: GuestPins, signal: AbortSignal): Promise<void> {
  const { id, pid, ask } = context;
  const single = await singlePins(ask, pins, signal);
  const special =
    pins.emulator === undefined ? new Set<number>() : new Set(await specialThreads(ask, signal));
  const told = new Set<number>();
  for (;;) {
    const left = (await threadsOf(pid)).filter((thread) => !told.has(thread));
    if (left.length === 0) return;
    while (left.length > 0)
      await Promise.all(
        left.splice(0, atOnce).map(async (thread) => {
          told.add(thread);
          const others = special.has(thread) ? undefined : pins.emulator;
          const cpus = printCpuList(single.get(thread) ?? others ?? pins.group);
          if ((await allowed(pid, thread)) !== cpus) await taskset(id, thread, cpus, signal);
        }),
      );
  }
}

/** Undefined where the thread has ended. */
async function allowed(pid: number, thread: number): Promise<string | undefined> {
  const status = await readFile(`/proc/${pid}/task/${thread}/status`, 'latin1').catch(() => '');
  return /^Cpus_allowed_list:\t(.*)$/m.exec(status)?.[1];
}

/** vCPUs and iothreads that have processors of their own, by thread id. */
async function singlePins(
  ask: Ask,
  { vcpus, iothreads }: GuestPins,
  signal: AbortSignal,
): Promise<Map<number, readonly number[]>> {
  const found = new Map<number, readonly number[]>();
  for (const cpu of Object.keys(vcpus).length === 0 ? [] : await ask('query-cpus-fast', {}, signal)) {
    const cpus = vcpus[cpu['cpu-index']];
    if (cpus !== undefined) found.set(cpu['thread-id'], cpus);
  }
  if (iothreads !== undefined)
    for (const thread of await ask('query-iothreads', {}, signal)) found.set(thread['thread-id'], iothreads);
  return found;
}

/** Those of vCPUs and disks: all others are the emulator's. */
async function specialThreads(ask: Ask, signal: AbortSignal): Promise<number[]> {
  const [cpus, iothreads] = await Promise.all([
    ask('query-cpus-fast', {}, signal),
    ask('query-iothreads', {}, signal),
  ]);
  return [...cpus, ...iothreads].map((thread) => thread['thread-id']);
}

async function threadsOf(pid: number): Promise<number[]> {
  const names = await readdir(`/proc/${pid}/task`).catch(() => []);
  return names.map(Number);
}

async function taskset(id: string, thread: number, cpus: string, signal: AbortSignal): Promise<void> {
  try {
    await runToSuccess('taskset', ['-c', '-p', cpus, String(thread)], { timeoutMs, signal });
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof SubprocessError && error.isMissing)
      throw new WirtError('host.tool_missing', 'The program taskset, which pins guests, is not installed.', {
        hint: 'Install it: apt install util-linux',
      });
    // A thread that ends meanwhile needs no processor.
    if (/No such process/.test(String((error as SubprocessError).result?.stderr))) return;
    throw new WirtError('limit.failed', `The threads of instance ${id} could not be pinned.`, {
      cause: error,
    });
  }
}
