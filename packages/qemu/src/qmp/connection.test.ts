import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type PeerSocket, type ScriptedPeer, startScriptedPeer } from '../scripted-peer.ts';
import type { QmpEvent } from './commands.ts';
import { connectQmp, type QmpConnection, type QmpConnectOptions } from './connection.ts';
import { QmpClosed, QmpProtocolError } from './errors.ts';

const GREETING = {
  QMP: { version: { qemu: { major: 7, minor: 2, micro: 22 }, package: 'test' }, capabilities: ['oob'] },
};
const TIMESTAMP = { seconds: 1, microseconds: 2 };
const SHUTDOWN = { event: 'SHUTDOWN', data: { guest: true, reason: 'guest-shutdown' }, timestamp: TIMESTAMP };

let peer: ScriptedPeer;
const opened: QmpConnection[] = [];

beforeEach(async () => {
  peer = await startScriptedPeer();
});

afterEach(async () => {
  for (const qmp of opened.splice(0)) await qmp.close();
  await peer[Symbol.asyncDispose]();
});

function connect(options: Partial<QmpConnectOptions> = {}): Promise<QmpConnection> {
  return connectQmp({ path: peer.path, timeoutMs: 2000, ...options });
}

/** A connection past its negotiation, and the peer's side of it. */
async function established(
  options: Partial<QmpConnectOptions> = {},
): Promise<{ qmp: QmpConnection; server: PeerSocket }> {
  const connecting = connect(options);
  const server = await peer.accept();
  server.send(GREETING);
  server.send({ return: {}, id: (await server.request()).id });
  const qmp = await connecting;
  opened.push(qmp);
  return { qmp, server };
}

const code = (value: string): unknown => expect.objectContaining({ code: value });

describe('connecting', () => {
  test('waits for the greeting, negotiates, and keeps what QEMU said of itself', async () => {
    const connecting = connect();
    const server = await peer.accept();
    server.send(GREETING);
    const request = await server.request();
    expect(request.execute).toBe('qmp_capabilities');
    server.send({ return: {}, id: request.id });
    const qmp = await connecting;
    opened.push(qmp);
    expect(qmp.greeting).toEqual({
      version: { qemu: { major: 7, minor: 2, micro: 22 }, package: 'test' },
      capabilities: ['oob'],
    });
  });

  test('gives up when the greeting never comes', async () => {
    const connecting = connect({ timeoutMs: 30 });
    await expect(connecting).rejects.toThrow('connect: no answer within 30 ms');
    await expect(connecting).rejects.toEqual(code('qmp_timeout'));
  });

  test('gives up when the capabilities are never answered', async () => {
    const connecting = connect({ timeoutMs: 60 });
    const server = await peer.accept();
    server.send(GREETING);
    await expect(connecting).rejects.toEqual(code('qmp_timeout'));
  });

  test('names the socket when nobody listens there', async () => {
    const connecting = connectQmp({ path: `${peer.path}-not` });
    await expect(connecting).rejects.toThrow(`${peer.path}-not`);
    await expect(connecting).rejects.toMatchObject({ code: 'qmp_unreachable', cause: { code: 'ENOENT' } });
  });

  test('ends with the reason of its signal, before and while it waits', async () => {
    await expect(connect({ signal: AbortSignal.abort(new Error('early')) })).rejects.toThrow('early');
    const controller = new AbortController();
    const connecting = connect({ signal: controller.signal });
    const server = await peer.accept();
    const gone = new Promise((resolve) => server.socket.once('close', resolve));
    controller.abort(new Error('late'));
    await expect(connecting).rejects.toThrow('late');
    await gone;
  });

  test('is refused when the peer refuses the capabilities', async () => {
    const connecting = connect();
    const server = await peer.accept();
    server.send(GREETING);
    server.send({ error: { class: 'GenericError', desc: 'no' }, id: (await server.request()).id });
    await expect(connecting).rejects.toMatchObject({
      code: 'qmp_error',
      command: 'qmp_capabilities',
      desc: 'no',
    });
  });

  test.each([
    ['garbage', '\x00\xff\xfe{]\n'],
    ['an HTTP server', 'HTTP/1.1 400 Bad Request\r\n'],
    ['JSON that is no object', '[1,2,3]\n'],
    ['null', 'null\n'],
    ['an empty line', '\n'],
    ['another object', '{"hello": 1}\n'],
    ['a greeting without a version', '{"QMP": {"capabilities": []}}\n'],
    ['an event first', `${JSON.stringify(SHUTDOWN)}\n`],
    ['an answer first', '{"return": {}, "id": 1}\n'],
    ['a greeting that is nested too deep', `{"QMP": ${'['.repeat(100_000)}${']'.repeat(100_000)}}\n`],
  ])('refuses a peer that begins with %s', async (_, bytes) => {
    const connecting = connect();
    (await peer.accept()).write(bytes);
    await expect(connecting).rejects.toEqual(code('qmp_protocol'));
  });

  test('reports a peer that hangs up before the greeting', async () => {
    const connecting = connect();
    (await peer.accept()).socket.end();
    await expect(connecting).rejects.toEqual(code('qmp_closed'));
  });
});

