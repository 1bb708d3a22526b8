/**
 * Waits for operations and for guests to be ready: progress on standard error, a deadline, and Ctrl-C that leaves and
 * says what goes on without us (or, where asked, cancels first).
 */
import type { Instance, Operation, OperationKind } from '@wirt/api';
import { type ErrorCode, WirtError } from '@wirt/api/errors';
import type { Context } from './command.ts';
import { Interrupted } from './exit-code.ts';
import { createProgress } from './progress.ts';
import { watchUntil } from './watch.ts';

/** A daemon that is restarted under us takes up its operations again; this long we wait for it. */
const reconnectMs = 30_000;

const titles = {
  'instance.create': 'Creating',
  'instance.start': 'Starting',
  'instance.stop': 'Stopping',
  'instance.restart': 'Restarting',
  'instance.remove': 'Removing',
  'instance.attach': 'Attaching a disk to',
  'instance.detach': 'Detaching a disk from',
  'instance.medium': 'Changing the medium of',
  'instance.attach-nic': 'Attaching a network card to',
  'instance.update-nic': 'Changing a network card of',
  'instance.detach-nic': 'Detaching a network card from',
  'instance.import': 'Importing',
  'instance.export': 'Exporting',
  'image.build': 'Building image',
  'image.import': 'Importing image',
  'image.pull': 'Pulling image',
  'image.export': 'Exporting image',
  'volume.create': 'Creating volume',
  'volume.resize': 'Resizing volume',
  'volume.flatten': 'Flattening volume',
  'volume.remove': 'Removing volume',
  'volume.export': 'Exporting volume',
  'snapshot.create': 'Taking snapshot',
  'snapshot.restore': 'Restoring snapshot',
  'snapshot.remove': 'Removing snapshot',
  'snapshot.export': 'Exporting snapshot',
} as const satisfies Record<OperationKind, string>;

export interface WaitOptions {
  readonly timeoutSeconds: number;
  /** Without it nothing is shown; for waits side by side. */
  readonly silent?: boolean;
  /** The first Ctrl-C cancels the operation where it can be, the second leaves. */
  readonly cancelOnInterrupt?: boolean;
}

/**
 * Waits for the operation to end well. Throws its error when it failed, `operation.wait_timeout`, or Interrupted.
 */
export async function waitForOperation(
  context: Context,
  first: Operation,
  options: WaitOptions,
): Promise<Operation> {
  let latest = first;
  const look = async (signal: AbortSignal): Promise<Operation | undefined> => {
    const params = { operation: first.id };
    latest = await context.client.call('GET /v1/operations/{operation}', { params, signal });
    return hasEnded(latest) ? latest : undefined;
  };
  const ended = hasEnded(first)
    ? first
    : await attended(context, options, {
        query: { kind: 'operation', id: first.id },
        look,
        report: () => ({
          title: `${titles[latest.kind]} ${latest.target.name}`,
          stage: latest.stage,
          progress: latest.progress,
        }),
        goesOn: `${describe(first)} goes on: \`wirt operation show ${first.id}\`.`,
        late: () =>
          new WirtError(
            'operation.wait_timeout',
            `${describe(first)} has not ended within ${options.timeoutSeconds} s; it goes on.`,
            { hint: `See \`wirt operation show ${first.id}\`.`, details: { operation: first.id } },
          ),
        cancel: async () => {
          if (options.cancelOnInterrupt !== true || !latest.cancellable) return false;
          await context.client.call('POST /v1/operations/{operation}/cancel', {
            params: { operation: first.id },
          });
          return true;
        },
      });
  return requireDone(ended);
}

function hasEnded({ state }: Operation): boolean {
  return state !== 'queued' && state !== 'running';
}

/** `Resizing volume data`: what the operation does, and to what. */
export function describe({ kind, target }: Operation): string {
  return `${titles[kind]} ${target.name}`;
}

/** Throws the error with which the operation ended. */
export function requireDone(operation: Operation): Operation {
  if (operation.state === 'done') return operation;
  const { error } = operation;
  if (error === undefined)
    throw new WirtError('operation.cancelled', `${describe(operation)} was ended before it was done.`);
  throw new WirtError(error.code satisfies ErrorCode, error.detail, {
    ...(error.cause === undefined ? {} : { cause: error.cause }),
    ...(error.hint === undefined ? {} : { hint: error.hint }),
    details: { ...error.details, operation: operation.id },
  });
}

/**
 * Waits until the guest is ready: its agent answers, and cloud-init has finished where it is in it. Throws `instance.died`
 * when the guest ends, or `operation.wait_timeout`.
 */
