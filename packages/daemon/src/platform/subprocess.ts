// Runs one program to its end: arguments as an array and never through a shell, in a process group of its own,
// with a deadline, an abort signal and a cap on the bytes kept of each output. When the promise settles, the
// program and what it left in its group are gone. What is meant to outlive the daemon is not started here.
import { type ChildProcess, spawn } from 'node:child_process';
import { createLineReader } from './line-reader.ts';

export interface ProgramOptions {
  /** The whole environment. Default: the daemon's own, with `LC_ALL=C.UTF-8`, so that messages can be read. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Written to standard input, which is then closed. Default: standard input is empty. */
  readonly stdin?: string | Uint8Array;
  /** From start to exit. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  /** Between SIGTERM and SIGKILL after an abort or at the deadline. Default 2000. */
  readonly killGraceMs?: number;
  /** Bytes kept; what comes after them is read and dropped, so that the program does not block. Default 1 MiB. */
  readonly maxStdoutBytes?: number;
  /** Bytes kept of standard error. Default 64 KiB. */
  readonly maxStderrBytes?: number;
  /** Called for every line as it comes, however much is kept. What it throws ends the program and is thrown on. */
  onLine?(line: string, stream: 'stdout' | 'stderr'): void;
}

export interface ProgramResult {
  /** Null when a signal ended the program. */
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  /** The bytes of `stdout`, for what is not text. */
  readonly stdoutBytes: Buffer;
  /** More came than was kept. */
  readonly truncated: boolean;
}

/** `not-started`: missing or not executable (`cause` has the errno); `failed`: see `result`, only from `runToSuccess`. */
export type SubprocessFailure = 'not-started' | 'timed-out' | 'aborted' | 'failed';

export class SubprocessError extends Error {
  override readonly name = 'SubprocessError';
  readonly failure: SubprocessFailure;
  readonly program: string;
  /** What the program had said; undefined when it never ran. */
  readonly result: ProgramResult | undefined;

  constructor(
    failure: SubprocessFailure,
    program: string,
    message: string,
    options: { result?: ProgramResult; cause?: unknown } = {},
  ) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined);
    this.failure = failure;
    this.program = program;
    this.result = options.result;
  }

  /** The program is not installed (as opposed to: not executable, no such working directory). */
  get isMissing(): boolean {
    return (
      this.failure === 'not-started' && (this.cause as NodeJS.ErrnoException | undefined)?.code === 'ENOENT'
    );
  }
}

const defaultGraceMs = 2_000;
const defaultMaxStdoutBytes = 1024 * 1024;
const defaultMaxStderrBytes = 64 * 1024;

