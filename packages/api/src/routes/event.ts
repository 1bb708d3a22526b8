/** The event stream. */
import type { Route, RouteKey } from '../route.ts';
import { eventQuery, eventSchema } from '../schemas/event.ts';

export const eventRoutes = {
  'GET /v1/events': {
    tag: 'event',
    operationId: 'streamEvents',
    summary: 'Every change, as server-sent events that can be resumed',
    description:
      'Each event’s `id` is its revision: `since`, or the header `Last-Event-ID`, goes on behind it. A comment line ' +
      'comes every 15 s on a quiet stream. Events older than the log answer 410: list anew, then go on.',
    query: eventQuery,
    kind: 'events',
    response: eventSchema,
    errors: ['event.compacted'],
  },
} as const satisfies Record<RouteKey, Route>;
