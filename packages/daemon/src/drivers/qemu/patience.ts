// Waiting for a guest to do what it was asked to: until something happens, a while has gone by, or the caller's deadline is over.
import { setTimeout as delay } from 'node:timers/promises';

/** Returns when `happened` settles, or after the pause. Throws the signal's reason. */
export async function tick(happened: Promise<void>, pauseMs: number, signal: AbortSignal): Promise<void> {
  const over = new AbortController();
  const waited = delay(pauseMs, undefined, { signal: AbortSignal.any([signal, over.signal]) });
  await Promise.race([happened, waited]).finally(() => over.abort());
  await waited.catch(() => signal.throwIfAborted());
}

/** Whether it was a deadline that has aborted it, and nobody's will. */
export function isOver({ aborted, reason }: AbortSignal): boolean {
  return aborted && reason instanceof DOMException && reason.name === 'TimeoutError';
}