/** Runs to the end, whatever the exit code. Throws `SubprocessError` when not started, timed out or aborted. */
export async function runProgram(
  program: string,
  args: readonly string[],
  options: ProgramOptions,
): Promise<ProgramResult> {
  if (options.signal?.aborted) throw abortedError(program, options.signal);
  const child = spawn(program, args, {
    // A group of its own, so that helpers the program starts get the same signals.
    detached: true,
    shell: false,
    env: options.env ?? { ...process.env, LC_ALL: 'C.UTF-8' },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    stdio: [options.stdin === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
  });
  return await supervise(child, program, options);
}

/** As `runProgram`, and an exit code other than 0 or a signal throws `failed` with the last line of standard error. */
export async function runToSuccess(
  program: string,
  args: readonly string[],
  options: ProgramOptions,
): Promise<ProgramResult> {
  const result = await runProgram(program, args, options);
  if (result.exitCode === 0) return result;
  const how = result.signal === null ? `exited with ${result.exitCode}` : `was ended by ${result.signal}`;
  const said = lastLine(result.stderr) ?? lastLine(result.stdout);
  throw new SubprocessError('failed', program, `${program} ${how}${said === undefined ? '.' : `: ${said}`}`, {
    result,
  });
}

function supervise(child: ChildProcess, program: string, options: ProgramOptions): Promise<ProgramResult> {
  const { promise, resolve, reject } = Promise.withResolvers<ProgramResult>();
  const ending = createEnding(child, options.killGraceMs ?? defaultGraceMs);

  const onLine = (stream: 'stdout' | 'stderr') => (line: string) => {
    if (ending.error !== undefined) return;
    try {
      options.onLine?.(line, stream);
    } catch (error) {
      ending.begin(() => error);
    }
  };
  const kept = {
    stdout: keep(
      child.stdout,
      options.maxStdoutBytes ?? defaultMaxStdoutBytes,
      options.onLine && onLine('stdout'),
    ),
    stderr: keep(
      child.stderr,
      options.maxStderrBytes ?? defaultMaxStderrBytes,
      options.onLine && onLine('stderr'),
    ),
  };

  const onDeadline = (): void => ending.begin((result) => timedOutError(program, options.timeoutMs, result));
  const onAbort = (): void => ending.begin((result) => abortedError(program, options.signal, result));
  const deadline = setTimeout(onDeadline, options.timeoutMs);
  options.signal?.addEventListener('abort', onAbort, { once: true });
  const release = (): void => {
    clearTimeout(deadline);
    ending.release();
    options.signal?.removeEventListener('abort', onAbort);
  };

  // `exit` comes before `close` when somebody in the group still holds an output.
  child.once('exit', ending.killAfterGrace);
  child.once('error', (cause: Error) => {
    if (child.pid !== undefined) return;
    release();
    reject(new SubprocessError('not-started', program, `${program} could not be started.`, { cause }));
  });
  child.once('close', (exitCode, signal) => {
    release();
    // Members of the group that closed their outputs are not left behind either.
    signalGroup(child, 'SIGKILL');
    const result = toResult(exitCode, signal, kept);
    if (ending.error === undefined) resolve(result);
    else reject(ending.error(result));
  });
  // A program that does not read its input, or is gone, is judged by its exit code and not by our EPIPE.
  child.stdin?.on('error', () => undefined);
  child.stdin?.end(options.stdin);
  return promise;
}

type ErrorOf = (result: ProgramResult) => unknown;

/** Ends the group: SIGTERM at the first reason, which is remembered, and SIGKILL after the grace. */
function createEnding(child: ChildProcess, graceMs: number) {
  let error: ErrorOf | undefined;
  let timer: NodeJS.Timeout | undefined;

  const killAfterGrace = (): void => {
    timer ??= setTimeout(() => {
      signalGroup(child, 'SIGKILL');
      // A grandchild that left the group may still hold the pipes; nobody reads them any more.
      child.stdout?.destroy();
      child.stderr?.destroy();
    }, graceMs);
  };
  return {
    get error() {
      return error;
    },
    begin(reason: ErrorOf): void {
      if (error !== undefined) return;
      error = reason;
      signalGroup(child, 'SIGTERM');
      killAfterGrace();
    },
    killAfterGrace,
    release: () => clearTimeout(timer),
  };
}

interface KeptBytes {
  bytes(): Buffer;
  truncated(): boolean;
}

function toResult(
  exitCode: number | null,
  signal: NodeJS.Signals | null,
  kept: { readonly stdout: KeptBytes; readonly stderr: KeptBytes },
): ProgramResult {
  const stdoutBytes = kept.stdout.bytes();
  return {
    exitCode,
    signal,
    stdout: stdoutBytes.toString('utf8'),
    stderr: kept.stderr.bytes().toString('utf8'),
    stdoutBytes,
    truncated: kept.stdout.truncated() || kept.stderr.truncated(),
  };
}

function keep(
  stream: NodeJS.ReadableStream | null,
  maxBytes: number,
  onLine: ((line: string) => void) | undefined,
): KeptBytes {
  const chunks: Buffer[] = [];
  const lines = onLine && createLineReader(onLine);
  let kept = 0;
  let truncated = false;
  stream?.on('data', (chunk: Buffer) => {
    const piece = chunk.subarray(0, maxBytes - kept);
    if (piece.length > 0) chunks.push(piece);
    kept += piece.length;
    truncated ||= piece.length < chunk.length;
    lines?.push(chunk);
  });
  stream?.on('end', () => lines?.end());
  return { bytes: () => Buffer.concat(chunks), truncated: () => truncated };
}

function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch {
    // ESRCH: the whole group is gone, which is what was wanted.
  }
}

function timedOutError(program: string, timeoutMs: number, result: ProgramResult): SubprocessError {
  const message = `${program} did not end within ${timeoutMs} ms.`;
  return new SubprocessError('timed-out', program, message, { result });
}

function abortedError(
  program: string,
  signal: AbortSignal | undefined,
  result?: ProgramResult,
): SubprocessError {
  return new SubprocessError('aborted', program, `${program} was stopped because the work was cancelled.`, {
    cause: signal?.reason,
    ...(result === undefined ? {} : { result }),
  });
}

function lastLine(text: string): string | undefined {
  return text
    .split('\n')
    .map((line) => line.trim())
    .findLast((line) => line !== '');
}
