// The life of a real guest, through the socket: what a person who uses the API sees.
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { startDaemon, type TestDaemon } from './harness/daemon.ts';

const done = { query: { wait: 'done' } } as const;

let daemon: TestDaemon;

beforeAll(async () => {
  daemon = await startDaemon();
});

afterAll(() => daemon[Symbol.asyncDispose]());

afterEach(async () => {
  for (const { name } of (await daemon.client.call('GET /v1/instances', {})).items) {
    await daemon.client.call('DELETE /v1/instances/{instance}', {
      params: { instance: name },
      query: { force: 'true', wait: 'done' },
    });
  }
  expect(await daemon.remains()).toEqual([]);
});

const at = (instance: string) => ({ params: { instance } });

describe('a guest', () => {
  it('boots until its agent answers, runs a program, and powers off by its power button', async () => {
    await daemon.client.call('POST /v1/instances', {
      body: { name: 'web', start: true, spec: { image: 'micro', memoryMib: 128 } },
      query: { wait: 'ready', waitSeconds: 60 },
    });
    const result = await daemon.client.call('POST /v1/instances/{instance}/exec', {
      ...at('web'),
      body: {
        argv: ['/bin/sh', '-c', 'cat; echo "$WHO" >&2; exit 7'],
        env: ['WHO=guest'],
        stdin: btoa('hello'),
      },
    });
    expect({ ...result, stdout: atob(result.stdout), stderr: atob(result.stderr) }).toMatchObject({
      exitCode: 7,
      stdout: 'hello',
      stderr: 'guest\n',
    });
    await daemon.client.call('POST /v1/instances/{instance}/stop', {
      ...at('web'),
      body: { mode: 'acpi' },
      ...done,
    });
    const { status } = await daemon.client.call('GET /v1/instances/{instance}', at('web'));
    expect(status).toMatchObject({ state: 'stopped', exit: { reason: 'stopped' } });
    expect(await daemon.remains()).toEqual([]);
  });

  it('is stopped, and not crashed, when it powers off from inside', async () => {
    await daemon.create('web', { start: true, spec: { memoryMib: 128 } });
    await daemon.client.call('POST /v1/instances/{instance}/stop', {
      ...at('web'),
      body: { mode: 'force' },
      ...done,
    });
    await daemon.client.call('POST /v1/instances/{instance}/start', {
      ...at('web'),
      body: {},
      query: { wait: 'ready' },
    });
    // The guest may be gone before its agent can tell how the program ended.
    await daemon.client
      .call('POST /v1/instances/{instance}/exec', { ...at('web'), body: { argv: ['poweroff'] } })
      .catch(() => undefined);
    expect((await daemon.reach('web', 'stopped'))?.status.exit).toMatchObject({
      reason: 'guest-shutdown',
      code: 0,
    });
  });

  it('is paused and resumed, and each shows', async () => {
    await daemon.create('web', { start: true, startPaused: true });
    const state = async () =>
      (await daemon.client.call('GET /v1/instances/{instance}', at('web'))).status.state;
    expect(await state()).toBe('paused');
    expect((await daemon.client.call('POST /v1/instances/{instance}/resume', at('web'))).status.state).toBe(
      'running',
    );
    expect((await daemon.client.call('POST /v1/instances/{instance}/pause', at('web'))).status.state).toBe(
      'paused',
    );
    expect(await state()).toBe('paused');
  });

  it('is reset without a new QEMU, and restarted with one', async () => {
    await daemon.create('web', { start: true });
    const pid = async () =>
      (await daemon.client.call('GET /v1/instances/{instance}', at('web'))).status.process?.pid;
    const first = await pid();
    await daemon.client.call('POST /v1/instances/{instance}/reset', at('web'));
    expect(await pid()).toBe(first);
    await daemon.client.call('POST /v1/instances/{instance}/restart', {
      ...at('web'),
      body: { mode: 'force' },
      ...done,
    });
    expect(await pid()).not.toBe(first);
  });

  it('shows the signal that killed its QEMU, and starts again when its policy says so', async () => {
    await daemon.create('web', { start: true, startPaused: true });
    await daemon.create('db', { start: true, startPaused: true, spec: { restart: 'on-failure' } });
    const before = new Map<string, number>();
    for (const name of ['web', 'db']) {
      const { status } = await daemon.client.call('GET /v1/instances/{instance}', at(name));
      before.set(name, status.process?.pid ?? 0);
      process.kill(status.process?.pid ?? 0, 'SIGSEGV');
    }
    const web = await daemon.reach('web', 'crashed');
    expect(web?.status.exit).toMatchObject({ reason: 'signal', signal: 'SIGSEGV' });
    await daemon.reach('db', 'crashed');
    const db = await daemon.reach('db', 'running');
    expect(db?.status.process?.pid).not.toBe(before.get('db'));
    expect(db?.status.restarts).toBe(1);
  });

  it('is renamed while it runs, and keeps running', async () => {
    await daemon.create('web', { start: true, startPaused: true });
    const before = await daemon.client.call('GET /v1/instances/{instance}', at('web'));
    await daemon.client.call('PATCH /v1/instances/{instance}', {
      ...at('web'),
      body: { name: 'api', labels: { tier: 'front' } },
    });
    const after = await daemon.client.call('GET /v1/instances/{instance}', at('api'));
    expect(after).toMatchObject({
      id: before.id,
      labels: { tier: 'front' },
      status: { process: before.status.process },
    });
    await expect(daemon.client.call('GET /v1/instances/{instance}', at('web'))).rejects.toMatchObject({
      code: 'instance.not_found',
    });
  });

  it('runs as a microvm under KVM, and is refused as one without, since it would have no clock', async () => {
    const { accelerator } = await daemon.client.call('GET /v1/host', {});
    await daemon.create('tiny', { spec: { machine: 'microvm', memoryMib: 128 } });
    const started = daemon.client.call('POST /v1/instances/{instance}/start', {
      ...at('tiny'),
      body: {},
      query: { wait: 'ready', waitSeconds: 60 },
    });
    if (accelerator === 'kvm') await started;
    else
      await expect(started).rejects.toMatchObject({
        code: 'host.kvm_unusable',
        hint: expect.stringContaining('q35'),
      });
  });
});

