// Bad input is refused with a sentence that helps, and changes nothing.
import { once } from 'node:events';
import { readdir, readlink } from 'node:fs/promises';
import { connect } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises'; // polls /proc, which has no events
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startDaemon, type TestDaemon } from './harness/daemon.ts';

let daemon: TestDaemon;

beforeAll(async () => {
  daemon = await startDaemon();
});

afterAll(() => daemon[Symbol.asyncDispose]());

interface Refusal {
  readonly status: number;
  readonly code: string;
  readonly detail: string;
  readonly hint?: string;
  readonly details?: Record<string, unknown>;
}

/** Sends the body, which must be refused, and checks that no instance was made of it. */
async function refusal(body: unknown, path = '/v1/instances', method = 'POST'): Promise<Refusal> {
  const response = await daemon.fetch(`http://wirt${path}`, {
    method,
    headers: { 'content-type': 'application/json' },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
  expect(response.headers.get('content-type')).toContain('application/problem+json');
  const problem = (await response.json()) as Refusal;
  expect(response.status).toBe(problem.status);
  expect((await daemon.client.call('GET /v1/instances', {})).items).toEqual([]);
  return problem;
}

const spec = { image: 'micro', memoryMib: 64 };

describe('a request to create an instance is refused', () => {
  it.each([
    '',
    'Web',
    '-web',
    'web-',
    'we b',
    'wéb',
    '../web',
    'web\n',
    'web\u0000',
    '💥',
    'a'.repeat(64),
    "'; rm -rf /;'",
  ])('when its name is %j', async (name) => {
    expect(await refusal({ name, spec })).toMatchObject({ status: 400, code: 'request.invalid' });
  });

  it.each([
    ['cpus', 0],
    ['cpus', 4097],
    ['cpus', 1.5],
    ['cpus', '2'],
    ['memoryMib', -1],
    ['memoryMib', 1e300],
    ['memoryMib', null],
    ['restart', 'sometimes'],
    ['cpuModel', 'host,migratable=off'],
    ['image', 'no/such'],
  ])('when %s is %j, and names the field', async (field, value) => {
    const problem = await refusal({ name: 'web', spec: { ...spec, [field]: value } });
    expect(problem.code).toBe('request.invalid');
    expect(problem.detail).toContain(`spec.${field}`);
  });

  it('when a field does not exist, and offers the nearest that does', async () => {
    const problem = await refusal({ name: 'web', spec: { ...spec, memroyMib: 64 } });
    expect(problem.code).toBe('request.unknown_field');
    expect(`${problem.detail} ${problem.hint}`).toContain('memoryMib');
  });

  it('when the guest has more memory than the host, with the figures', async () => {
    const problem = await refusal({ name: 'web', spec: { ...spec, memoryMib: 16_777_216 } });
    expect(problem).toMatchObject({
      status: 409,
      code: 'host.insufficient_memory',
      details: { neededMib: 16_777_296, totalMib: expect.any(Number), promisedMib: 0 },
    });
    expect(problem.detail).toMatch(/needs 16777\d+ MiB .* the host has \d+ MiB/);
    expect(problem.hint).toContain('--overcommit');
  });

  it('when its image does not exist, and says how to get one', async () => {
    const problem = await refusal({ name: 'web', spec: { image: 'nothing' } });
    expect(problem).toMatchObject({ code: 'image.not_found' });
    expect(problem.hint).toContain('wirt image');
  });

  it.each(['{', '[]', 'null', '"web"', '{"name":'])('when its body is %s', async (body) => {
    expect((await refusal(body)).code).toMatch(/^request\./);
  });

  it('when its body is larger than a megabyte, before the body is read', async () => {
    const socket = connect(daemon.socket);
    socket.write(
      'POST /v1/instances HTTP/1.1\r\nhost: wirt\r\ncontent-type: application/json\r\ncontent-length: 2000000\r\n\r\n{',
    );
    const [answer] = (await once(socket, 'data', { signal: AbortSignal.timeout(5_000) })) as [Buffer];
    expect(answer.toString()).toMatch(/^HTTP\/1\.1 413 /);
    expect(answer.toString()).toContain('request.too_large');
    socket.destroy();
  });

  it('when it is deeply nested', async () => {
    expect((await refusal(`${'{"a":'.repeat(50_000)}1${'}'.repeat(50_000)}`)).code).toMatch(/^request\./);
  });
});

/** The sockets that wirtd has open now, by their inodes. */
async function socketsOfDaemon(): Promise<string[]> {
  const directory = `/proc/${daemon.pid()}/fd`;
  const targets = await Promise.all(
    (await readdir(directory)).map((fd) => readlink(`${directory}/${fd}`).catch(() => '')),
  );
  return targets.filter((target) => target.startsWith('socket:'));
}

async function socketsUntil(test: (sockets: readonly string[]) => boolean, what: string): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!test(await socketsOfDaemon())) {
    if (performance.now() > deadline) throw new Error(`not within 10 s: ${what}`);
    await pause(10);
  }
}

describe('the daemon', () => {
  it('answers an unknown route with a problem', async () => {
    expect(await refusal({}, '/v1/instanecs')).toMatchObject({ status: 404, code: 'request.not_found' });
  });

  it('does the work of a client that goes away in the middle of waiting', async () => {
    const body = JSON.stringify({ name: 'left', start: true, startPaused: true, spec });
    const request = `POST /v1/instances?wait=done HTTP/1.1\r\nhost: wirt\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
    const socket = connect(daemon.socket);
    socket.write(request, () => socket.destroy());
    await daemon.reach('left', 'paused');
    await daemon.client.call('DELETE /v1/instances/{instance}', {
      params: { instance: 'left' },
      query: { force: 'true', wait: 'done' },
    });
  });

  it('drops a client that goes away in the middle of its body, and nothing is made', async () => {
    const before = await socketsOfDaemon();
    const socket = connect(daemon.socket);
    socket.write(
      'POST /v1/instances HTTP/1.1\r\nhost: wirt\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{"name":"half"',
    );
    const ofClient = (now: readonly string[]) => now.filter((one) => !before.includes(one));
    await socketsUntil((now) => ofClient(now).length === 1, 'one more connection');
    const [accepted = ''] = ofClient(await socketsOfDaemon());
    socket.destroy();
    await socketsUntil((now) => !now.includes(accepted), 'the connection closed');
    expect((await daemon.client.call('GET /v1/instances', {})).items).toEqual([]);
  });

  it('keeps the name of a removed instance free', async () => {
    for (let round = 0; round < 2; round += 1) {
      await daemon.create('again');
      await daemon.client.call('DELETE /v1/instances/{instance}', {
        params: { instance: 'again' },
        query: { wait: 'done' },
      });
    }
  });

  it('answers the first result again for the same Idempotency-Key, and refuses the key for another request', async () => {
    const create = (name: string) =>
      daemon.client.call('POST /v1/instances', {
        body: { name, spec },
        headers: { 'idempotency-key': 'k1' },
        query: { wait: 'done' },
      });
    const first = await create('once');
    expect((await create('once')).id).toBe(first.id);
    await expect(create('twice')).rejects.toMatchObject({ code: 'request.idempotency_conflict' });
    await daemon.client.call('DELETE /v1/instances/{instance}', {
      params: { instance: 'once' },
      query: { wait: 'done' },
    });
  });
});
