/** Changes of an instance's observed state, and the refusal of what its state does not allow. */
import {
  actionsIn,
  can,
  causeText,
  type Instance,
  type InstanceAction,
  type InstanceExit,
  type InstanceState,
  type InstanceStatus,
  WirtError,
} from '@wirt/api';
import type { Clock } from '../ports/clock.ts';
import type { Guest } from '../ports/hypervisor.ts';

/** The record in `state`; fields of a run are dropped where there is no process. */
export function inState(
  clock: Clock,
  instance: Instance,
  state: InstanceState,
  changes: Partial<InstanceStatus> = {},
): Instance {
  const {
    process: _process,
    accelerator: _accelerator,
    startedAt: _startedAt,
    restartAt: _restartAt,
    ready: _ready,
    notReady: _notReady,
    addresses: _addresses,
    ssh: _ssh,
    limits: _limits,
    run: _run,
    placement: _placement,
    pauseReason: _pauseReason,
    ...kept
  } = instance.status;
  const run = hasProcess(state) ? pick(instance.status) : { agent: false };
  const since = state === instance.status.state ? instance.status.since : clock.now();
  return { ...instance, status: { ...kept, ...run, ...changes, state, since } };
}

function hasProcess(state: InstanceState): boolean {
  switch (state) {
    case 'running':
    case 'paused':
    case 'stopping':
    case 'unresponsive':
      return true;
    case 'stopped':
    case 'starting':
    case 'crashed':
    case 'removing':
      return false;
  }
}

function pick({
  process,
  accelerator,
  startedAt,
  agent,
  ready,
  notReady,
  addresses,
  ssh,
  limits,
  run,
  placement,
}: InstanceStatus): Partial<InstanceStatus> & { agent: boolean } {
  return {
    agent,
    ...(process === undefined ? {} : { process }),
    ...(accelerator === undefined ? {} : { accelerator }),
    ...(startedAt === undefined ? {} : { startedAt }),
    ...(ready === undefined ? {} : { ready }),
    ...(notReady === undefined ? {} : { notReady }),
    ...(addresses === undefined ? {} : { addresses }),
    ...(ssh === undefined ? {} : { ssh }),
    ...(limits === undefined ? {} : { limits }),
    ...(run === undefined ? {} : { run }),
    ...(placement === undefined ? {} : { placement }),
  };
}

/** The state that a guest under control is in. */
export function observedState(guest: Guest): 'running' | 'paused' | 'unresponsive' {
  return guest.state.responsive ? guest.state.processors : 'unresponsive';
}

/** The actions that a refusal offers instead, as commands. */
const commandOf: Partial<Record<InstanceAction, string>> = {
  start: 'start',
  stop: 'stop',
  restart: 'restart',
  reset: 'reset',
  pause: 'pause',
  resume: 'resume',
  remove: 'rm',
  'remove --force': 'rm --force',
  console: 'console',
  exec: 'exec',
  cp: 'cp',
};

/** Throws `instance.state_conflict`, naming what the state does allow. */
export function requireCan(action: InstanceAction, instance: Instance): void {
  const { state } = instance.status;
  if (can(action, state)) return;
  const allowed = actionsIn(state).filter((name) => name in commandOf);
  throw new WirtError(
    'instance.state_conflict',
    `Instance ${instance.name} is ${state}, and ${action} is not possible in this state.`,
    {
      hint:
        allowed.length > 0
          ? `Possible now: ${allowed.map((name) => `\`wirt ${commandOf[name]} ${instance.name}\``).join(', ')}.`
          : `Wait for the operation on it: \`wirt operation ls --target ${instance.name}\`.`,
      details: { state, allowed },
    },
  );
}

/** Throws `request.revision_mismatch` when If-Match named another revision. */
export function requireRevision(
  record: { readonly name: string; readonly revision: number },
  expected: number | undefined,
): void {
  if (expected === undefined || expected === record.revision) return;
  throw new WirtError(
    'request.revision_mismatch',
    `${record.name} is at revision ${record.revision}, and not at ${expected} as If-Match demands.`,
    {
      hint: 'Read the record again and repeat the change on what it is now.',
      details: { revision: record.revision },
    },
  );
}

/** Drivers know a guest by its id only; people know its name. Gives back the same error with the name in its place. */
export function inWordsOf({ id, name }: Pick<Instance, 'id' | 'name'>, error: unknown): unknown {
  if (!(error instanceof WirtError)) return error;
  const { code, message, cause, hint, details } = error;
  return new WirtError(code, message.replaceAll(id, name), {
    ...(cause === undefined ? {} : { cause }),
    ...(hint === undefined ? {} : { hint: hint.replaceAll(id, name) }),
    ...(details === undefined ? {} : { details }),
  });
}

/** How a failed action shows in the record of an instance that has no process. */
export function failure(error: unknown, at: string): InstanceExit {
  const message = error instanceof Error ? error.message : String(error);
  const cause = causeText(error);
  return { at, reason: 'error', message: cause === undefined ? message : `${message} ${cause}` };
}
