/** `wirt start`, `stop`, `restart`, `reset`, `pause`, `resume`, `rm`: each for any number of instances, side by side. */
import type { Instance, InstanceStop, Operation } from '@wirt/api';
import { type Commands, type Context, command, type Outcome } from '../command.ts';
import { idempotent } from '../context.ts';
import { usageError } from '../parse.ts';
import { waitForOperation, waitForReady } from '../wait.ts';
import { type Acted, forEach } from './side-by-side.ts';

const names = { name: { summary: 'Names or ids of instances', many: true, complete: 'instance' } } as const;

export const waitOptions = {
  wait: {
    kind: 'choice',
    choices: ['none', 'running', 'ready'],
    default: 'running',
    summary:
      'Wait for nothing, until QEMU runs, or until the guest agent answers and cloud-init has finished',
  },
  timeout: { kind: 'seconds', value: 'SECONDS', default: 600, summary: 'How long to wait' },
} as const;

const stopOptions = {
  force: { kind: 'flag', short: 'f', summary: 'End QEMU at once, as by pulling the plug' },
  acpi: { kind: 'flag', summary: 'Only press the power button; never by force' },
  grace: {
    kind: 'seconds',
    value: 'SECONDS',
    default: 30,
    summary: 'How long the guest may take before it is forced',
  },
} as const;

export interface Waiting {
  readonly until: 'none' | 'done' | 'ready';
  readonly timeoutSeconds: number;
  readonly silent: boolean;
}

/** Waits as asked, and gives the instance as it then is. */
export async function followInstance(
  context: Context,
  operation: Operation,
  waiting: Waiting,
): Promise<Instance | undefined> {
  if (waiting.until === 'none') return undefined;
  const endsAt = context.io.now() + waiting.timeoutSeconds * 1000;
  await waitForOperation(context, operation, waiting);
  const instance = await context.client.call('GET /v1/instances/{instance}', {
    params: { instance: operation.target.id },
  });
  if (waiting.until === 'done') return instance;
  const leftSeconds = Math.max(1, (endsAt - context.io.now()) / 1000);
  return waitForReady(context, instance, { ...waiting, timeoutSeconds: leftSeconds });
}

/** The line and record of an instance after its operation. */
export function actedOn(operation: Operation, instance: Instance | undefined, waiting: Waiting): Acted {
  const { name } = operation.target;
  if (instance === undefined) {
    return {
      name,
      line: `${name}: ${operation.kind} goes on as operation ${operation.id}`,
      record: operation,
    };
  }
  const state = waiting.until === 'ready' ? 'ready' : instance.status.state;
  return { name: instance.name, line: `${instance.name} is ${state}`, record: instance };
}

/** An action that is an operation: ask, wait, tell. */
async function operate(
  context: Context,
  given: readonly string[],
  waiting: Omit<Waiting, 'silent'>,
  ask: (name: string) => Promise<Operation>,
): Promise<Outcome> {
  const how = { ...waiting, silent: given.length > 1 };
  return forEach(given, async (name) => {
    const operation = await ask(name);
    return actedOn(operation, await followInstance(context, operation, how), how);
  });
}

type StopOptions = { readonly force: boolean; readonly acpi: boolean; readonly grace: number };

function stopBody(name: string, { force, acpi, grace }: StopOptions): InstanceStop {
  if (force && acpi) throw usageError(name, '--force and --acpi exclude each other.');
  return { mode: force ? 'force' : acpi ? 'acpi' : 'graceful', graceSeconds: grace };
}

/** `--wait` and, where a guest has to stop first, the grace period on top of the time given. */
function waitingOf(
  options: { readonly wait: 'none' | 'running' | 'ready'; readonly timeout: number },
  graceSeconds = 0,
) {
  const until: Waiting['until'] = options.wait === 'running' ? 'done' : options.wait;
  return { until, timeoutSeconds: options.timeout + graceSeconds };
}

const start = command({
  arguments: names,
  options: { ...waitOptions, paused: { kind: 'flag', summary: 'Leave the processors stopped' } },
  examples: [
    { line: 'wirt start demo', does: 'Returns when QEMU runs.' },
    { line: 'wirt start web-1 web-2 --wait ready', does: 'Returns when the agents of both answer.' },
  ],
  run: (context, { args, options }) => {
    if (options.paused && options.wait === 'ready')
      throw usageError('start', 'A paused guest does not get ready: leave out --paused or --wait ready.');
    return operate(context, args.name, waitingOf(options), (instance) =>
      context.client.call('POST /v1/instances/{instance}/start', {
        params: { instance },
        body: { paused: options.paused },
        ...idempotent(),
      }),
    );
  },
});

