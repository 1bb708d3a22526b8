// The command `wirt`, run as a person runs it.
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';

export interface WirtResult {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export async function wirt(
  socket: string,
  args: readonly string[],
  input?: string,
  timeoutMs = 120_000,
  /** A prefix to the command, such as nsenter with its arguments. */
  under: readonly string[] = [],
): Promise<WirtResult> {
  const [program, ...rest] = [...under, join(import.meta.dirname, '../../../bin/wirt'), ...args] as [
    string,
    ...string[],
  ];
  const child = spawn(program, rest, {
    env: { ...process.env, WIRT_SOCKET: socket, NO_COLOR: '1' },
    signal: AbortSignal.timeout(timeoutMs),
  });
  child.stdin.end(input);
  const exit = new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  const [stdout, stderr, exitCode] = await Promise.all([text(child.stdout), text(child.stderr), exit]);
  return { exitCode, stdout, stderr };
}
