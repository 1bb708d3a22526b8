/** What is said of a guest below the records: how it is launched, and how it ended. */

export type Accelerator = 'kvm' | 'tcg';

/** Everything that decides the command line; no part of it is free text from a user. */
export interface LaunchPlan {
  readonly id: string;
  /** The id as a UUID, QEMU's `-uuid`, by which the process is known on QMP and in its command line. */
  readonly uuid: string;
  readonly machine: 'q35' | 'microvm';
  readonly accelerator: Accelerator;
  readonly cpuModel: string;
  readonly cpus: number;
  readonly memoryMib: number;
  readonly nics: readonly { readonly type: 'user'; readonly mac: string; readonly hostname: string }[];
  readonly boot: { readonly kernel: string; readonly initrd: string; readonly kernelArgs: string };
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
