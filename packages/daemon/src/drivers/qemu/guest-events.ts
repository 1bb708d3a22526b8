// What is told of a guest, to whoever listens, and what it is known to do: run, stand still, or stand still for a disk.
import type { GuestEvent, Logger } from '@wirt/core';
import type { DiskError } from './control.ts';

export interface GuestEvents {
  emit(event: GuestEvent): void;
  listen(listener: (event: GuestEvent) => void): () => void;
  clear(): void;
}

/** A listener that throws is logged and keeps nothing from the others. */
export function createGuestEvents({
  id,
  logger,
}: {
  readonly id: string;
  readonly logger: Logger;
}): GuestEvents {
  const listeners = new Set<(event: GuestEvent) => void>();
  return {
    emit(event) {
      for (const listener of [...listeners]) {
        try {
          listener(event);
        } catch (error) {
          logger.error('guest.listener_failed', { id, event: event.kind, error });
        }
      }
    },
    listen(listener) {
      // A fresh function, so that the same listener added twice is also removed one at a time.
      const own = (event: GuestEvent): void => listener(event);
      listeners.add(own);
      return () => listeners.delete(own);
    },
    clear: () => listeners.clear(),
  };
}

export interface Processors {
  readonly state: 'running' | 'paused';
  /** Why QEMU has paused it by itself. */
  readonly diskError: DiskError | undefined;
  set(running: boolean): void;
  /** QEMU's pause for it is told on its own, right after. */
  fail(error: DiskError | undefined): void;
}

export function createProcessors(
  emit: (event: GuestEvent) => void,
  start: { readonly running: boolean; readonly diskError: DiskError | undefined } | undefined,
): Processors {
  let state: Processors['state'] = start?.running === true ? 'running' : 'paused';
  let diskError = start?.diskError;
  return {
    get state() {
      return state;
    },
    get diskError() {
      return diskError;
    },
    set(running) {
      const now = running ? 'running' : 'paused';
      if (running) diskError = undefined;
      if (state === now) return;
      state = now;
      emit({ kind: running ? 'resumed' : 'paused' });
    },
    fail(error) {
      diskError = error;
    },
  };
}
