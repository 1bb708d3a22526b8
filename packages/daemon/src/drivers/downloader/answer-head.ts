/** What the head of an HTTP answer says about the file: its size, its version, which part is sent (RFC 9110). Pure. */
import type { IncomingHttpHeaders } from 'node:http';

/** Waiting longer than this is not done for a server that asks for it. */
const maxRetryAfterMs = 60_000;

/** `Content-Length`; undefined when it is missing or no number. */
export function lengthOf(headers: IncomingHttpHeaders): number | undefined {
  return wholeNumber(headers['content-length']);
}

/** Whether the end of the body can be told from a broken connection. */
export function hasEnd(headers: IncomingHttpHeaders): boolean {
  return lengthOf(headers) !== undefined || /\bchunked\b/i.test(headers['transfer-encoding'] ?? '');
}

/**
 * What names this version of the file in `If-Range`: an `ETag` that is not weak, or a date of change that is older than
 * the answer by a minute, so that no later change can have the same one (RFC 9110 §8.8.2.2, §13.1.5).
 */
export function validatorOf(headers: IncomingHttpHeaders): string | undefined {
  const { etag, date } = headers;
  const changed = headers['last-modified'];
  if (etag !== undefined) return /^"[\x21\x23-\x7e]{0,200}"$/.test(etag) ? etag : undefined;
  if (changed === undefined || date === undefined) return undefined;
  const ageMs = Date.parse(date) - Date.parse(changed);
  return ageMs >= 60_000 && changed.length < 50 ? changed : undefined;
}

export interface SentRange {
  readonly firstByte: number;
  /** Undefined where the server does not know. */
  readonly totalBytes: number | undefined;
}

/** `Content-Range` of an answer with a part; undefined when it cannot be understood. */
export function rangeOf(headers: IncomingHttpHeaders): SentRange | undefined {
  const match = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15}|\*)$/i.exec(headers['content-range'] ?? '');
  if (match === null) return undefined;
  const [, first, last, total] = match;
  const firstByte = Number(first);
  const totalBytes = total === '*' ? undefined : Number(total);
  if (Number(last) < firstByte || Number(last) >= (totalBytes ?? Number.POSITIVE_INFINITY)) return undefined;
  return { firstByte, totalBytes };
}

/** The size that an answer 416 (there is no such range) tells. */
export function unsatisfiedTotal(headers: IncomingHttpHeaders): number | undefined {
  const match = /^bytes \*\/(\d{1,15})$/i.exec(headers['content-range'] ?? '');
  return wholeNumber(match?.[1]);
}

/** `Retry-After` in seconds, at most a minute; its other form, a date, is not used. */
export function retryAfterMs(headers: IncomingHttpHeaders): number {
  return Math.min((wholeNumber(headers['retry-after']) ?? 0) * 1000, maxRetryAfterMs);
}

function wholeNumber(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}
