/**
 * Registers a route of the contract's table: checks params, query and body by its schemas, calls the handler, and sends
 * what the response schema has and nothing else. Leaves out what is done: that is the handler's one action call.
 */
import type { AnyRouteKey, Route, Routes } from '@wirt/api';
import { routes } from '@wirt/api';
import type { Request } from '@wirt/core';
import type { FastifyReply, FastifyRequest } from 'fastify';
import * as z from 'zod';
import { jsonBody } from './body.ts';
import type { Door } from './door.ts';
import { idempotency, ifRevision } from './headers.ts';
import { type Projection, projection } from './projection.ts';
import { bare } from './schema-walk.ts';
import { validate } from './validation.ts';

type Decoded<K extends AnyRouteKey, P extends string> =
  Routes[K] extends Record<P, infer S extends z.ZodType> ? z.output<S> : undefined;

/** A request that has passed the schemas. */
export interface Call<K extends AnyRouteKey> {
  readonly params: Decoded<K, 'params'>;
  readonly query: Decoded<K, 'query'>;
  readonly body: Decoded<K, 'body'>;
  /** The context that the actions take. */
  readonly request: Request;
}

export type Answer<K extends AnyRouteKey> = z.output<Routes[K]['response']>;

const noFields = z.strictObject({});

/** Splits a key of the table for the router: `GET /v1/instances/{instance}` → GET, `/v1/instances/:instance`. */
export function routePath(key: AnyRouteKey): { method: string; url: string } {
  const space = key.indexOf(' ');
  return { method: key.slice(0, space), url: key.slice(space + 1).replace(/\{(\w+)\}/g, ':$1') };
}

/** Aborts when the client goes away before the answer is out, or when the door closes. */
function underWay(door: Door, reply: FastifyReply): AbortSignal {
  const controller = new AbortController();
  door.underWay.add(controller);
  reply.raw.once('close', () => {
    door.underWay.delete(controller);
    if (!reply.raw.writableFinished) controller.abort(new Error('The client has gone away.'));
  });
  return controller.signal;
}

async function readBody(door: Door, route: Route, incoming: FastifyRequest): Promise<unknown> {
  if (route.kind === 'bytes' || incoming.method === 'GET') return undefined;
  const bytes = route.operationId === 'execInGuest' ? door.limits.execBytes : door.limits.jsonBytes;
  const sent = await jsonBody(incoming, { bytes, stallMs: door.limits.stallMs });
  // A body whose fields all have defaults may be left out; without a schema only an empty one is taken.
  return validate(route.body ?? noFields, sent ?? (route.body === undefined ? {} : emptyBody(route)), 'body');
}

/** `{}` where the schema accepts it. Elsewhere undefined, so that it is said that the body is missing. */
function emptyBody(route: Route): unknown {
  return route.body?.safeParse({}).success === true ? {} : undefined;
}

/** Reads and checks a request. Throws request.*. */
export async function readCall<K extends AnyRouteKey>(
  door: Door,
  key: K,
  incoming: FastifyRequest,
  reply: FastifyReply,
): Promise<Call<K>> {
  const route: Route = routes[key];
  const signal = underWay(door, reply);
  const params = validate(route.params ?? noFields, incoming.params, 'path');
  const query = validate(route.query ?? noFields, { ...(incoming.query as object) }, 'query');
  const body = await readBody(door, route, incoming);
  const path = incoming.url.replace(/\?.*$/, '');
  const once = idempotency(incoming.headers['idempotency-key'], {
    method: incoming.method,
    path,
    route,
    body,
  });
  const revision = ifRevision(incoming.headers['if-match'], incoming.method, route);
  const request: Request = {
    caller: 'socket',
    signal,
    ...(once === undefined ? {} : { idempotency: once }),
    ...(revision === undefined ? {} : { ifRevision: revision }),
  };
  // The schemas of this key have just made these values; the compiler cannot follow a lookup by a generic key.
  return { params, query, body, request } as unknown as Call<K>;
}

/** Mounts a route that answers JSON, or nothing (204). */
export function mount<K extends AnyRouteKey>(
  door: Door,
  key: K,
  handler: (call: Call<K>) => Promise<Answer<K> | void>,
): void {
  const route: Route = routes[key];
  const item = itemOf(route);
  mountRaw(door, key, async (call, reply) => {
    const { fields } = (call.query ?? {}) as { fields?: string };
    const project = item === undefined || fields === undefined ? undefined : projection(fields, item);
    send(route, key, await handler(call), project, reply);
  });
}

/** Mounts a route whose handler writes the answer itself. */
export function mountRaw<K extends AnyRouteKey>(
  door: Door,
  key: K,
  handler: (call: Call<K>, reply: FastifyReply, incoming: FastifyRequest) => Promise<void>,
): void {
  const { method, url } = routePath(key);
  door.app.route({
    method,
    url,
    handler: async (incoming, reply) => {
      const call = await readCall(door, key, incoming, reply);
      await handler(call, reply, incoming);
      return reply;
    },
  });
}

/** The schema of the items, when the route answers a page of a list. */
function itemOf(route: Route): z.ZodType | undefined {
  const page = bare(route.response);
  if (!(page instanceof z.ZodObject)) return undefined;
  const shape: Readonly<Record<string, z.ZodType>> = page.shape;
  const { items } = shape;
  return items instanceof z.ZodArray ? (items.element as z.ZodType) : undefined;
}

interface Sendable {
  readonly id?: unknown;
  readonly revision?: unknown;
  readonly items?: readonly unknown[];
}

function send(
  route: Route,
  key: string,
  answer: unknown,
  project: Projection | undefined,
  reply: FastifyReply,
): void {
  const status = route.status ?? 200;
  if (status === 204) {
    reply.code(204).send();
    return;
  }
  const parsed = route.response.safeParse(answer);
  if (!parsed.success) {
    // Not a WirtError: the client is told of a defect, the log of its inside.
    throw new Error(`The answer of ${key} does not fit its schema.`, { cause: parsed.error });
  }
  // Every JSON response of the contract is an object.
  const data = parsed.data as Sendable;
  if (status === 200 && typeof data.revision === 'number') reply.header('etag', `"${data.revision}"`);
  if (status === 202 && typeof data.id === 'string') reply.header('location', `/v1/operations/${data.id}`);
  const shown = project === undefined ? data : { ...data, items: data.items?.map(project) };
  reply.code(status).type('application/json; charset=utf-8').send(JSON.stringify(shown));
}