const stop = command({
  arguments: names,
  options: {
    ...stopOptions,
    'no-wait': { kind: 'flag', summary: 'Return at once' },
    timeout: {
      kind: 'seconds',
      value: 'SECONDS',
      default: 120,
      summary: 'How long to wait, the grace period not counted',
    },
  },
  examples: [
    { line: 'wirt stop demo', does: 'Presses the power button, and forces it after 30 s.' },
    { line: 'wirt stop demo --grace 2m', does: 'Gives the guest two minutes.' },
    { line: 'wirt stop --force web-1 web-2', does: 'Ends both at once.' },
  ],
  run: (context, { args, options }) => {
    const body = stopBody('stop', options);
    const waiting = {
      until: options['no-wait'] ? 'none' : 'done',
      timeoutSeconds: options.timeout + options.grace,
    } as const;
    return operate(context, args.name, waiting, (instance) =>
      context.client.call('POST /v1/instances/{instance}/stop', {
        params: { instance },
        body,
        ...idempotent(),
      }),
    );
  },
});

const restart = command({
  arguments: names,
  options: { ...stopOptions, ...waitOptions },
  examples: [
    {
      line: 'wirt restart demo',
      does: 'Stops it by ACPI, by force after 30 s, and starts it in a new QEMU.',
    },
    { line: 'wirt restart demo --force --wait ready', does: 'At once, and waits for the guest agent.' },
  ],
  run: (context, { args, options }) => {
    const body = stopBody('restart', options);
    return operate(context, args.name, waitingOf(options, options.grace), (instance) =>
      context.client.call('POST /v1/instances/{instance}/restart', {
        params: { instance },
        body,
        ...idempotent(),
      }),
    );
  },
});

/** `reset`, `pause` and `resume` are done when they are answered. */
function momentary(action: 'reset' | 'pause' | 'resume', past: string, example: string) {
  return command({
    arguments: names,
    options: {},
    examples: [{ line: `wirt ${action} demo`, does: example }],
    run: (context, { args }) =>
      forEach(args.name, async (instance) => {
        const record = await context.client.call(`POST /v1/instances/{instance}/${action}`, {
          params: { instance },
        });
        return { name: record.name, line: `${record.name} ${past}`, record };
      }),
  });
}

const rm = command({
  arguments: names,
  options: {
    force: { kind: 'flag', short: 'f', summary: 'Stop it by force first' },
    'no-wait': { kind: 'flag', summary: 'Return at once' },
    timeout: { kind: 'seconds', value: 'SECONDS', default: 120, summary: 'How long to wait' },
  },
  examples: [
    { line: 'wirt rm demo', does: 'Removes a stopped instance.' },
    { line: 'wirt rm --force web-1 web-2', does: 'Ends both and removes them.' },
    { line: 'wirt ls --label job=7 -o name | xargs wirt rm --force', does: 'Removes all with a label.' },
  ],
  notes: [
    'Disks that were made with the instance go with it; volumes that were attached to it stay. What went is told.',
  ],
  run: (context, { args, options }) =>
    forEach(args.name, async (instance) => {
      const fate = options['no-wait'] ? '' : await volumesFate(context, instance);
      const first = await context.client.call('DELETE /v1/instances/{instance}', {
        params: { instance },
        query: { force: String(options.force) },
      });
      const { name } = first.target;
      if (options['no-wait'])
        return actedOn(first, undefined, { until: 'none', timeoutSeconds: 0, silent: true });
      const silent = args.name.length > 1;
      const record = await waitForOperation(context, first, { timeoutSeconds: options.timeout, silent });
      return { name, line: `${name} is removed${fate}`, record };
    }),
});

/** Which of its volumes go with it, and which stay: `, with its volume web-root; data stays`. */
async function volumesFate({ client }: Context, instance: string): Promise<string> {
  const { id, spec } = await client.call('GET /v1/instances/{instance}', { params: { instance } });
  if (!spec.disks.some(({ device }) => device === 'disk')) return '';
  const { items } = await client.call('GET /v1/volumes', { query: { instance: id } });
  const named = (goes: boolean): string[] =>
    spec.disks.flatMap((disk) => {
      if (disk.device !== 'disk' || disk.deleteOnTermination !== goes) return [];
      return [items.find((volume) => volume.id === disk.volume)?.name ?? disk.volume];
    });
  const [going, staying] = [named(true), named(false)];
  const volumes = going.length > 1 ? 'volumes' : 'volume';
  return [
    ...(going.length === 0 ? [] : [`, with its ${volumes} ${going.join(', ')}`]),
    ...(staying.length === 0 ? [] : [`; ${staying.join(', ')} ${staying.length > 1 ? 'stay' : 'stays'}`]),
  ].join('');
}

export const commands: Commands = {
  start,
  stop,
  restart,
  reset: momentary('reset', 'was reset', 'As by its reset button; QEMU goes on.'),
  pause: momentary('pause', 'is paused', 'Its memory stays where it is; `wirt resume demo` lets it go on.'),
  resume: momentary('resume', 'is running', 'Goes on where it was paused.'),
  rm,
};
