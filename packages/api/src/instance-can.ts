/**
 * Which action an instance allows in which state: the one table for core, CLI, API documents and console.
 * Leaves out conditions besides the state (free memory, a present image).
 */

export const instanceStates = [
  'stopped',
  'starting',
  'running',
  'paused',
  'stopping',
  'unresponsive',
  'crashed',
  'removing',
] as const;
export type InstanceState = (typeof instanceStates)[number];

/**
 * - `stopped`: no process; ended as asked, or from inside the guest.
 * - `starting`, `stopping`, `removing`: an operation is at it.
 * - `running`, `paused`: QEMU runs, with processors running or stopped.
 * - `unresponsive`: QEMU runs but does not answer on QMP.
 * - `crashed`: no process; ended unasked, see `status.exit`. A restart may be due.
 *
 * `stop` where nothing runs calls off a restart that is due. What is asked while an operation is at it waits for its end;
 * `stop` and `remove` are allowed then, so that one whose end could not be recorded leaves no instance stuck.
 */
export const instanceCan = {
  start: ['stopped', 'crashed'],
  stop: ['stopped', 'starting', 'running', 'paused', 'stopping', 'unresponsive', 'crashed'],
  restart: ['running', 'paused', 'unresponsive'],
  reset: ['running', 'paused'],
  pause: ['running'],
  resume: ['paused'],
  rename: ['stopped', 'running', 'paused', 'crashed', 'unresponsive'],
  update: ['stopped', 'running', 'paused', 'crashed', 'unresponsive'],
  remove: ['stopped', 'crashed', 'removing'],
  'remove --force': instanceStates,
  console: ['running', 'paused', 'unresponsive'],
  exec: ['running'],
  cp: ['running'],
  attach: ['stopped', 'running', 'paused', 'crashed'],
  detach: ['stopped', 'running', 'paused', 'crashed'],
  medium: ['stopped', 'running', 'paused', 'crashed'],
  snapshot: ['stopped', 'running', 'paused', 'crashed'],
  restore: ['stopped', 'crashed'],
  export: ['stopped', 'crashed'],
  ssh: ['running'],
  isolation: ['running', 'paused', 'unresponsive'],
} as const satisfies Record<string, readonly InstanceState[]>;

export type InstanceAction = keyof typeof instanceCan;

/** Whether `action` is allowed in `state`. */
export function can(action: InstanceAction, state: InstanceState): boolean {
  const states: readonly InstanceState[] = instanceCan[action];
  return states.includes(state);
}

/** Every action that `state` allows, in the order of the table. */
export function actionsIn(state: InstanceState): InstanceAction[] {
  // Object.keys loses the key type; the table is a literal.
  return (Object.keys(instanceCan) as InstanceAction[]).filter((action) => can(action, state));
}
