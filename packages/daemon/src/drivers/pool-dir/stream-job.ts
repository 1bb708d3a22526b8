/**
 * Runs QEMU's storage daemon for one job, `block-stream`: what a running guest's QEMU does, without a guest. It talks QMP on its
 * standard input and output, and is gone when this returns or throws; until the job ends the image reads as before, whenever
 * it is killed. Source: QEMU docs/tools/qemu-storage-daemon, qapi/block-core.json.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import type { DiskSource } from '@wirt/core';
import { createLineSplitter } from '@wirt/qemu';
import { fileNodeName, namedNodes, nodeName } from './nodes.ts';

export interface StreamJob {
  readonly binary: string;
  /** Words before the program that confine it; the last one execs it. */
  readonly launcher: readonly string[];
  /** The whole environment. */
  readonly env: Readonly<Record<string, string>>;
  readonly chain: DiskSource;
  /** How many layers stay under the last one. */
  readonly baseLayers: number;
  /** What the header is to name, for people who open the image by hand. */
  readonly backingFile: string | undefined;
  readonly timeoutMs: number;
  /** Between one way of ending it and the next, when it is to end early. Default 5000. */
  readonly dyingMs?: number;
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
/** For which QEMU writes out all that it keeps of the image. */
const FLUSH = 'blockdev-reopen';
const PROGRESS_EVERY_MS = 250;
const DYING_MS = 5_000;

/** Throws StreamJobError, the error of a program that cannot be started, or the signal's reason. */
export async function runStreamJob(job: StreamJob): Promise<void> {
  job.signal.throwIfAborted();
  const { dyingMs = DYING_MS } = job;
  const [program = job.binary, ...words] = [...job.launcher, job.binary, ...programArguments(job.chain)];
  const child = spawn(program, words, { stdio: ['pipe', 'pipe', 'pipe'], env: job.env });
  const ended = endOf(child);
  const abandoned = Promise.withResolvers<never>();
  const state: { done: boolean; failure?: { readonly error: unknown }; dying?: NodeJS.Timeout } = {
    done: false,
  };
  const fail = (error: unknown): void => {
    if (state.failure !== undefined) return;
    state.failure = { error };
    // It then calls the job off and writes down what that has allocated.
    child.kill('SIGTERM');
    state.dying = setTimeout(() => {
      child.kill('SIGKILL');
      // In the middle of a read that never comes back, not even that ends it.
      state.dying = setTimeout(() => {
        child.stdout.destroy();
        child.stderr.destroy();
        child.unref();
        abandoned.reject(error);
      }, dyingMs);
    }, dyingMs);
  };
  const finish = (): void => {
    state.done = true;
    send(child, 'quit', {});
  };
  const onAbort = (): void => fail(job.signal.reason);
  const late = new StreamJobError(`It was not done within ${job.timeoutMs} ms.`);
  const deadline = setTimeout(() => fail(late), job.timeoutMs);
  const ticker = setInterval(() => send(child, 'query-jobs', {}), PROGRESS_EVERY_MS);
  job.signal.addEventListener('abort', onAbort, { once: true });
  try {
    converse(child, job, { finish, fail });
    const { exitCode, stderr } = await Promise.race([ended, abandoned.promise]);
    if (state.failure !== undefined) throw state.failure.error;
    if (!state.done || exitCode !== 0 || /Failed to flush/.test(stderr))
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
      // It keeps the tables in memory. Closing the image writes them out too, but whether that worked it does not say.
      send(child, FLUSH, { options: [flushedNode(job)] });
    } else if (id === FLUSH) finish();
    else if (event === 'BLOCK_JOB_CANCELLED') fail(new StreamJobError('The job was called off.'));
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

/** The last layer as it is now: opened anew, it is written out first. */
function flushedNode({ chain, baseLayers }: StreamJob): Readonly<Record<string, unknown>> {
  const top = chain.layers.length - 1;
  return {
    ...namedNodes(chain)[top],
    file: fileNodeName(top),
    backing: baseLayers === 0 ? null : nodeName(baseLayers - 1),
  };
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
