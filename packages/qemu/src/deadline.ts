/**
 * One deadline and one AbortSignal behind a single stop function. The callback runs at most once, never after the stop
 * function was called, and never synchronously; the caller checks `signal.aborted` itself before it begins.
 */

export type DeadlineReason = 'timeout' | 'aborted';

/** The longest delay that a Node timer takes; longer ones would fire at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

export function startDeadline(
  timeoutMs: number,
  signal: AbortSignal | undefined,
  onExpire: (reason: DeadlineReason) => void,
): () => void {
  if (!(timeoutMs > 0)) throw new RangeError(`timeoutMs must be above 0, not ${timeoutMs}`);
  const stop = (): void => {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
  };
  const expire = (reason: DeadlineReason): void => {
    stop();
    onExpire(reason);
  };
  const onAbort = (): void => expire('aborted');
  const timer = setTimeout(() => expire('timeout'), Math.min(timeoutMs, MAX_TIMER_MS));
  signal?.addEventListener('abort', onAbort);
  return stop;
}
