/**
 * `gzip`, `xz` or `zstd`, confined, with the file as standard input and what it unpacks as it comes: a stranger's bytes are read with
 * limits on memory, time and files, and by none of the daemon's own libraries. Ended when the iteration ends.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { WirtError } from '@wirt/api';
import type { CopyWork } from '@wirt/core';
import { confinedEnvironment, confinedLauncher, endConfined } from '../../platform/confined.ts';
import { hasErrno } from '../../platform/fs-error.ts';
import { deadlineMs } from './deadline.ts';
import type { OpenedFile } from './regular-file.ts';

const MEMORY_BYTES = 1024 ** 3;
const KEPT_STDERR_CHARS = 4096;
const PROGRESS_EVERY_MS = 250;
/** Of the words before a program, when it is not there. */
const NOT_FOUND_STATUS = 127;

/** Several streams one after the other are one file to all three; what else follows is an error to all three. */
const programs = {
  gzip: { words: ['gzip', '--decompress', '--stdout', '--quiet'], debianPackage: 'gzip' },
  xz: {
    words: [
      ...['xz', '--decompress', '--stdout', '--quiet', '--threads=0'],
      `--memlimit-decompress=${MEMORY_BYTES}`,
    ],
    debianPackage: 'xz-utils',
  },
  zstd: {
    words: ['zstd', '--decompress', '--stdout', '--quiet', `--memory=${MEMORY_BYTES}`],
    debianPackage: 'zstd',
  },
} as const;

export type Inflater = keyof typeof programs;

export interface InflateOptions {
  /** Default: what slow storage takes for twenty times the file. */
  readonly timeoutMs?: number;
}

/** Throws `host.tool_missing`, `disk.convert_failed` (deadline), the signal's reason; and the program's words for a damaged file. */
export async function* inflate(
  file: OpenedFile,
  inflater: Inflater,
  { confinement, signal, onProgress }: CopyWork,
  // Compressed bytes say little of how long it takes.
  { timeoutMs = deadlineMs(file.sizeBytes * 20) }: InflateOptions = {},
): AsyncGenerator<Buffer> {
  const cpuSeconds = (timeoutMs / 1000) * availableParallelism();
  const limits = { addressSpaceBytes: 2 * MEMORY_BYTES, cpuSeconds, fileBytes: 0 };
  const [program = 'sh', ...args] = [...confinedLauncher(confinement, limits), ...programs[inflater].words];
  const deadline = AbortSignal.timeout(timeoutMs);
  const child = spawn(program, args, {
    stdio: [file.handle.fd, 'pipe', 'pipe'],
    env: confinedEnvironment(confinement),
    signal: AbortSignal.any([signal, deadline]),
    killSignal: 'SIGKILL',
  });
  const ended = once(child, 'close');
  ended.catch(() => {});
  let said = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-KEPT_STDERR_CHARS);
  });
  const report = progressOf(file, onProgress);
  try {
    // Its type allows for no output; it has one, as said above.
    for await (const piece of child.stdout as AsyncIterable<Buffer>) {
      await report();
      yield piece;
    }
    const [exitCode, signalName] = await ended;
    if (exitCode === 0) return;
    if (exitCode === NOT_FOUND_STATUS) throw toolMissing(inflater);
    throw new Error(said.trim().split('\n').at(-1) || `${inflater} ended with ${exitCode ?? signalName}`);
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    if (deadline.aborted) throw tooSlow(file.path, inflater, timeoutMs);
    throw hasErrno(error, 'ENOENT') ? toolMissing(inflater) : error;
  } finally {
    child.kill('SIGKILL');
    await ended.catch(() => {});
    await endConfined(confinement);
  }
}

/** How far the program has read: its standard input shares its place with the descriptor that is open here (proc_pid_fdinfo(5)). */
function progressOf({ handle, sizeBytes }: OpenedFile, onProgress: CopyWork['onProgress']) {
  let nextMs = 0;
  return async (): Promise<void> => {
    if (performance.now() < nextMs) return;
    nextMs = performance.now() + PROGRESS_EVERY_MS;
    const info = await readFile(`/proc/self/fdinfo/${handle.fd}`, 'utf8');
    const place = Number(/^pos:\s*(\d+)/m.exec(info)?.[1] ?? 0);
    onProgress(Math.min(place, sizeBytes), sizeBytes);
  };
}

function tooSlow(path: string, inflater: Inflater, timeoutMs: number): WirtError {
  return new WirtError('disk.convert_failed', `${path} was not unpacked within ${timeoutMs} ms.`, {
    details: { path, timeoutMs },
    hint: `See how fast the storage is: iostat -x 5; or unpack it by hand first: ${inflater} -d FILE`,
  });
}

function toolMissing(inflater: Inflater): WirtError {
  return new WirtError(
    'host.tool_missing',
    `${inflater} is needed to unpack the file, and is not installed.`,
    { hint: `Install it: apt install ${programs[inflater].debianPackage}` },
  );
}
