/** The UEFI firmware that guests boot by, and the variables that each instance keeps of it. */
import type { Identity } from './sandbox.ts';

/** Absolute paths; raw images for QEMU's pflash devices. */
export interface FirmwareImages {
  /** Shared by all guests, and read-only. */
  readonly code: string;
  /** The instance's own variables: boot entries and the like. Read-write. */
  readonly vars: string;
}

/** UEFI for guests. Calls for one instance come one after the other. */
export interface Firmware {
  /**
   * UEFI for this instance: the code, and its own variables, made from the template on first use and kept from then on.
   * Durable. Throws `host.firmware_missing`, also when the host has no code any more that the variables fit.
   */
  prepare(id: string): Promise<FirmwareImages>;
  /** Lets the guest's process read and write the variables, and nobody else; undefined takes them back. Missing is fine. */
  grant(id: string, identity: Identity | undefined): Promise<void>;
  /** Copies the variables as they are now aside, under a snapshot's id. Durable. Without variables nothing happens. */
  save(id: string, snapshotId: string): Promise<void>;
  /** Makes the variables what they were, the daemon's alone. Nothing saved: they stay as they are. */
  restore(id: string, snapshotId: string): Promise<void>;
  /** Removes what was saved; nothing is fine. */
  forget(id: string, snapshotId: string): Promise<void>;
  /** Removes all of the instance's, saved ones too; nothing is fine. */
  remove(id: string): Promise<void>;
  /** Ids that have variables, present or saved. */
  list(): Promise<string[]>;
  /** Path of the variables, for copying them when the guest does not run; undefined without. */
  variables(id: string): Promise<string | undefined>;
}
