/** The request headers with a meaning of their own: Idempotency-Key, If-Match, Last-Event-ID. */
import { createHash } from 'node:crypto';
import type { Route } from '@wirt/api';
import { takesIdempotencyKey, takesIfMatch, WirtError } from '@wirt/api';

const maxKeyChars = 255;

export interface Idempotency {
  readonly key: string;
  readonly fingerprint: string;
}

/** Reads Idempotency-Key; undefined without one. Throws `request.invalid` where it could not be kept. */
export function idempotency(
  header: string | string[] | undefined,
  request: { readonly method: string; readonly path: string; readonly route: Route; readonly body: unknown },
): Idempotency | undefined {
  if (header === undefined || request.method === 'GET') return undefined;
  if (!takesIdempotencyKey(request.method, request.route)) {
    throw new WirtError(
      'request.invalid',
      `Idempotency-Key is not taken by ${request.method} ${request.path}.`,
      {
        hint: 'Leave the header out: only POST routes that start an operation remember it.',
      },
    );
  }
  if (typeof header !== 'string' || !/^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/.test(header)) {
    throw new WirtError('request.invalid', 'Idempotency-Key must be one text of printable ASCII characters.');
  }
  if (header.length > maxKeyChars) {
    const message = `Idempotency-Key must have at most ${maxKeyChars} characters, and has ${header.length}.`;
    throw new WirtError('request.invalid', message);
  }
  const text = `${request.method} ${request.path}\n${canonicalJson(request.body)}`;
  return { key: header, fingerprint: createHash('sha256').update(text).digest('hex') };
}

/** JSON with the keys of objects in order, so that equal values give equal text. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  const fields = Object.entries(value)
    .filter(([, field]) => field !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, field]) => `${JSON.stringify(name)}:${canonicalJson(field)}`);
  return `{${fields.join(',')}}`;
}

/** Reads If-Match (RFC 9110 §13.1.1) into a revision; `*` sets no condition, since a missing record is an error anyway. */
export function ifRevision(header: string | undefined, method: string, route: Route): number | undefined {
  if (header === undefined || method === 'GET' || header.trim() === '*') return undefined;
  if (!takesIfMatch(method, route)) {
    throw new WirtError('request.invalid', `If-Match is not taken by ${route.operationId}.`, {
      hint: 'Leave the header out: only changes of an instance heed it.',
    });
  }
  const digits = /^\s*"(\d{1,15})"\s*$/.exec(header)?.[1];
  if (digits === undefined) {
    throw new WirtError('request.invalid', 'If-Match must be one ETag as it was answered, such as "42".');
  }
  return Number(digits);
}

/** Reads Last-Event-ID, which an event source sends by itself when it connects again. */
export function lastEventId(header: string | string[] | undefined): number | undefined {
  if (header === undefined || header === '') return undefined;
  if (typeof header !== 'string' || !/^\d{1,15}$/.test(header)) {
    throw new WirtError('request.invalid', 'Last-Event-ID must be the revision of an event.');
  }
  return Number(header);
}
