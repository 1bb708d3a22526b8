/**
 * A GET to servers that are not trusted: addresses are checked also after name look-ups, redirects are few and never to a
 * less safe place, every wait has a deadline, and a server that only drips is given up. Bodies come as sent: compression
 * is asked not to be used, and never undone. No proxies, cookies or credentials.
 */
import { type LookupAddress, type LookupAllOptions, lookup } from 'node:dns';
import {
  type ClientRequest,
  request as httpRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
} from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { LookupFunction } from 'node:net';
import {
  type AddressRules,
  addressProblem,
  checkedUrl,
  isLoopback,
  namesLoopback,
  redirected,
  shownUrl,
  WebRefusal,
} from './web-address.ts';

const maxRedirects = 5;
/** Less than this within the time for a stall is a stall. */
const dripBytes = 64 * 1024;
/** Held while the reader is busy. */
const maxInboxBytes = 1024 * 1024;

export interface WebDeadlines {
  /** For finding the host and connecting to it, TLS included. */
  readonly connectMs: number;
  /** For the answer's head, and for every 64 KiB of its body. */
  readonly stallMs: number;
}

export const defaultDeadlines: WebDeadlines = { connectMs: 20_000, stallMs: 60_000 };

export interface WebRequest {
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** http may be asked of any host: only when the digest of what comes is known. */
  readonly plainHttp: boolean;
  readonly deadlines: WebDeadlines;
  readonly signal: AbortSignal;
}

export interface WebAnswer extends Disposable {
  /** What answered, after redirects. */
  readonly url: URL;
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Throws `WebFailure` when the body ends early or stalls, or the signal's reason. Once only. */
  chunks(): AsyncGenerator<Uint8Array>;
}

/** `unreachable`: no answer came. `broken`: it ended early. */
export class WebFailure extends Error {
  override readonly name = 'WebFailure';
  readonly kind: 'unreachable' | 'broken';

  constructor(kind: WebFailure['kind'], message: string) {
    super(message);
    this.kind = kind;
  }
}

/** The first answer that is no redirect, whatever its status. Throws `WebRefusal`, `WebFailure`, the signal's reason. */
export async function openWeb(request: WebRequest): Promise<WebAnswer> {
  let rules: AddressRules = { plainHttp: request.plainHttp, loopback: true };
  let url = checkedUrl(request.url, rules);
  for (let redirects = 0; ; redirects += 1) {
    const { response, inbox, fromLoopback } = await send(url, rules, request);
    const { location } = response.headers;
    const status = response.statusCode ?? 0;
    if (![301, 302, 303, 307, 308].includes(status) || location === undefined) {
      return answerOf(url, response, inbox, request);
    }
    response.destroy();
    if (redirects === maxRedirects) throw new WebRefusal(`It redirects more than ${maxRedirects} times.`);
    // Whoever is elsewhere must not make wirtd ask services of this host.
    rules = { ...rules, loopback: rules.loopback && fromLoopback };
    url = redirected(url, location, rules);
  }
}

interface Sent {
  readonly response: IncomingMessage;
  readonly inbox: Inbox;
  readonly fromLoopback: boolean;
}

function send(url: URL, rules: AddressRules, { headers, deadlines, signal }: WebRequest): Promise<Sent> {
  signal.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<Sent>();
  const secure = url.protocol === 'https:';
  const outgoing: ClientRequest = (secure ? httpsRequest : httpRequest)(url, {
    // A connection of its own: nothing is left open, and no earlier one is used that was checked by other rules.
    agent: false,
    lookup: checkedLookup(url, rules),
    headers: { 'accept-encoding': 'identity', 'user-agent': 'wirt', ...headers },
    signal,
  });
  const giveUp = (what: string): void => {
    outgoing.destroy(new WebFailure('unreachable', what));
  };
  let timer = setTimeout(
    () => giveUp(`${url.host} did not accept a connection within ${deadlines.connectMs / 1000} s.`),
    deadlines.connectMs,
  );
  outgoing.once('socket', (socket) => {
    socket.once(secure ? 'secureConnect' : 'connect', () => {
      clearTimeout(timer);
      timer = setTimeout(
        () => giveUp(`${url.host} did not answer within ${deadlines.stallMs / 1000} s.`),
        deadlines.stallMs,
      );
    });
  });
  // It stays on after the answer: an error of a request without a listener ends the process.
  outgoing.on('error', (error) => {
    clearTimeout(timer);
    reject(signal.aborted ? signal.reason : failureOf(error, 'unreachable'));
  });
  outgoing.once('response', (response) => {
    clearTimeout(timer);
    // At once: what comes before somebody listens is lost, the end as well.
    const inbox = createInbox(response);
    resolve({ response, inbox, fromLoopback: isLoopback(response.socket.remoteAddress ?? '') });
  });
  outgoing.end();
  return promise;
}

