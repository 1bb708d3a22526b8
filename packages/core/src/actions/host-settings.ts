/** How much more than the host has may be promised to guests. One record, in memory and in the store; guests that run stay, whatever it says. */
import { type HostSettings, type HostSettingsUpdate, hostSettingsSchema } from '@wirt/api';
import type { Store } from '../ports/store.ts';

const key = 'host/settings';

/**
 * Processors are shared by turns, and a guest that waits is only slow; memory that is not there ends a guest. A guest whose pool is full stands still
 * until there is room, and linked clones take a few hundredths of their size when they are new: twenty times is what thin volumes are commonly promised.
 */
export const defaultSettings: HostSettings = { cpuOvercommit: 100, memoryOvercommit: 1, poolOvercommit: 20 };

export class HostSettingsRecord {
  readonly #store: Pick<Store, 'get' | 'write'>;
  #value = defaultSettings;

  constructor(store: Pick<Store, 'get' | 'write'>) {
    this.#store = store;
  }

  /** Call once, before the first guest. */
  async load(): Promise<void> {
    const kept = await this.#store.get(key);
    if (kept !== undefined)
      this.#value = hostSettingsSchema.parse({ ...defaultSettings, ...(kept.value as object) });
  }

  get value(): HostSettings {
    return this.#value;
  }

  async update(input: HostSettingsUpdate): Promise<HostSettings> {
    const value = hostSettingsSchema.parse({ ...this.#value, ...input });
    await this.#store.write([{ type: 'put', key, value }]);
    this.#value = value;
    return value;
  }
}
