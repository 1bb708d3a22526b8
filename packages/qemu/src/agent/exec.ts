/**
 * Runs a program in the guest through its agent: argument array, environment, standard input, captured output. No
 * shell is involved. The agent buffers all output until the program ends, and cannot stop a program: at the deadline
 * or on abort the caller is freed, and the program goes on in the guest.
 * Source: QEMU docs/interop/qemu-ga-ref (guest-exec, guest-exec-status).
 */

import { setTimeout as delay } from 'node:timers/promises';
import type { AgentConnection } from './connection.ts';
import { AgentTimeout, AgentTooLarge } from './errors.ts';
import { answerOf } from './shape.ts';

export interface AgentExecOptions {
  /** Program and arguments. The program is looked up in the agent's PATH unless it is an absolute path. */
  argv: readonly [program: string, ...args: string[]];
  /** The program's whole environment; without it, the agent's own. */
  env?: Readonly<Record<string, string>> | undefined;
  stdin?: Uint8Array | undefined;
  /** For the whole run. */
  timeoutMs: number;
  signal?: AbortSignal | undefined;
  /** For each of stdout and stderr. Default and most that an agent holds: 16 MiB. */
  maxOutputBytes?: number | undefined;
}

export interface AgentExecResult {
  /** Undefined when a signal ended the program. */
  exitCode: number | undefined;
  /** The signal's number, or on Windows the exception's code. */
  signal: number | undefined;
  stdout: Buffer;
  stderr: Buffer;
  /** The agent dropped what was over its own limit. */
  truncated: boolean;
}

const MAX_OUTPUT_BYTES = 16 * 1024 * 1024;
const MAX_STDIN_BYTES = 16 * 1024 * 1024;
const FIRST_PAUSE_MS = 5;
const LONGEST_PAUSE_MS = 250;

/** @throws AgentError (no such program, ...), AgentTimeout, AgentTooLarge, and what `AgentConnection.execute` throws. */
export async function agentExec(agent: AgentConnection, options: AgentExecOptions): Promise<AgentExecResult> {
  const { argv, env, stdin, signal, timeoutMs, maxOutputBytes = MAX_OUTPUT_BYTES } = options;
  const [path, ...arg] = argv;
  if (stdin && stdin.length > MAX_STDIN_BYTES) {
    throw new AgentTooLarge(`guest-exec: the standard input is over ${MAX_STDIN_BYTES} bytes`);
  }
  const deadline = performance.now() + timeoutMs;
  const call = (command: string, args: object, maxReplyBytes?: number): Promise<unknown> => {
    const remainingMs = deadline - performance.now();
    if (remainingMs <= 0) throw new AgentTimeout(`guest-exec ${path}`, timeoutMs);
    return agent.execute(command, args, { timeoutMs: remainingMs, signal, maxReplyBytes });
  };
  const started = await call('guest-exec', {
    path,
    arg,
    ...(env && { env: Object.entries(env).map(([name, value]) => `${name}=${value}`) }),
    ...(stdin && { 'input-data': Buffer.from(stdin).toString('base64') }),
    'capture-output': true,
  });
  const shape = answerOf('guest-exec');
  const pid = shape.count(shape.object(started), 'pid');
  // Two streams in base64, and room for the rest of the answer.
  const maxReplyBytes = 4096 + 2 * 4 * Math.ceil(maxOutputBytes / 3);
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
    const result = readStatus(await call('guest-exec-status', { pid }, maxReplyBytes), maxOutputBytes);
    if (result) return result;
    await pause(Math.min(pauseMs, Math.max(0, deadline - performance.now())), signal);
  }
}

/** The result of a program that has ended. */
function readStatus(answer: unknown, maxOutputBytes: number): AgentExecResult | undefined {
  const shape = answerOf('guest-exec-status');
  const status = shape.object(answer);
  if (!shape.boolean(status, 'exited')) return undefined;
  const stdout = shape.base64(status, 'out-data');
  const stderr = shape.base64(status, 'err-data');
  if (Math.max(stdout.length, stderr.length) > maxOutputBytes) {
    throw new AgentTooLarge(`guest-exec-status: the output is over ${maxOutputBytes} bytes`);
  }
  return {
    exitCode: shape.optionalCount(status, 'exitcode'),
    signal: shape.optionalCount(status, 'signal'),
    stdout,
    stderr,
    truncated:
      shape.optionalBoolean(status, 'out-truncated') || shape.optionalBoolean(status, 'err-truncated'),
  };
}

async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await delay(ms, undefined, signal && { signal });
  } catch (error) {
    signal?.throwIfAborted(); // its own reason instead of the timer's AbortError
    throw error;
  }
}
