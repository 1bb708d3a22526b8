/**
 * Lanes: work on one resource is serial and in order of arrival, work on different ones runs side by side. A busy lane
 * queues; it has no timeout, since everything that runs in it has a deadline of its own.
 */
export class Lanes {
  readonly #tails = new Map<string, Promise<unknown>>();

  /** Whether anything runs or waits in the lane. */
  busy(key: string): boolean {
    return this.#tails.has(key);
  }

  /** Runs `work` when everything that came before it in the lane has ended, well or badly. */
  run<T>(key: string, work: () => Promise<T>): Promise<T> {
    // Never at once: what `work` itself puts into the lane must find the lane busy.
    const result = (this.#tails.get(key) ?? Promise.resolve()).then(work);
    // The tail must neither reject, which would skip the next, nor outlive its end, which would keep memory.
    const tail = result.then(ignore, ignore).then(() => {
      if (this.#tails.get(key) === tail) this.#tails.delete(key);
    });
    this.#tails.set(key, tail);
    return result;
  }

  /** As `run`, in the lane that `keyOf` names when its turn has come: what moves to another lane meanwhile is waited for there. */
  async follow<T>(keyOf: () => string, work: () => Promise<T>): Promise<T> {
    for (;;) {
      const key = keyOf();
      const done = await this.run(key, async () => (keyOf() === key ? { value: await work() } : undefined));
      if (done !== undefined) return done.value;
    }
  }

  /** In all of these lanes at once, always taken in the same order, so that no two wait for each other. */
  runAll<T>(keys: readonly string[], work: () => Promise<T>): Promise<T> {
    const ordered = [...new Set(keys)].sort();
    return ordered.reduceRight<() => Promise<T>>((inner, key) => () => this.run(key, inner), work)();
  }

  /** Resolves when no lane has work any more. */
  async idle(): Promise<void> {
    while (this.#tails.size > 0) await Promise.all(this.#tails.values());
  }
}

function ignore(): void {
  // The caller of `run` has the result; the lane only needs the end.
}
