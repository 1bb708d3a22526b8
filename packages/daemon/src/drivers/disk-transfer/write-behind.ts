/**
 * Has the kernel write a file to the disk while somebody else still writes into it: what is left to wait for at the end is the last moment's
 * work, and not all of it.
 */
import { open } from 'node:fs/promises';
import { fsError } from '../../platform/fs-error.ts';

export interface WriteBehind extends AsyncDisposable {
  /** What is there by now may go. Returns at once; one such at a time, and its failure is told by `sync`. */
  soFar(): void;
  /** All is on the disk when it returns. */
  sync(): Promise<void>;
}

export async function writeBehind(path: string): Promise<WriteBehind> {
  const file = await open(path, 'r+').catch((error: unknown) => {
    throw fsError(error, 'write', path);
  });
  let running: Promise<void> | undefined;
  return {
    soFar() {
      if (running !== undefined) return;
      running = file.datasync().then(() => {
        running = undefined;
      });
      // The kernel tells of lost bytes once: the failure stays, for `sync` to tell.
      running.catch(() => undefined);
    },
    async sync() {
      try {
        await running;
        await file.sync();
      } catch (error) {
        throw fsError(error, 'write', path);
      }
    },
    async [Symbol.asyncDispose]() {
      await running?.catch(() => undefined);
      await file.close();
    },
  };
}
