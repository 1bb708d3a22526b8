import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkedLookup, openWeb } from './web-request.ts';
import { file, startWebServer, type WebServer } from './web-server.fixture.ts';

describe('a name on the web', () => {
  /** What a socket is told that wants to connect to `host`, whose addresses are these. */
  const lookUp = (host: string, addresses: string[], rules: { loopback: boolean }, all = true) => {
    const answer = addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));
    const resolve = (_name: string, _options: unknown, done: (error: null, found: typeof answer) => void) =>
      done(null, answer);
    const look = checkedLookup(new URL(`https://${host}/`), { ...rules, plainHttp: true }, resolve);
    return new Promise<unknown>((resolved, reject) => {
      look(host, { all }, (error, found) => (error === null ? resolved(found) : reject(error)));
    });
  };

  it('is connected to at its addresses', async () => {
    expect(await lookUp('host.example', ['192.0.2.1', '2001:db8::1'], { loopback: false })).toEqual([
      { address: '192.0.2.1', family: 4 },
      { address: '2001:db8::1', family: 6 },
    ]);
    expect(await lookUp('host.example', ['192.0.2.1'], { loopback: false }, false)).toBe('192.0.2.1');
  });

  it.each([
    ['a metadata service', ['169.254.169.254']],
    ['one among others', ['192.0.2.1', 'fe80::1']],
    ['this host itself', ['127.0.0.1']],
    ['this host itself, in other clothing', ['::ffff:127.0.0.1']],
  ])('that stands for %s is refused', async (_what, addresses) => {
    await expect(lookUp('rebound.example', addresses, { loopback: false })).rejects.toMatchObject({
      name: 'WebRefusal',
      message: expect.stringMatching(/^rebound\.example is .*, which is /),
    });
  });

  it('of another host is never this one, whatever the resolver says of it', async () => {
    await expect(lookUp('rebound.example', ['127.0.0.1'], { loopback: true })).rejects.toThrow(
      'rebound.example is 127.0.0.1, which is this host itself.',
    );
  });

  it('that says it is this host is no other one', async () => {
    await expect(lookUp('localhost', ['192.0.2.1'], { loopback: true })).rejects.toThrow(
      'which is not this host',
    );
    expect(await lookUp('localhost', ['127.0.0.1'], { loopback: true })).toHaveLength(1);
  });
});

describe('a request', () => {
  let server: WebServer;

  beforeEach(async () => {
    server = await startWebServer();
  });

  afterEach(async () => {
    await server[Symbol.asyncDispose]();
  });

  const open = (url: string, more: { connectMs?: number; signal?: AbortSignal } = {}) =>
    openWeb({
      url,
      plainHttp: false,
      deadlines: { connectMs: more.connectMs ?? 5_000, stallMs: 5_000 },
      signal: more.signal ?? AbortSignal.timeout(10_000),
    });

  it('gives the answer whatever its status, and asks for no compression', async () => {
    server.serve('/x', (request, response) => {
      response.writeHead(418).end(String(request.headers['accept-encoding']));
    });
    using answer = await open(`${server.url}/x`);
    const chunks = [];
    for await (const chunk of answer.chunks()) chunks.push(chunk);
    expect([answer.status, Buffer.concat(chunks).toString()]).toEqual([418, 'identity']);
  });

  it('hands on everything that came before the connection broke', async () => {
    const content = Buffer.alloc(500_000, 'x');
    server.serve('/x', file({ content, cutAfter: () => 300_000 }));
    using answer = await open(`${server.url}/x`);
    let bytes = 0;
    const read = async () => {
      for await (const chunk of answer.chunks()) bytes += chunk.length;
    };
    await expect(read()).rejects.toMatchObject({ name: 'WebFailure', kind: 'broken' });
    expect(bytes).toBe(300_000);
  });

  it('makes the server wait for a reader that is slow, and loses nothing', async () => {
    const content = Buffer.from(Uint32Array.from({ length: 5_000_000 }, (_, at) => at).buffer);
    let sent = false;
    server.serve('/x', (_request, response) => {
      response.writeHead(200, { 'content-length': content.length });
      response.end(content, () => {
        sent = true;
      });
    });
    using answer = await open(`${server.url}/x`);
    const chunks: Uint8Array[] = [];
    for await (const chunk of answer.chunks()) {
      chunks.push(chunk);
      // Turns of the event loop, in which everything would come if it were taken in without a limit.
      if (chunks.length === 1) for (let turn = 0; turn < 500; turn += 1) await new Promise(setImmediate);
      if (chunks.length === 1) expect(sent).toBe(false);
    }
    expect(Buffer.concat(chunks).equals(content)).toBe(true);
  });

  it('ends with the reason it was cancelled for, while waiting and while reading', async () => {
    const waiting = new AbortController();
    server.serve('/silent', () => waiting.abort(new Error('cancelled while waiting')));
    await expect(open(`${server.url}/silent`, { signal: waiting.signal })).rejects.toThrow(
      'cancelled while waiting',
    );
    const reading = new AbortController();
    server.serve('/x', (_request, response) => void response.writeHead(200).write('x'));
    using answer = await open(`${server.url}/x`, { signal: reading.signal });
    const read = async () => {
      for await (const _ of answer.chunks()) reading.abort(new Error('cancelled while reading'));
    };
    await expect(read()).rejects.toThrow('cancelled while reading');
  });

  it('ends when the other side takes the connection and never finishes TLS', async () => {
    const silent = createServer((socket) => void socket.on('error', () => undefined).resume());
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const { port } = silent.address() as AddressInfo;
    await expect(open(`https://127.0.0.1:${port}/`, { connectMs: 50 })).rejects.toThrow(
      `127.0.0.1:${port} did not accept a connection within 0.05 s.`,
    );
    await new Promise((resolve) => silent.close(resolve));
  });

  it('does not take a flood of headers', async () => {
    server.serve(
      '/x',
      (_request, response) => void response.writeHead(200, { x: 'y'.repeat(100_000) }).end(),
    );
    await expect(open(`${server.url}/x`)).rejects.toMatchObject({ name: 'WebFailure', kind: 'unreachable' });
  });
});
