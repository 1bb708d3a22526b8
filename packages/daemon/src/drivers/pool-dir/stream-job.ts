/**
 * Runs QEMU's storage daemon for one job, `block-stream`: what a running guest's QEMU does, without a guest. It talks QMP on its
 * standard input and output, and is gone when this returns or throws; until the job ends the image reads as before, whenever
 * it is killed. Source: QEMU docs/tools/qemu-storage-daemon, qapi/block-core.json.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import type { DiskSource } from '@wirt/core';
import { createLineSplitter } from '@wirt/qemu';
import { namedNodes, nodeName } from './nodes.ts';

export interface StreamJob {
  readonly binary: string;
  /** Words before the program that confine it; the last one execs it. */
  readonly launcher: readonly string[];
  readonly chain: DiskSource;
  /** How many layers stay under the last one. */
  readonly baseLayers: number;
  /** What the header is to name, for people who open the image by hand. */
  readonly backingFile: string | undefined;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  onProgress(doneBytes: number, totalBytes: number): void;
}

/** The storage daemon refused or failed; the message is its own. */
export class StreamJobError extends Error {
  override readonly name = 'StreamJobError';
}

type Program = ChildProcessByStdio<Writable, Readable, Readable>;

interface Message {
  readonly id?: unknown;
  readonly event?: unknown;
  readonly error?: { readonly desc?: unknown };
  readonly return?: unknown;
  readonly data?: { readonly error?: unknown; readonly len?: unknown };
}

const JOB = 'pull';
const MAX_LINE_BYTES = 1 << 20;
const KEPT_STDERR_CHARS = 16_384;
const PROGRESS_EVERY_MS = 250;
/** It stops the job and closes its images at SIGTERM. */
const DYING_MS = 5_000;

/** Throws StreamJobError, the error of a program that cannot be started, or the signal's reason. */
export async function runStreamJob(job: StreamJob): Promise<void> {
  job.signal.throwIfAborted();
  const [program = job.binary, ...words] = [...job.launcher, job.binary, ...programArguments(job.chain)];
  const child = spawn(program, words, { stdio: ['pipe', 'pipe', 'pipe'], env: environment() });
  const ended = endOf(child);
  const state: { done: boolean; failure?: { readonly error: unknown }; dying?: NodeJS.Timeout } = {
    done: false,
  };
  const fail = (error: unknown): void => {
    if (state.failure !== undefined) return;
    state.failure = { error };
    // It then calls the job off and writes down what that has allocated.
    child.kill('SIGTERM');
    state.dying = setTimeout(() => child.kill('SIGKILL'), DYING_MS);
  };
  const finish = (): void => {
    state.done = true;
    // Its tables are on disk only once it has closed the image: it is given all the time that is left.
    send(child, 'quit', {});
  };
  const onAbort = (): void => fail(job.signal.reason);
  const late = new StreamJobError(`It was not done within ${job.timeoutMs} ms.`);
  const deadline = setTimeout(() => fail(late), job.timeoutMs);
  const ticker = setInterval(() => send(child, 'query-jobs', {}), PROGRESS_EVERY_MS);
  job.signal.addEventListener('abort', onAbort, { once: true });
  try {
    converse(child, job, { finish, fail });
    const { exitCode, stderr } = await ended;
    if (state.failure !== undefined) throw state.failure.error;
    if (!state.done || exitCode !== 0)
      throw new StreamJobError(lastLine(stderr) ?? 'It ended before its job did.');
  } finally {
    clearTimeout(deadline);
    clearTimeout(state.dying);
    clearInterval(ticker);
    job.signal.removeEventListener('abort', onAbort);
  }
}

/** Rejects when it cannot be started. */
function endOf(child: Program): Promise<{ readonly exitCode: number | null; readonly stderr: string }> {
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(-KEPT_STDERR_CHARS);
  });
  return new Promise((resolve, reject) => {
    child.once('error', (error) => {
      if (child.pid === undefined) reject(error);
    });
    child.once('close', (exitCode) => resolve({ exitCode, stderr }));
  });
}

/** Nothing of the daemon's but what finding programs takes, and a user's systemd, where that confines. */
function environment(): Record<string, string> {
  const kept = ['PATH', 'XDG_RUNTIME_DIR', 'DBUS_SESSION_BUS_ADDRESS'].flatMap((name) => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return { ...Object.fromEntries(kept), LC_ALL: 'C' };
}

function programArguments(chain: DiskSource): string[] {
  return [
    ...namedNodes(chain).flatMap((node) => ['--blockdev', JSON.stringify(node)]),
    ...['--chardev', 'stdio,id=control', '--monitor', 'chardev=control,mode=control'],
  ];
}

interface Outcome {
  finish(): void;
  fail(error: unknown): void;
}

/** From the greeting to the end of the job. */
function converse(child: Program, job: StreamJob, { finish, fail }: Outcome): void {
  const onLine = (line: string): void => {
    const message: Message = JSON.parse(line);
    const { id, event, error, data } = message;
    if (error !== undefined && id !== 'query-jobs') fail(new StreamJobError(textOf(error.desc)));
    else if ('QMP' in message) start(child, job);
    else if (id === 'query-jobs') report(message.return, job);
    else if (event === 'BLOCK_JOB_COMPLETED' && data?.error !== undefined)
      fail(new StreamJobError(textOf(data.error)));
    else if (event === 'BLOCK_JOB_COMPLETED') {
      if (typeof data?.len === 'number') job.onProgress(data.len, data.len);
      finish();
    } else if (event === 'BLOCK_JOB_CANCELLED') fail(new StreamJobError('The job was called off.'));
  };
  const lines = createLineSplitter({ maxLineBytes: MAX_LINE_BYTES, onLine });
  child.stdout.on('data', (chunk: Buffer) => {
    try {
      lines.push(chunk);
    } catch (error) {
      fail(error);
    }
  });
  // It may be gone at any moment, which its end tells.
  child.stdin.on('error', () => undefined);
}

function start(child: Program, { chain, baseLayers, backingFile }: StreamJob): void {
  send(child, 'qmp_capabilities', {});
  send(child, 'block-stream', {
    'job-id': JOB,
    device: nodeName(chain.layers.length - 1),
    ...(baseLayers === 0
      ? {}
      : {
          'base-node': nodeName(baseLayers - 1),
          ...(backingFile === undefined ? {} : { 'backing-file': backingFile }),
        }),
  });
}

function report(jobs: unknown, { onProgress }: StreamJob): void {
  const [job]: unknown[] = Array.isArray(jobs) ? jobs : [];
  if (typeof job !== 'object' || job === null) return;
  const { 'current-progress': done, 'total-progress': total }: Record<string, unknown> = { ...job };
  if (typeof done === 'number' && typeof total === 'number' && total > 0) onProgress(done, total);
}

function send({ stdin }: Program, execute: string, args: BlockArguments): void {
  if (stdin.writable) stdin.write(`${JSON.stringify({ execute, arguments: args, id: execute })}\n`);
}

type BlockArguments = Readonly<Record<string, unknown>>;

function textOf(words: unknown): string {
  return typeof words === 'string' ? words : JSON.stringify(words);
}

function lastLine(text: string): string | undefined {
  return text
    .split('\n')
    .map((line) => line.trim())
    .findLast((line) => line !== '');
}
