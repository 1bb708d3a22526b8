/**
 * Runs qemu-img once: argument array, plain environment, no standard input, capped output, a deadline, an AbortSignal.
 * When it returns or throws, the process and its group are gone (or, after five seconds of not dying, given up).
 */

import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { startDeadline } from '../deadline.ts';
import { QemuImgOutputError, QemuImgTimeout, QemuImgUnavailable } from './errors.ts';

export interface QemuImgRunner {
  /** Name or path of the program. Default `qemu-img`. */
  binary?: string | undefined;
  /**
   * Words before the program: what limits or confines it, e.g. `['prlimit', '--cpu=30', '--as=2000000000', '--']`.
   * Advisable for images of strangers. It must exec the program, so that killing it kills qemu-img.
   */
  launcher?: readonly string[] | undefined;
  /**
   * Open files that it inherits as its descriptors 3, 4, ... What it names as `/proc/self/fd/3` is that very file, under
   * whatever name, in whatever folder.
   */
  descriptors?: readonly number[] | undefined;
  /** The whole environment. Default: `PATH`, and messages in English. */
  env?: Readonly<Record<string, string | undefined>> | undefined;
}

export interface QemuImgRunOptions extends QemuImgRunner {
  subcommand: string;
  args: readonly string[];
  timeoutMs: number;
  signal?: AbortSignal | undefined;
  /** Gets the output piece by piece instead of it being kept. */
  onStdout?: ((text: string) => void) | undefined;
}

export interface QemuImgEnd {
  exitCode: number | null;
  signal: string | null;
  stdout: string;
  stderr: string;
}

const MAX_STDOUT_BYTES = 16 * 1024 * 1024;
const KEPT_STDERR_CHARS = 64 * 1024;
const DYING_MS = 5000;
const LEAVING_MS = 1000;
const LEAVING_POLL_MS = 5;

export async function runQemuImg(options: QemuImgRunOptions): Promise<QemuImgEnd> {
  const {
    subcommand,
    args,
    timeoutMs,
    signal,
    launcher = [],
    binary = 'qemu-img',
    descriptors = [],
  } = options;
  signal?.throwIfAborted();
  const [program = binary, ...words] = [...launcher, binary, subcommand, ...args];
  // The cast: the types know three descriptors; how the first three are opened is said here.
  const child = spawn(program, words, {
    stdio: ['ignore', 'pipe', 'pipe', ...descriptors],
    env: options.env ?? { PATH: process.env['PATH'], LC_ALL: 'C' },
    // A group of its own, so that nothing that it has started stays.
    detached: true,
  }) as ChildProcessByStdio<null, Readable, Readable>;
  const { promise, resolve, reject } = Promise.withResolvers<QemuImgEnd>();
  let failure: { error: unknown } | undefined;
  let dying: NodeJS.Timeout | undefined;
  const kill = (error: unknown): void => {
    if (failure) return;
    failure = { error };
    killGroup(child);
    dying = setTimeout(() => {
      child.stdout.destroy();
      child.stderr.destroy();
      child.unref();
      reject(error);
    }, DYING_MS);
  };
  const stop = startDeadline(timeoutMs, signal, (reason) =>
    kill(
      reason === 'timeout'
        ? new QemuImgTimeout(subcommand, `not done within ${timeoutMs} ms`)
        : signal?.reason,
    ),
  );
  const output = collectOutput(child, options, kill);
  child.on('error', (cause) => {
    failure ??= { error: new QemuImgUnavailable(subcommand, `cannot start ${program}`, { cause }) };
  });
  child.on('close', (exitCode, signalName) => {
    void endGroup(child).then(() => {
      if (failure) reject(failure.error);
      else resolve({ exitCode, signal: signalName, ...output() });
    });
  });
  try {
    return await promise;
  } finally {
    stop();
    clearTimeout(dying);
  }
}

/** False when nobody of it is left. */
function killGroup({ pid }: { readonly pid?: number | undefined }): boolean {
  if (pid === undefined) return false;
  try {
    process.kill(-pid, 'SIGKILL');
    return true;
  } catch {
    return false;
  }
}

/** What is killed may still be in the middle of a write; what is dead but not taken away by its parent is not waited for long. */
async function endGroup(child: { readonly pid?: number | undefined }): Promise<void> {
  const until = performance.now() + LEAVING_MS;
  while (killGroup(child) && performance.now() < until) await sleep(LEAVING_POLL_MS);
}

function collectOutput(
  child: ChildProcessByStdio<null, Readable, Readable>,
  { subcommand, onStdout }: QemuImgRunOptions,
  kill: (error: unknown) => void,
): () => { stdout: string; stderr: string } {
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    if (onStdout) {
      try {
        onStdout(text);
      } catch (error) {
        kill(error);
      }
    } else if (stdout.length + text.length > MAX_STDOUT_BYTES) {
      kill(new QemuImgOutputError(subcommand, `it wrote over ${MAX_STDOUT_BYTES} bytes`));
    } else {
      stdout += text;
    }
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(-KEPT_STDERR_CHARS);
  });
  return () => ({ stdout, stderr });
}
