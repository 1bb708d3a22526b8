import { link, rm, stat, symlink, unlink, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { type Event, WirtError } from '@wirt/api';
import type { Actions, Request } from '@wirt/core';
import { describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { type Given, someId, someInstance, someOperation } from './fake-actions.ts';
import { ask, openDoor, openSocketDoor, type SocketDoor, textOf } from './fake-door.ts';

const event = (revision: number, more: Partial<Event> = {}): Event => ({
  revision,
  at: '2026-11-22T06:00:00.000Z',
  change: 'changed',
  kind: 'instance',
  id: someId,
  name: 'demo',
  project: 'default',
  ...more,
});

/** A stream that gives these events and then stays quiet until its request ends. */
function eventsThenQuiet(events: Event[], seen: { query?: unknown; ended?: boolean } = {}): Actions['event'] {
  return {
    async *stream(request, query) {
      seen.query = query;
      yield* events;
      await new Promise<void>((resolve) =>
        request.signal.addEventListener('abort', () => resolve(), { once: true }),
      );
      seen.ended = true;
    },
  };
}

function neverEnds(request: Request): Promise<never> {
  return new Promise((_, reject) => {
    request.signal.addEventListener('abort', () => reject(request.signal.reason as Error));
  });
}

describe('the event stream', () => {
  it('sends each event with its revision as id', async () => {
    const stream = async function* () {
      yield event(4);
      yield event(9, { state: 'running' });
    };
    await using door = await openSocketDoor({ event: { stream } });
    const answer = await ask(door, { path: '/v1/events' });
    expect(answer.headers['content-type']).toMatch(/^text\/event-stream/);
    const text = await textOf(answer);
    expect(text).toContain(`id: 4\ndata: ${JSON.stringify(event(4))}\n\n`);
    expect(text).toContain('id: 9\n');
  });

  it('gives the id only to the last event of a transaction, so that none is lost on resuming', async () => {
    const stream = async function* () {
      yield event(4);
      yield event(4, { kind: 'operation' });
      yield event(5);
    };
    await using door = await openSocketDoor({ event: { stream } });
    const text = await textOf(await ask(door, { path: '/v1/events' }));
    expect(text.match(/^(id: \d+|data)/gm)).toEqual(['data', 'id: 4', 'data', 'id: 5', 'data']);
  });

  it('goes on behind Last-Event-ID, rather than behind an older `since`', async () => {
    const seen: { query?: unknown } = {};
    await using door = await openSocketDoor({ event: eventsThenQuiet([event(8)], seen) });
    const answer = await ask(door, { path: '/v1/events?since=3', headers: { 'last-event-id': '7' } });
    await new Promise((resolve) => answer.once('data', resolve));
    expect(seen.query).toMatchObject({ since: 7 });
    answer.destroy();
  });

  it('answers a problem when the events asked for are no longer kept', async () => {
    // oxlint-disable-next-line require-yield
    const stream = async function* (): AsyncGenerator<Event> {
      throw new WirtError('event.compacted', 'The events after revision 1 are no longer kept.');
    };
    await using door = await openSocketDoor({ event: { stream } });
    const answer = await ask(door, { path: '/v1/events?since=1' });
    expect(answer.statusCode).toBe(410);
    expect(JSON.parse(await textOf(answer))).toMatchObject({ code: 'event.compacted' });
  });

  it('tells of a failure in its middle as an event of its own kind', async () => {
    const stream = async function* () {
      yield event(1);
      throw new WirtError('store.failed', 'The store could not be read.');
    };
    await using door = await openSocketDoor({ event: { stream } });
    const text = await textOf(await ask(door, { path: '/v1/events' }));
    expect(text).toMatch(/event: problem\ndata: \{.*"code":"store.failed".*\}\n\n$/);
  });

  it('is kept alive by comments while it is quiet', async () => {
    await using door = await openSocketDoor({ event: eventsThenQuiet([]) }, { heartbeatMs: 5 });
    const answer = await ask(door, { path: '/v1/events' });
    let text = '';
    for await (const chunk of answer.setEncoding('utf8')) {
      text += String(chunk);
      if (text.split(': quiet\n\n').length > 2) break;
    }
    expect(text.match(/^: quiet$/gm)?.length).toBeGreaterThan(1);
  });

  it('ends the action’s stream when the client goes away', async () => {
    const seen: { ended?: boolean } = {};
    const ended = Promise.withResolvers<void>();
    const stream: Actions['event']['stream'] = async function* (request) {
      yield event(1);
      await neverEnds(request).catch(() => undefined);
      seen.ended = true;
      ended.resolve();
    };
    await using door = await openSocketDoor({ event: { stream } });
    const answer = await ask(door, { path: '/v1/events' });
    await new Promise((resolve) => answer.once('data', resolve));
    answer.destroy();
    await ended.promise;
    expect(seen.ended).toBe(true);
  });

  it('drops a client that takes nothing, instead of keeping all for it', async () => {
    let made = 0;
    const ended = Promise.withResolvers<void>();
    const stream: Actions['event']['stream'] = async function* (request) {
      try {
        while (!request.signal.aborted) yield event((made += 1), { detail: 'x'.repeat(1000) });
      } finally {
        ended.resolve();
      }
    };
    await using door = await openSocketDoor({ event: { stream } }, { stallMs: 50 });
    const answer = await ask(door, { path: '/v1/events' });
    answer.pause();
    await ended.promise;
    expect(made).toBeLessThan(5_000);
    answer.on('error', () => undefined).destroy();
  });
});

interface FakeConsole {
  readonly console: Awaited<ReturnType<Actions['guest']['console']>>;
  say(text: string): void;
  readonly typed: string[];
  readonly viewers: () => number;
  /** Resolves when a viewer has been let go. */
  readonly left: Promise<void>;
  onTyped: () => void;
}

function fakeConsole(replay: string): FakeConsole {
  const listeners = new Set<(data: Uint8Array) => void>();
  const left = Promise.withResolvers<void>();
  const fake: FakeConsole = {
    typed: [],
    left: left.promise,
    onTyped: () => undefined,
    viewers: () => listeners.size,
    say(text) {
      for (const listener of listeners) listener(Buffer.from(text));
    },
    console: {
      replay: () => Buffer.from(replay),
      listen(listener) {
        listeners.add(listener);
        return () => {
          listeners.delete(listener);
          left.resolve();
        };
      },
      write(data) {
        fake.typed.push(Buffer.from(data).toString());
        fake.onTyped();
      },
    },
  };
  return fake;
}

const withConsole = (fake: FakeConsole, events: Actions['event'] = eventsThenQuiet([])): Given => ({
  instance: { get: async () => someInstance },
  guest: { console: async () => fake.console },
  event: events,
});

/** Connects a viewer; its messages are kept as text, and `until` waits for what it has seen. */
async function viewer(door: Pick<SocketDoor, 'path'>) {
  const socket = new WebSocket(`ws+unix://${door.path}:/v1/instances/demo/console`);
  let text = '';
  let wake = () => undefined as void;
  const closed = new Promise<{ code: number; reason: string }>((resolve) =>
    socket.once('close', (code, reason) => resolve({ code, reason: reason.toString() })),
  );
  socket.on('message', (data) => {
    text += (data as Buffer).toString();
    wake();
  });
  await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
  return {
    socket,
    closed,
    async until(wanted: string) {
      while (!text.includes(wanted)) await new Promise<void>((resolve) => (wake = resolve));
      return text;
    },
  };
}

describe('the console', () => {
  it('shows each of several viewers what was, then what comes, and takes what they type', async () => {
    const fake = fakeConsole('login: ');
    await using door = await openSocketDoor(withConsole(fake));
    const one = await viewer(door);
    const two = await viewer(door);
    await Promise.all([one.until('login: '), two.until('login: ')]);
    const typed = new Promise<void>((resolve) => (fake.onTyped = resolve));
    two.socket.send(Buffer.from('root\n'));
    await typed;
    fake.say('welcome');
    expect(await one.until('welcome')).toBe('login: welcome');
    expect(await two.until('welcome')).toBe('login: welcome');
    expect(fake.typed).toEqual(['root\n']);
    one.socket.close();
    two.socket.close();
  });

  it('takes the window size in a text frame and does not type it', async () => {
    const fake = fakeConsole('');
    await using door = await openSocketDoor(withConsole(fake));
    const one = await viewer(door);
    const typed = new Promise<void>((resolve) => (fake.onTyped = resolve));
    one.socket.send(JSON.stringify({ resize: { columns: 132, rows: 43 } }));
    one.socket.send(Buffer.from('x'));
    await typed;
    expect(fake.typed).toEqual(['x']);
    one.socket.close();
  });

  it.each(['hello', '{"resize":{"columns":0,"rows":1}}', '{"size":1}'])(
    'closes on the text frame %s and says what it takes',
    async (frame) => {
      await using door = await openSocketDoor(withConsole(fakeConsole('')));
      const one = await viewer(door);
      one.socket.send(frame);
      expect(await one.closed).toEqual({
        code: 1008,
        reason: 'A text frame must be {"resize":{"columns":80,"rows":25}}.',
      });
    },
  );

  it('closes on a frame of more than 64 KiB', async () => {
    await using door = await openSocketDoor(withConsole(fakeConsole('')));
    const one = await viewer(door);
    one.socket.send(Buffer.alloc(64 * 1024 + 1));
    expect((await one.closed).code).toBe(1009);
  });

  it('drops a viewer that does not keep up, and only that one', async () => {
    const fake = fakeConsole('');
    await using door = await openSocketDoor(withConsole(fake), { viewerBytes: 64 * 1024 });
    const slow = await viewer(door);
    const quick = await viewer(door);
    slow.socket.pause();
    const chunk = 'x'.repeat(32 * 1024);
    for (let sent = 0; sent < 400 && fake.viewers() === 2; sent += 1) {
      fake.say(chunk);
      quick.socket.ping();
      await new Promise((resolve) => quick.socket.once('pong', resolve));
    }
    // What was sent before has to be read before the close frame is seen.
    slow.socket.resume();
    expect(await slow.closed).toMatchObject({ code: 1013 });
    fake.say('still here');
    await quick.until('still here');
    quick.socket.close();
  });

  it('tells its viewers how the guest ended', async () => {
    const next = Promise.withResolvers<void>();
    const stream = async function* () {
      await next.promise;
      yield event(8, { state: 'stopping' });
      yield event(9, { state: 'stopped', detail: 'Powered off from inside the guest.' });
    };
    const fake = fakeConsole('');
    await using door = await openSocketDoor(withConsole(fake, { stream }));
    const one = await viewer(door);
    next.resolve();
    expect(await one.closed).toEqual({ code: 1000, reason: 'Powered off from inside the guest.' });
    await fake.left;
  });

  it('refuses with an ordinary problem, before the upgrade', async () => {
    const get = async () => {
      throw new WirtError('instance.not_found', 'There is no instance demo.');
    };
    await using door = await openSocketDoor({ instance: { get } });
    await expect(viewer(door)).rejects.toThrow('404');
  });

  it('ends a viewer whose connection is dead', async () => {
    const fake = fakeConsole('');
    await using door = await openSocketDoor(withConsole(fake), { pingMs: 20 });
    const raw = connect(door.path);
    raw.write(
      'GET /v1/instances/demo/console HTTP/1.1\r\nHost: wirt\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
        'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
    );
    // It reads, but never answers a ping.
    raw.on('error', () => undefined).resume();
    await new Promise((resolve) => raw.once('close', resolve));
    await fake.left;
  });

  it('is not offered on other routes', async () => {
    await using door = await openSocketDoor({});
    const socket = new WebSocket(`ws+unix://${door.path}:/v1/version`);
    const error = await new Promise<Error>((resolve) => socket.once('error', resolve));
    expect(error.message).toContain('400');
  });
});

describe('bytes', () => {
  it('of a log flow through', async () => {
    const logs = async () =>
      (async function* () {
        yield Buffer.from('one\n');
        yield Buffer.from('two\n');
      })();
    await using door = await openSocketDoor({ guest: { logs } });
    const answer = await ask(door, { path: '/v1/instances/demo/logs?source=qemu' });
    expect(answer.headers['content-type']).toMatch(/^text\/plain/);
    expect(await textOf(answer)).toBe('one\ntwo\n');
  });

  it('of a followed console come at once, and end with the guest', async () => {
    const fake = fakeConsole('');
    const next = Promise.withResolvers<void>();
    const stream = async function* () {
      await next.promise;
      yield event(9, { state: 'stopped' });
    };
    await using door = await openSocketDoor(withConsole(fake, { stream }));
    const answer = await ask(door, { path: '/v1/instances/demo/logs?follow=true' });
    fake.say('boot ');
    fake.say('done');
    const text = textOf(answer);
    next.resolve();
    expect(await text).toBe('boot done');
    expect(fake.viewers()).toBe(0);
  });

  it('of a file that cannot be read are a problem', async () => {
    const readFile = async () =>
      // oxlint-disable-next-line require-yield
      (async function* (): AsyncGenerator<Uint8Array> {
        throw new WirtError('guest.command_failed', 'The guest has no /x.');
      })();
    await using door = await openSocketDoor({ guest: { readFile } });
    const answer = await ask(door, { path: '/v1/instances/demo/files?path=/x' });
    expect(answer.statusCode).toBe(422);
  });

  it('that fail in the middle break the transfer, so that nobody takes them for whole', async () => {
    const readFile = async () =>
      (async function* () {
        yield Buffer.from('half');
        throw new WirtError('guest.agent_timeout', 'The agent fell silent.');
      })();
    await using door = await openSocketDoor({ guest: { readFile } });
    const answer = await ask(door, { path: '/v1/instances/demo/files?path=/x' });
    await expect(textOf(answer)).rejects.toThrow();
  });

  it('of an upload reach the action as they come', async () => {
    let received = '';
    const writeFile: Actions['guest']['writeFile'] = async (_request, _ref, path, content) => {
      for await (const chunk of content) received += Buffer.from(chunk).toString();
      received += path;
    };
    await using door = await openSocketDoor({ guest: { writeFile } });
    const answer = await ask(door, {
      method: 'PUT',
      path: '/v1/instances/demo/files?path=/etc/motd',
      headers: { 'content-type': 'application/json' },
      body: '{not json, just bytes}',
    });
    expect([answer.statusCode, received]).toEqual([204, '{not json, just bytes}/etc/motd']);
  });

  it.each([true, false])(
    'beyond the cap of an upload are refused with 413 (announced: %s)',
    async (announced) => {
      const writeFile: Actions['guest']['writeFile'] = async (_request, _ref, _path, content) => {
        for await (const _ of content);
      };
      await using door = await openSocketDoor({ guest: { writeFile } }, { uploadBytes: 1024 * 1024 });
      const answer = await ask(door, {
        method: 'PUT',
        path: '/v1/instances/demo/files?path=/x',
        headers: announced ? { 'content-length': 2 * 1024 * 1024 } : { 'transfer-encoding': 'chunked' },
        body: Buffer.alloc(2 * 1024 * 1024),
      });
      expect(answer.statusCode).toBe(413);
      expect(JSON.parse(await textOf(answer)).detail).toContain('1 MiB');
    },
  );

  it('that stop coming end the upload', async () => {
    const failed = Promise.withResolvers<unknown>();
    const writeFile: Actions['guest']['writeFile'] = async (_request, _ref, _path, content) => {
      try {
        for await (const _ of content);
      } catch (error) {
        failed.resolve(error);
        throw error;
      }
    };
    await using door = await openSocketDoor({ guest: { writeFile } }, { stallMs: 30 });
    const raw = connect(door.path).on('error', () => undefined);
    raw.write('PUT /v1/instances/demo/files?path=/x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc');
    expect(await failed.promise).toMatchObject({ code: 'request.invalid' });
    raw.destroy();
  });
});

describe('the socket', () => {
  it('is closed to others by its file mode', async () => {
    await using door = await openSocketDoor({});
    expect(((await stat(door.path)).mode & 0o777).toString(8)).toBe('660');
  });

  it('is taken over when it is stale', async () => {
    await using first = await openSocketDoor({});
    const stale = join(dirname(first.path), 'stale.sock');
    const bound = createServer().listen(`${stale}.x`);
    await new Promise((resolve) => bound.once('listening', resolve));
    await link(`${stale}.x`, stale);
    await new Promise((resolve) => bound.close(resolve));
    const server = await openDoor({});
    await server.listen(stale);
    expect((await ask({ path: stale }, { path: '/v1/version' })).statusCode).toBe(200);
    await server.close();
  });

  it('is refused when somebody answers on it', async () => {
    await using first = await openSocketDoor({});
    const second = await openDoor({});
    await expect(second.listen(first.path)).rejects.toMatchObject({ code: 'daemon.already_running' });
    expect((await ask(first, { path: '/v1/version' })).statusCode).toBe(200);
    await second.close();
  });

  it('is refused where a file or a link lies that is no socket', async () => {
    await using first = await openSocketDoor({});
    const taken = join(dirname(first.path), 'taken');
    await writeFile(taken, 'precious');
    const linked = join(dirname(first.path), 'linked');
    await symlink(taken, linked);
    for (const path of [taken, linked]) {
      const second = await openDoor({});
      await expect(second.listen(path)).rejects.toMatchObject({ code: 'daemon.config_invalid' });
      await second.close();
    }
  });

  it('is made anew when its file vanishes, and connections from before live on', async () => {
    await using door = await openSocketDoor({ event: eventsThenQuiet([event(1)]) });
    const before = await ask(door, { path: '/v1/events' });
    await unlink(door.path);
    await door.log.seen('rest.listening_anew');
    expect((await ask(door, { path: '/v1/version' })).statusCode).toBe(200);
    expect(before.destroyed).toBe(false);
    before.destroy();
  });

  it('is made anew when its whole directory vanishes', async () => {
    await using door = await openSocketDoor({}, { socketCheckMs: 20 });
    await rm(dirname(door.path), { recursive: true });
    await door.log.seen('rest.listening_anew');
    expect((await ask(door, { path: '/v1/version' })).statusCode).toBe(200);
  });

  it('answers what is no HTTP with a problem', async () => {
    await using door = await openSocketDoor({});
    const raw = connect(door.path);
    raw.end('nonsense\r\n\r\n');
    let text = '';
    for await (const chunk of raw.setEncoding('utf8')) text += String(chunk);
    expect(text).toMatch(/^HTTP\/1\.1 400 .*"code":"request\.invalid"/s);
  });
});

describe('a closing door', () => {
  it('ends waits, streams and consoles with the reason, and is gone at once', async () => {
    const get = async (request: Request) => neverEnds(request);
    const given = withConsole(fakeConsole(''));
    const door = await openSocketDoor({ ...given, operation: { get } }, { closeMs: 60_000 });
    const events = await ask(door, { path: '/v1/events' });
    const eventText = textOf(events);
    const waiting = ask(door, { path: `/v1/operations/${someOperation.id}?waitSeconds=60` });
    const one = await viewer(door);
    // A connection that never says anything must not hold up the end either.
    const silent = connect(door.path).on('error', () => undefined);
    await new Promise((resolve) => silent.once('connect', resolve));
    await ask(door, { path: '/v1/version' });
    await door[Symbol.asyncDispose]();
    expect(await eventText).toMatch(/: wirtd is stopping\.\n\n$/);
    const answer = await waiting;
    expect(answer.statusCode).toBe(503);
    expect(await one.closed).toEqual({ code: 1001, reason: 'wirtd is stopping.' });
    await expect(stat(door.path)).rejects.toThrow('ENOENT');
  });

  it('waits no longer than its deadline for an action that does not end', async () => {
    const get = () => new Promise<never>(() => undefined);
    const door = await openSocketDoor({ operation: { get } }, { closeMs: 50 });
    const waiting = ask(door, { path: `/v1/operations/${someOperation.id}` });
    const cutOff = expect(waiting).rejects.toThrow();
    await ask(door, { path: '/v1/version' });
    await door[Symbol.asyncDispose]();
    await cutOff;
  });

  it('aborts the signal of an action whose client goes away', async () => {
    const reached = Promise.withResolvers<void>();
    const aborted = Promise.withResolvers<void>();
    const get = async (request: Request) => {
      reached.resolve();
      request.signal.addEventListener('abort', () => aborted.resolve());
      return neverEnds(request);
    };
    await using door = await openSocketDoor({ operation: { get } });
    const raw = connect(door.path);
    raw.write(`GET /v1/operations/${someOperation.id}?waitSeconds=9 HTTP/1.1\r\nHost: a\r\n\r\n`);
    await reached.promise;
    raw.destroy();
    await aborted.promise;
  });
});
