/**
 * The serial console over WebSocket, and as a stream of bytes for `logs?follow`. Each viewer gets what was last written,
 * then every byte as it comes; one that does not keep up is dropped and never holds up the guest or the others.
 */
import websocket from '@fastify/websocket';
import { type Instance, WirtError } from '@wirt/api';
import type { Actions, Request } from '@wirt/core';
import type { FastifyRequest } from 'fastify';
import type { WebSocket } from 'ws';
import * as z from 'zod';
import type { Door } from './door.ts';
import { guestEnd } from './guest-end.ts';
import { readCall, routePath } from './mount.ts';

type Console = Awaited<ReturnType<Actions['guest']['console']>>;

const key = 'GET /v1/instances/{instance}/console';
const maxInputBytes = 64 * 1024;
/** A viewer that types more than `maxInputBytes` in this time waits for the rest of it. */
const inputWindowMs = 100;

/** RFC 6455 §7.4.1; 1013 is registered by IANA as "try again later". */
const closeCode = { ended: 1000, stopping: 1001, refused: 1008, failed: 1011, slow: 1013 } as const;

// A serial line has no size; it is checked all the same, for consoles that will have one.
const resizeSchema = z.strictObject({
  resize: z.strictObject({ columns: z.int().min(1).max(10_000), rows: z.int().min(1).max(10_000) }),
});

interface Viewing {
  readonly request: Request;
  readonly console: Console;
  readonly instance: Instance;
}

/** The WebSocket plugin with its limits. To be registered, and awaited, before `mountConsole`. */
export async function registerWebsocket(door: Door): Promise<void> {
  const { app } = door;
  await app.register(websocket, {
    options: { maxPayload: maxInputBytes, perMessageDeflate: false },
    errorHandler: (error, socket) => {
      door.log.debug('rest.console_failed', { error });
      socket.terminate();
    },
    preClose: (done) => {
      for (const viewer of app.websocketServer.clients) end(viewer, closeCode.stopping, 'wirtd is stopping.');
      done();
    },
  });
  app.addHook('preHandler', async (request) => {
    if (!request.ws || request.routeOptions.config.console === true) return;
    throw new WirtError('request.invalid', `${request.method} ${request.url} does not speak WebSocket.`);
  });
}

declare module 'fastify' {
  interface FastifyContextConfig {
    console?: boolean;
  }
}

export function mountConsole(door: Door): void {
  const viewings = new WeakMap<FastifyRequest, Viewing>();
  door.app.route({
    method: 'GET',
    url: routePath(key).url,
    config: { console: true },
    // Before the upgrade, so that a refusal is an ordinary problem.
    preHandler: async (incoming, reply) => {
      const { params, request } = await readCall(door, key, incoming, reply);
      if (!incoming.ws) {
        throw new WirtError(
          'request.invalid',
          `The console of ${params.instance} is served over WebSocket only.`,
          {
            hint: `Use \`wirt console ${params.instance}\`, or read it with GET …/logs?follow=true.`,
          },
        );
      }
      const instance = await door.actions.instance.get(params.instance);
      const console = await door.actions.guest.console(request, params.instance);
      viewings.set(incoming, { request, console, instance });
    },
    handler: async () => undefined,
    wsHandler: (socket, incoming) => {
      const viewing = viewings.get(incoming);
      if (viewing === undefined) socket.terminate();
      else view(door, socket, viewing);
    },
  });
}

/** Closes with a reason (123 bytes at most, RFC 6455 §5.5), and for good soon after if the viewer does not answer. */
function end(socket: WebSocket, code: number, reason: string): void {
  let text = reason;
  while (Buffer.byteLength(text) > 123) text = `${text.slice(0, Math.min(text.length - 2, 118))}…`;
  socket.close(code, text);
  const timer = setTimeout(() => socket.terminate(), 1_000);
  socket.once('close', () => clearTimeout(timer));
}

