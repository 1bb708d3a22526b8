/**
 * The metadata service at one address: an HTTP server there and nowhere else, which comes up as soon as the address does. Every guest is hostile:
 * what it sends is bounded in size and time, one request at a time on a connection, and bodies are not taken at all.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { MetadataActions, MetadataEndpoint, MetadataGuest } from '@wirt/core';
import { type Answer, answer, problem, tokenHeader, ttlHeader } from './answer.ts';
import type { Shares } from './shares.ts';
import type { Tokens } from './tokens.ts';

/** The daemon's log. */
export interface MetadataLogger {
  info(event: string, fields: Readonly<Record<string, unknown>>): void;
  warn(event: string, fields: Readonly<Record<string, unknown>>): void;
  error(event: string, fields: Readonly<Record<string, unknown>>): void;
}

export interface ListenerTimes {
  /** For a request to arrive whole, from its first byte or the connection on. */
  readonly requestMs: number;
  readonly keepAliveMs: number;
  /** For an answer to be taken. */
  readonly answerMs: number;
}

export const listenerTimes: ListenerTimes = { requestMs: 5_000, keepAliveMs: 5_000, answerMs: 30_000 };

export interface ListenerParts {
  readonly actions: Pick<MetadataActions, 'guest'>;
  readonly tokens: Tokens;
  readonly shares: Shares;
  readonly logger: MetadataLogger;
  readonly times?: ListenerTimes;
}

export interface Listener {
  /** Ends all connections. */
  close(): Promise<void>;
}

const maxHeaderBytes = 8192;
const maxRequestsOfSocket = 1000;
const firstRetryMs = 50;
const lastRetryMs = 2000;
/** So much of an answer costs as much as a request. */
const bytesOfCost = 16_384;

export function openListener(endpoint: MetadataEndpoint, parts: ListenerParts): Listener {
  const server = createMetadataServer(endpoint, parts);
  const closing = new AbortController();
  const bound = bind(server, endpoint, parts.logger, closing.signal);
  return {
    async close() {
      closing.abort();
      await bound;
      await new Promise((closed) => {
        server.close(closed);
        server.closeAllConnections();
      });
    },
  };
}

/** Tries until it works: the address comes with the network's interface, an IPv6 address some time after that. */
async function bind(
  server: Server,
  { network, address, port }: MetadataEndpoint,
  logger: MetadataLogger,
  signal: AbortSignal,
): Promise<void> {
  let waitMs = firstRetryMs;
  while (!signal.aborted) {
    try {
      await listenOnce(server, address, port);
      // None is known of a socket that listens; but an error that nobody hears would end wirtd.
      server.on('error', (error) => logger.warn('metadata.server_error', { network, address, port, error }));
      logger.info('metadata.listening', { network, address, port });
      return;
    } catch (error) {
      if (waitMs === firstRetryMs) logger.warn('metadata.bind_failed', { network, address, port, error });
    }
    await delay(waitMs, undefined, { signal }).catch(() => undefined);
    waitMs = Math.min(waitMs * 2, lastRetryMs);
  }
}

function listenOnce(server: Server, address: string, port: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject);
  server.listen({ host: address, port, ipv6Only: true }, () => {
    server.off('error', reject);
    resolve();
  });
  return promise;
}

function createMetadataServer({ network }: MetadataEndpoint, parts: ListenerParts): Server {
  const { actions, tokens, shares, logger, times = listenerTimes } = parts;
  const busy = new WeakSet<Socket>();
  const userDataFor = createUserDataReads();
  const server = createServer({
    maxHeaderSize: maxHeaderBytes,
    requestTimeout: times.requestMs,
    headersTimeout: times.requestMs,
    keepAliveTimeout: times.keepAliveMs,
    connectionsCheckingInterval: Math.min(1000, times.requestMs),
    noDelay: true,
  });
  server.maxRequestsPerSocket = maxRequestsOfSocket;
  server.maxHeadersCount = 64;

  const asker = (socket: Socket): Promise<MetadataGuest | undefined> =>
    actions.guest(network, socket.remoteAddress ?? '');

  async function admit(socket: Socket): Promise<void> {
    const guest = await asker(socket);
    if (guest === undefined || socket.destroyed || !shares.enter(guest.id, socket)) {
      socket.destroy();
      return;
    }
    socket.once('close', () => shares.leave(guest.id, socket));
  }

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { socket } = request;
    // Requests that are sent before the answer to the last: nobody does that, and a thousand answers at once need memory.
    if (busy.has(socket)) {
      socket.destroy();
      return;
    }
    busy.add(socket);
    const late = setTimeout(() => socket.destroy(), times.answerMs);
    response.once('close', () => {
      clearTimeout(late);
      busy.delete(socket);
    });
    const guest = await asker(socket);
    if (guest === undefined) socket.destroy();
    else if (!shares.spend(guest.id, 1)) send(response, tooMany());
    else if (hasBody(request)) send(response, problem(400, 'Bad Request', { connection: 'close' }));
    else {
      const asked = { ...guest, userData: () => userDataFor(guest, response) };
      const given = await answer(questionOf(request), asked, tokens);
      shares.spend(guest.id, Math.floor(given.body.length / bytesOfCost));
      send(response, given);
    }
  }

  const handle = (request: IncomingMessage, response: ServerResponse): void => {
    serve(request, response).catch((error: unknown) => {
      logger.error('metadata.failed', { network, error });
      if (response.headersSent) request.socket.destroy();
      else send(response, problem(500, 'Internal Server Error', { connection: 'close' }));
    });
  };
  server.on('request', handle);
  // Without waiting for the body that it announces.
  server.on('checkContinue', handle);
  server.on('checkExpectation', handle);
  server.on('connection', (socket) => {
    admit(socket).catch((error: unknown) => {
      logger.error('metadata.failed', { network, error });
      socket.destroy();
    });
  });
  return server;
}

/** A guest's user-data is in memory once, however many of its answers are slow to be taken. */
function createUserDataReads(): (
  guest: MetadataGuest,
  response: ServerResponse,
) => ReturnType<MetadataGuest['userData']> {
  const reads = new Map<string, { readonly content: ReturnType<MetadataGuest['userData']>; users: number }>();
  return (guest, response) => {
    // It would not be closed again.
    if (response.destroyed) return Promise.resolve(undefined);
    const read = reads.get(guest.id) ?? { content: guest.userData(), users: 0 };
    reads.set(guest.id, read);
    read.users += 1;
    response.once('close', () => {
      read.users -= 1;
      if (read.users === 0) reads.delete(guest.id);
    });
    return read.content;
  };
}

function tooMany(): Answer {
  return problem(503, 'Service Unavailable', { 'retry-after': '1', connection: 'close' });
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? '0') !== 0;
}

function questionOf({ method = '', url = '', headers }: IncomingMessage) {
  return {
    method,
    url,
    token: single(headers[tokenHeader]),
    ttl: single(headers[ttlHeader]),
    forwarded: headers['x-forwarded-for'] !== undefined,
  };
}

/** Said twice, Node puts a comma between them, and then it is no token any more. */
function single(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value.join(',') : value;
}

function send(response: ServerResponse, { status, headers, body }: Answer): void {
  if (response.destroyed) return;
  response.writeHead(status, { ...headers, 'content-length': Buffer.byteLength(body) });
  response.end(body);
}
