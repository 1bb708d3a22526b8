/**
 * For tests: a daemon that answers as scripted on a Unix socket and keeps what it was asked, and a command line that
 * runs in this process with streams of its own.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { WebSocketServer } from 'ws';
import type { Io } from './io.ts';
import { run } from './program.ts';

export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
  /** The body as JSON. */
  readonly json: unknown;
}

export interface Reply {
  readonly status?: number;
  readonly json?: unknown;
  readonly bytes?: string | Uint8Array;
}

/** Gives a reply, or takes the response over and gives undefined. */
export type Script = (asked: Asked, response: ServerResponse) => Reply | undefined;

export interface ScriptedDaemon extends AsyncDisposable {
  readonly socketPath: string;
  readonly asked: readonly Asked[];
  /** `METHOD /path` of everything asked. */
  readonly lines: readonly string[];
  /** Resolves when the line has been asked so many times, and a stream has begun to be answered. */
  heard(line: string, times?: number): Promise<void>;
  /** Sends an event to everybody who follows. */
  emit(event: object): void;
  /** Cuts all connections. */
  cut(): void;
  readonly consoles: WebSocketServer;
}

/** Answers by `METHOD /path`; `GET /v1/events` is a stream unless scripted, and everything else is not found. */
export async function startScriptedDaemon(
  scripts: Readonly<Record<string, Script>>,
): Promise<ScriptedDaemon> {
  const folder = await mkdtemp(join(tmpdir(), 'wirt-cli-'));
  const socketPath = join(folder, 'wirtd.sock');
  const asked: Asked[] = [];
  const followers = new Set<ServerResponse>();
  const listeners = new Set<() => void>();
  const server = createServer((request, response) => {
    void readAll(request).then((body) => {
      const each = describe(request, body);
      asked.push(each);
      const line = `${each.method} ${each.path}`;
      const script = scripts[line];
      if (script === undefined && line === 'GET /v1/events') follow(followers, response);
      else {
        const reply = script === undefined ? notFound(line) : script(each, response);
        if (reply !== undefined) send(response, reply);
      }
      for (const listener of listeners) listener();
    });
  });
  const consoles = new WebSocketServer({ noServer: true });
  server.on('upgrade', (request, socket, head) => {
    const each = describe(request, Buffer.alloc(0));
    asked.push(each);
    const refused = scripts[`UPGRADE ${each.path}`]?.(each, undefined as never);
    if (refused !== undefined) {
      const text = JSON.stringify(refused.json);
      socket.end(
        `HTTP/1.1 ${refused.status} No\r\ncontent-length: ${text.length}\r\nconnection: close\r\n\r\n${text}`,
      );
      return;
    }
    consoles.handleUpgrade(request, socket, head, (viewer) => consoles.emit('connection', viewer, request));
  });
  await new Promise<void>((resolve) => {
    server.listen(socketPath, resolve);
  });
  return {
    socketPath,
    asked,
    get lines() {
      return asked.map(({ method, path }) => `${method} ${path}`);
    },
    heard: (line, times = 1) =>
      new Promise((resolve) => {
        const listen = (): void => {
          if (asked.filter(({ method, path }) => `${method} ${path}` === line).length < times) return;
          listeners.delete(listen);
          resolve();
        };
        listeners.add(listen);
        listen();
      }),
    emit: (event) => {
      for (const each of followers) each.write(`data: ${JSON.stringify(event)}\n\n`);
    },
    cut: () => server.closeAllConnections(),
    consoles,
    async [Symbol.asyncDispose]() {
      for (const viewer of consoles.clients) viewer.terminate();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await rm(folder, { recursive: true });
    },
  };
}

