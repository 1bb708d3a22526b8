/**
 * Opens a Unix stream socket under a deadline and an AbortSignal. On any failure the socket is destroyed and the
 * system's own error (ENOENT, ECONNREFUSED, ...) is passed on; the protocols above give it a name.
 */

import { connect, type Socket } from 'node:net';
import { startDeadline } from './deadline.ts';

export interface OpenSocketOptions {
  path: string;
  timeoutMs: number;
  signal: AbortSignal | undefined;
  /** Makes the error of a deadline that ran out. */
  onTimeout: () => Error;
}

export function openUnixSocket({ path, timeoutMs, signal, onTimeout }: OpenSocketOptions): Promise<Socket> {
  signal?.throwIfAborted();
  return new Promise((resolve, reject) => {
    const fail = (error: unknown): void => {
      stop();
      socket.off('connect', onConnect);
      // An error may still be on its way; without a listener it would end the process.
      socket.on('error', () => {});
      socket.destroy();
      reject(error);
    };
    const onConnect = (): void => {
      stop();
      socket.off('error', fail);
      resolve(socket);
    };
    const stop = startDeadline(timeoutMs, signal, (reason) =>
      fail(reason === 'timeout' ? onTimeout() : signal?.reason),
    );
    const socket = connect({ path });
    socket.once('error', fail);
    socket.once('connect', onConnect);
  });
}
