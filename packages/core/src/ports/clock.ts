/** Time. Wall-clock time only dates records; every wait runs on monotonic time, so that a clock set back harms nothing. */
export interface Clock {
  /** Wall-clock time as RFC 3339 UTC. */
  now(): string;
  /** Milliseconds of a monotonic clock. */
  monotonicMs(): number;
  /** Resolves after `ms`; rejects with the signal's reason when it aborts first. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}
