/**
 * The REST door: fastify under the contract's route table, on a Unix socket. Every answer is of the contract, errors
 * included. Leaves out who may do what: that is the actions' part, and for now the socket's file mode.
 */
import { createServer as createHttpServer, type Server } from 'node:http';
import type { Socket } from 'node:net';
import { type Version, WirtError } from '@wirt/api';
import type { Actions } from '@wirt/core';
import Fastify, { type FastifyInstance } from 'fastify';
import { answerError, rawProblem, routeNotFound } from './answer-error.ts';
import { registerWebsocket } from './console.ts';
import { mountDevices } from './device.ts';
import { mountDisks } from './disk.ts';
import { type Door, defaultLimits, type RestLimits, type RestLogger } from './door.ts';
import { mountEvents } from './event.ts';
import { mountGuests } from './guest.ts';
import { mountHost } from './host.ts';
import { mountImages } from './image.ts';
import { mountInstances } from './instance.ts';
import { mountMetrics } from './metrics.ts';
import { mountNetworks } from './network.ts';
import { mountNics } from './nic.ts';
import { mountOperations } from './operation.ts';
import { mountPolicies } from './policy.ts';
import { mountPools } from './pool.ts';
import { mountSecurityGroups } from './security-group.ts';
import { mountSnapshots } from './snapshot.ts';
import { listenOnSocketFile, type SocketFile } from './socket-file.ts';
import { mountTransfers } from './transfer.ts';
import { mountUsage } from './usage.ts';
import { mountVolumes } from './volume.ts';

export interface RestServerOptions {
  readonly actions: Actions;
  readonly version: Version;
  /** Reads the OpenAPI document. */
  openapi(): Promise<Record<string, unknown>>;
  readonly logger: RestLogger;
  /** Mode of the socket file; 0660 without it. */
  readonly socketMode?: number;
  readonly socketGid?: number;
  readonly limits?: Partial<RestLimits>;
}

export interface RestServer {
  /** For tests: requests without a socket, by `app.inject`. */
  readonly app: FastifyInstance;
  /** Throws `daemon.already_running` when somebody answers there, `daemon.config_invalid` when it cannot be. */
  listen(path: string): Promise<void>;
  /** Accepts nothing more, ends streams and waits with a reason, and returns when answers are out or `closeMs` is over. */
  close(): Promise<void>;
}

function createApp(): { app: FastifyInstance; server: Server } {
  const server = createHttpServer({
    // Uploads take as long as they take; stalls are watched chunk by chunk.
    requestTimeout: 0,
    headersTimeout: 30_000,
    keepAliveTimeout: 72_000,
    maxHeaderSize: 32 * 1024,
    shouldUpgradeCallback: (request) => request.headers.upgrade?.toLowerCase() === 'websocket',
  });
  const app = Fastify({
    serverFactory: (handler) => server.on('request', handler),
    logger: false,
    exposeHeadRoutes: false,
    return503OnClosing: false,
    routerOptions: { maxParamLength: 1_000 },
    clientErrorHandler: (_error, socket) => {
      if (socket.writable) socket.end(rawProblem('What was sent is not well-formed HTTP/1.1.'));
      else socket.destroy();
    },
    frameworkErrors: (error, request, reply) => answerError(error, request, reply, silent),
  });
  return { app, server };
}

const silent: RestLogger = { debug() {}, info() {}, warn() {}, error() {} };

/** What is open on the door; `closing` turns requests away that come on connections from before. */
interface Connections {
  readonly sockets: Set<Socket>;
  closing: boolean;
}

export async function createRestServer(options: RestServerOptions): Promise<RestServer> {
  const { app, server } = createApp();
  const door: Door = {
    app,
    actions: options.actions,
    log: options.logger,
    limits: { ...defaultLimits, ...options.limits },
    version: options.version,
    openapi: options.openapi,
    underWay: new Set(),
  };
  const open: Connections = { sockets: new Set(), closing: false };
  addHooks(door, open);
  await registerWebsocket(door);
  mountInstances(door);
  mountGuests(door);
  mountDisks(door);
  mountNics(door);
  mountNetworks(door);
  mountSecurityGroups(door);
  mountPolicies(door);
  mountSnapshots(door);
  mountVolumes(door);
  mountPools(door);
  mountImages(door);
  mountTransfers(door);
  mountOperations(door);
  mountUsage(door);
  mountEvents(door);
  mountHost(door);
  mountDevices(door);
  mountMetrics(door);
  await app.ready();
  // Connections are handed to it by the socket file, so it never listens itself; this starts its timeouts.
  server.emit('listening');

  let socketFile: SocketFile | undefined;
  return {
    app,
    async listen(path) {
      socketFile = await listenOnSocketFile({
        path,
        mode: options.socketMode ?? 0o660,
        gid: options.socketGid,
        checkMs: door.limits.socketCheckMs,
        log: door.log,
        onConnection(socket) {
          open.sockets.add(socket);
          socket.once('close', () => open.sockets.delete(socket));
          server.emit('connection', socket);
        },
      });
    },
    async close() {
      open.closing = true;
      await socketFile?.close();
      await drain(door, server, open.sockets);
    },
  };
}

function addHooks(door: Door, open: Connections): void {
  const { app, log } = door;
  // Bodies are read by the routes, each with its own limits.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', (_request, payload, done) => done(null, payload));
  app.setErrorHandler((error, request, reply) => answerError(error, request, reply, log));
  app.setNotFoundHandler((request) => {
    throw routeNotFound(request.method, request.url);
  });
  app.addHook('onRequest', async (_request, reply) => {
    reply.header('cache-control', 'no-store');
    if (open.closing) throw stopping();
  });
  app.addHook('onSend', async (_request, reply) => {
    if (open.closing) reply.header('connection', 'close');
  });
  app.addHook('onResponse', async (request, reply) => {
    const { method, url } = request;
    log.debug('rest.answered', { method, url, status: reply.statusCode, ms: Math.round(reply.elapsedTime) });
  });
}

function stopping(): WirtError {
  return new WirtError('daemon.stopping', 'wirtd is stopping.', {
    hint: 'Ask again when it runs; guests go on.',
  });
}

/** Ends every wait and stream with the reason, and every connection when its answer is out or time is up. */
async function drain(door: Door, server: Server, sockets: ReadonlySet<Socket>): Promise<void> {
  const reason = stopping();
  for (const controller of door.underWay) controller.abort(reason);
  await door.app.close();
  server.close(); // It never listened: this ends its timers and the idle connections.
  for (const socket of sockets) if (socket.bytesRead === 0) socket.destroy();
  const deadline = AbortSignal.timeout(door.limits.closeMs);
  await Promise.all(Array.from(sockets, (socket) => closed(socket, deadline)));
  for (const socket of sockets) socket.destroy();
}

/** Resolves when the socket has closed, or at the deadline. */
function closed(socket: Socket, deadline: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    socket.once('close', () => resolve());
    deadline.addEventListener('abort', () => resolve(), { once: true });
  });
}
