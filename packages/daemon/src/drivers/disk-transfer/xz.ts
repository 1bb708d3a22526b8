/** `xz -dc`, confined, with the file as its standard input and what it unpacks as it comes. Ended when the iteration ends. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { WirtError } from '@wirt/api';
import type { CopyWork } from '@wirt/core';
import { confinedLauncher } from '../../platform/confined.ts';
import { hasErrno } from '../../platform/fs-error.ts';
import { deadlineMs } from './deadline.ts';
import type { OpenedFile } from './regular-file.ts';

const MEMORY_BYTES = 1024 ** 3;
const KEPT_STDERR_CHARS = 4096;
const words = [
  'xz',
  '--decompress',
  '--stdout',
  '--quiet',
  '--threads=0',
  `--memlimit-decompress=${MEMORY_BYTES}`,
];

export async function* unxz(file: OpenedFile, { confinement, signal }: CopyWork): AsyncGenerator<Buffer> {
  // Compressed bytes say little of how long it takes.
  const timeoutMs = deadlineMs(file.sizeBytes * 20);
  const limits = { addressSpaceBytes: 2 * MEMORY_BYTES, cpuSeconds: timeoutMs / 1000, fileBytes: 0 };
  const [program = 'sh', ...args] = [...confinedLauncher(confinement, limits), ...words];
  const child = spawn(program, args, {
    stdio: [file.handle.fd, 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'], LC_ALL: 'C' },
    signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
    killSignal: 'SIGKILL',
  });
  const ended = once(child, 'close');
  ended.catch(() => {});
  let said = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-KEPT_STDERR_CHARS);
  });
  try {
    // Its type allows for no output; it has one, as said above.
    yield* child.stdout as AsyncIterable<Buffer>;
    const [exitCode, signalName] = await ended;
    if (exitCode === 0) return;
    if (exitCode === 127) throw toolMissing();
    throw new Error(said.trim().split('\n').at(-1) || `xz ended with ${exitCode ?? signalName}`);
  } catch (error) {
    throw hasErrno(error, 'ENOENT') ? toolMissing() : error;
  } finally {
    child.kill('SIGKILL');
    await ended.catch(() => {});
  }
}

function toolMissing(): WirtError {
  return new WirtError('host.tool_missing', 'xz is needed to unpack the file, and is not installed.', {
    hint: 'Install it: apt install xz-utils',
  });
}
