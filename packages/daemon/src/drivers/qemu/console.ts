// The serial console of a guest: one connection to QEMU's socket, whose bytes go to the replay, to the log and to every
// listener. It never holds the guest up: what comes is always read. What is written to a guest that does not read is dropped.
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { Console, Logger } from '@wirt/core';
import { createConsoleLog } from './console-log.ts';
import { olderSuffix, readTail } from './logs.ts';
import type { GuestPaths } from './paths.ts';
import { createRing, type Ring } from './ring.ts';

const replayBytes = 64 * 1024;
/** What a guest has not read yet. */
const maxUnreadBytes = 64 * 1024;
const firstRetryMs = 100;
const longestRetryMs = 10_000;
/** For the last bytes, after QEMU has ended. */
const finishMs = 500;

export interface ConsoleLink extends Console {
  /** Makes the connection, and makes it again when it breaks. */
  start(): void;
  /** After QEMU has ended: returns when its last bytes are in the log. */
  finish(): Promise<void>;
  detach(): void;
}

export interface ConsoleOptions {
  readonly id: string;
  readonly paths: GuestPaths;
  readonly logger: Logger;
}

export async function createConsoleLink({ id, paths, logger }: ConsoleOptions): Promise<ConsoleLink> {
  const ring = await readReplay(paths.consoleLog);
  const log = createConsoleLog({ path: paths.consoleLog, logger });
  const listeners = new Set<(data: Uint8Array) => void>();
  const ended = new AbortController();
  let socket: Socket | undefined;
  let running: Promise<void> | undefined;

  const onData = (data: Buffer): void => {
    ring.push(data);
    log.append(data);
    for (const listener of [...listeners]) {
      try {
        listener(data);
      } catch (error) {
        logger.error('console.listener_failed', { id, error });
      }
    }
  };
  const hold = (): Promise<boolean> =>
    new Promise((resolve) => {
      let connected = false;
      const opened = connect(paths.sockets.console);
      socket = opened;
      opened.on('connect', () => {
        connected = true;
      });
      opened.on('data', onData);
      // 'close' follows, whatever it is.
      opened.on('error', () => {});
      opened.on('close', () => resolve(connected));
    });
  const run = async (): Promise<void> => {
    for (let retryMs = firstRetryMs; !ended.signal.aborted; ) {
      const connected = await hold();
      socket = undefined;
      retryMs = connected ? firstRetryMs : Math.min(retryMs * 2, longestRetryMs);
      await delay(retryMs, undefined, { signal: ended.signal, ref: false });
    }
  };
  const stop = (): void => {
    ended.abort();
    socket?.destroy();
  };

  return {
    start() {
      running ??= run().catch((error: unknown) => {
        if (!ended.signal.aborted) logger.error('console.failed', { id, error });
      });
    },
    replay: () => ring.bytes(),
    listen(listener) {
      const own = (data: Uint8Array): void => listener(data);
      listeners.add(own);
      return () => listeners.delete(own);
    },
    write(data) {
      if (socket === undefined || socket.writableLength + data.length > maxUnreadBytes) return;
      socket.write(data);
    },
    async finish() {
      const open = socket;
      if (open !== undefined && !open.destroyed) {
        const deadline = new AbortController();
        open.once('close', () => deadline.abort());
        await delay(finishMs, undefined, { signal: deadline.signal }).catch(() => {});
      }
      stop();
      await running;
      await log.close();
    },
    detach() {
      stop();
      listeners.clear();
      log.close().catch((error: unknown) => logger.warn('console.log_failed', { id, error }));
    },
  };
}

async function readReplay(path: string): Promise<Ring> {
  const recent = await readTail(path, replayBytes);
  const older =
    recent.length < replayBytes
      ? await readTail(path + olderSuffix, replayBytes - recent.length)
      : Buffer.alloc(0);
  return createRing(replayBytes, Buffer.concat([older, recent]));
}
