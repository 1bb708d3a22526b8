/** Looks at the machine below. Every answer is read when asked, but for probes of the QEMU binary, cached per binary. */
import type { Host, HostCpuModels, HostFinding } from '@wirt/api';
import type { Accelerator } from '../domain/guest.ts';

export interface HostMemory {
  readonly totalMib: number;
  /** As the kernel has it now. */
  readonly availableMib: number;
  /** Of the total, what is set aside as huge pages. */
  readonly hugePagesMib?: number;
}

export interface HostInspector {
  inspect(signal: AbortSignal): Promise<Host>;
  check(signal: AbortSignal): Promise<HostFinding[]>;
  /** Throws `host.qemu_missing`, `host.qemu_broken` or `host.qemu_too_old` unless QEMU can run Wirt's guests. */
  requireQemu(signal: AbortSignal): Promise<{
    readonly version: string;
    readonly maxCpus: Readonly<Record<string, number>>;
    /** What it can, by name. */
    readonly features: Readonly<Record<string, boolean>>;
  }>;
  /** Up to how many vCPUs the accelerator takes with a machine type, tried out up to the machine type’s own limit; kept while the daemon runs. */
  acceleratorVcpus(
    of: { readonly machine: 'q35' | 'microvm'; readonly accelerator: Accelerator },
    signal: AbortSignal,
  ): Promise<number>;
  /** Processors that guests can have here; kept while the daemon runs. */
  cpuModels(accelerator: Accelerator, signal: AbortSignal): Promise<HostCpuModels>;
  memory(): Promise<HostMemory>;
  /** What `auto` takes. Throws `host.kvm_unusable` when `wanted` is `kvm` and KVM cannot run even a boot sector. */
  accelerator(wanted: 'auto' | Accelerator): Promise<Accelerator>;
  /** Whether guests can have a vsock here. */
  hasVsock(): Promise<boolean>;
  /** Changes with every boot of the host. */
  bootId(): Promise<string>;
}
