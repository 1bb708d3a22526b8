// The hold that wirtd has on a running QEMU: one QMP connection, asked every second whether it answers, and made again
// when it breaks while the process lives. Says when answers stop and come back, and when the process is gone.
import { setTimeout as delay } from 'node:timers/promises';
import { WirtError } from '@wirt/api';
import { ec2Uuid, type LaunchPlan, type Logger } from '@wirt/core';
import {
  connectQmp,
  type QmpArguments,
  type QmpCommandName,
  type QmpConnection,
  QmpError,
  type QmpEvent,
  type QmpReturn,
} from '@wirt/qemu';
import { agentChardev } from './arguments.ts';
import { type Identified, waitUntilGone } from './proc.ts';

/** A stopped QEMU is noticed after at most the pause and the deadline. */
/** At most; questions to many guests go out together, so that wirtd wakes up for all of them and not for each. */
const pingPauseMs = 1_000;
const pingSlotMs = 100;
const pingDeadlineMs = 1_200;
const commandDeadlineMs = 5_000;
/** For what may have to wait for storage. */
const askDeadlineMs = 30_000;
/** A chain of a hundred layers takes 1 MB in an answer, where it is told twice, and a guest may have 24 disks. */
const maxAnswerBytes = 32 * 1024 * 1024;
const firstRetryMs = 100;
const longestRetryMs = 2_000;
/** Between the end of the connection, when QEMU's files close, and the end of the process. */
const endingMs = 1_000;
const maxObservations = 5;
const noDeadlineMs = Number.MAX_SAFE_INTEGER;

export interface QmpTarget {
  readonly id: string;
  /** Or this one in EC2's form, which guests have that are to find the metadata service. */
  readonly uuid: string;
  readonly path: string;
}

/** What is asked of a QEMU that was found running. */
export interface Observation {
  readonly running: boolean;
  readonly agentPortOpen: boolean;
  readonly diskError: DiskError | undefined;
  /** Halted since its kernel has panicked. */
  readonly panicked: boolean;
}

export type DiskError = 'no-space' | 'io-error';

export interface ControlOptions {
  readonly target: QmpTarget;
  readonly process: Identified;
  /** Already connected and checked, with `onEvent` as its listener; without it the connection is made here. */
  readonly connection: QmpConnection | undefined;
  readonly logger: Logger;
  onEvent(event: QmpEvent): void;
  /** A part is not given where it was not asked: events tell. */
  onObserved(observation: Pick<Observation, 'running'> & Partial<Observation>): void;
  onResponsive(responsive: boolean): void;
  /** The process is gone. Called once, and last. */
  onGone(): void;
  /** About every minute. */
  onMinute(): void;
}

/** The commands without arguments that a guest is controlled by. */
export type ControlCommand = 'cont' | 'stop' | 'system_reset' | 'system_powerdown';

/** Throws `instance.unresponsive`, the signal's reason, and QmpError when QEMU refuses. */
export type Ask = <N extends QmpCommandName>(
  command: N,
  args: QmpArguments<N>,
  signal: AbortSignal,
) => Promise<QmpReturn<N>>;

/** For what must be brought to its end once it is begun; the deadline holds all the same. */
export const noAbort: AbortSignal = new AbortController().signal;

export async function machineOf(ask: Ask, signal: AbortSignal): Promise<LaunchPlan['machine']> {
  const type = await ask('qom-get', { path: '/machine', property: 'type' }, signal);
  return String(type).startsWith('microvm') ? 'microvm' : 'q35';
}

export interface Control {
  readonly ask: Ask;
  /** Throws `instance.unresponsive`, `instance.state_conflict` when QEMU refuses, or the signal's reason. */
  execute(command: ControlCommand, signal: AbortSignal): Promise<void>;
  /** Lets go; nothing is called any more. */
  detach(): void;
}

