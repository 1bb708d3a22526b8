/** The event stream as server-sent events (WHATWG HTML §9.2): resumable, kept alive, and dropped when not taken. */
import type { ServerResponse } from 'node:http';
import { type Event, toProblem, WirtError } from '@wirt/api';
import type { Door } from './door.ts';
import { lastEventId } from './headers.ts';
import { mountRaw } from './mount.ts';

export function mountEvents(door: Door): void {
  mountRaw(door, 'GET /v1/events', async ({ query, request }, reply, incoming) => {
    const since = lastEventId(incoming.headers['last-event-id']) ?? query.since;
    const resumed = { ...query, ...(since === undefined ? {} : { since }) };
    const events = door.actions.event.stream(request, resumed)[Symbol.asyncIterator]();
    const first = events.next();
    // The store refuses a compacted revision at the first `next`, which on a quiet stream never comes back.
    if (since !== undefined) await settledWithin(first, door.limits.firstEventMs);
    reply.hijack();
    await write(door, reply.raw, { first, events, signal: request.signal });
  });
}

/** Waits for `promise`, `ms` at most, and throws its error when it fails in that time. */
async function settledWithin(promise: Promise<unknown>, ms: number): Promise<void> {
  const { promise: late, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  await Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

interface Source {
  readonly first: Promise<IteratorResult<Event, unknown>>;
  readonly events: AsyncIterator<Event>;
  readonly signal: AbortSignal;
}

async function write(door: Door, raw: ServerResponse, { first, events, signal }: Source): Promise<void> {
  raw.writeHead(200, {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-store',
    'x-accel-buffering': 'no',
  });
  raw.write(': wirt events\n\n');
  const heartbeat = setInterval(() => {
    if (!raw.writableNeedDrain) raw.write(': quiet\n\n');
  }, door.limits.heartbeatMs);
  // The door closes: said in a comment, since every `data` is an event.
  const stop = () =>
    raw.end(signal.reason instanceof WirtError ? `: ${signal.reason.message}\n\n` : undefined);
  signal.addEventListener('abort', stop, { once: true });
  try {
    let result = await first;
    while (result.done !== true && !signal.aborted) {
      const event = result.value;
      const next = events.next();
      // A transaction's events share its revision. Only the last of them carries the id, so that a client which is cut
      // off between them does not go on behind the others.
      const id = (await isWithin(next, event.revision)) ? '' : `id: ${event.revision}\n`;
      if (!raw.write(`${id}data: ${JSON.stringify(event)}\n\n`)) await drained(raw, door.limits.stallMs);
      result = await next;
    }
    if (!signal.aborted) raw.end();
  } catch (error) {
    if (raw.destroyed || signal.aborted) return;
    const problem = toProblem(error);
    door.log.warn('rest.events_ended', { code: problem.code, error });
    raw.end(`event: problem\ndata: ${JSON.stringify(problem)}\n\n`);
  } finally {
    clearInterval(heartbeat);
    signal.removeEventListener('abort', stop);
    // Not awaited: a generator that waits for its next event returns only when its own signal lets it.
    events.return?.()?.catch(() => undefined);
  }
}

/** Whether the next event is there already, and of the same revision: the events of a transaction come together. */
async function isWithin(next: Promise<IteratorResult<Event, unknown>>, revision: number): Promise<boolean> {
  const later = new Promise<false>((resolve) => setImmediate(resolve, false));
  const same = next.then(
    (result) => result.done !== true && result.value.revision === revision,
    // Thrown again where it is awaited.
    () => false,
  );
  return await Promise.race([same, later]);
}

/** Waits until the client has taken what was written; one that does not is cut off, so that nothing piles up. */
async function drained(raw: ServerResponse, stallMs: number): Promise<void> {
  if (raw.destroyed) return;
  await new Promise<void>((resolve) => {
    const done = () => {
      clearTimeout(timer);
      raw.off('drain', done);
      raw.off('close', done);
      resolve();
    };
    const timer = setTimeout(() => raw.destroy(), stallMs);
    raw.on('drain', done);
    raw.on('close', done);
  });
}
