/** Where the NoCloud seeds of instances lie, and who may read them. */
import type { SeedContent } from '../domain/cloud-init.ts';
import type { Identity } from './sandbox.ts';

/** NoCloud seeds: read-only media that tell cloud-init in a guest who it is. They hold hashes of passwords, and so are secret. */
export interface SeedFiles {
  /**
   * Writes (replaces) the seed of an instance, and returns its absolute path. Durable. It is the daemon's alone, also when an
   * earlier one had been granted. Throws `host.tool_missing`, `host.storage_full`; `request.invalid` over `seedLimitsBytes`.
   */
  write(id: string, files: SeedContent): Promise<string>;
  path(id: string): string;
  /** Keeps user-data for the metadata service, beside the seed or without one; the daemon's alone, durable. Throws as `write` does. */
  keepUserData(id: string, userData: string): Promise<void>;
  /** What was kept, byte by byte; undefined when nothing was. */
  userData(id: string): Promise<Uint8Array | undefined>;
  /** Lets the guest's process read it, and nobody else; undefined takes it back to the daemon. Missing is fine. */
  grant(id: string, identity: Identity | undefined): Promise<void>;
  /** The user-data too. Nothing to remove is fine. */
  remove(id: string): Promise<void>;
  /** Ids that have a seed or user-data, or what was left of making one; for `remove`. */
  list(): Promise<string[]>;
}
