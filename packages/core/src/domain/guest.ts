/** What is said of a guest below the records: how it is launched, and how it ended. */
import type { NicModel } from '@wirt/api';
import type { DiskSource } from './disk-source.ts';
import type { NicBackend } from './network-plan.ts';

export type Accelerator = 'kvm' | 'tcg';

/** Where a guest's memory and vCPUs lie, and what it sees of that. */
export interface PlannedPlacement {
  /** Of the guest, from 0 on; one that is bound to no node of the host stands for all. */
  readonly nodes: readonly {
    readonly memoryMib: number;
    readonly vcpus: readonly number[];
    readonly hostNode?: number;
    /** To each node of the guest, in their order. */
    readonly distances: readonly number[];
  }[];
  readonly topology: { readonly sockets: number; readonly cores: number; readonly threads: number };
  /** Of huge pages, all of which it has from the start. */
  readonly pageSizeKib?: number;
}

/** Of all its nodes together. */
export function memoryMibOf(nodes: readonly { readonly memoryMib: number }[]): number {
  return nodes.reduce((sum, { memoryMib }) => sum + memoryMib, 0);
}

/** Processors of the host that the threads of a guest may use. What is absent may use those of the group. */
export interface GuestPins {
  readonly group: readonly number[];
  /** By number of the vCPU. */
  readonly vcpus: Readonly<Record<number, readonly number[]>>;
  readonly emulator?: readonly number[];
  readonly iothreads?: readonly number[];
}

/** Everything that decides the command line; no part of it is free text from a user. */
export interface LaunchPlan {
  readonly id: string;
  /** The id as a UUID, QEMU's `-uuid`, by which the process is known on QMP and in its command line. */
  readonly uuid: string;
  /** The system's serial number in SMBIOS. */
  readonly serial?: string;
  /** A UUID that changes when the guest goes on from an earlier state, or is another's copy: the system's generation (vmgenid). */
  readonly generation: string;
  readonly machine: 'q35' | 'microvm';
  readonly accelerator: Accelerator;
  readonly cpuModel: string;
  readonly cpus: number;
  /** Up to which they can be raised later; at least `cpus`. */
  readonly maxCpus: number;
  readonly memoryMib: number;
  /** Up to which it can be raised later; at least `memoryMib`. */
  readonly maxMemoryMib: number;
  readonly freePageReporting: boolean;
  /** Absent: wherever the kernel likes, in pages of the host. */
  readonly placement?: PlannedPlacement;
  /** Its memory may be merged with equal pages of others; it is then not shared memory, and cannot be forked. */
  readonly mergeable?: boolean;
  readonly nics: readonly PlannedNic[];
  /** Over how many threads the queues of each virtio disk are spread; one where absent. */
  readonly diskIothreads?: number;
  /** In the order of the slots they are plugged into. */
  readonly disks: readonly PlannedDisk[];
  /** Of the host, bound and granted. None where absent. */
  readonly devices?: readonly PlannedDevice[];
  /** Its address on the host's vsock; absent: it has none. */
  readonly vsockCid?: number;
  readonly firmware:
    | { readonly kind: 'bios' }
    | { readonly kind: 'uefi'; readonly code: string; readonly vars: string };
  /** A kernel that is given to the guest from outside; without it the guest boots by its own boot loader. */
  readonly kernel?: { readonly kernel: string; readonly initrd: string; readonly kernelArgs: string };
}

export interface PlannedNic {
  readonly name: string;
  /** Place among the ports for cards. */
  readonly slot: number;
  readonly model: NicModel;
  readonly mac: string;
  readonly mtu: number;
  readonly bootIndex?: number;
  readonly backend: NicBackend;
}

/** A device of the host. The guest's memory is held in the host's for it (pinned). */
export interface PlannedDevice {
  readonly name: string;
  /** Place among the ports for devices of the host. */
  readonly slot: number;
  readonly source:
    | { readonly kind: 'pci'; readonly address: string }
    | { readonly kind: 'mdev'; readonly uuid: string };
}

/** A drive of the guest. `name` is unique in the guest and also its serial number. */
export interface PlannedDisk {
  readonly name: string;
  readonly device: 'disk' | 'cdrom';
  readonly bus: 'virtio' | 'virtio-scsi' | 'sata' | 'nvme' | 'pvscsi' | 'lsi';
  readonly readOnly: boolean;
  readonly serial: string;
  readonly bootIndex?: number;
  /** Place among the hot-plug ports, kept while the disk is attached; only for `virtio` and `nvme`. */
  readonly slot: number;
  /** Undefined: a CD drive with an empty tray. */
  readonly source?: DiskSource;
}

/** How QEMU ended, as far as is known: `lost` when nobody was there to see it. */
export type ProcessExit =
  | { readonly kind: 'exited'; readonly code: number }
  | { readonly kind: 'signalled'; readonly signal: string }
  | { readonly kind: 'lost' };

export interface GuestExit {
  readonly process: ProcessExit;
  /** QMP's last SHUTDOWN reason (`guest-shutdown`, `host-qmp-quit`, `host-signal`, ...), when one was seen. */
  readonly shutdownReason?: string;
  /** The last line QEMU wrote to its log in this run, cut to 500 characters; '' when it wrote none. */
  readonly lastLine: string;
}
