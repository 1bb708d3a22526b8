/**
 * Runs a program that the kernel may keep for ever, where no signal reaches it: at the deadline, or when told to give up, it is
 * killed as far as that goes and left to itself. Costs the daemon no thread, and its own end does not wait for it. Output is capped.
 */
import { type ChildProcess, spawn } from 'node:child_process';

export interface AbandonOptions {
  readonly stdin?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly deadlineMs: number;
  readonly signal: AbortSignal;
}

export interface Ended {
  /** Null when a signal ended it. */
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The deadline is over, and it has not ended. */
export class Abandoned extends Error {
  override readonly name = 'Abandoned';
  /** What it had said. */
  readonly stdout: string;
  /** When it is gone after all. */
  readonly ended: Promise<void>;

  constructor(program: string, stdout: string, ended: Promise<void>) {
    super(`${program} did not end in time, and was left to itself`);
    this.stdout = stdout;
    this.ended = ended;
  }
}

const maxOutputChars = 1024 * 1024;

/** Whatever the exit code. Throws `Abandoned`, the signal's reason, or why it could not be started. */
export async function runOrAbandon(
  program: string,
  args: readonly string[],
  { stdin, env = {}, deadlineMs, signal }: AbandonOptions,
): Promise<Ended> {
  signal.throwIfAborted();
  const child = spawn(program, args, {
    // A signal to the daemon's own group is none of its business.
    detached: true,
    env: { PATH: process.env['PATH'], LC_ALL: 'C', ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  // Judged by how it ends.
  child.stdin.on('error', () => undefined);
  child.stdin.end(stdin);
  const [stdout, stderr] = [kept(child.stdout), kept(child.stderr)];
  const { promise, resolve, reject } = Promise.withResolvers<Ended>();
  const gone = Promise.withResolvers<void>();
  child.once('error', (error) => {
    reject(error);
    gone.resolve();
  });
  child.once('close', (exitCode) => {
    resolve({ exitCode, stdout: stdout(), stderr: stderr() });
    gone.resolve();
  });
  const onDeadline = (): void => {
    reject(new Abandoned(program, stdout(), gone.promise));
    abandon(child);
  };
  const onAbort = (): void => {
    reject(signal.reason);
    abandon(child);
  };
  const timer = setTimeout(onDeadline, deadlineMs);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
  }
}

function kept(stream: NodeJS.ReadableStream): () => string {
  let text = '';
  stream.setEncoding('utf8').on('data', (more: string) => {
    text = `${text}${more}`.slice(0, maxOutputChars);
  });
  return () => text;
}

function abandon(child: ChildProcess): void {
  child.kill('SIGKILL');
  child.unref();
  for (const stream of [child.stdout, child.stderr]) if (stream !== null && 'unref' in stream) unref(stream);
}

/** Pipes to a child are sockets, which keep the daemon alive. */
function unref(stream: { unref: unknown }): void {
  if (typeof stream.unref === 'function') stream.unref();
}
