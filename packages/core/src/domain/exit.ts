/** Why a guest ended, in the words people are shown, and whether it is to be started again. Pure. */
import type { InstanceExit, InstanceSpec } from '@wirt/api';
import type { GuestExit } from './guest.ts';

export interface ExitFacts {
  readonly at: string;
  readonly exit: GuestExit;
  /** Processes of its control group that the kernel killed for memory. */
  readonly oomKills: number;
  readonly memoryMib: number;
  /** What Wirt itself was asked to do with it. */
  readonly asked?: 'stop' | 'force';
}

/** Whether the reason is a failure: the state is then `crashed`, and not `stopped`. */
export function isFailure(reason: InstanceExit['reason']): boolean {
  switch (reason) {
    case 'guest-shutdown':
    case 'stopped':
    case 'killed':
      return false;
    case 'oom':
    case 'signal':
    case 'error':
    case 'lost':
      return true;
  }
}

export function explainExit(facts: ExitFacts): InstanceExit {
  const { at, exit } = facts;
  const { process, lastLine } = exit;
  const said = lastLine === '' ? '' : ` QEMU’s last line: ${lastLine}`;
  if (facts.asked === 'stop') return { at, reason: 'stopped', message: 'Powered off by the guest as asked.' };
  if (facts.asked === 'force') return { at, reason: 'killed', message: 'Ended by force as asked.' };
  if (process.kind === 'signalled' && process.signal === 'SIGKILL' && facts.oomKills > 0) {
    const message = `The kernel killed QEMU because memory ran out (the guest has ${facts.memoryMib} MiB).`;
    return { at, reason: 'oom', signal: process.signal, message };
  }
  if (exit.shutdownReason === 'guest-panic') return panic(at, process, 'and did not restart by itself');
  if (exit.shutdownReason === 'guest-panic-loop') return panic(at, process, 'again and again');
  switch (process.kind) {
    case 'lost':
      return { at, reason: 'lost', message: `QEMU ended while nobody was watching.${said}` };
    case 'signalled':
      return {
        at,
        reason: 'signal',
        signal: process.signal,
        message: `QEMU was ended by ${process.signal}.${said}`,
      };
    case 'exited':
      return explainStatus(at, process.code, exit.shutdownReason, said);
  }
}

function panic(at: string, process: GuestExit['process'], how: string): InstanceExit {
  const code = process.kind === 'exited' ? { code: process.code } : {};
  const message = `The guest’s kernel panicked, ${how}.`;
  return { at, reason: 'error', ...code, message };
}

/** QEMU exits with 0 after any orderly shutdown; only the SHUTDOWN event's reason tells who asked (QAPI ShutdownCause). */
function explainStatus(at: string, code: number, reason: string | undefined, said: string): InstanceExit {
  if (code !== 0)
    return { at, reason: 'error', code, message: `QEMU failed with exit status ${code}.${said}` };
  if (reason === 'host-signal') {
    return {
      at,
      reason: 'signal',
      code,
      message: `QEMU was asked to end by a signal from outside Wirt.${said}`,
    };
  }
  return { at, reason: 'guest-shutdown', code, message: 'Powered off from inside the guest.' };
}

const firstBackOffMs = 1_000;
const lastBackOffMs = 300_000;
/** A run at least this long ends the row of restarts, so that its next failure is retried at once again. */
export const steadyRunMs = 60_000;

/** How long to wait before restart number `row` (from 0): 1 s, doubling, to 5 min. */
export function backOffMs(row: number): number {
  return Math.min(firstBackOffMs * 2 ** Math.min(row, 20), lastBackOffMs);
}

/** Whether the policy starts a guest again that ended by itself for `reason`. */
export function restarts(policy: InstanceSpec['restart'], reason: InstanceExit['reason']): boolean {
  switch (policy) {
    case 'never':
      return false;
    case 'on-failure':
      return isFailure(reason);
    case 'always':
      return reason !== 'stopped' && reason !== 'killed';
  }
}
