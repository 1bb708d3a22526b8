// What becomes of a guest whose kernel has panicked. QEMU halts it then, so that a panic is seen also by a daemon that comes later. It is let
// go on at once: a kernel that was told to (panic=N) restarts by itself, as on real hardware. One that has not within the wait
// hangs for good, and is ended; so is one that panics again and again, whether or not it restarts in between.
// Source: QEMU docs/specs/pvpanic.rst, qemu-options.hx (-action), system/runstate.c (qemu_system_guest_panicked).
import type { Logger } from '@wirt/core';
import type { QmpEvent } from '@wirt/qemu';

/** A minute is the longest that kernels are usually told to wait, and some time for the machine to be slow. */
export const panicWaitMs = 70_000;

/** A guest says at will that it has panicked, and each time costs the daemon something. */
const maxPanics = 5;
const withinMs = 60_000;

export interface PanicOptions {
  readonly id: string;
  readonly logger: Logger;
  readonly waitMs: number;
  /** Lets the processors run on. */
  resume(): Promise<void>;
  /** Ends the guest. */
  giveUp(why: PanicEnd): Promise<void>;
}

/** As the reason of its end: it hangs, or panics again and again. */
export type PanicEnd = 'guest-panic' | 'guest-panic-loop';

export interface PanicWatch {
  onEvent(event: QmpEvent): void;
  /** A guest that was found halted for it. */
  found(): void;
  /** QEMU's halt is none that anybody asked for, and is over in a moment. */
  readonly isHalted: boolean;
  /** It was ended for it. */
  readonly isOver: boolean;
  detach(): void;
}

export function createPanicWatch({ id, logger, waitMs, resume, giveUp }: PanicOptions): PanicWatch {
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
    timer ??= setTimeout(() => {
      logger.warn('guest.hangs_after_panic', { id, waitedMs: waitMs });
      end('guest-panic');
    }, waitMs).unref();
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
          if (isWaiting) logger.info('guest.restarted_after_panic', { id });
          isWaiting = false;
          clear();
          return;
        default:
          return;
      }
    },
    found() {
      if (isHalted || isOver) return;
      logger.warn('guest.panicked', { id });
      panicked();
      if (!isOver) goOn();
    },
    detach: clear,
  };
}
