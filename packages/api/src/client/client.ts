/**
 * The typed client. Its types come from the route table by inference; at run time it knows no schema, so that a
 * program that only lists instances loads nothing else. Any `fetch` will do, also one over a Unix socket.
 */
import type * as z from 'zod';
import type { WirtError } from '../errors.ts';
import type { Problem } from '../problem.ts';
import type { AnyRouteKey, Routes } from '../routes.ts';
import type { Event, EventQuery } from '../schemas/event.ts';
import { serverSentEvents } from './event-stream.ts';
import { problemError } from './failure.ts';

type Part<K extends AnyRouteKey, P extends string, T extends string> =
  Routes[K] extends Record<P, infer S extends z.ZodType> ? { [key in T]: z.input<S> } : unknown;

type Query<K extends AnyRouteKey> = Routes[K] extends { query: infer S extends z.ZodType }
  ? { query?: z.input<S> }
  : unknown;

export type CallInput<K extends AnyRouteKey> = Part<K, 'params', 'params'> &
  Part<K, 'body', 'body'> &
  Query<K> & {
    readonly signal?: AbortSignal;
    readonly headers?: Readonly<Record<string, string>>;
    /** The body of a `bytes` route. */
    readonly bytes?: BodyInit;
  };

export type CallOutput<K extends AnyRouteKey> = z.output<Routes[K]['response']>;

export interface Client {
  /** Calls a route and gives its decoded answer. Throws WirtError with the server's code, cause and hint. */
  call<K extends AnyRouteKey>(key: K, input: CallInput<K>): Promise<CallOutput<K>>;
  /** Calls a route whose answer is opaque bytes. */
  stream<K extends AnyRouteKey>(key: K, input: CallInput<K>): Promise<Response>;
  /** Every change from `query.since` on, until `signal` aborts. Ends when the server closes the stream. */
  events(query: EventQuery, signal: AbortSignal): AsyncIterable<Event>;
}

export interface ClientOptions {
  readonly fetch: typeof fetch;
  /** Default `http://wirt`, which a Unix socket's fetch ignores. */
  readonly baseUrl?: string;
}

interface LooseInput {
  readonly params?: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, unknown>>;
  readonly body?: unknown;
  readonly bytes?: BodyInit;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

/** Fills a route key's path and query: `GET /v1/instances/{instance}` → method and URL path. */
export function requestLine(
  key: string,
  input: Pick<LooseInput, 'params' | 'query'>,
): { method: string; path: string } {
  const space = key.indexOf(' ');
  const path = key
    .slice(space + 1)
    .replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(input.params?.[name] ?? ''));
  const pairs = Object.entries(input.query ?? {})
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}=${encodeURIComponent(String(value))}`);
  return { method: key.slice(0, space), path: pairs.length > 0 ? `${path}?${pairs.join('&')}` : path };
}

async function failure(response: Response): Promise<WirtError> {
  const problem = (await response.json().catch(() => undefined)) as Partial<Problem> | undefined;
  return problemError(problem, `The server answered ${response.status} without a description.`);
}

export function createClient({ fetch, baseUrl = 'http://wirt' }: ClientOptions): Client {
  async function send(key: string, input: LooseInput): Promise<Response> {
    const { method, path } = requestLine(key, input);
    const json = input.body !== undefined;
    const body = json ? JSON.stringify(input.body) : input.bytes;
    const response = await fetch(baseUrl + path, {
      method,
      headers: { ...(json ? { 'content-type': 'application/json' } : {}), ...input.headers },
      ...(body === undefined ? {} : { body }),
      ...(input.signal === undefined ? {} : { signal: input.signal }),
    });
    if (!response.ok) throw await failure(response);
    return response;
  }

  return {
    // What the server answers fits the route's schema; it is not checked again here, which would need zod at run time.
    async call(key, input) {
      const response = await send(key, input);
      return (response.status === 204 ? undefined : await response.json()) as CallOutput<typeof key>;
    },
    stream: (key, input) => send(key, input),
    async *events(query, signal) {
      const response = await send('GET /v1/events', { query, signal });
      if (response.body === null) return;
      for await (const data of serverSentEvents(response.body)) yield JSON.parse(data) as Event;
    },
  };
}