function view(door: Door, socket: WebSocket, { request, console, instance }: Viewing): void {
  const gone = new AbortController();
  const signal = AbortSignal.any([request.signal, gone.signal]);
  const replay = console.replay();
  if (replay.length > 0) socket.send(replay);
  const unlisten = console.listen((data) => {
    if (socket.readyState !== socket.OPEN) return;
    if (socket.bufferedAmount <= door.limits.viewerBytes) socket.send(data);
    else end(socket, closeCode.slow, 'This viewer reads too slowly; connect again.');
  });
  takeInput(socket, console);
  keepAlive(socket, door.limits.pingMs);
  socket.once('close', () => {
    unlisten();
    gone.abort();
  });
  guestEnd(door.actions, { ...request, signal }, instance).then(
    (reason) => reason !== undefined && end(socket, closeCode.ended, reason),
    (error: unknown) => {
      door.log.warn('rest.console_unwatched', { id: instance.id, error });
      end(socket, closeCode.failed, 'The guest can no longer be watched; connect again.');
    },
  );
}

function takeInput(socket: WebSocket, console: Console): void {
  let taken = 0;
  let timer: NodeJS.Timeout | undefined;
  const nextWindow = () => {
    taken = 0;
    timer = undefined;
    if (socket.isPaused) socket.resume();
  };
  socket.on('message', (data, isBinary) => {
    // With the default binaryType each message is one Buffer.
    const bytes = data as Buffer;
    if (!isBinary) {
      const problem = resizeProblem(bytes.toString());
      if (problem !== undefined) end(socket, closeCode.refused, problem);
      return;
    }
    console.write(bytes);
    taken += bytes.length;
    timer ??= setTimeout(nextWindow, inputWindowMs);
    if (taken >= maxInputBytes) socket.pause();
  });
  socket.once('close', () => clearTimeout(timer));
}

function resizeProblem(text: string): string | undefined {
  try {
    if (resizeSchema.safeParse(JSON.parse(text)).success) return undefined;
  } catch {
    // Not JSON: the same answer as for JSON of another shape.
  }
  return 'A text frame must be {"resize":{"columns":80,"rows":25}}.';
}

/** Ends a viewer whose connection is dead without having been closed. */
function keepAlive(socket: WebSocket, pingMs: number): void {
  let alive = true;
  const timer = setInterval(() => {
    if (!alive) {
      socket.terminate();
      return;
    }
    alive = false;
    socket.ping();
  }, pingMs);
  socket.on('pong', () => {
    alive = true;
  });
  socket.once('close', () => clearInterval(timer));
}

/**
 * The last 64 KiB of the console, then every byte until the guest ends or the client goes. Ends early, with an error,
 * when the client leaves more than `viewerBytes` untaken.
 */
export async function followConsole(
  door: Door,
  request: Request,
  instance: Instance,
): Promise<AsyncIterable<Uint8Array>> {
  const console = await door.actions.guest.console(request, instance.id);
  return consoleBytes(door, request, instance, console);
}

async function* consoleBytes(
  door: Door,
  request: Request,
  instance: Instance,
  console: Console,
): AsyncGenerator<Uint8Array> {
  const waiting: Uint8Array[] = [console.replay()];
  let waitingBytes = 0;
  let over = false;
  let failure: Error | undefined;
  let wake = Promise.withResolvers<void>();
  const unlisten = console.listen((data) => {
    waitingBytes += data.length;
    if (waitingBytes > door.limits.viewerBytes)
      failure = new Error('The client reads the console too slowly.');
    else waiting.push(data);
    wake.resolve();
  });
  const gone = new AbortController();
  const signal = AbortSignal.any([request.signal, gone.signal]);
  void guestEnd(door.actions, { ...request, signal }, instance)
    .catch((error: unknown) => {
      failure = new Error('The guest can no longer be watched.', { cause: error });
    })
    .finally(() => {
      over = true;
      wake.resolve();
    });
  try {
    for (;;) {
      for (let data = waiting.shift(); data !== undefined; data = waiting.shift()) {
        waitingBytes = Math.max(0, waitingBytes - data.length);
        yield data;
      }
      if (failure !== undefined) throw failure;
      if (over) return;
      await wake.promise;
      wake = Promise.withResolvers<void>();
    }
  } finally {
    unlisten();
    gone.abort();
  }
}
