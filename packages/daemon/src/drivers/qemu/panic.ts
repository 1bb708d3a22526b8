// What becomes of a guest whose kernel has panicked. QEMU halts it then, so that a panic is seen also by a daemon that comes later. It is let
// go on at once: a kernel that was told to (panic=N) restarts by itself, as on real hardware. One that has not within the wait
// hangs for good, and is ended.
// Source: QEMU docs/specs/pvpanic.rst, qemu-options.hx (-action), system/runstate.c (qemu_system_guest_panicked).
import type { Logger } from '@wirt/core';
import type { QmpEvent } from '@wirt/qemu';

/** A minute is the longest that kernels are usually told to wait, and some time for the machine to be slow. */
export const panicWaitMs = 70_000;

export interface PanicOptions {
  readonly id: string;
  readonly logger: Logger;
  readonly waitMs: number;
  /** Lets the processors run on. */
  resume(): Promise<void>;
  /** Ends the guest. */
  giveUp(): Promise<void>;
}

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

  function goOn(): void {
    resume()
      .catch((error: unknown) => logger.error('guest.not_resumed_after_panic', { id, error }))
      .finally(() => {
        isHalted = false;
      });
  }

  function wait(): void {
    isWaiting = true;
    clearTimeout(timer);
    timer = setTimeout(() => {
      isOver = true;
      logger.warn('guest.hangs_after_panic', { id, waitedMs: waitMs });
      giveUp().catch((error: unknown) => logger.error('guest.not_ended_after_panic', { id, error }));
    }, waitMs);
    timer.unref();
  }

  return {
    get isHalted() {
      return isHalted;
    },
    get isOver() {
      return isOver;
    },
    onEvent({ event, data }) {
      switch (event) {
        case 'GUEST_PANICKED':
          // One that an earlier wirtd started ends by itself.
          if (data['action'] !== 'pause') return;
          isHalted = true;
          return wait();
        case 'STOP':
          // QEMU tells of the panic first.
          if (isHalted) goOn();
          // Somebody has paused it, and may want to look at it.
          else clearTimeout(timer);
          return;
        case 'RESUME':
          if (isWaiting) wait();
          return;
        case 'RESET':
          if (isWaiting) logger.info('guest.restarted_after_panic', { id });
          isWaiting = false;
          clearTimeout(timer);
          return;
        default:
          return;
      }
    },
    found() {
      if (isHalted) return;
      logger.warn('guest.panicked', { id });
      isHalted = true;
      wait();
      goOn();
    },
    detach() {
      clearTimeout(timer);
    },
  };
}
