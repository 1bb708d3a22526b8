/** Whether QEMU and the accelerator can give a guest the processors that it is to have. Asked before anything is made on the host. */
import type { CpuTopology, Instance } from '@wirt/api';
import { requireCpuModel } from '../domain/cpu-baseline/require-model.ts';
import { iothreadsPerDisk } from '../domain/disk-iothreads.ts';
import type { Accelerator } from '../domain/guest.ts';
import { needsTrial, requireVcpus } from '../domain/machine-limits/vcpus.ts';
import type { Shared } from './parts.ts';

const deadlineMs = 30_000;

export interface MachineGround {
  readonly accelerator: Accelerator;
  readonly qemu: { readonly version: string; readonly maxCpus: Readonly<Record<string, number>> };
  /** As it is placed; undefined: one socket. */
  readonly topology: CpuTopology | undefined;
}

/** Over how many threads the queues of each of its disks are spread when it is started by this QEMU. */
export function diskIothreadsOf(
  { cpus, machine }: Pick<Instance['spec'], 'cpus' | 'machine'>,
  { version, features }: { readonly version: string; readonly features: Readonly<Record<string, boolean>> },
): number {
  if (machine === 'microvm') return 1;
  return iothreadsPerDisk(cpus, { version, mapsQueues: features['iothread-vq-mapping'] === true });
}

/** Throws `instance.too_many_vcpus`, `host.cpu_model_unusable`. */
export async function requireProcessors(
  { host }: Pick<Shared, 'host'>,
  { name, spec }: Instance,
  { accelerator, qemu, topology = spec.tuning?.topology }: MachineGround,
): Promise<void> {
  const { machine, cpus, maxCpus = cpus, cpuModel } = spec;
  const signal = AbortSignal.timeout(deadlineMs);
  const guest = {
    name,
    maxCpus: machine === 'q35' ? Math.max(cpus, maxCpus) : cpus,
    ...(topology === undefined ? {} : { topology }),
    machine,
    accelerator,
    qemu,
  };
  const acceleratorMax = needsTrial(guest)
    ? await host.acceleratorVcpus({ machine, accelerator }, signal)
    : undefined;
  requireVcpus({ ...guest, acceleratorMax });
  if (cpuModel === undefined) return;
  requireCpuModel({ name, cpuModel, host: await host.cpuModels(accelerator, signal) });
}
