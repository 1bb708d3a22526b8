// The processors of the host that the threads of a guest may use, set by util-linux' taskset: QEMU's own seccomp filter denies it
// sched_setaffinity, and a guest's threads are not wirtd's. Threads that QEMU makes later have the processors of the one that makes them.
// Source: sched_setaffinity(2), QEMU qapi/machine.json (query-cpus-fast), qapi/misc.json (query-iothreads).
import { readdir } from 'node:fs/promises';
import { WirtError } from '@wirt/api';
import { type GuestPins, printCpuList } from '@wirt/core';
import { runToSuccess, SubprocessError } from '../../platform/subprocess.ts';
import type { Ask } from './control.ts';

const timeoutMs = 5_000;
const atOnce = 4;

export interface PinsContext {
  readonly id: string;
  readonly pid: number;
  readonly ask: Ask;
}

/** In force when it returns. Throws `limit.failed`, `host.tool_missing`, `instance.unresponsive`. */
export async function pinThreads(context: PinsContext, pins: GuestPins, signal: AbortSignal): Promise<void> {
  const { id, pid, ask } = context;
  const single = await singlePins(ask, pins, signal);
  await taskset(id, ['-a', '-c', '-p', printCpuList(pins.group), String(pid)], signal);
  if (pins.emulator !== undefined) {
    const special = new Set(await specialThreads(ask, signal));
    for (const thread of await threadsOf(pid))
      if (!special.has(thread) && !single.has(thread)) single.set(thread, pins.emulator);
  }
  const left = [...single];
  while (left.length > 0)
    await Promise.all(
      left
        .splice(0, atOnce)
        .map(([thread, cpus]) => taskset(id, ['-c', '-p', printCpuList(cpus), String(thread)], signal)),
    );
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

async function taskset(id: string, args: readonly string[], signal: AbortSignal): Promise<void> {
  try {
    await runToSuccess('taskset', [...args], { timeoutMs, signal });
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
