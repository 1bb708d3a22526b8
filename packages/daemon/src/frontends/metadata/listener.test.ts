// Hostile guests on real sockets: slow, huge, broken, many. Every one of them is put off or cut off, and another guest is served meanwhile.
import { type IncomingHttpHeaders, request } from 'node:http';
import { connect, type Socket } from 'node:net';
// Polls: what is waited for is at the other end of a socket, or is time itself.
import { setTimeout as delay } from 'node:timers/promises';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type FakeMetadata, fakeMetadata, freePort, guestOf } from './guests.fixture.ts';
import type { MetadataLogger } from './listener.ts';
import { createMetadataService, type MetadataService } from './service.ts';
import type { ShareLimits } from './shares.ts';

const address = '127.77.1.1';
const good = '127.77.1.2';
const bad = '127.77.1.3';
const limits: ShareLimits = { connectionsOfGuest: 4, connections: 64, burst: 400, perSecond: 100 };
const times = { requestMs: 400, keepAliveMs: 300, answerMs: 700 };
const userData = 'x'.repeat(1_048_576);

let metadata: FakeMetadata;
let service: MetadataService;
let port: number;
let logged: { readonly event: string; readonly fields: object | undefined }[];
let sockets: Socket[];

async function until(holds: () => boolean, deadlineMs = 10_000): Promise<void> {
  const endMs = performance.now() + deadlineMs;
  while (!holds()) {
    if (performance.now() > endMs) throw new Error('it did not come about in time');
    await delay(5);
  }
}

beforeEach(async () => {
  metadata = fakeMetadata();
  logged = [];
  sockets = [];
  const log = (event: string, fields?: object): void => {
    logged.push({ event, fields });
  };
  const logger: MetadataLogger = { info: log, warn: log, error: log };
  port = await freePort(address);
  metadata.guests.set(`net ${good}`, guestOf('good', { userData }));
  metadata.guests.set(`net ${bad}`, guestOf('bad', { userData }));
  service = createMetadataService({ actions: metadata, logger, limits, times });
  metadata.become([{ network: 'net', address, port }]);
  service.start(new AbortController().signal);
  await until(() => logged.some(({ event }) => event === 'metadata.listening'));
});

afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  await service.close();
});

interface Answered {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

function ask(
  from: string,
  path: string,
  options: { readonly method?: string; readonly headers?: Record<string, string> } = {},
): Promise<Answered> {
  const { promise, resolve, reject } = Promise.withResolvers<Answered>();
  const asked = request(
    { host: address, port, localAddress: from, path, agent: false, ...options },
    (answer) => {
      let body = '';
      answer.setEncoding('utf8');
      answer.on('data', (part: string) => {
        body += part;
      });
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body }));
      answer.on('error', reject);
    },
  );
  asked.on('error', reject);
  asked.end();
  return promise;
}

async function tokenOf(from: string): Promise<string> {
  const headers = { 'X-aws-ec2-metadata-token-ttl-seconds': '60' };
  const { status, body } = await ask(from, '/latest/api/token', { method: 'PUT', headers });
  expect(status).toBe(200);
  return body;
}

async function read(from: string, path: string, token?: string): Promise<Answered> {
  return ask(from, path, { headers: { 'X-aws-ec2-metadata-token': token ?? (await tokenOf(from)) } });
}

interface Raw {
  readonly socket: Socket;
  received(): string;
  closed: boolean;
}

function raw(from: string): Promise<Raw> {
  const { promise, resolve } = Promise.withResolvers<Raw>();
  const socket = connect({ host: address, port, localAddress: from });
  sockets.push(socket);
  const parts: Buffer[] = [];
  const made = { socket, closed: false, received: () => Buffer.concat(parts).toString('latin1') };
  socket.on('data', (part) => parts.push(part));
  socket.on('error', () => undefined);
  socket.on('close', () => {
    made.closed = true;
  });
  socket.on('connect', () => resolve(made));
  return promise;
}

