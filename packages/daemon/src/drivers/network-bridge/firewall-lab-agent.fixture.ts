// Runs inside a network namespace, holds it open, and does there what tests say by lines of JSON on standard input: serves, asks, keeps
// connections. Ends with its standard input. Started by firewall-lab.fixture.ts and imported by nobody.

import { createSocket } from 'node:dgram';
import { writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import type { LabAnswer, LabRequest } from './firewall-lab.fixture.ts';

const kept = new Map<string, Socket>();

async function answer(request: LabRequest): Promise<LabAnswer> {
  switch (request.op) {
    case 'hello':
      return {};
    case 'sysctl':
      writeFileSync(`/proc/sys/net/${request.key}`, request.value);
      return {};
    case 'serve':
      return request.protocol === 'tcp' ? await serveTcp(request) : await serveUdp(request);
    case 'ask':
      return request.protocol === 'tcp' ? await askTcp(request) : await askUdp(request);
    case 'flood':
      return await flood(request);
    case 'say':
      return await say(request);
    default:
      return request satisfies never;
  }
}

type Serve = Extract<LabRequest, { op: 'serve' }>;
type Ask = Extract<LabRequest, { op: 'ask' }>;

/** Tells who asks, and then says again what it hears. */
function serveTcp({ port, host = '::' }: Serve): Promise<LabAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<LabAnswer>();
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.write(`${plain(socket.remoteAddress)}\n`);
    socket.pipe(socket);
  });
  server.on('error', reject);
  server.listen(port, host, () => resolve({}));
  return promise;
}

function serveUdp({ port, host = '::' }: Serve): Promise<LabAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<LabAnswer>();
  const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
  socket.on('message', (_message, from) => socket.send(`${plain(from.address)}\n`, from.port, from.address));
  socket.on('error', reject);
  socket.bind(port, host, () => resolve({}));
  return promise;
}

function plain(address = ''): string {
  return address.replace(/^::ffff:/, '');
}

function askTcp({ host, port, from, keep, timeoutMs }: Ask): Promise<LabAnswer> {
  const { promise, resolve } = Promise.withResolvers<LabAnswer>();
  const socket = connect({ host, port, ...(from === undefined ? {} : { localAddress: from }) });
  const end = (result: LabAnswer): void => {
    clearTimeout(timer);
    socket.removeAllListeners('data');
    if (keep === undefined || result.heard === undefined) socket.destroy();
    else kept.set(keep, socket);
    resolve(result);
  };
  const timer = setTimeout(() => end({ failed: 'silence' }), timeoutMs);
  socket.once('data', (data) => end({ heard: data.toString().trim() }));
  socket.on('error', (error: NodeJS.ErrnoException) => end({ failed: error.code ?? error.message }));
  return promise;
}

function askUdp({ host, port, from, fromPort, payloadHex, timeoutMs }: Ask): Promise<LabAnswer> {
  const { promise, resolve } = Promise.withResolvers<LabAnswer>();
  const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
  const end = (result: LabAnswer): void => {
    clearTimeout(timer);
    socket.close();
    resolve(result);
  };
  const timer = setTimeout(() => end({ failed: 'silence' }), timeoutMs);
  socket.on('error', (error: NodeJS.ErrnoException) => end({ failed: error.code ?? error.message }));
  socket.once('message', (message) => end({ heard: plainText(message) }));
  socket.bind(fromPort ?? 0, from, () => {
    socket.setBroadcast(true);
    socket.send(payloadHex === undefined ? '?' : Buffer.from(payloadHex, 'hex'), port, host);
  });
  return promise;
}

/** Words as they are, other bytes in hexadecimal. */
function plainText(message: Buffer): string {
  const text = message.toString().trim();
  return /^[ -~]*$/.test(text) ? text : message.toString('hex');
}

const atOnce = 64;

async function flood({ host, ports, from }: Extract<LabRequest, { op: 'flood' }>): Promise<LabAnswer> {
  const socket = createSocket('udp4');
  // Most of the ports are closed, which the kernel says to the next one who sends.
  socket.on('error', () => undefined);
  const bound = Promise.withResolvers<void>();
  socket.bind(0, from, () => bound.resolve());
  await bound.promise;
  for (let port = 1; port <= ports; port += atOnce)
    await Promise.all(
      Array.from({ length: atOnce }, async (_, more) => {
        const { promise, resolve } = Promise.withResolvers<void>();
        socket.send('?', port + more, host, () => resolve());
        await promise;
      }),
    );
  socket.close();
  return {};
}

/** Whether a kept connection still carries bytes there and back. */
function say({ keep, timeoutMs }: Extract<LabRequest, { op: 'say' }>): Promise<LabAnswer> {
  const { promise, resolve } = Promise.withResolvers<LabAnswer>();
  const socket = kept.get(keep);
  if (socket === undefined) return Promise.resolve({ failed: 'no such connection' });
  const timer = setTimeout(() => {
    socket.removeAllListeners('data');
    resolve({ failed: 'silence' });
  }, timeoutMs);
  socket.once('data', (data) => {
    clearTimeout(timer);
    resolve({ heard: data.toString().trim() });
  });
  socket.write('again\n');
  return promise;
}

const input = createInterface({ input: process.stdin });
input.on('line', (line) => {
  const { id, ...request } = JSON.parse(line) as LabRequest & { id: number };
  answer(request as LabRequest)
    .catch((error: unknown): LabAnswer => ({ failed: String(error) }))
    .then((result) => process.stdout.write(`${JSON.stringify({ ...result, id })}\n`))
    .catch(() => process.exit(1));
});
input.on('close', () => process.exit(0));