describe('the list', () => {
  it('gives every instance once, page by page, and filters by state, label, name and image', async () => {
    for (const name of ['a1', 'a2', 'b1', 'b2', 'b3'])
      await daemon.create(name, { labels: { group: name.slice(0, 1) } });
    const seen: string[] = [];
    let cursor: string | undefined;
    do {
      const page = await daemon.client.call('GET /v1/instances', {
        query: { limit: 2, ...(cursor === undefined ? {} : { cursor }) },
      });
      seen.push(...page.items.map(({ name }) => name));
      cursor = page.next;
    } while (cursor !== undefined);
    expect(seen).toEqual(['a1', 'a2', 'b1', 'b2', 'b3']);
    const names = async (query: Record<string, string>) =>
      (await daemon.client.call('GET /v1/instances', { query })).items.map(({ name }) => name);
    expect(await names({ label: 'group=a' })).toEqual(['a1', 'a2']);
    expect(await names({ name: 'b' })).toEqual(['b1', 'b2', 'b3']);
    expect(await names({ state: 'running' })).toEqual([]);
    expect(await names({ image: 'micro', label: 'group=b' })).toEqual(['b1', 'b2', 'b3']);
  });

  it('gives only the fields asked for', async () => {
    await daemon.create('web');
    const response = await daemon.fetch('http://wirt/v1/instances?fields=name,status.state');
    expect(await response.json()).toEqual({ items: [{ name: 'web', status: { state: 'stopped' } }] });
  });
});

describe('events', () => {
  it('tell every change in order, and resume behind the revision last seen', async () => {
    await daemon.create('web', { start: true, startPaused: true });
    await daemon.client.call('POST /v1/instances/{instance}/stop', {
      ...at('web'),
      body: { mode: 'force' },
      ...done,
    });
    const read = async (since: number, states: number) => {
      const stop = new AbortController();
      const signal = AbortSignal.any([stop.signal, AbortSignal.timeout(10_000)]);
      const { id } = await daemon.client.call('GET /v1/instances/{instance}', at('web'));
      const events = [];
      for await (const event of daemon.client.events({ since, kind: 'instance', id }, signal)) {
        events.push(event);
        if (events.length === states) break;
      }
      stop.abort();
      return events;
    };
    const all = await read(0, 4);
    expect(all.map(({ state }) => state)).toEqual(['starting', 'paused', 'stopping', 'stopped']);
    expect(await read(all[1]?.revision ?? 0, 2)).toEqual(all.slice(2));
  });
});
