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
  /** Lets the guest's process read it, and nobody else; undefined takes it back to the daemon. Missing is fine. */
  grant(id: string, identity: Identity | undefined): Promise<void>;
  /** Nothing to remove is fine. */
  remove(id: string): Promise<void>;
  /** Ids that have a seed, or what was left of making one; for `remove`. */
  list(): Promise<string[]>;
}
