/** Routes into a guest: console, logs, and commands and files through the guest agent. */
import * as z from 'zod';
import type { Route, RouteKey } from '../route.ts';
import { execResultSchema, execSchema, guestPathQuery, logQuery } from '../schemas/guest.ts';
import { instanceParams } from './instance.ts';

const shared = { tag: 'guest', params: instanceParams } as const;
const agent = [
  'instance.not_found',
  'instance.state_conflict',
  'guest.agent_unavailable',
  'guest.agent_timeout',
  'guest.command_failed',
  'guest.output_too_large',
] as const;

export const guestRoutes = {
  'GET /v1/instances/{instance}/console': {
    ...shared,
    operationId: 'openConsole',
    summary: 'The serial console, over WebSocket',
    description:
      'Binary frames carry the bytes of the console, both ways; the last 64 KiB are sent first. A text frame ' +
      '`{"resize":{"columns":80,"rows":25}}` tells the window size. Any number of viewers may be connected.',
    can: 'console',
    kind: 'websocket',
    response: z.never(),
    errors: ['instance.not_found', 'instance.state_conflict'],
  },
  'GET /v1/instances/{instance}/logs': {
    ...shared,
    operationId: 'getLogs',
    summary: 'What the guest wrote to its console, or QEMU to its log',
    query: logQuery,
    kind: 'bytes',
    response: z.never(),
    errors: ['instance.not_found'],
  },
  'POST /v1/instances/{instance}/exec': {
    ...shared,
    operationId: 'execInGuest',
    summary: 'Run a program in the guest through its agent',
    can: 'exec',
    body: execSchema,
    response: execResultSchema,
    errors: agent,
  },
  'GET /v1/instances/{instance}/files': {
    ...shared,
    operationId: 'readGuestFile',
    summary: 'Read a file in the guest',
    can: 'cp',
    query: guestPathQuery,
    kind: 'bytes',
    response: z.never(),
    errors: agent,
  },
  'PUT /v1/instances/{instance}/files': {
    ...shared,
    operationId: 'writeGuestFile',
    summary: 'Write a file in the guest; the body is its content',
    can: 'cp',
    query: guestPathQuery,
    kind: 'bytes',
    status: 204,
    response: z.never(),
    errors: agent,
  },
} as const satisfies Record<RouteKey, Route>;
