/** Waiting for operations on behalf of a request. What is waited for goes on when the waiting ends. */
import { type Operation, type Problem, type WaitQuery, WirtError } from '@wirt/api';
import type { Request } from './actions.ts';
import type { ReadyWatch } from './instance-ready.ts';
import type { LiveGuests } from './live-guests.ts';
import type { OperationRunner } from './operation-runner.ts';

/** Resolves with the promise, or with undefined when `signal` aborts first. */
async function until<T>(promise: Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  if (signal.aborted) return undefined;
  const listening = new AbortController();
  const aborted = new Promise<undefined>((resolve) => {
    signal.addEventListener('abort', () => resolve(undefined), { once: true, signal: listening.signal });
  });
  return Promise.race([promise, aborted]).finally(() => listening.abort());
}

/** The operation when it has ended, or as it is after `seconds`. */
export async function waitFor(
  operations: OperationRunner,
  request: Request,
  id: string,
  seconds: number,
): Promise<Operation> {
  if (seconds === 0) return operations.get(id);
  const over = AbortSignal.any([request.signal, AbortSignal.timeout(seconds * 1000)]);
  return (await until(operations.ended(id), over)) ?? operations.get(id);
}

/** The error of a failed operation, as the one who waited for it sees it. */
function errorOf(operation: Operation, problem: Problem): WirtError {
  return new WirtError(problem.code, problem.detail, {
    ...(problem.cause === undefined ? {} : { cause: problem.cause }),
    ...(problem.hint === undefined ? {} : { hint: problem.hint }),
    details: { ...problem.details, operation: operation.id },
  });
}

/**
 * Answers a request for an operation as its `wait` asks. Throws the operation's own error when it failed,
 * `operation.wait_timeout` when the time is over, `host.storage_full` when its end waits for room, `instance.died` when the guest ended before its agent answered.
 */
export async function answer(
  operations: OperationRunner,
  { live, ready }: { readonly live: LiveGuests; readonly ready: ReadyWatch },
  request: Request,
  operation: Operation,
  { wait, waitSeconds }: WaitQuery,
): Promise<Operation> {
  if (wait === 'none') return operation;
  const over = AbortSignal.any([request.signal, AbortSignal.timeout(waitSeconds * 1000)]);
  const outOfRoom = operations.outOfRoom(operation.id);
  const ended = await until(Promise.race([operations.ended(operation.id), outOfRoom]), over);
  if (ended === undefined) throw timeout(operation, waitSeconds, 'end');
  if (ended instanceof WirtError) throw untold(operation, ended);
  if (ended.error !== undefined) throw errorOf(ended, ended.error);
  if (wait === 'done' || ended.target.kind !== 'instance') return ended;
  try {
    await ready.change(ended.target.id, over);
  } catch (error) {
    throw over.aborted ? timeout(operation, waitSeconds, 'ready') : error;
  }
  if (live.get(ended.target.id) !== undefined) return ended;
  throw new WirtError('instance.died', `Instance ${ended.target.name} ended before it was ready.`, {
    hint: `See how: \`wirt show ${ended.target.name}\` and \`wirt logs ${ended.target.name}\`.`,
  });
}

/** It has not ended yet: a daemon that dies before there is room takes it up again. */
function untold({ id, kind, target }: Operation, refusal: WirtError): WirtError {
  return new WirtError(
    refusal.code,
    `How ${kind} of ${target.name} went could not be stored yet; it ends when it can be.`,
    {
      cause: refusal,
      ...(refusal.hint === undefined ? {} : { hint: refusal.hint }),
      details: { ...refusal.details, operation: id },
    },
  );
}

function timeout(operation: Operation, seconds: number, what: 'end' | 'ready'): WirtError {
  const { id, kind, target } = operation;
  return what === 'end'
    ? new WirtError(
        'operation.wait_timeout',
        `${kind} of ${target.name} has not ended within ${seconds} s; it goes on.`,
        {
          hint: `Follow it: \`wirt operation show ${id} --wait\`.`,
          details: { operation: id },
        },
      )
    : new WirtError('operation.wait_timeout', `Instance ${target.name} was not ready within ${seconds} s.`, {
        hint: `Look at \`wirt logs ${target.name}\`; the guest goes on running.`,
        details: { operation: id },
      });
}

/** Starts an operation, or finds the one that the same request has started before, and answers as `wait` asks. */
export type Answering = (
  request: Request,
  wait: WaitQuery,
  start: () => Promise<Operation>,
) => Promise<Operation>;

export function createAnswering(
  operations: OperationRunner,
  life: { readonly live: LiveGuests; readonly ready: ReadyWatch },
): Answering {
  return async (request, wait, start) =>
    answer(operations, life, request, (await operations.earlier(request)) ?? (await start()), wait);
}