/** Errors of Node may carry the bytes received or the address with its query: only their sentence is taken on. */
function failureOf(error: unknown, kind: WebFailure['kind']): Error {
  if (error instanceof WebFailure || error instanceof WebRefusal) return error;
  // Several addresses were tried (RFC 8305): each has an error of its own.
  const all = error instanceof AggregateError ? error.errors : [error];
  const sentences = all.map((each) => (each instanceof Error ? each.message : String(each)));
  return new WebFailure(kind, [...new Set(sentences)].join('; '));
}

type LookupDone = (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void;

/**
 * The resolver's answer, unless it is an address that is not asked: so a name cannot stand for such a one. This host is
 * only what the address itself calls so; that a resolver says it of another name does not count.
 */
export function checkedLookup(
  url: URL,
  rules: AddressRules,
  resolve: (hostname: string, options: LookupAllOptions, done: LookupDone) => void = lookup,
): LookupFunction {
  const named = namesLoopback(url);
  return (hostname, options, callback) => {
    resolve(hostname, { ...options, all: true }, (error, addresses) => {
      if (error !== null) return callback(error, []);
      for (const { address } of addresses) {
        const problem =
          named && !isLoopback(address)
            ? 'is not this host'
            : addressProblem(address, { loopback: named && rules.loopback });
        if (problem !== undefined) {
          return callback(new WebRefusal(`${hostname} is ${address}, which ${problem}.`), []);
        }
      }
      const [first] = addresses;
      if (options.all === true || first === undefined) callback(null, addresses);
      else callback(null, first.address, first.family);
    });
  };
}

function answerOf(url: URL, response: IncomingMessage, inbox: Inbox, request: WebRequest): WebAnswer {
  return {
    url,
    status: response.statusCode ?? 0,
    headers: response.headers,
    chunks: () => chunksOf(url, response, inbox, request),
    [Symbol.dispose]: () => {
      response.destroy();
    },
  };
}

async function* chunksOf(
  url: URL,
  response: IncomingMessage,
  inbox: Inbox,
  { deadlines: { stallMs }, signal }: WebRequest,
): AsyncGenerator<Uint8Array> {
  const stalled = (): void => {
    const what = `${shownUrl(url)} sent less than ${dripBytes / 1024} KiB in ${stallMs / 1000} s.`;
    response.destroy(new WebFailure('broken', what));
  };
  // Only waiting counts: the time in which we do not read is not the server's.
  let waitedMs = 0;
  let sinceBytes = 0;
  try {
    for (;;) {
      // What was taken in before the abort is not handed on.
      signal.throwIfAborted();
      const timer = setTimeout(stalled, Math.max(stallMs - waitedMs, 1));
      const beganMs = performance.now();
      const chunk = await inbox.next().finally(() => clearTimeout(timer));
      if (chunk === undefined) return;
      waitedMs += performance.now() - beganMs;
      sinceBytes += chunk.length;
      if (sinceBytes >= dripBytes) {
        waitedMs = 0;
        sinceBytes = 0;
      }
      yield chunk;
    }
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    throw failureOf(error, 'broken');
  } finally {
    response.destroy();
  }
}

interface Inbox {
  /** Undefined at the end of a whole body. */
  next(): Promise<Uint8Array | undefined>;
}

/**
 * Takes chunks off the stream as they come. Iterating over the stream itself would lose what it has buffered when the
 * connection breaks: up to 64 KiB each time, and all of it where a server always breaks sooner.
 */
function createInbox(response: IncomingMessage): Inbox {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  let end: { readonly error: Error | undefined } | undefined;
  let wake = (): void => undefined;
  const finish = (error: Error | undefined): void => {
    end ??= { error };
    wake();
  };
  response.on('data', (chunk: Uint8Array) => {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes >= maxInboxBytes) response.pause();
    wake();
  });
  response.once('end', () => finish(undefined));
  response.on('error', finish);
  response.once('close', () => finish(new WebFailure('broken', 'The connection ended before the body did.')));
  return {
    async next(): Promise<Uint8Array | undefined> {
      if (chunks.length === 0 && end === undefined) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      const chunk = chunks.shift();
      if (chunk === undefined) {
        if (end?.error !== undefined) throw end.error;
        return undefined;
      }
      bytes -= chunk.length;
      if (bytes < maxInboxBytes && response.isPaused()) response.resume();
      return chunk;
    },
  };
}
