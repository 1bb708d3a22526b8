import { createServer, type Server } from 'node:http';
// Polls: what is waited for is at the other end of a socket, or is time itself.
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type FakeMetadata, fakeMetadata, freePort, guestOf } from './guests.fixture.ts';
import type { MetadataLogger } from './listener.ts';
import { createMetadataService, type MetadataService } from './service.ts';

const one = '127.77.2.1';
const two = '127.77.2.2';

let metadata: FakeMetadata;
let service: MetadataService;
let events: string[];
let foreign: Server | undefined;

beforeEach(() => {
  metadata = fakeMetadata();
  events = [];
  const log = (event: string): void => {
    events.push(event);
  };
  const logger: MetadataLogger = { info: log, warn: log, error: log };
  service = createMetadataService({ actions: metadata, logger });
});

afterEach(async () => {
  await service.close();
  await new Promise<void>((resolve) => (foreign === undefined ? resolve() : foreign.close(() => resolve())));
  foreign = undefined;
});

/** What is said at an address, or why nothing is. */
async function at(address: string, port: number, path = '/latest/meta-data/instance-id'): Promise<string> {
  const host = address.includes(':') ? `[${address}]` : address;
  try {
    const answer = await fetch(`http://${host}:${port}${path}`, { headers: { connection: 'close' } });
    return `${answer.status} ${await answer.text()}`;
  } catch (error) {
    const { cause } = error as { cause?: { code?: string } };
    return cause?.code ?? 'closed';
  }
}

async function becomes(ask: () => Promise<string>, wanted: string): Promise<void> {
  const endMs = performance.now() + 10_000;
  for (let said = await ask(); said !== wanted; said = await ask()) {
    if (performance.now() > endMs) throw new Error(`it is ${said}, and not ${wanted}`);
    await delay(10);
  }
}

/** A guest of the network that asks from this machine's own address. */
function guestAt(network: string, address: string, id: string): void {
  metadata.guests.set(`${network} ${address}`, guestOf(id, { tokens: 'optional' }));
}

it('comes and goes with networks, and is nowhere else', async () => {
  const port = await freePort(one);
  guestAt('a', '127.0.0.1', 'guest-a');
  guestAt('b', '127.0.0.1', 'guest-b');
  service.start(new AbortController().signal);
  metadata.become([{ network: 'a', address: one, port }]);
  await becomes(() => at(one, port), '200 guest-a');
  expect(await at(two, port)).toBe('ECONNREFUSED');
  metadata.become([
    { network: 'a', address: one, port },
    { network: 'b', address: two, port },
  ]);
  await becomes(() => at(two, port), '200 guest-b');
  // The same address is another network's now.
  metadata.become([{ network: 'b', address: one, port }]);
  await becomes(() => at(one, port), '200 guest-b');
  await becomes(() => at(two, port), 'ECONNREFUSED');
  await service.close();
  expect(await at(one, port)).toBe('ECONNREFUSED');
});

it('serves IPv6 too', async ({ skip }) => {
  const port = await freePort('::1').catch(() => undefined);
  if (port === undefined) return skip('this machine has no IPv6');
  guestAt('a', '::1', 'guest-a');
  service.start(new AbortController().signal);
  metadata.become([{ network: 'a', address: '::1', port }]);
  await becomes(() => at('::1', port), '200 guest-a');
});

it('waits for a port that another has, and says so once', async () => {
  const port = await freePort(one);
  const other = createServer((_, response) => response.end('another'));
  foreign = other;
  await new Promise<void>((resolve) => other.listen(port, one, resolve));
  guestAt('a', '127.0.0.1', 'guest-a');
  service.start(new AbortController().signal);
  metadata.become([{ network: 'a', address: one, port }]);
  while (!events.includes('metadata.bind_failed')) await delay(5);
  await delay(300);
  expect(events).toEqual(['metadata.bind_failed']);
  expect(await at(one, port)).toBe('200 another');
  await new Promise((resolve) => {
    other.close(resolve);
    other.closeAllConnections();
  });
  foreign = undefined;
  await becomes(() => at(one, port), '200 guest-a');
  expect(events).toEqual(['metadata.bind_failed', 'metadata.listening']);
});

it('is closed at once while it waits for an address that never comes', async () => {
  service.start(new AbortController().signal);
  // TEST-NET-1: no machine has it.
  metadata.become([{ network: 'a', address: '192.0.2.1', port: 80 }]);
  while (!events.includes('metadata.bind_failed')) await delay(5);
  const startedMs = performance.now();
  await service.close();
  expect(performance.now() - startedMs).toBeLessThan(1000);
});

it('goes on where following the networks has failed', async () => {
  const port = await freePort(one);
  guestAt('a', '127.0.0.1', 'guest-a');
  service.start(new AbortController().signal);
  metadata.become([{ network: 'a', address: one, port }]);
  await becomes(() => at(one, port), '200 guest-a');
  metadata.break();
  while (!events.includes('metadata.follow_failed')) await delay(5);
  expect(await at(one, port)).toBe('200 guest-a');
  metadata.become([{ network: 'a', address: two, port }]);
  await becomes(() => at(two, port), '200 guest-a');
});
