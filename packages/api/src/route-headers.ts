/** Which routes take which conditional header: one word for the REST door, which refuses others, and the API documents. */
import type { Route } from './route.ts';
import { waitQuery } from './schemas/operation.ts';

/**
 * Idempotency-Key: only where an operation is started, since the operation is what is answered again. DELETE starts
 * operations too, but repeating it does no harm: the second finds nothing.
 */
export function takesIdempotencyKey(method: string, route: Route): boolean {
  return method === 'POST' && route.query === waitQuery;
}

/** If-Match: changes of one present instance. */
export function takesIfMatch(method: string, route: Route): boolean {
  return method !== 'GET' && route.tag === 'instance' && route.can !== undefined;
}