const served = async (): Promise<void> => {
  expect(await read(good, '/latest/meta-data/instance-id')).toMatchObject({ status: 200, body: 'good' });
};

it('gives each guest its own, by the address that it comes from, whatever it says', async () => {
  expect((await read(good, '/latest/meta-data/secret')).body).toBe('secret of good');
  const token = await tokenOf(bad);
  const headers = {
    'X-aws-ec2-metadata-token': token,
    'X-Forwarded-For': good,
    Forwarded: `for=${good}`,
    'X-Real-IP': good,
    Host: good,
  };
  const path = '/latest/meta-data/secret';
  expect(await ask(bad, path, { headers })).toMatchObject({ status: 200, body: 'secret of bad' });
  expect(await read(good, path, token)).toMatchObject({ status: 401 });
});

it('gives the whole user-data, and says what it is', async () => {
  const { status, headers, body } = await read(good, '/latest/user-data');
  expect([status, headers['content-type'], body.length]).toEqual([
    200,
    'application/octet-stream',
    userData.length,
  ]);
});

it('closes on who is no guest of this network', async () => {
  metadata.guests.set('other 127.77.1.9', guestOf('other'));
  await expect(ask('127.77.1.9', '/latest/meta-data/')).rejects.toThrow(/socket hang up|ECONNRESET/);
});

it('knows a guest no more as soon as its address is taken away, also on a connection that is open', async () => {
  const one = await raw(bad);
  const question = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n';
  one.socket.write(question);
  await until(() => one.received().includes('401'));
  metadata.guests.delete(`net ${bad}`);
  one.socket.write(question);
  await until(() => one.closed);
  expect(one.received().match(/HTTP\/1\.1/g)).toHaveLength(1);
});

it.each([
  ['nothing at all', ''],
  ['half a line', 'GET /lat'],
  ['headers without an end', 'GET / HTTP/1.1\r\nHost: x\r\n'],
])('cuts off who sends %s and then waits', async (_, sent) => {
  const one = await raw(bad);
  one.socket.write(sent);
  await served();
  await until(() => one.closed, 5000);
});

it('cuts off who sends headers letter by letter', async () => {
  const one = await raw(bad);
  one.socket.write('GET / HTTP/1.1\r\nHost: x\r\nX: ');
  const startedMs = performance.now();
  while (!one.closed) {
    one.socket.write('x');
    await delay(20);
    if (performance.now() - startedMs > 5000) throw new Error('it may go on for ever');
  }
  await served();
});

it('cuts off who asks nothing more', async () => {
  const idle = await raw(bad);
  idle.socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  await until(() => idle.received().includes('401'));
  await served();
  await until(() => idle.closed, 5000);
});

it('cuts off who does not take what it asked for', async () => {
  // More than the kernel keeps for it.
  const size = 64 * 1_048_576;
  metadata.guests.set(`net ${bad}`, guestOf('bad', { userData: 'x'.repeat(size) }));
  const token = await tokenOf(bad);
  const slow = await raw(bad);
  slow.socket.pause();
  slow.socket.write(
    `GET /latest/user-data HTTP/1.1\r\nHost: x\r\nX-aws-ec2-metadata-token: ${token}\r\n\r\n`,
  );
  await delay(times.answerMs + 200);
  await served();
  slow.socket.resume();
  await until(() => slow.closed, 5000);
  expect(slow.received().length).toBeLessThan(size);
});

it.each([
  ['a line', `GET /${'x'.repeat(100_000)} HTTP/1.1\r\nHost: x\r\n\r\n`],
  ['a header', `GET / HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(100_000)}\r\n\r\n`],
  ['headers', `GET / HTTP/1.1\r\nHost: x\r\n${'X: x\r\n'.repeat(20_000)}\r\n`],
])('refuses %s that is too large, and reads no more of it', async (_, sent) => {
  const one = await raw(bad);
  one.socket.write(sent);
  await until(() => one.closed, 5000);
  expect(one.received()).toMatch(/^(HTTP\/1\.1 431 .*|)/);
  expect(one.received()).not.toContain('200 OK');
  await served();
});

