/** Runs `ip` (iproute2): reads what is, and makes many changes by one process that goes on where one of them fails. */
import { runProgram, runToSuccess } from '../../platform/subprocess.ts';
import type { LinkChange } from './link-diff.ts';
import { type LinkState, parseLinks } from './link-state.ts';

const timeoutMs = 60_000;
const maxBytes = 256 * 1024 * 1024;

export async function readLinks(signal: AbortSignal): Promise<Map<string, LinkState>> {
  const [links, addresses] = await Promise.all([
    readIp(['-j', '-d', 'link', 'show'], signal),
    readIp(['-j', 'addr', 'show'], signal),
  ]);
  return parseLinks(links, addresses);
}

export async function readIp(args: readonly string[], signal: AbortSignal): Promise<string> {
  const { stdout } = await runToSuccess('ip', args, { timeoutMs, signal, maxStdoutBytes: maxBytes });
  return stdout;
}

export interface FailedChange {
  readonly change: LinkChange;
  /** In `ip`'s own words. */
  readonly said: string;
}

/** Returns what could not be done. Not cut short by a signal: half of a batch helps nobody, and it takes milliseconds. */
export async function changeLinks(
  changes: readonly LinkChange[],
  program: 'ip' | 'tc' = 'ip',
): Promise<FailedChange[]> {
  if (changes.length === 0) return [];
  for (const { line } of changes)
    if (/[\n\\;]/.test(line)) throw new Error(`'${line}' is not one line of a batch.`);
  const { exitCode, stderr } = await runProgram(program, ['-force', '-batch', '-'], {
    stdin: `${changes.map(({ line }) => line).join('\n')}\n`,
    timeoutMs,
    // All of them may fail, and each says why.
    maxStderrBytes: maxBytes,
  });
  return exitCode === 0 ? [] : failuresIn(stderr, changes);
}

/** `ip` says what is wrong, then `Command failed -:LINE`. */
export function failuresIn(stderr: string, changes: readonly LinkChange[]): FailedChange[] {
  const failed: FailedChange[] = [];
  let words: string[] = [];
  for (const line of stderr.split('\n')) {
    const number = /^Command failed .*:(\d+)$/.exec(line)?.[1];
    if (number === undefined) {
      if (line.trim() !== '') words.push(line.trim());
      continue;
    }
    const change = changes[Number(number) - 1];
    if (change !== undefined) failed.push({ change, said: words.join(' ') || 'ip does not say why.' });
    words = [];
  }
  return failed;
}