describe('commands', () => {
  test('are sent with their arguments and get their answer', async () => {
    const { qmp, server } = await established();
    const answer = qmp.execute('screendump', { filename: '/tmp/x', format: 'png' });
    const request = await server.request();
    expect(request).toMatchObject({
      execute: 'screendump',
      arguments: { filename: '/tmp/x', format: 'png' },
    });
    server.send({ return: { ok: 1 }, id: request.id });
    expect(await answer).toEqual({ ok: 1 });
  });

  test('are matched by id when answers come out of order, with events between them', async () => {
    const { qmp, server } = await established();
    const events: QmpEvent[] = [];
    qmp.on((event) => events.push(event));
    const [status, name, uuid] = [
      qmp.execute('query-status'),
      qmp.execute('query-name'),
      qmp.execute('query-uuid'),
    ];
    const ids = [(await server.request()).id, (await server.request()).id, (await server.request()).id];
    server.send(
      { return: { UUID: 'u' }, id: ids[2] },
      SHUTDOWN,
      { return: { running: true }, id: ids[0] },
      { event: 'X_NEW', timestamp: TIMESTAMP },
      { return: { name: 'n' }, id: ids[1] },
    );
    expect(await Promise.all([status, name, uuid])).toEqual([
      { running: true },
      { name: 'n' },
      { UUID: 'u' },
    ]);
    expect(events).toEqual([SHUTDOWN, { event: 'unknown', name: 'X_NEW', data: {}, timestamp: TIMESTAMP }]);
  });

  test("fail in QEMU's own words, and the connection lives on", async () => {
    const { qmp, server } = await established();
    const refused = qmp.execute('set_link', { name: 'n0', up: true });
    server.send({
      error: { class: 'DeviceNotFound', desc: "Device 'n0' not found" },
      id: (await server.request()).id,
    });
    await expect(refused).rejects.toMatchObject({
      code: 'qmp_error',
      class: 'DeviceNotFound',
      desc: "Device 'n0' not found",
      message: "set_link: Device 'n0' not found",
    });
    const next = qmp.execute('query-status');
    server.send({ return: 1, id: (await server.request()).id });
    expect(await next).toBe(1);
  });

  test('give an error without an id to the oldest command', async () => {
    const { qmp, server } = await established();
    const [first, second] = [qmp.execute('stop'), qmp.execute('cont')];
    await server.request();
    const { id } = await server.request();
    server.send({ error: { class: 'GenericError', desc: 'Invalid JSON syntax' } }, { return: {}, id });
    await expect(first).rejects.toThrow('stop: Invalid JSON syntax');
    expect(await second).toEqual({});
  });

  test('refuse text that is not Unicode instead of sending what QEMU cannot parse', async () => {
    const { qmp } = await established();
    await expect(qmp.execute('screendump', { filename: '\ud800' })).rejects.toEqual(code('qmp_error'));
    await expect(qmp.execute('screendump', { filename: '\\\\\udfff' })).rejects.toEqual(code('qmp_error'));
    for (const filename of ['\\ud800', '\u{1f600}', '\\\\ud800']) {
      await expect(qmp.execute('screendump', { filename }, { timeoutMs: 10 })).rejects.toEqual(
        code('qmp_timeout'),
      );
    }
  });

  test('end at their deadline, and their late answer is dropped', async () => {
    const { qmp, server } = await established();
    const late = qmp.execute('query-status', {}, { timeoutMs: 20 });
    const lateId = (await server.request()).id;
    await expect(late).rejects.toMatchObject({ code: 'qmp_timeout', command: 'query-status', timeoutMs: 20 });
    const next = qmp.execute('query-name');
    const { id } = await server.request();
    server.send({ return: { late: true }, id: lateId }, { return: { name: 'n' }, id });
    expect(await next).toEqual({ name: 'n' });
  });

  test('end with the reason of their signal, and leave the others alone', async () => {
    const { qmp, server } = await established();
    const controller = new AbortController();
    const aborted = qmp.execute('query-status', {}, { signal: controller.signal });
    const other = qmp.execute('query-name');
    await server.request();
    const { id } = await server.request();
    controller.abort(new Error('enough'));
    await expect(aborted).rejects.toThrow('enough');
    server.send({ return: {}, id });
    expect(await other).toEqual({});
    await expect(qmp.execute('stop', {}, { signal: AbortSignal.abort() })).rejects.toThrow('aborted');
  });

  test('are refused when too many are unanswered, those past their deadline included', async () => {
    const { qmp, server } = await established({ maxOutstanding: 2 });
    await expect(qmp.execute('stop', {}, { timeoutMs: 10 })).rejects.toEqual(code('qmp_timeout'));
    const second = qmp.execute('cont');
    await expect(qmp.execute('query-status')).rejects.toEqual(code('qmp_busy'));
    const stopId = (await server.request()).id;
    server.send({ return: {}, id: stopId }, { return: {}, id: (await server.request()).id });
    await second;
    const third = qmp.execute('query-status');
    server.send({ return: 3, id: (await server.request()).id });
    expect(await third).toBe(3);
  });

  test('are refused when the peer does not read', async () => {
    const { qmp, server } = await established({ maxUnsentBytes: 8 * 1024 * 1024 });
    server.socket.pause();
    const big = { filename: 'x'.repeat(6 * 1024 * 1024) };
    const sent = qmp.execute('screendump', big, { timeoutMs: 100 });
    await expect(qmp.execute('screendump', big)).rejects.toEqual(code('qmp_busy'));
    await expect(sent).rejects.toEqual(code('qmp_timeout'));
  });
});

