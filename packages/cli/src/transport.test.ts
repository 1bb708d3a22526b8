import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { createClient } from '@wirt/api/client';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startScriptedDaemon } from './scripted-daemon.ts';
import { createSocketFetch, unreachable } from './transport.ts';

/** Answers every connection with bytes of its own, for what no HTTP server would send. */
async function startRaw(answer: (socket: Socket) => void) {
  const folder = mkdtempSync(join(tmpdir(), 'wirt-raw-'));
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('data', () => answer(socket));
  });
  const socketPath = join(folder, 's');
  await new Promise<void>((resolve) => {
    server.listen(socketPath, resolve);
  });
  return {
    socketPath,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
      rmSync(folder, { recursive: true });
    },
  };
}

const list = (socketPath: string, answerMs = 5000) =>
  createClient({ fetch: createSocketFetch({ socketPath, answerMs }) }).call('GET /v1/images', {});

describe('the transport', () => {
  it('sends method, path, headers and body, and reads JSON', async () => {
    await using daemon = await startScriptedDaemon({
      'POST /v1/images/build': () => ({ status: 202, json: { id: 'x' } }),
    });
    const client = createClient({
      fetch: createSocketFetch({ socketPath: daemon.socketPath, answerMs: 5000 }),
    });
    const answer = await client.call('POST /v1/images/build', {
      body: { recipe: 'micro', name: 'grüße' },
      query: { wait: 'none' },
      headers: { 'idempotency-key': 'k' },
    });
    expect(answer).toEqual({ id: 'x' });
    expect(daemon.asked[0]).toMatchObject({
      method: 'POST',
      path: '/v1/images/build',
      query: { wait: 'none' },
      json: { recipe: 'micro', name: 'grüße' },
      headers: { 'idempotency-key': 'k' },
    });
  });

  it('sends a stream as the body and gives one as the answer', async () => {
    const path = '/v1/instances/demo/files';
    const content = Buffer.alloc(300_000, 7);
    await using daemon = await startScriptedDaemon({
      [`PUT ${path}`]: () => ({}),
      [`GET ${path}`]: () => ({ bytes: content }),
    });
    const client = createClient({
      fetch: createSocketFetch({ socketPath: daemon.socketPath, answerMs: 5000 }),
    });
    const params = { instance: 'demo' };
    const bytes = Readable.from([content.subarray(0, 1000), content.subarray(1000)]) as never;
    await client.call('PUT /v1/instances/{instance}/files', { params, query: { path: '/x' }, bytes });
    expect(daemon.asked[0]?.body.equals(content)).toBe(true);
    const { body } = await client.stream('GET /v1/instances/{instance}/files', {
      params,
      query: { path: '/x' },
    });
    const got: Uint8Array[] = [];
    for await (const chunk of body ?? []) got.push(chunk);
    expect(Buffer.concat(got).equals(content)).toBe(true);
  });

  it('tells an error of our own body as it is', async () => {
    await using daemon = await startScriptedDaemon({});
    const client = createClient({
      fetch: createSocketFetch({ socketPath: daemon.socketPath, answerMs: 5000 }),
    });
    const burning = new Readable({
      read() {
        this.destroy(new Error('the disk is on fire'));
      },
    });
    const sent = client.call('PUT /v1/instances/{instance}/files', {
      params: { instance: 'demo' },
      query: { path: '/x' },
      bytes: burning,
    });
    await expect(sent).rejects.toThrow('the disk is on fire');
  });

  it('gives up on a daemon that takes the connection and says nothing', async () => {
    await using server = await startRaw(() => undefined);
    await expect(list(server.socketPath, 50)).rejects.toMatchObject({
      code: 'daemon.unreachable',
      message: 'wirtd did not answer GET /v1/images within 0.05 s.',
    });
  });

  it('gives up on an answer that stops in its middle', async () => {
    await using server = await startRaw((socket) =>
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{"it'),
    );
    await expect(list(server.socketPath, 100)).rejects.toMatchObject({
      code: 'daemon.unreachable',
      message: expect.stringContaining('fell silent') as string,
    });
  });

  it('says so when the connection breaks, before or in the answer', async () => {
    await using before = await startRaw((socket) => socket.destroy());
    await expect(list(before.socketPath)).rejects.toMatchObject({ code: 'daemon.unreachable' });
    await using within = await startRaw((socket) =>
      socket.end('HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{"it'),
    );
    await expect(list(within.socketPath)).rejects.toMatchObject({ code: 'daemon.unreachable' });
  });

  it('gives the reason of the abort when it was aborted', async () => {
    await using server = await startRaw(() => undefined);
    const fetch = createSocketFetch({ socketPath: server.socketPath, answerMs: 5000 });
    const signal = AbortSignal.abort(new Error('left'));
    await expect(createClient({ fetch }).call('GET /v1/images', { signal })).rejects.toThrow('left');
  });
});

describe('a socket', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'wirt-s-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it('that is not there comes with how to start the daemon', async () => {
    await expect(list(join(folder, 'none'))).rejects.toMatchObject({
      code: 'daemon.unreachable',
      hint: expect.stringContaining('systemctl start wirtd') as string,
      details: { socket: join(folder, 'none') },
    });
  });

  it('that this user may not open comes with how to get in', () => {
    const refused = Object.assign(new Error('connect EACCES /run/x'), { code: 'EACCES' });
    expect(unreachable(refused, { socketPath: '/run/x', answerMs: 1 })).toMatchObject({
      code: 'daemon.unreachable',
      message: 'You may not use wirtd’s socket /run/x.',
      hint: expect.stringContaining('stat -c %G /run/x') as string,
    });
  });
});
