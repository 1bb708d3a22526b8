/** The shape of a route: what the REST door serves, the OpenAPI document shows and the typed client calls. */
import type * as z from 'zod';
import type { ErrorCode } from './errors.ts';
import type { InstanceAction } from './instance-can.ts';

export interface Route {
  readonly operationId: string;
  readonly tag:
    | 'instance'
    | 'guest'
    | 'snapshot'
    | 'volume'
    | 'pool'
    | 'network'
    | 'image'
    | 'transfer'
    | 'policy'
    | 'usage'
    | 'operation'
    | 'event'
    | 'host';
  readonly summary: string;
  readonly description?: string;
  /** The row of `instanceCan` that governs it; its states are shown in the API documents. */
  readonly can?: InstanceAction;
  readonly params?: z.ZodObject;
  readonly query?: z.ZodObject;
  readonly body?: z.ZodType;
  /** `bytes`: an opaque body; `events`: server-sent events of `response`; `websocket`: an upgrade. */
  readonly kind?: 'json' | 'bytes' | 'events' | 'websocket';
  readonly response: z.ZodType;
  /** Success status; 200 without it. */
  readonly status?: 200 | 201 | 202 | 204;
  /** Beyond those that every route may answer: request.*, daemon.*, store.*, internal. */
  readonly errors: readonly ErrorCode[];
}

export type RouteKey = `${'GET' | 'POST' | 'PATCH' | 'PUT' | 'DELETE'} /v1/${string}`;
