/** The storage behind pools, opened once each and when it is first needed: what is not mounted today may be there tomorrow. */
import { type Pool, WirtError } from '@wirt/api';
import type { PoolDriver, VolumePool } from '../ports/volume-pool.ts';
import type { Records } from './records.ts';

/** The storage of pools, opened once each. */
export class Pools {
  readonly #records: Records<Pool>;
  readonly #drivers: readonly PoolDriver[];
  readonly #open = new Map<string, Promise<VolumePool>>();

  constructor(records: Records<Pool>, drivers: readonly PoolDriver[]) {
    this.#records = records;
    this.#drivers = drivers;
  }

  /** By name or id. Throws `pool.not_found`, `pool.unusable`, `pool.owned`. */
  open(ref: string): Promise<VolumePool> {
    const pool = this.#records.require(ref);
    const opened = this.#open.get(pool.id) ?? this.#take(pool);
    this.#open.set(pool.id, opened);
    // What is not mounted now may be there at the next request.
    opened.catch(() => this.#open.delete(pool.id));
    return opened;
  }

  #take({ id, name, spec }: Pick<Pool, 'id' | 'name' | 'spec'>): Promise<VolumePool> {
    const driver = this.#drivers.find((one) => one.driver === spec.driver);
    if (driver !== undefined) return driver.open({ id, path: spec.path });
    throw new WirtError('pool.unusable', `Pool ${name} needs the driver ${spec.driver}, which is not there.`);
  }

  /** Takes the storage of a pool that has no record yet. */
  async take(pool: Pick<Pool, 'id' | 'name' | 'spec'>): Promise<VolumePool> {
    const storage = await this.#take(pool);
    this.#open.set(pool.id, Promise.resolve(storage));
    return storage;
  }

  forget(id: string): void {
    this.#open.delete(id);
  }
}
