// The console's log on disk: appended in the order of arrival, never more than two files of the limit, and never in the way
// of the guest: when the disk is slow, full or read-only, bytes are dropped and a warning is logged once.
import { type FileHandle, open, rename } from 'node:fs/promises';
import type { Logger } from '@wirt/core';
import { olderSuffix } from './logs.ts';

const defaultMaxBytes = 1024 * 1024;
const maxPendingBytes = 1024 * 1024;

export interface ConsoleLog {
  append(data: Uint8Array): void;
  /** Returns when all that was appended is written or dropped, and the file is closed. */
  close(): Promise<void>;
}

export interface ConsoleLogOptions {
  readonly path: string;
  readonly logger: Logger;
  /** At this size the file becomes the older one. Default 1 MiB. */
  readonly maxBytes?: number;
}

export function createConsoleLog({
  path,
  logger,
  maxBytes = defaultMaxBytes,
}: ConsoleLogOptions): ConsoleLog {
  let file: FileHandle | undefined;
  let size = 0;
  let pending: Uint8Array[] = [];
  let pendingBytes = 0;
  let writing: Promise<void> | undefined;
  let warned = false;

  const openFile = async (): Promise<FileHandle> => {
    const opened = await open(path, 'a', 0o600);
    size = (await opened.stat()).size;
    return opened;
  };
  const rotate = async (): Promise<void> => {
    await file?.close();
    file = undefined;
    await rename(path, path + olderSuffix);
    file = await openFile();
  };
  const write = async (): Promise<void> => {
    while (pendingBytes > 0) {
      const data = Buffer.concat(pending, pendingBytes);
      pending = [];
      pendingBytes = 0;
      try {
        file ??= await openFile();
        for (let rest = data; rest.length > 0; ) {
          if (size >= maxBytes) await rotate();
          const { bytesWritten } = await file.write(rest.subarray(0, maxBytes - size));
          size += bytesWritten;
          rest = rest.subarray(bytesWritten);
        }
        warned = false;
      } catch (error) {
        if (!warned) logger.warn('console.log_failed', { path, error });
        warned = true;
      }
    }
    writing = undefined;
  };

  return {
    append(data) {
      if (pendingBytes + data.length > maxPendingBytes) return;
      pending.push(data);
      pendingBytes += data.length;
      writing ??= write();
    },
    async close() {
      await writing;
      await file?.close().catch(() => {});
      file = undefined;
    },
  };
}