describe('bytes', () => {
  test('are understood byte by byte and in the middle of a character', async () => {
    const { qmp, server } = await established();
    const answer = qmp.execute('query-name');
    const { id } = await server.request();
    for (const byte of Buffer.from(`${JSON.stringify({ return: { name: 'Grüße €' }, id })}\n`)) {
      server.write(Buffer.of(byte));
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await answer).toEqual({ name: 'Grüße €' });
  });

  test('of a message too long end the connection', async () => {
    const { qmp, server } = await established({ maxLineBytes: 1000 });
    const pending = qmp.execute('query-status');
    server.write('x'.repeat(1001));
    await expect(pending).rejects.toThrow('too long');
    expect(await qmp.closed).toBeInstanceOf(QmpProtocolError);
    await expect(qmp.execute('query-status')).rejects.toEqual(code('qmp_protocol'));
  });

  test.each([
    ['a wrong id', { return: {}, id: 4711 }],
    ['an id of another kind', { return: {}, id: '2' }],
    ['an id that is an object', { return: {}, id: { a: 1 } }],
    ['no id', { return: {} }],
    ['an error for nobody', { error: { class: 'GenericError', desc: '' }, id: 99 }],
    ['an error without a class', { error: 'x', id: 2 }],
    ['an event without a timestamp', { event: 'STOP' }],
    ['an event with data that is no object', { event: 'STOP', data: [], timestamp: TIMESTAMP }],
    ['a second greeting', GREETING],
  ])('with %s end the connection', async (_, message) => {
    const { qmp, server } = await established();
    const pending = qmp.execute('query-status');
    server.send(message);
    await expect(pending).rejects.toEqual(code('qmp_protocol'));
    expect(await qmp.closed).toBeInstanceOf(QmpProtocolError);
  });

  test('after the one that broke the protocol are not looked at', async () => {
    const events: QmpEvent[] = [];
    const { qmp, server } = await established({ onEvent: (event) => events.push(event) });
    server.write(`${JSON.stringify(SHUTDOWN)}\nrubbish\n${JSON.stringify(SHUTDOWN)}\n`);
    await qmp.closed;
    expect(events).toHaveLength(1);
  });
});

