/**
 * Follows the daemon's event stream over lost connections and restarts of the daemon, from the last revision seen.
 * `watchUntil` builds on it: it looks when the stream is open and after every change, so that nothing polls.
 */
import type { Event, EventQuery } from '@wirt/api';
import { serverSentEvents } from '@wirt/api/client';
import { WirtError } from '@wirt/api/errors';
import type { Context } from './command.ts';

/** The daemon sends a comment every 15 s on a quiet stream; after three of them missing it is taken for dead. */
const silenceMs = 50_000;

export interface FollowOptions {
  readonly signal: AbortSignal;
  /** How long to try again after a connection was lost. The first connection is tried once. */
  readonly reconnectMs: number;
  /** Called once for every loss. */
  readonly onLost?: (error: unknown) => void;
}

/** Gives `connected` each time the stream is open, then the events. Ends only by abort (quietly) or by throwing. */
export async function* followEvents(
  context: Context,
  query: EventQuery,
  { signal, reconnectMs, onLost }: FollowOptions,
): AsyncGenerator<Event | 'connected'> {
  const client = context.clientWith({ answerMs: 10_000, idleMs: silenceMs });
  let since = query.since;
  let lostAtMs: number | undefined;
  let everConnected = false;
  while (!signal.aborted) {
    try {
      const asked = since === undefined ? query : { ...query, since };
      const response = await client.stream('GET /v1/events', { query: asked, signal });
      [everConnected, lostAtMs] = [true, undefined];
      yield 'connected';
      if (response.body === null) continue;
      for await (const data of serverSentEvents(response.body)) {
        const event = JSON.parse(data) as Event;
        since = event.revision;
        yield event;
      }
      throw new WirtError('daemon.unreachable', 'wirtd ended the event stream.');
    } catch (error) {
      if (signal.aborted) return;
      if (!everConnected || !isLoss(error)) throw error;
      if (lostAtMs === undefined) onLost?.(error);
      lostAtMs ??= context.io.now();
      if (context.io.now() - lostAtMs >= reconnectMs) throw error;
      await pause(250, signal);
    }
  }
}

/** A connection that broke, in whichever way; what the daemon says itself is none, except that it is stopping. */
export function isLoss(error: unknown): boolean {
  return (
    !(error instanceof WirtError) || error.code === 'daemon.unreachable' || error.code === 'daemon.stopping'
  );
}

/** Resolves after the time or at abort, whichever is first. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    function done(): void {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    }
    signal.addEventListener('abort', done, { once: true });
  });
}

export interface WatchOptions extends FollowOptions {
  /** Changes within this time after a look share the next one. Default 0. */
  readonly calmMs?: number;
}

/**
 * Calls `look` when the stream is open and after changes, one at a time, until it gives a value. Undefined when
 * `signal` aborted first. Throws what `look` or the stream throws.
 */
export async function watchUntil<T>(
  context: Context,
  query: EventQuery,
  look: (signal: AbortSignal) => Promise<T | undefined>,
  options: WatchOptions,
): Promise<T | undefined> {
  const own = new AbortController();
  const signal = AbortSignal.any([options.signal, own.signal]);
  let stale = false;
  let ended: { readonly error: unknown } | 'quietly' | undefined;
  let wake: () => void = () => undefined;
  const pump = async (): Promise<void> => {
    try {
      for await (const _ of followEvents(context, query, { ...options, signal })) {
        stale = true;
        wake();
      }
      ended = 'quietly';
    } catch (error) {
      ended = { error };
    }
    wake();
  };
  const pumping = pump();
  try {
    for (;;) {
      if (stale) {
        stale = false;
        const found = await tolerant(look, signal);
        if (signal.aborted) return undefined;
        if (found === 'lost') {
          // The daemon goes away: look again until the stream is back, or has given up.
          await pause(250, signal);
          stale = ended === undefined;
        } else if (found !== undefined) {
          return found.value;
        } else if (options.calmMs !== undefined) {
          await pause(options.calmMs, signal);
        }
      } else if (ended === 'quietly') {
        return undefined;
      } else if (ended !== undefined) {
        throw ended.error;
      } else {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  } finally {
    own.abort();
    await pumping;
  }
}

async function tolerant<T>(
  look: (signal: AbortSignal) => Promise<T | undefined>,
  signal: AbortSignal,
): Promise<{ readonly value: T } | 'lost' | undefined> {
  try {
    const value = await look(signal);
    return value === undefined ? undefined : { value };
  } catch (error) {
    if (signal.aborted || isLoss(error)) return 'lost';
    throw error;
  }
}