it.each([
  ['a length', 'Content-Length: 1000000000\r\n\r\nabc'],
  ['chunks', 'Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n'],
  ['a wish to go on', 'Content-Length: 5\r\nExpect: 100-continue\r\n\r\n'],
])('takes no body, announced by %s', async (_, rest) => {
  const one = await raw(bad);
  one.socket.write(
    `PUT /latest/api/token HTTP/1.1\r\nHost: x\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\n${rest}`,
  );
  await until(() => one.closed, 5000);
  expect(one.received()).toMatch(/^HTTP\/1\.1 400 /);
  expect(one.received()).not.toContain('100 Continue');
});

it('answers one request at a time, so that a thousand in one packet fill no memory', async () => {
  const token = await tokenOf(bad);
  const one = await raw(bad);
  const question = `GET /latest/user-data HTTP/1.1\r\nHost: x\r\nX-aws-ec2-metadata-token: ${token}\r\n\r\n`;
  one.socket.write(question.repeat(1000));
  await until(() => one.closed, 5000);
  expect(one.received().length).toBeLessThan(3 * userData.length);
  await served();
});

it('lets one guest have so many connections, and another always its own', async () => {
  const many = await Promise.all(Array.from({ length: 40 }, () => raw(bad)));
  await until(() => many.filter(({ closed }) => closed).length >= 40 - limits.connectionsOfGuest);
  await served();
});

it('puts off a guest that asks without end, and serves another meanwhile', async () => {
  const token = await tokenOf(bad);
  const states: number[] = [];
  const flood = Promise.all(
    [1, 2, 3].map(async () => {
      for (let count = 0; count < 250; count += 1)
        await read(bad, '/latest/meta-data/instance-id', token).then(
          ({ status }) => states.push(status),
          () => states.push(0),
        );
    }),
  );
  await served();
  await flood;
  expect(states.filter((status) => status === 200).length).toBeLessThan(500);
  expect(states.some((status) => status !== 200)).toBe(true);
  await served();
});

it('outlives any bytes', async () => {
  const line = fc.constantFrom(
    'GET / HTTP/1.1\r\n',
    'PUT /latest/api/token HTTP/1.1\r\n',
    'Host: x\r\n',
    'Content-Length: -1\r\n',
    'Transfer-Encoding: chunked, chunked\r\n',
    'Connection: upgrade\r\nUpgrade: websocket\r\n',
    'CONNECT x:1 HTTP/1.1\r\n',
    'GET http://x/ HTTP/1.0\r\n',
    'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
    '\x16\x03\x01\x02\x00\x01\x00',
    '\r\n',
  );
  const piece = fc.oneof(
    line.map((text) => Buffer.from(text, 'latin1')),
    fc.uint8Array({ maxLength: 64 }).map((bytes) => Buffer.from(bytes)),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(piece, { maxLength: 8 }), async (pieces) => {
      const one = await raw(bad);
      for (const each of pieces) one.socket.write(each);
      one.socket.end();
      await until(() => one.closed, 5000);
      expect(one.received()).not.toContain('secret');
    }),
    { numRuns: 150 },
  );
  await served();
  expect(logged.filter(({ event }) => event === 'metadata.failed')).toEqual([]);
}, 60_000);

it('answers 500 and goes on where the product itself fails', async () => {
  metadata.guests.set(`net ${bad}`, {
    ...guestOf('bad', { userData }),
    userData: () => Promise.reject(new Error('the disk has failed')),
  });
  expect(await read(bad, '/latest/user-data')).toMatchObject({ status: 500 });
  expect(logged.at(-1)).toMatchObject({ event: 'metadata.failed' });
  await served();
});
