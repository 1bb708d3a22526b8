/**
 * FOR TESTS ONLY: makes the daemon die, or an action fail, at a named step. `WIRT_FAULT` holds faults separated by commas:
 * `crash:STEP` kills the process as by `kill -9` when STEP is reached, `fail:STEP` makes STEP fail; `#N` behind the step
 * means its Nth time only. Example: `WIRT_FAULT=crash:instance.start/spawn,fail:instance.stop/powerdown#2`. Without the
 * variable nothing happens, ever.
 */
import { WirtError } from '@wirt/api';

interface Fault {
  readonly kind: 'crash' | 'fail';
  readonly step: string;
  /** Undefined: every time. */
  readonly nth: number | undefined;
}

/** Core's port `Faults`. */
export interface InjectedFaults {
  at(step: string): Promise<void>;
}

const NO_FAULTS: InjectedFaults = { at: () => Promise.resolve() };
const SYNTAX = /^(crash|fail):([a-z][a-z0-9_.-]*\/[a-z][a-z0-9_-]*)(?:#([1-9][0-9]{0,5}))?$/;

/** `text` is the value of `WIRT_FAULT`. Throws `daemon.config_invalid` when it is no list of faults. */
export function createFaults(text: string | undefined, die: () => void = killSelf): InjectedFaults {
  if (text === undefined || text === '') return NO_FAULTS;
  const faults = text.split(',').map(parseFault);
  const timesReached = new Map<string, number>();
  return {
    async at(step) {
      const time = (timesReached.get(step) ?? 0) + 1;
      timesReached.set(step, time);
      const fault = faults.find((one) => one.step === step && (one.nth === undefined || one.nth === time));
      switch (fault?.kind) {
        case undefined:
          return;
        case 'fail':
          throw new Error(`injected at ${step}`);
        case 'crash':
          die();
          // Not one instruction of the action more, however long the kernel takes to deliver the signal.
          await new Promise<never>(() => {});
      }
    },
  };
}

function killSelf(): void {
  process.kill(process.pid, 'SIGKILL');
}

function parseFault(text: string): Fault {
  const [, kind, step, nth] = SYNTAX.exec(text) ?? [];
  if ((kind === 'crash' || kind === 'fail') && step !== undefined) {
    return { kind, step, nth: nth === undefined ? undefined : Number(nth) };
  }
  throw new WirtError('daemon.config_invalid', `WIRT_FAULT has a fault that cannot be read: ${text}.`, {
    hint: 'Write crash:STEP or fail:STEP, as in crash:instance.start/spawn#2; unset WIRT_FAULT outside of tests.',
  });
}
