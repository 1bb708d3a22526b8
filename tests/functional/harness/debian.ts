// Debian guests through the command `wirt` alone: what a person types, and what the guest says.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from './storage.ts';
import { wirt } from './wirt.ts';

/** Boots under software emulation on a machine that others load, too. */
export const bootSeconds = 900;

export interface SshKey {
  readonly private: string;
  readonly public: string;
}

export async function makeSshKey(folder: string): Promise<SshKey> {
  await mkdir(folder, { recursive: true });
  const path = join(folder, 'id_ed25519');
  await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'test', '-f', path]);
  return { private: path, public: `${path}.pub` };
}

export interface Cli {
  /** Standard output of `wirt` with these arguments, which must end with 0. */
  wirt(args: readonly string[], input?: string): Promise<string>;
  /** The record that `wirt … --output json` prints. */
  record<T>(...args: string[]): Promise<T>;
  /** Runs the script in the guest, which must end with 0; gives what it wrote, without the last line's end. */
  sh(guest: string, script: string, input?: string): Promise<string>;
}

/** `under`: words before the command, such as nsenter with its arguments. */
export function cliOf(socket: string, under: readonly string[] = []): Cli {
  const cli: Cli = {
    async wirt(args, input) {
      const result = await wirt(socket, args, input, (bootSeconds + 60) * 1000, under);
      if (result.exitCode === 0) return result.stdout;
      throw new Error(
        `wirt ${args.join(' ')} ended with ${result.exitCode}: ${result.stderr}${result.stdout}`,
      );
    },
    record: async <T>(...args: string[]) => JSON.parse(await cli.wirt([...args, '--output', 'json'])) as T,
    async sh(guest, script, input) {
      const stdin = input === undefined ? [] : ['--stdin'];
      const command = ['--', 'sh', '-ec', script];
      return (
        await cli.wirt(['exec', guest, '--timeout', '120', ...stdin, ...command], input ?? '')
      ).trimEnd();
    },
  };
  return cli;
}

/** Reads the guest's serial console from its beginning until it says that. */
export async function consoleSays(
  response: Promise<Response>,
  wanted: RegExp,
  timeoutMs: number,
): Promise<string> {
  const reader = ((await response).body ?? new ReadableStream<Uint8Array>()).getReader();
  const late = AbortSignal.timeout(timeoutMs);
  late.addEventListener('abort', () => void reader.cancel(late.reason).catch(() => undefined));
  const decoder = new TextDecoder();
  let said = '';
  try {
    while (!wanted.test(said)) {
      const { done, value } = await reader.read();
      if (done) throw new Error(`the console never said ${wanted}: ${said.slice(-500)}`);
      said += decoder.decode(value, { stream: true });
    }
    return said;
  } finally {
    await reader.cancel();
  }
}
