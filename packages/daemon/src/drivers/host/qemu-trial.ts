// What only a started QEMU tells: up to how many vCPUs an accelerator takes, and which processors guests can have by it. Each is
// asked of a QEMU with stopped processors, over QMP on its standard input, and kept for this binary while the daemon runs: both change with
// the kernel and the microcode, too.
import { machine as architectureOf } from 'node:os';
import { type HostCpuModels, WirtError } from '@wirt/api';
import type { Accelerator } from '@wirt/core';
import { runProgram } from '../../platform/subprocess.ts';
import { type CpuAnswers, type CpuDefinition, definitionsOf, expansions, modelsOf } from './cpu-answers.ts';
import type { Qemu } from './qemu-binary.ts';

const trialTimeoutMs = 25_000;

const hello = { execute: 'qmp_capabilities', id: 'hello' };
const quit = { execute: 'quit', id: 'quit' };

export interface QemuTrial {
  acceleratorVcpus(
    qemu: Qemu,
    of: { readonly machine: 'q35' | 'microvm'; readonly accelerator: Accelerator },
  ): Promise<number>;
  cpuModels(qemu: Qemu, accelerator: Accelerator): Promise<HostCpuModels>;
}

export function createQemuTrial(): QemuTrial {
  const kept = new Map<string, Promise<unknown>>();
  /** What fails is asked again. */
  function once<T>(key: readonly string[], ask: () => Promise<T>): Promise<T> {
    const name = key.join('\0');
    const known = kept.get(name);
    // Each key is of one kind of answer.
    if (known !== undefined) return known as Promise<T>;
    const asked = ask();
    kept.set(name, asked);
    asked.catch(() => kept.delete(name));
    return asked;
  }
  return {
    acceleratorVcpus: (qemu, { machine, accelerator }) =>
      once(['vcpus', qemu.binary, qemu.version, machine, accelerator], () =>
        tryVcpus(qemu, machine, accelerator),
      ),
    cpuModels: (qemu, accelerator) =>
      once(['cpu', qemu.binary, qemu.version, accelerator], () => askModels(qemu, accelerator)),
  };
}

/** Without x2APIC, or what takes its place, processors have numbers of 8 bits. */
const narrowLimit = 255;

/** Starts one processor with room for as many as the machine type takes; what is in the way says how many it takes itself. */
async function tryVcpus(qemu: Qemu, machine: 'q35' | 'microvm', accelerator: Accelerator): Promise<number> {
  const most = qemu.maxCpus[machine] ?? 1;
  const isKvm = accelerator === 'kvm';
  const { exitCode, stderr } = await run(qemu, [
    ...['-machine', `${machine}${isKvm && machine === 'q35' ? ',kernel-irqchip=split' : ''}`],
    ...['-accel', isKvm ? 'kvm' : 'tcg'],
    ...['-cpu', 'qemu64', '-smp', `cpus=1,maxcpus=${most}`],
    ...(machine === 'q35' ? ['-device', 'intel-iommu,intremap=on,eim=on,dma-translation=off'] : []),
  ]);
  return exitCode === 0 ? most : limitSaid(stderr, most);
}

/**
 * Source: QEMU accel/kvm/kvm-all.c ("exceeds the maximum cpus supported by KVM"), hw/i386/x86-common.c ("requires kernel irqchip and X2APIC API
 * support"), hw/i386/intel_iommu.c ("eim=on requires").
 */
export function limitSaid(stderr: string, most: number): number {
  const said = /exceeds the maximum cpus supported by KVM \((\d+)\)/.exec(stderr)?.[1];
  return Math.min(most, said === undefined ? narrowLimit : Number(said));
}

async function askModels(qemu: Qemu, accelerator: Accelerator): Promise<HostCpuModels> {
  const own = accelerator === 'kvm' ? 'host' : 'max';
  const start = ['-machine', 'none', '-accel', accelerator];
  const definitions = definitionsOf(
    await ask(qemu, start, [{ execute: 'query-cpu-definitions', id: 'definitions' }]),
  );
  const answers = await ask(qemu, start, expansions(own, definitions));
  return {
    architecture: architectureOf(),
    accelerator,
    qemuVersion: qemu.version,
    ...modelsOf(definitions satisfies readonly CpuDefinition[], answers),
  };
}

async function ask(qemu: Qemu, args: readonly string[], commands: readonly object[]): Promise<CpuAnswers> {
  const { exitCode, stdout, stderr } = await run(qemu, args, commands);
  if (exitCode !== 0) throw broken(qemu, new Error(stderr.trimEnd().split('\n').at(-1)?.slice(0, 500)));
  const answers = new Map<string, unknown>();
  for (const line of stdout.split('\n')) {
    if (!line.startsWith('{')) continue;
    // QEMU is the host's own program, and what is read of an answer is checked where it is read.
    const message = JSON.parse(line) as { id?: unknown; return?: unknown };
    if (typeof message.id === 'string' && message.return !== undefined)
      answers.set(message.id, message.return);
  }
  return answers;
}

async function run(
  qemu: Qemu,
  args: readonly string[],
  commands: readonly object[] = [],
): Promise<{ exitCode: number | null; stdout: string; stderr: string }> {
  const quiet = ['-S', '-nodefaults', '-no-user-config', '-display', 'none', '-qmp', 'stdio'];
  try {
    return await runProgram(qemu.binary, [...args, ...quiet], {
      stdin: [hello, ...commands, quit].map((command) => `${JSON.stringify(command)}\n`).join(''),
      timeoutMs: trialTimeoutMs,
      maxStdoutBytes: 16 * 1024 * 1024,
    });
  } catch (cause) {
    throw broken(qemu, cause);
  }
}

function broken({ binary }: Qemu, cause: unknown): WirtError {
  return new WirtError('host.qemu_broken', `The QEMU binary ${binary} does not tell what guests can have.`, {
    cause,
    hint: `See what it says: \`${binary} -machine none -S -nodefaults -display none -qmp stdio\`.`,
    details: { binary },
  });
}