/** Connects and makes sure that it is this guest's QEMU. Throws what `connectQmp` throws, or `WrongGuest`. */
export async function connectTo(
  target: QmpTarget,
  options: { timeoutMs: number; signal?: AbortSignal | undefined; onEvent(event: QmpEvent): void },
): Promise<QmpConnection> {
  const deadline = performance.now() + options.timeoutMs;
  const connection = await connectQmp({ path: target.path, maxLineBytes: maxAnswerBytes, ...options });
  try {
    const timeoutMs = Math.max(1, deadline - performance.now());
    const { UUID: uuid } = await connection.execute('query-uuid', {}, { ...options, timeoutMs });
    if (uuid !== target.uuid && uuid !== ec2Uuid(target.uuid))
      throw new WrongGuest(`QEMU says it is guest ${String(uuid).slice(0, 40)}`);
    return connection;
  } catch (error) {
    await connection.close();
    throw error;
  }
}

export class WrongGuest extends Error {
  override readonly name = 'WrongGuest';
}

/** Asks again when something changed meanwhile, so that no older answer covers a newer event. */
export async function observe(connection: QmpConnection, timeoutMs: number): Promise<Observation> {
  let changes = 0;
  const stopCounting = connection.on(() => {
    changes += 1;
  });
  try {
    for (let round = 1; ; round += 1) {
      const before = changes;
      const [status, chardevs] = await Promise.all([
        connection.execute('query-status', {}, { timeoutMs }),
        connection.execute('query-chardev', {}, { timeoutMs }),
      ]);
      if (changes !== before && round < maxObservations) continue;
      const agent = Array.isArray(chardevs)
        ? chardevs.find((chardev) => chardev?.label === agentChardev)
        : undefined;
      return {
        running: status.running === true,
        panicked: status.status === 'guest-panicked',
        agentPortOpen: agent?.['frontend-open'] === true,
        diskError: status.status === 'io-error' ? await readDiskError(connection, timeoutMs) : undefined,
      };
    }
  } finally {
    stopCounting();
  }
}

async function readDiskError(connection: QmpConnection, timeoutMs: number): Promise<DiskError> {
  const drives = await connection.execute('query-block', {}, { timeoutMs });
  return drives.some((drive) => drive['io-status'] === 'nospace') ? 'no-space' : 'io-error';
}

export function createControl(options: ControlOptions): Control {
  const { target, logger } = options;
  const ended = new AbortController();
  const link: Link = { connection: undefined, responsive: options.connection !== undefined };

  keepHold(options, link, ended.signal).catch((error: unknown) => {
    if (!ended.signal.aborted) logger.error('guest.control_failed', { id: target.id, error });
  });
  const send = async <N extends QmpCommandName>(
    command: N,
    args: QmpArguments<N>,
    { signal, timeoutMs }: { readonly signal: AbortSignal; readonly timeoutMs: number },
  ): Promise<QmpReturn<N>> => {
    signal.throwIfAborted();
    const { connection, responsive } = link;
    if (connection === undefined || !responsive) throw unresponsive(target.id, command, undefined);
    try {
      return await connection.executeUntyped<QmpReturn<N>>(command, args, { timeoutMs, signal });
    } catch (error) {
      signal.throwIfAborted();
      throw isRefusal(error) ? error : unresponsive(target.id, command, error);
    }
  };
  return {
    ask: (command, args, signal) => send(command, args, { signal, timeoutMs: askDeadlineMs }),
    async execute(command, signal) {
      try {
        await send(command, {}, { signal, timeoutMs: commandDeadlineMs });
      } catch (error) {
        if (!isRefusal(error)) throw error;
        const message = `QEMU refused ${command} for instance ${target.id}.`;
        throw new WirtError('instance.state_conflict', message, { cause: error });
      }
    },
    detach() {
      ended.abort();
      void link.connection?.close();
    },
  };
}

/** Whether QEMU has understood and does not do it. */
export function isRefusal(error: unknown): error is QmpError {
  return error instanceof QmpError;
}

interface Link {
  connection: QmpConnection | undefined;
  responsive: boolean;
}

