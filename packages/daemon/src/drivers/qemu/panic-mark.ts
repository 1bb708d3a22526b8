// Since when a guest's kernel has panicked and not restarted, for a daemon that comes later: a file beside its sockets, whose time counts.
// Goes with the run.
import { rm, stat, writeFile } from 'node:fs/promises';
import type { Logger } from '@wirt/core';

export interface PanicMark {
  /** Now. Returns at once, as `clear`; one comes after the other. What fails is logged: the panic is then this daemon's own to know. */
  set(): void;
  clear(): void;
}

export function createPanicMark({
  id,
  path,
  logger,
}: {
  readonly id: string;
  readonly path: string;
  readonly logger: Logger;
}): PanicMark {
  let last: Promise<void> = Promise.resolve();
  const then = (work: () => Promise<void>): void => {
    last = last
      .then(work)
      .catch((error: unknown) => logger.warn('guest.panic_not_noted', { id, path, error }));
  };
  return {
    set: () => then(() => writeFile(path, '', { mode: 0o600 })),
    clear: () => then(() => rm(path, { force: true })),
  };
}

/** In ms of the wall clock; undefined: it has not, as far as is known. */
export async function readPanicMark(path: string): Promise<number | undefined> {
  return (await stat(path).catch(() => undefined))?.mtimeMs;
}
