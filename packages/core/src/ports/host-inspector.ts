/** Looks at the machine below. Every answer is read when asked, but for probes of the QEMU binary, cached per binary. */
import type { Host, HostFinding } from '@wirt/api';
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
  requireQemu(signal: AbortSignal): Promise<{ readonly version: string }>;
  memory(): Promise<HostMemory>;
  /** What `auto` takes. Throws `host.kvm_unusable` when `wanted` is `kvm` and KVM cannot run even a boot sector. */
  accelerator(wanted: 'auto' | Accelerator): Promise<Accelerator>;
  /** Changes with every boot of the host. */
  bootId(): Promise<string>;
}
