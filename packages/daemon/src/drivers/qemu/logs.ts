// The logs of a guest on disk: QEMU's own, one file per run and the one before, and reading either log back whole.
// QEMU writes its log through a descriptor it inherited; how the console's is written is in console-log.ts.
import { type FileHandle, open, rename, stat, truncate } from 'node:fs/promises';

/** What is behind a log: the file before it. */
export const olderSuffix = '.1';

const maxLastLineLength = 500;
const tailBytes = 8192;
const chunkBytes = 64 * 1024;
const maxQemuLogBytes = 1024 * 1024;

/** A fresh log for a run; the former run's stays as the older one. Appends, so that it may be truncated under the writer. */
export async function openRunLog(path: string): Promise<FileHandle> {
  await rename(path, path + olderSuffix).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
  return open(path, 'a', 0o600);
}

/** A guest may make QEMU complain without end: what is over the limit goes. */
export async function boundRunLog(path: string): Promise<void> {
  const size = await stat(path).then(
    (stats) => stats.size,
    () => 0,
  );
  if (size > maxQemuLogBytes) await truncate(path).catch(() => {});
}

/** The last line that has anything to read, without the time before it; '' when there is none. */
export async function readLastLine(path: string): Promise<string> {
  return lastLineOf((await readTail(path, tailBytes)).toString('utf8'));
}

export function lastLineOf(text: string): string {
  const line = text
    .split('\n')
    .map(readable)
    .findLast((each) => each !== '');
  return (line ?? '').slice(0, maxLastLineLength);
}

/** Without the time of `-msg timestamp=on`, and without what a terminal would act on. */
function readable(line: string): string {
  const clean = line.replaceAll(/\p{Cc}/gu, ' ').trim();
  return clean.replace(/^\d{4}-\d\d-\d\dT[\d:.]+Z\s+/, '');
}

/** The last bytes of a file; none when it cannot be read. */
export async function readTail(path: string, bytes: number): Promise<Buffer> {
  try {
    await using file = await open(path, 'r');
    const { size } = await file.stat();
    const length = Math.min(size, bytes);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, size - length);
    return buffer.subarray(0, bytesRead);
  } catch {
    return Buffer.alloc(0);
  }
}

/** The older file and then the present one, as long as they were when their turn came. A missing one is empty. */
export async function* readWholeLog(path: string): AsyncGenerator<Uint8Array, void, void> {
  for (const name of [path + olderSuffix, path]) {
    const file = await open(name, 'r').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    });
    if (file === undefined) continue;
    try {
      const { size } = await file.stat();
      for (let at = 0; at < size; ) {
        const length = Math.min(chunkBytes, size - at);
        const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, at);
        if (bytesRead === 0) break;
        yield buffer.subarray(0, bytesRead);
        at += bytesRead;
      }
    } finally {
      await file.close();
    }
  }
}
