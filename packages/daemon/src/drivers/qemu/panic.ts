// What becomes of a guest whose kernel has panicked. QEMU halts it then, so that a panic is seen also by a daemon that comes later. It is let
// go on at once: a kernel that was told to (panic=N) restarts by itself, as on real hardware. One that has not within the wait
// hangs for good, and is ended; so is one that panics again and again, whether or not it restarts in between.
// Source: QEMU docs/specs/pvpanic.rst, qemu-options.hx (-action), system/runstate.c (qemu_system_guest_panicked).
import type { Logger } from '@wirt/core';
import type { QmpEvent } from '@wirt/qemu';
import type { PanicMark } from './panic-mark.ts';

/** A minute is the longest that kernels are usually told to wait, and some time for the machine to be slow. */
export const panicWaitMs = 70_000;

/** A guest says at will that it has panicked, and each time costs the daemon something. */
const maxPanics = 5;
const withinMs = 60_000;

export interface PanicOptions {
  readonly id: string;
  readonly logger: Logger;
  readonly waitMs: number;
  readonly mark: PanicMark;
  /** What an earlier daemon's mark says. */
  readonly panickedAt?: number | undefined;
  /** Whether it does what no kernel does that hangs. Asked of one that may have restarted while no daemon was there. */
  lives(): boolean;
  /** Lets the processors run on. */
  resume(): Promise<void>;
  /** Ends the guest. */
  giveUp(why: PanicEnd): Promise<void>;
}

/** As the reason of its end: it hangs, or panics again and again. */
export type PanicEnd = 'guest-panic' | 'guest-panic-loop';

export interface PanicWatch {
  onEvent(event: QmpEvent): void;
  /** How it was found, at the first look and at each new one. */
  found(guest: { readonly panicked: boolean; readonly running: boolean }): void;
  /** QEMU's halt is none that anybody asked for, and is over in a moment. */
  readonly isHalted: boolean;
  /** It was ended for it. */
  readonly isOver: boolean;
  detach(): void;
}

export function createPanicWatch(options: PanicOptions): PanicWatch {
  const { id, logger, waitMs, mark, lives, resume, giveUp } = options;
  let { panickedAt } = options;
  let isHalted = false;
  let isOver = false;
  /** For it to restart by itself. */
  let isWaiting = false;
  let timer: NodeJS.Timeout | undefined;
  /** When it has panicked lately, by monotonic time. */
  let lately: number[] = [];

  function goOn(): void {
    resume()
      .catch((error: unknown) => logger.error('guest.not_resumed_after_panic', { id, error }))
      .finally(() => {
        isHalted = false;
      });
  }

  function end(why: PanicEnd): void {
    isOver = true;
    clear();
    giveUp(why).catch((error: unknown) => logger.error('guest.not_ended_after_panic', { id, error }));
  }

  /** From its first panic on: what it says of further ones does not give it more time. */
  function wait(): void {
    isWaiting = true;
    if (timer !== undefined) return;
    mark.set();
    timer = setTimeout(hangs, waitMs).unref();
  }

  function hangs(): void {
    logger.warn('guest.hangs_after_panic', { id, waitedMs: waitMs });
    end('guest-panic');
  }

  function restarted(): void {
    if (isWaiting) logger.info('guest.restarted_after_panic', { id });
    forget();
  }

  function forget(): void {
    if (isWaiting) mark.clear();
    isWaiting = false;
    clear();
  }

  /** An earlier daemon has seen the panic, and nobody whether it has restarted since that one ended. */
  function goOnWaiting(since: number, running: boolean): void {
    isWaiting = true;
    // Somebody has paused it: it has all of its time again afterwards.
    if (!running) return;
    const leftMs = waitMs - Math.max(0, Date.now() - since);
    // Nobody was there when its time was over: what it has done with it is not known.
    if (leftMs <= 0) return forget();
    timer = setTimeout(() => (lives() ? restarted() : hangs()), leftMs).unref();
  }

  function clear(): void {
    clearTimeout(timer);
    timer = undefined;
  }

  function panicked(): void {
    isHalted = true;
    const now = performance.now();
    lately = [...lately.filter((at) => now - at < withinMs), now];
    if (lately.length <= maxPanics) return wait();
    // It stays halted, and so says nothing more.
    logger.warn('guest.panics_again_and_again', { id, panics: lately.length, withinMs });
    end('guest-panic-loop');
  }

  return {
    get isHalted() {
      return isHalted;
    },
    get isOver() {
      return isOver;
    },
    onEvent({ event, data }) {
      if (isOver) return;
      switch (event) {
        case 'GUEST_PANICKED':
          // One that an earlier wirtd started ends by itself.
          if (data['action'] === 'pause') panicked();
          return;
        case 'STOP':
          // QEMU tells of the panic first.
          if (isHalted) goOn();
          // Somebody has paused it, and may want to look at it.
          else clear();
          return;
        case 'RESUME':
          if (isWaiting) wait();
          return;
        case 'RESET':
          return restarted();
        default:
          return;
      }
    },
    found({ panicked: isPanicked, running }) {
      const since = panickedAt;
      panickedAt = undefined;
      if (isHalted || isOver) return;
      if (!isPanicked) {
        if (since !== undefined && !isWaiting) goOnWaiting(since, running);
        return;
      }
      logger.warn('guest.panicked', { id });
      panicked();
      if (!isOver) goOn();
    },
    detach: clear,
  };
}
