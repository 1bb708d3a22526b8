/** A REST server for the door's own tests, over inject or on a real socket, with limits as short as a test needs. */
import { mkdtemp, rm } from 'node:fs/promises';
import { Agent, request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Version } from '@wirt/api';
import type { RestLimits, RestLogger } from './door.ts';
import { fakeActions, type Given } from './fake-actions.ts';
import { createRestServer, type RestServer } from './server.ts';

const version: Version = { version: '0.1.0', api: 'v1', node: 'v24.0.0', pid: 1, stateDirectory: '/state' };

export interface Logged {
  readonly level: string;
  readonly event: string;
  readonly fields: Readonly<Record<string, unknown>> | undefined;
}

/** A logger that keeps what it is told, and wakes who waits for an event name. */
export function keepingLogger(): RestLogger & {
  readonly lines: Logged[];
  seen(event: string): Promise<Logged>;
} {
  const lines: Logged[] = [];
  const waiting: (() => void)[] = [];
  const at = (level: string) => (event: string, fields?: Readonly<Record<string, unknown>>) => {
    lines.push({ level, event, fields });
    for (const wake of waiting.splice(0)) wake();
  };
  return {
    lines,
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    async seen(event) {
      for (;;) {
        const line = lines.find((each) => each.event === event);
        if (line !== undefined) return line;
        await new Promise<void>((resolve) => waiting.push(resolve));
      }
    },
  };
}

export function openDoor(
  given: Given,
  limits: Partial<RestLimits> = {},
  logger: RestLogger = keepingLogger(),
) {
  return createRestServer({
    actions: fakeActions(given),
    version,
    openapi: async () => ({ openapi: '3.1.0' }),
    logger,
    limits: { closeMs: 1_000, ...limits },
  });
}

export interface SocketDoor extends AsyncDisposable {
  readonly server: RestServer;
  readonly path: string;
  readonly log: ReturnType<typeof keepingLogger>;
}

/** The door on a Unix socket in a directory of its own; closed and removed at the end of the scope. */
export async function openSocketDoor(given: Given, limits: Partial<RestLimits> = {}): Promise<SocketDoor> {
  const directory = await mkdtemp(join(tmpdir(), 'wirt-rest-'));
  const log = keepingLogger();
  const server = await openDoor(given, limits, log);
  const path = join(directory, 'run', 'wirtd.sock');
  await server.listen(path);
  return {
    server,
    path,
    log,
    async [Symbol.asyncDispose]() {
      await server.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** Sends a request over the socket and gives the answer's head; the body is the caller's to read. */
export async function ask(
  door: Pick<SocketDoor, 'path'>,
  options: RequestOptions & { readonly body?: string | Uint8Array } = {},
): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const { body, ...rest } = options;
  const request = httpRequest({ socketPath: door.path, agent: new Agent({ keepAlive: false }), ...rest });
  request.on('response', resolve).on('error', reject).end(body);
  return promise;
}

export async function textOf(message: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of message.setEncoding('utf8')) text += String(chunk);
  return text;
}
