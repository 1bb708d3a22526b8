/**
 * A daemon's grip on its ports, for tests: it can be lost between any two calls, in the middle of one, or one call can fail. A daemon
 * that has lost it neither changes nor learns anything any more, as one that was killed.
 */

export interface Cut {
  /** Number of the call, from 0 on. */
  readonly call: number;
  /** `during` stops half-way in calls that have a half-way, else as `after`. */
  readonly how: 'before' | 'during' | 'after' | 'fail';
}

/** Answered at once, without a promise: nothing can happen in between. */
const immediate: ReadonlySet<string> = new Set([
  'clock.now',
  'clock.monotonicMs',
  'guest.listen',
  'guest.detach',
  'guest.agent.readFile',
  'guest.console.replay',
  'guest.console.listen',
  'guest.console.write',
  'hypervisor.readLog',
  'imageFiles.path',
  'machine.resolve',
  'network.backend',
  'network.counters',
  'network.interfaceOf',
  'network.onRepair',
  'network.refusesLimits',
  'pool.locate',
  'resources.refuses',
  'resources.usage',
  'seeds.path',
  'store.watch',
  'usageHistory.add',
  'usageHistory.close',
]);

/** Calls whose answer has calls of its own. */
const gives: Readonly<Record<string, string>> = {
  'driver.open': 'pool',
  'hypervisor.attach': 'guest',
  'hypervisor.launch': 'guest',
  'transfer.openDisk': 'disk',
  'transfer.openMachine': 'machine',
};

const parts: ReadonlySet<string> = new Set([
  'guest.agent',
  'guest.console',
  'guest.disks',
  'guest.nics',
  'guest.tuning',
]);

export class Grip {
  /** Names of the calls, in order. */
  readonly calls: string[] = [];
  cut: Cut | undefined;
  readonly #gone = Promise.withResolvers<void>();
  #lost = false;
  #halving = false;

  get lost(): boolean {
    return this.#lost;
  }

  /** Resolves when the grip is lost. */
  get died(): Promise<void> {
    return this.#gone.promise;
  }

  lose(): void {
    this.#lost = true;
    this.#gone.resolve();
  }

  /** For fakes: awaited where a call has done a half of what it does. */
  halfway(): Promise<void> {
    if (!this.#halving) return Promise.resolve();
    this.lose();
    return never();
  }

  /** The port, as this daemon sees it. */
  wrap<T extends object>(name: string, port: T): T {
    return new Proxy(port, {
      get: (target, key) => {
        const value: unknown = Reflect.get(target, key);
        const full = `${name}.${String(key)}`;
        if (value instanceof Promise) return this.#gate(value);
        if (typeof value === 'function')
          return immediate.has(full)
            ? value.bind(target)
            : (...given: unknown[]) => this.#call(full, () => Reflect.apply(value, target, given));
        return parts.has(full) && typeof value === 'object' && value !== null
          ? this.wrap(full, value)
          : value;
      },
    });
  }

  async #call(name: string, run: () => unknown): Promise<unknown> {
    if (this.#lost) return never();
    const number = this.calls.push(name) - 1;
    const how = this.cut?.call === number ? this.cut.how : undefined;
    if (how === 'fail') throw new Error(`injected at ${name}`);
    if (how === 'before') this.lose();
    if (this.#lost) return never();
    this.#halving = how === 'during';
    const answer = await this.#gate(Promise.resolve(run()));
    if (how === 'during' || how === 'after') this.lose();
    if (this.#lost) return never();
    const given = gives[name];
    return given === undefined || typeof answer !== 'object' || answer === null
      ? answer
      : this.wrap(given, answer);
  }

  /** Who has lost the grip hears of no end. */
  async #gate<T>(promise: Promise<T>): Promise<T> {
    try {
      const value = await promise;
      return this.#lost ? await never() : value;
    } catch (error) {
      if (this.#lost) return never();
      throw error;
    }
  }
}

function never(): Promise<never> {
  return new Promise(() => {});
}