async function readAll(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

function describe(request: IncomingMessage, body: Buffer): Asked {
  const url = new URL(request.url ?? '/', 'http://wirt');
  const isJson = request.headers['content-type'] === 'application/json';
  return {
    method: request.method ?? '',
    path: url.pathname,
    query: Object.fromEntries(url.searchParams),
    headers: request.headers,
    body,
    json: isJson ? (JSON.parse(body.toString()) as unknown) : undefined,
  };
}

function follow(followers: Set<ServerResponse>, response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  response.write(': open\n\n');
  followers.add(response);
  response.on('close', () => followers.delete(response));
}

function send(response: ServerResponse, { status, json, bytes }: Reply): void {
  const code = status ?? (json === undefined && bytes === undefined ? 204 : 200);
  response.writeHead(code, {
    'content-type': json === undefined ? 'application/octet-stream' : 'application/json',
  });
  response.end(json === undefined ? (bytes ?? '') : JSON.stringify(json));
}

function notFound(line: string): Reply {
  return problem(404, 'request.not_found', `The script has no answer to ${line}.`);
}

export function problem(status: number, code: string, detail: string, more: object = {}): Reply {
  return { status, json: { type: `urn:wirt:error:${code}`, title: code, status, code, detail, ...more } };
}

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Running {
  readonly done: Promise<Ran>;
  readonly stdin: PassThrough;
  /** What has been written so far. */
  readonly stdout: () => string;
  readonly stderr: () => string;
  interrupt(): void;
  /** Resolves when the output so far holds the text. */
  says(text: string): Promise<void>;
}

export interface RunOptions {
  readonly daemon?: Pick<ScriptedDaemon, 'socketPath'>;
  /** Standard input, ended after it. Without it nothing is ended. */
  readonly input?: string | Uint8Array;
  /** All three streams are a terminal of this size. */
  readonly terminal?: { readonly columns: number; readonly rows: number };
  readonly env?: Readonly<Record<string, string>>;
  readonly rawModes?: boolean[];
  /** The clock of progress and ages runs, three seconds at every look. */
  readonly runningClock?: boolean;
}

/** Starts a command line. Time stands at 2026-11-22 12:00 UTC for ages; deadlines run as always. */
export function startWirt(argv: readonly string[], options: RunOptions = {}): Running {
  const stdin = new PassThrough();
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const heard = { stdout: '', stderr: '' };
  const waiting = new Set<() => void>();
  const hear = (name: 'stdout' | 'stderr', stream: PassThrough): void => {
    stream.on('data', (chunk: Buffer) => {
      heard[name] += chunk.toString('latin1');
      for (const wake of waiting) wake();
    });
  };
  hear('stdout', stdout);
  hear('stderr', stderr);
  if (options.input !== undefined) stdin.end(options.input);
  const noon = Date.parse('2026-11-22T12:00:00Z');
  let ticks = 0;
  const handlers = new Set<() => void>();
  const terminal = options.terminal === undefined ? {} : { isTTY: true, ...options.terminal };
  const setRawMode = (raw: boolean): void => void options.rawModes?.push(raw);
  const io: Io = {
    stdin: Object.assign(stdin, terminal, options.terminal === undefined ? {} : { setRawMode }),
    stdout: Object.assign(stdout, terminal),
    stderr: Object.assign(stderr, terminal),
    env: {
      ...(options.daemon === undefined ? {} : { WIRT_SOCKET: options.daemon.socketPath }),
      ...options.env,
    },
    uid: 1000,
    now: () => noon + (options.runningClock === true ? (ticks += 3000) : 0),
    onInterrupt: (handler) => {
      handlers.add(handler);
      return () => handlers.delete(handler);
    },
    onExit: () => () => undefined,
  };
  const text = (name: 'stdout' | 'stderr'): string => Buffer.from(heard[name], 'latin1').toString('utf8');
  return {
    done: run(argv, io).then((code) => ({ code, stdout: text('stdout'), stderr: text('stderr') })),
    stdin,
    stdout: () => text('stdout'),
    stderr: () => text('stderr'),
    interrupt: () => {
      for (const handler of handlers) handler();
    },
    says: (wanted) =>
      new Promise((resolve) => {
        const look = (): void => {
          if (!text('stdout').includes(wanted) && !text('stderr').includes(wanted)) return;
          waiting.delete(look);
          resolve();
        };
        waiting.add(look);
        look();
      }),
  };
}

/** Runs a command line to its end. */
export function runWirt(argv: readonly string[], options: RunOptions = {}): Promise<Ran> {
  return startWirt(argv, options).done;
}

export const anInstance = {
  id: '01KATESTTESTTESTTESTTESTT1',
  name: 'demo',
  project: 'default',
  labels: { tier: 'web' },
  revision: 7,
  createdAt: '2026-11-22T11:00:00Z',
  spec: {
    image: 'micro',
    cpus: 2,
    memoryMib: 2048,
    machine: 'q35',
    accelerator: 'auto',
    nics: [
      {
        name: 'nic0',
        slot: 0,
        network: 'default',
        mac: '02:00:00:00:00:01',
        model: 'virtio',
        securityGroups: ['default'],
        publish: [],
        antiSpoofing: true,
      },
    ],
    metadata: { enabled: true, tokens: 'required', hopLimit: 1 },
    disks: [] as object[],
    restart: 'never',
    autostart: false,
    overcommit: false,
  },
  status: { state: 'running', since: '2026-11-22T11:59:30Z', agent: true, ready: true, restarts: 0 },
};

export const anOperation = {
  id: '01KATESTTESTTESTTESTTESTP1',
  kind: 'instance.start',
  project: 'default',
  target: { kind: 'instance', id: anInstance.id, name: 'demo' },
  state: 'running',
  stage: 'launch',
  cancellable: false,
  requestedBy: 'socket',
  input: {},
  createdAt: '2026-11-22T11:59:59Z',
  revision: 8,
};

export const doneOperation = {
  ...anOperation,
  state: 'done',
  stage: 'done',
  finishedAt: '2026-11-22T12:00:00Z',
};
