/**
 * The undo stack of a multi-step action. Each step registers how it is taken back before the next one runs; leaving
 * the scope without `release` takes everything back, newest first. An undo that fails does not keep the others from running.
 */
export class Undo implements AsyncDisposable {
  #steps: (() => Promise<void>)[] = [];
  readonly #onError: (error: unknown) => void;

  constructor(onError: (error: unknown) => void) {
    this.#onError = onError;
  }

  /** Registers `step`, which must also be right when what it takes back was made only in part, or not at all. */
  add(step: () => Promise<void>): void {
    this.#steps.push(step);
  }

  /** The action has succeeded: nothing is taken back any more. */
  release(): void {
    this.#steps = [];
  }

  /** Takes everything back now. Errors go to `onError`; it never rejects. */
  async run(): Promise<void> {
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) {
      try {
        await step();
      } catch (error) {
        this.#onError(error);
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.run();
  }
}