/** Until the process is gone or `ended`: holds the connection, and makes it again. */
async function keepHold(options: ControlOptions, link: Link, ended: AbortSignal): Promise<void> {
  const setResponsive = (now: boolean, cause?: string): void => {
    if (link.responsive === now || ended.aborted) return;
    link.responsive = now;
    if (now) options.logger.info('guest.responsive', { id: options.target.id });
    else options.logger.warn('guest.unresponsive', { id: options.target.id, cause });
    options.onResponsive(now);
  };
  let retryMs = firstRetryMs;
  let next = options.connection;
  while (!ended.aborted) {
    if (next !== undefined) {
      retryMs = firstRetryMs;
      link.connection = next;
      await hold(next, options, setResponsive, ended);
      link.connection = undefined;
    }
    if (ended.aborted) return;
    if (await waitUntilGone(options.process, link.responsive ? endingMs : 0, ended)) return options.onGone();
    setResponsive(false, 'the control connection is gone');
    next = await reconnect(options, ended);
    if (next !== undefined) setResponsive(true);
    else await delay(retryMs, undefined, { signal: ended, ref: false });
    retryMs = Math.min(retryMs * 2, longestRetryMs);
  }
  await next?.close();
}

/** Returns when the connection is no more. */
async function hold(
  connection: QmpConnection,
  options: ControlOptions,
  setResponsive: (now: boolean, cause?: string) => void,
  ended: AbortSignal,
): Promise<void> {
  const closed = new AbortController();
  void connection.closed.then(() => closed.abort());
  try {
    await pingForEver(connection, options, setResponsive, AbortSignal.any([ended, closed.signal]));
  } catch (error) {
    // A QEMU that answers nonsense is worth no more than one that does not answer.
    connection.abandon(error);
  }
}

function unresponsive(id: string, command: string, cause: unknown): WirtError {
  return new WirtError('instance.unresponsive', `QEMU of instance ${id} did not answer ${command}.`, {
    ...(cause === undefined ? {} : { cause }),
    hint: `Wait until it answers again, or end it: \`wirt stop --force ${id}\`.`,
  });
}

async function reconnect(options: ControlOptions, signal: AbortSignal): Promise<QmpConnection | undefined> {
  let connection: QmpConnection | undefined;
  try {
    connection = await connectTo(options.target, {
      timeoutMs: pingDeadlineMs,
      signal,
      onEvent: (event) => {
        if (!signal.aborted) options.onEvent(event);
      },
    });
    options.onObserved(await observe(connection, pingDeadlineMs));
    return connection;
  } catch (error) {
    options.logger.debug('guest.reconnect_failed', { id: options.target.id, error });
    await connection?.close();
    return undefined;
  }
}

/** A pause that ends with a slot. */
function untilSlot(nowMs: number): number {
  return pingPauseMs - ((nowMs + pingPauseMs) % pingSlotMs);
}

/**
 * Asks again and again until the connection ends or `signal` aborts, and throws then. Never more than one question is open: a QEMU that
 * wakes up after an hour finds one question.
 */
async function pingForEver(
  connection: QmpConnection,
  options: ControlOptions,
  setResponsive: (now: boolean, cause?: string) => void,
  signal: AbortSignal,
): Promise<void> {
  for (let count = 1; ; count += 1) {
    await delay(untilSlot(performance.now()), undefined, { signal, ref: false });
    const late = setTimeout(() => {
      // The answer may be here already, behind a busy event loop.
      lateCheck = setImmediate(() => setResponsive(false, 'no answer to query-status'));
    }, pingDeadlineMs);
    let lateCheck: NodeJS.Immediate | undefined;
    late.unref();
    try {
      const { running } = await connection.execute('query-status', {}, { timeoutMs: noDeadlineMs, signal });
      options.onObserved({ running: running === true });
    } finally {
      clearTimeout(late);
      clearImmediate(lateCheck);
    }
    setResponsive(true);
    if (count % 60 === 0) options.onMinute();
  }
}
