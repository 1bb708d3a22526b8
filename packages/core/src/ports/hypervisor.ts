/**
 * Runs guests. A guest outlives the daemon: what is started here is found again by `discover` and taken up by `attach`.
 * Knows nothing of records, policies or operations.
 */
import type { Exec, ExecResult, InstanceProcess, Throttle } from '@wirt/api';
import type { DiskLayerNode, DiskSource } from '../domain/disk-source.ts';
import type { GuestExit, GuestPins, LaunchPlan, PlannedDisk, PlannedNic } from '../domain/guest.ts';
import type { ControlGroup } from './resource-control.ts';
import type { Identity } from './sandbox.ts';

export interface Confinement {
  readonly identity: Identity;
  readonly controlGroup: ControlGroup;
}

export type GuestEvent =
  | { readonly kind: 'paused' | 'resumed' | 'reset' | 'unresponsive' | 'responsive' }
  | { readonly kind: 'agent'; readonly answers: boolean }
  /** Writing or reading a disk has failed and QEMU has paused the guest. */
  | { readonly kind: 'disk-error'; readonly disk: string; readonly noSpace: boolean };

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
  /** Freezes the guest's file systems and gives back how many; they thaw by `thaw`. Throws as `exec`. */
  freeze(signal: AbortSignal): Promise<number>;
  /** Gives back how many were frozen until now: 0 when they had thawed by themselves. Throws as `exec`. */
  thaw(signal: AbortSignal): Promise<number>;
  /** The guest's IP addresses but loopback and link-local ones, as it tells them; at most 32. */
  addresses(signal: AbortSignal): Promise<string[]>;
}

/** A copy within a disk's chain that QEMU does while the guest runs. It goes on when the daemon ends, and is found again by `pull`. */
export interface GuestDisks {
  /** Plugs a disk in. Throws `volume.locked` when another process has it open, `instance.state_conflict` when QEMU refuses. Nothing is left then. */
  attach(disk: PlannedDisk, signal: AbortSignal): Promise<void>;
  /** Unplugs a disk and returns when the guest has let go and QEMU has closed it. Throws `volume.detach_refused`. Not plugged in is fine. */
  detach(name: string, signal: AbortSignal): Promise<void>;
  /** Tells QEMU and guest the new size; QEMU grows the file. Throws `instance.state_conflict`, with nothing changed, on a bus that cannot. */
  resize(name: string, sizeBytes: number, signal: AbortSignal): Promise<void>;
  /** Puts a medium into a CD drive, or opens its tray empty. */
  changeMedium(name: string, source: DiskSource | undefined, signal: AbortSignal): Promise<void>;
  /**
   * From one moment on, each disk writes its overlay, which lies on what it wrote before. All disks or none. The overlays are
   * there, empty, and granted. Throws `snapshot.failed`.
   */
  overlay(
    overlays: readonly { readonly disk: string; readonly layer: DiskLayerNode }[],
    signal: AbortSignal,
  ): Promise<void>;
  /** The layers of each disk as QEMU has them now, from the base on; by disk name. */
  chains(signal: AbortSignal): Promise<ReadonlyMap<string, readonly string[]>>;
  /**
   * Copies into `layer` of this disk's chain what it reads from the layers between `base` and itself (undefined: from all), and
   * takes those out of the chain. Resumes one that an earlier daemon began. Throws `volume.failed`, and the signal's reason after calling it off.
   */
  pull(
    work: { readonly disk: string; readonly layer: string; readonly base: string | undefined },
    options: { readonly signal: AbortSignal; onProgress(doneBytes: number, totalBytes: number): void },
  ): Promise<void>;
}

/** The guest's network cards. Their ends on the host are there before `attach`, and go after `detach`. */
export interface GuestNics {
  /** Plugs a card in, connected to its backend. Throws `instance.state_conflict` when QEMU refuses; nothing is left then. */
  attach(nic: PlannedNic, signal: AbortSignal): Promise<void>;
  /**
   * Unplugs a card and returns when the guest has let go and QEMU has closed its backend. Throws `network.detach_refused` when the guest
   * does not let go before the signal aborts; the card is then still there. Not plugged in is fine.
   */
  detach(name: string, signal: AbortSignal): Promise<void>;
  /** Names of the cards that are plugged in, as QEMU has them now. */
  list(signal: AbortSignal): Promise<readonly string[]>;
}

