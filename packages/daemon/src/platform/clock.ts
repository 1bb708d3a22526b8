/** The clock of the machine, as core's port `Clock`: dates from the wall clock, waits and differences from the monotonic one. */
/** The longest delay that a Node timer takes; longer ones would fire at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

export const systemClock = {
  /** RFC 3339, UTC. */
  now: (): string => new Date().toISOString(),
  monotonicMs: (): number => performance.now(),
  /** Rejects with the signal's reason when it aborts first. */
  async sleep(ms: number, signal: AbortSignal): Promise<void> {
    const untilMs = performance.now() + ms;
    for (let leftMs = ms; leftMs > 0; leftMs = untilMs - performance.now()) {
      await sleepOnce(Math.min(leftMs, MAX_TIMER_MS), signal);
    }
    signal.throwIfAborted();
  },
};

/** Rejects with the signal's own reason, which node:timers/promises wraps. */
function sleepOnce(ms: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const onAbort = (): void => {
    clearTimeout(timer);
    reject(signal.reason);
  };
  const timer = setTimeout(() => {
    signal.removeEventListener('abort', onAbort);
    resolve();
  }, ms);
  signal.addEventListener('abort', onAbort, { once: true });
  return promise;
}
