// systemctl, of the manager that has this daemon's guests.
import { runProgram } from '../../platform/subprocess.ts';

export type Systemctl = (
  args: readonly string[],
  signal?: AbortSignal,
) => Promise<{ readonly exitCode: number | null; readonly stdout: string; readonly stderr: string }>;

const timeoutMs = 10_000;

/** An ordinary user's guests are in the scopes of the user's own manager. */
export const runSystemctl: Systemctl = (args, signal) => {
  const manager = process.geteuid?.() === 0 ? [] : ['--user'];
  return runProgram('systemctl', [...manager, '--no-pager', ...args], {
    timeoutMs,
    ...(signal === undefined ? {} : { signal }),
  });
};