/** Counters of a disk since QEMU was started. */
export interface DiskCounters {
  readonly name: string;
  readonly readBytes: number;
  readonly writtenBytes: number;
  readonly reads: number;
  readonly writes: number;
}

/** How much memory a guest has. */
export interface GuestMemory {
  /** At its start, in MiB; less than this only by the balloon. */
  readonly bootMib: number;
  /** With what was plugged in since. */
  readonly pluggedMib: number;
  /** What the balloon leaves of it; undefined without a balloon, or before the guest's driver has told. */
  readonly balloonMib?: number;
  /** Up to what it can be raised while it runs. */
  readonly maxMib: number;
  /** Whether its balloon reports free pages; undefined without a balloon. */
  readonly freePageReporting?: boolean;
}

/** What may be changed of a running guest by QEMU alone. All throw `instance.unresponsive`, and `limit.failed` when QEMU refuses. */
export interface GuestTuning {
  /** Holds all disks together to `all`, and each to what it has in `each`; what is absent has no limit. Disks plugged in later are in `all`, too. */
  throttle(
    limits: { readonly all: Throttle; readonly each: Readonly<Record<string, Throttle>> },
    signal: AbortSignal,
  ): Promise<void>;
  /** As QEMU has them now. */
  throttles(
    signal: AbortSignal,
  ): Promise<{ readonly all: Throttle; readonly each: Readonly<Record<string, Throttle>> }>;
  /** Asks the guest to be content with this much; returns when QEMU knows the target. The balloon fills as the guest gives. Throws `limit.unsupported` without a balloon. */
  balloon(targetMib: number, signal: AbortSignal): Promise<void>;
  memory(signal: AbortSignal): Promise<GuestMemory>;
  /**
   * Plugs memory in or asks for it back (virtio-mem), up to `maxMib`. Returns what the guest has when it has taken or given it, or when
   * it has stopped to within the signal's deadline. Throws `limit.unsupported` where there is no device for it.
   */
  resizeMemory(targetMib: number, signal: AbortSignal): Promise<GuestMemory>;
  /** vCPUs that are plugged in now, and up to how many there can be. */
  vcpus(signal: AbortSignal): Promise<{ readonly plugged: number; readonly max: number }>;
  /**
   * Plugs vCPUs in, and brings them online by the agent where it answers; or takes them out, the last ones first, when the guest lets go. Returns how many
   * there are then. Throws `limit.unsupported` where the machine cannot.
   */
  resizeVcpus(
    target: number,
    signal: AbortSignal,
  ): Promise<{ readonly plugged: number; readonly max: number }>;
  /** Thread ids of the vCPUs that are plugged in, in their order. Kept: asks QEMU again only when their number may have changed. */
  vcpuThreads(signal: AbortSignal): Promise<readonly number[]>;
  /**
   * Lets the guest's threads use these processors of the host and no others, those of vCPUs that are plugged in later, too. Throws `limit.failed`,
   * `host.tool_missing`.
   */
  pin(pins: GuestPins, signal: AbortSignal): Promise<void>;
  disks(signal: AbortSignal): Promise<readonly DiskCounters[]>;
}

/** A running QEMU, under control. QMP commands throw `instance.unresponsive` past their deadline. */
export interface Guest {
  readonly id: string;
  readonly process: InstanceProcess;
  readonly console: Console;
  readonly agent: GuestAgent;
  readonly disks: GuestDisks;
  readonly nics: GuestNics;
  readonly tuning: GuestTuning;
  /** What was known last; `agent` and `responsive` change with events. */
  readonly state: {
    readonly processors: 'running' | 'paused';
    /** Why QEMU itself has paused it. */
    readonly diskError?: 'no-space' | 'io-error' | undefined;
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
   * `volume.locked`, `host.qemu_missing`, `host.qemu_broken`, `host.permission_denied`, `host.storage_full`; then no process is left, files until `clean`.
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
