/** The places of a microvm, which has no bus to plug more into: its disks and cards come first, and what all guests are given gets what is left. Pure. */
import type { Instance } from '@wirt/api';

/** Of virtio-mmio (QEMU hw/i386/microvm.c); two are the agent's port and the balloon. */
const transports = 24;
const takenTransports = 2;

/** Of a spec, or of a plan. */
interface Parts {
  readonly machine: Instance['spec']['machine'];
  readonly nics: readonly unknown[];
  readonly disks: readonly unknown[];
  readonly vsock: boolean;
}

/** Whether there is a place left for a source of randomness. */
export function hasRandomness({ machine, nics, disks, vsock }: Parts): boolean {
  return machine === 'q35' || takenTransports + nics.length + disks.length + (vsock ? 1 : 0) < transports;
}