export async function waitForReady(
  context: Context,
  instance: Instance,
  options: WaitOptions,
): Promise<Instance> {
  let reached: keyof typeof waitingFor = 'nothing';
  const look = async (signal: AbortSignal): Promise<Instance | undefined> => {
    const params = { instance: instance.id };
    const now = await context.client.call('GET /v1/instances/{instance}', { params, signal });
    reached = !now.status.agent ? 'nothing' : now.spec.cloudInit === undefined ? 'agent' : 'cloud-init';
    if (now.status.ready === true && now.status.state === 'running') return now;
    if (now.status.notReady !== undefined) throw failedInside(now.name, now.status.notReady);
    if (now.status.state === 'stopped' || now.status.state === 'crashed') throw died(now);
    return undefined;
  };
  return attended(context, options, {
    query: { kind: 'instance', id: instance.id },
    look,
    report: () => ({ title: `Starting ${instance.name}`, stage: waitingFor[reached] }),
    goesOn: `${instance.name} goes on: \`wirt show ${instance.name}\`.`,
    late: () => notReady(instance.name, reached, Math.round(options.timeoutSeconds)),
    cancel: () => Promise.resolve(false),
  });
}

function failedInside(name: string, cause: string): WirtError {
  return new WirtError('guest.command_failed', `${name} runs, but will not become ready.`, {
    cause,
    hint: `Look at its log: \`wirt exec ${name} -- cat /var/log/cloud-init-output.log\`.`,
  });
}

const waitingFor = {
  nothing: 'waiting for the guest agent',
  agent: 'waiting until it is ready',
  'cloud-init': 'waiting for cloud-init',
} as const;

function notReady(name: string, reached: keyof typeof waitingFor, seconds: number): WirtError {
  const see = `See what it does: \`wirt logs ${name}\`, or \`wirt console ${name}\`.`;
  const ask = `Ask it: \`wirt exec ${name} -- cloud-init status --long\`.`;
  const install = `An image without qemu-guest-agent never answers: install it there (\`wirt ssh ${name} --accept-new\`).`;
  const texts = {
    nothing: ['its guest agent has not answered', `${see} ${install}`],
    agent: ['it has not become ready', see],
    'cloud-init': ['cloud-init has not finished in it', ask],
  } as const;
  const [what, hint] = texts[reached];
  const message = `${name} runs, but ${what} within ${seconds} s.`;
  return new WirtError('operation.wait_timeout', message, { hint });
}

/** Addresses come a moment after the guest is ready. Gives the instance without them when they do not come in that time. */
export async function waitForAddresses(
  context: Context,
  instance: Instance,
  seconds: number,
): Promise<Instance> {
  if (instance.status.addresses !== undefined || instance.spec.nics.length === 0) return instance;
  const signal = AbortSignal.timeout(seconds * 1000);
  const query = { kind: 'instance', id: instance.id } as const;
  const look = async (): Promise<Instance | undefined> => {
    const params = { instance: instance.id };
    const now = await context.client.call('GET /v1/instances/{instance}', { params, signal });
    return now.status.addresses !== undefined || now.status.state !== 'running' ? now : undefined;
  };
  return (await watchUntil(context, query, look, { signal, reconnectMs: 0 })) ?? instance;
}

function died({ name, status }: Instance): WirtError {
  return new WirtError('instance.died', `${name} ended while it was waited for.`, {
    ...(status.exit === undefined ? {} : { cause: status.exit.message }),
    hint: `See \`wirt show ${name}\` and \`wirt logs ${name}\`.`,
  });
}

interface Attended<T> {
  readonly query: { readonly kind: 'operation' | 'instance'; readonly id: string };
  readonly look: (signal: AbortSignal) => Promise<T | undefined>;
  readonly report: () => Parameters<ReturnType<typeof createProgress>['report']>[0];
  readonly goesOn: string;
  readonly late: () => WirtError;
  /** Whether the first Ctrl-C is used up by cancelling. */
  readonly cancel: () => Promise<boolean>;
}

async function attended<T>(context: Context, options: WaitOptions, work: Attended<T>): Promise<T> {
  const { io } = context;
  const leave = new AbortController();
  const timer = setTimeout(() => leave.abort(work.late()), options.timeoutSeconds * 1000);
  const interrupted = new Interrupted(work.goesOn);
  let interrupts = 0;
  const removeInterrupt = io.onInterrupt(() => {
    interrupts++;
    if (interrupts > 1) leave.abort(interrupted);
    work.cancel().then(
      (cancels) => {
        if (cancels) context.note('Cancelling; Ctrl-C again to leave.');
        else leave.abort(interrupted);
      },
      () => leave.abort(interrupted),
    );
  });
  const progress = options.silent === true ? undefined : createProgress({ stream: io.stderr, now: io.now });
  progress?.report(work.report());
  const look = async (signal: AbortSignal): Promise<T | undefined> => {
    const found = await work.look(signal);
    if (found === undefined) progress?.report(work.report());
    return found;
  };
  try {
    const onLost = (): void => context.note('wirtd is gone; waiting for it to come back …');
    const found = await watchUntil(context, work.query, look, { signal: leave.signal, reconnectMs, onLost });
    if (found !== undefined) return found;
    throw leave.signal.reason as Error;
  } finally {
    clearTimeout(timer);
    removeInterrupt();
    progress?.end();
  }
}
