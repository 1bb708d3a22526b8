/**
 * Writes of what has come about already: how work ended, what a guest was seen to be. A store that has no room for them makes them no less
 * true, so they are kept here and tried again until there is room. What only begins is not: that is refused at once, by `commit`.
 */
import { WirtError } from '@wirt/api';
import type { Clock } from '../ports/clock.ts';
import type { Store } from '../ports/store.ts';
import { commit, type Staged } from './records.ts';

/** Nobody tells that there is room. All that waits is tried again at the same moment, which the store makes one batch of. */
const firstPauseMs = 250;
const longestPauseMs = 5_000;

export interface Waiting {
  /** Called once, when it has to wait for room. */
  readonly onWait?: (refusal: WirtError) => void;
  /** Ends the waiting, with its reason; a write that is under way is not broken off. */
  readonly signal?: AbortSignal;
}

/** Whether the store refused for a reason that passes by itself or by what a person does to the host. */
export function isOutOfRoom(error: unknown): error is WirtError {
  if (!(error instanceof WirtError)) return false;
  return error.code === 'host.storage_full' || error.code === 'host.storage_read_only';
}

export class LateWrites {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #over = new AbortController();
  #pauseMs = firstPauseMs;
  #pause: Promise<void> | undefined;

  constructor({ store, clock }: { readonly store: Store; readonly clock: Clock }) {
    this.#store = store;
    this.#clock = clock;
  }

  /** As `commit`, but waits for room. Throws what else the store throws, and the signal's reason. */
  commit(staged: readonly Staged[], waiting?: Waiting): Promise<void> {
    return this.insist(() => commit(this.#store, staged), waiting);
  }

  /** Does `work` again for as long as the store has no room for what it writes. It finds out anew each time what that is. */
  async insist(work: () => Promise<void>, { onWait, signal }: Waiting = {}): Promise<void> {
    for (let waits = false; ; waits = true) {
      try {
        await work();
        this.#pauseMs = firstPauseMs;
        return;
      } catch (error) {
        if (!isOutOfRoom(error)) throw error;
        if (!waits) onWait?.(error);
      }
      await abortable(this.#nextTry(), signal);
    }
  }

  /** As `insist`, but resolves also when it has to wait, and then goes on by itself. Throws as `work`; `onError` gets what it throws later. */
  async begin(work: () => Promise<void>, onError: (error: unknown) => void): Promise<void> {
    const { promise: waiting, resolve } = Promise.withResolvers<void>();
    let waits = false;
    const onWait = (): void => {
      waits = true;
      resolve();
    };
    const done = this.insist(work, { onWait }).catch((error: unknown) => {
      if (!waits) throw error;
      onError(error);
    });
    await Promise.race([done, waiting]);
  }

  /**
   * Nothing is tried any more. What still waits neither succeeds nor fails, as if the daemon had died there: its undo must not take back
   * what the next daemon finds done.
   */
  stop(): void {
    this.#over.abort(new WirtError('daemon.stopping', 'wirtd is stopping.'));
  }

  #nextTry(): Promise<void> {
    if (this.#over.signal.aborted) return new Promise(() => undefined);
    this.#pause ??= this.#sleep();
    return this.#pause;
  }

  async #sleep(): Promise<void> {
    const ms = this.#pauseMs;
    this.#pauseMs = Math.min(2 * ms, longestPauseMs);
    // The clock refuses only when `stop` was called.
    await this.#clock.sleep(ms, this.#over.signal).catch(() => new Promise(() => undefined));
    this.#pause = undefined;
  }
}

async function abortable(promise: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) return promise;
  signal.throwIfAborted();
  const listening = new AbortController();
  const aborted = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), {
      once: true,
      signal: listening.signal,
    });
  });
  await Promise.race([promise, aborted]).finally(() => listening.abort());
}
