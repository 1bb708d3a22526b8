/** For tests: a server on a Unix socket in a fresh directory, whose side of the talk is written by the test. */

import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface ScriptedPeer extends AsyncDisposable {
  readonly path: string;
  /** The next connection. */
  accept(): Promise<PeerSocket>;
}

export interface PeerSocket {
  readonly socket: Socket;
  /** The next line that the client sent. */
  line(): Promise<string>;
  /** The next line as JSON, for the eyes of a test. */
  // oxlint-disable-next-line typescript/no-explicit-any -- a test reads what it expects and fails otherwise
  request(): Promise<any>;
  /** Lines that were sent and not taken yet. */
  pendingLines(): number;
  send(...messages: unknown[]): void;
  write(bytes: string | Uint8Array): void;
}

export async function startScriptedPeer(): Promise<ScriptedPeer> {
  const directory = await mkdtemp(join(tmpdir(), 'peer-'));
  const path = join(directory, 'socket');
  const accepted = createQueue<PeerSocket>();
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    accepted.put(toPeerSocket(socket));
  });
  server.listen(path);
  await once(server, 'listening');
  return {
    path,
    accept: accepted.take,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

function toPeerSocket(socket: Socket): PeerSocket {
  const lines = createQueue<string>();
  let rest = '';
  socket.on('error', () => {});
  socket.on('data', (chunk: Buffer) => {
    const parts = (rest + chunk.toString('latin1')).split('\n');
    rest = parts.pop() ?? '';
    for (const part of parts) lines.put(part);
  });
  const line = (): Promise<string> => lines.take();
  return {
    socket,
    line,
    request: async () => JSON.parse(await line()),
    pendingLines: lines.size,
    send: (...messages) => socket.write(messages.map((message) => `${JSON.stringify(message)}\r\n`).join('')),
    write: (bytes) => socket.write(bytes),
  };
}

function createQueue<T>(): { put(item: T): void; take(): Promise<T>; size(): number } {
  const items: T[] = [];
  const takers: ((item: T) => void)[] = [];
  return {
    size: () => items.length,
    put(item) {
      const taker = takers.shift();
      if (taker) taker(item);
      else items.push(item);
    },
    take() {
      if (items.length > 0) return Promise.resolve(items.shift() as T); // not empty, so a T
      return new Promise((resolve) => takers.push(resolve));
    },
  };
}