describe('events', () => {
  test('in the same chunk as the end of the negotiation reach the listener given at the start', async () => {
    const events: QmpEvent[] = [];
    const connecting = connect({ onEvent: (event) => events.push(event) });
    const server = await peer.accept();
    server.send(GREETING);
    server.send({ return: {}, id: (await server.request()).id }, SHUTDOWN);
    opened.push(await connecting);
    expect(events).toEqual([SHUTDOWN]);
  });

  test('reach every listener once, until it unsubscribes, also when another one throws', async () => {
    const errors: unknown[] = [];
    const { qmp, server } = await established({ onListenerError: (error) => errors.push(error) });
    const seen: string[] = [];
    const listener = (event: QmpEvent): unknown => seen.push(event.event);
    qmp.on(() => {
      throw new Error('broken listener');
    });
    const unsubscribe = qmp.on(listener);
    const second = qmp.on(listener);
    unsubscribe();
    unsubscribe();
    server.send(SHUTDOWN);
    const barrier = qmp.execute('query-status');
    server.send({ return: {}, id: (await server.request()).id });
    await barrier;
    expect(seen).toEqual(['SHUTDOWN']);
    expect(errors).toEqual([new Error('broken listener')]);
    second();
  });
});

describe('the end', () => {
  test('by the peer rejects all that wait and is told by closed', async () => {
    const { qmp, server } = await established();
    const pending = [qmp.execute('query-status'), qmp.execute('stop')];
    await server.request();
    server.socket.destroy();
    for (const one of pending) await expect(one).rejects.toThrow('the peer closed the connection');
    expect(await qmp.closed).toBeInstanceOf(QmpClosed);
    await expect(qmp.execute('query-status')).rejects.toEqual(code('qmp_closed'));
  });

  test('in the middle of a message is told as such', async () => {
    const { qmp, server } = await established();
    server.socket.end('{"return":');
    expect((await qmp.closed)?.message).toContain('in the middle of a message');
  });

  test('by close() is no error, rejects what waits, and can be asked for again', async () => {
    const { qmp } = await established();
    const pending = qmp.execute('query-status');
    const rejected = expect(pending).rejects.toEqual(code('qmp_closed'));
    await Promise.all([qmp.close(), qmp.close()]);
    await rejected;
    expect(await qmp.closed).toBeUndefined();
    await expect(qmp.execute('query-status')).rejects.toEqual(code('qmp_closed'));
  });

  test('comes with the scope of await using', async () => {
    const { qmp, server } = await established();
    const gone = new Promise((resolve) => server.socket.once('close', resolve));
    {
      await using scoped = qmp;
      expect(scoped.greeting.version.qemu.major).toBe(7);
    }
    await gone;
  });
});
