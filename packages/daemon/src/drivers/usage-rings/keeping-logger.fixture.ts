// A logger for tests that keeps what it is told.
import type { Logger } from '@wirt/core';

export interface KeepingLogger extends Logger {
  readonly events: string[];
}

export function keepingLogger(): KeepingLogger {
  const events: string[] = [];
  const keep = (event: string): void => {
    events.push(event);
  };
  return { events, debug: keep, info: keep, warn: keep, error: keep };
}
