/**
 * Runs guests. A guest outlives the daemon: what is started here is found again by `discover` and taken up by `attach`.
 * Knows nothing of records, policies or operations.
 */
import type { Exec, ExecResult, InstanceProcess } from '@wirt/api';
import type { GuestExit, LaunchPlan } from '../domain/guest.ts';
import type { ControlGroup } from './resource-control.ts';
import type { Identity } from './sandbox.ts';

export interface Confinement {
  readonly identity: Identity;
  readonly controlGroup: ControlGroup;
}

export type GuestEvent =
  | { readonly kind: 'paused' | 'resumed' | 'reset' | 'unresponsive' | 'responsive' }
  | { readonly kind: 'agent'; readonly answers: boolean };

export interface Console {
  /** The last 64 KiB, also of runs before. */
  replay(): Uint8Array;
  /** Every byte from now on; returns the unsubscribe. Slow listeners must drop: the guest is never held up. */
  listen(listener: (data: Uint8Array) => void): () => void;
  write(data: Uint8Array): void;
}

export interface GuestAgent {
  /** Throws `guest.agent_timeout`, `guest.command_failed`, `guest.output_too_large`. */
  exec(command: Exec, signal: AbortSignal): Promise<ExecResult>;
  readFile(path: string, signal: AbortSignal): AsyncIterable<Uint8Array>;
  writeFile(path: string, content: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void>;
}

/** A running QEMU, under control. QMP commands throw `instance.unresponsive` past their deadline. */
export interface Guest {
  readonly id: string;
  readonly process: InstanceProcess;
  readonly console: Console;
  readonly agent: GuestAgent;
  /** What was known last; `agent` and `responsive` change with events. */
  readonly state: {
    readonly processors: 'running' | 'paused';
    readonly agent: boolean;
    readonly responsive: boolean;
  };
  resume(signal: AbortSignal): Promise<void>;
  pause(signal: AbortSignal): Promise<void>;
  reset(signal: AbortSignal): Promise<void>;
  /** Presses the ACPI power button; the guest may or may not act. */
  powerDown(signal: AbortSignal): Promise<void>;
  /** Ends QEMU at once (SIGKILL), also one that does not answer, and returns when the process is gone. */
  kill(signal: AbortSignal): Promise<void>;
  /** Resolves when the process is gone. Never rejects. */
  readonly exited: Promise<GuestExit>;
  listen(listener: (event: GuestEvent) => void): () => void;
  /** Lets go of the guest without harming it, as at the end of the daemon. */
  detach(): void;
}

/** A QEMU found on the host that carries a guest's id. */
export interface FoundGuest {
  readonly id: string;
  readonly process: InstanceProcess;
}

export interface Hypervisor {
  /**
   * Starts QEMU with its processors stopped and returns when QMP has answered for this uuid. `onStep` is called, and
   * awaited, before each step by its name: `directory`, `spawn`, `connect`. Throws `instance.start_failed` (QEMU's last line as cause),
   * `host.qemu_missing`, `host.qemu_broken`, `host.permission_denied`, `host.storage_full`; then no process is left, files until `clean`.
   */
  launch(
    plan: LaunchPlan,
    confinement: Confinement,
    options: { readonly signal: AbortSignal; onStep(name: string): Promise<void> },
  ): Promise<Guest>;
  /** Every QEMU of this daemon on the host, in one pass over /proc. */
  discover(): Promise<FoundGuest[]>;
  /**
   * Takes up a found guest after a restart of the daemon. One that does not answer QMP for its own uuid is taken up
   * as not responsive; it can be killed, and is tried again.
   */
  attach(found: FoundGuest, signal: AbortSignal): Promise<Guest>;
  /** How a guest ended while nobody looked. */
  postMortem(id: string): Promise<GuestExit>;
  /** Ids that have run-time files. */
  list(): Promise<string[]>;
  /** Removes run-time files (sockets, pid, exit status); logs stay. Kills nothing: the caller knows that no process is left. */
  clean(id: string): Promise<void>;
  /** Kills a found process and returns when it is gone. */
  kill(found: FoundGuest, signal: AbortSignal): Promise<void>;
  /** Removes the logs too. */
  forget(id: string): Promise<void>;
  /** The console's or QEMU's log of a guest, running or not, the newest last. */
  readLog(id: string, source: 'console' | 'qemu'): AsyncIterable<Uint8Array>;
}
