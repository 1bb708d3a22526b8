import { stat } from 'node:fs/promises';
import { connect } from 'node:net';
import type { Request } from '@wirt/core';
import { describe, expect, it } from 'vitest';
import { someOperation } from './fake-actions.ts';
import { ask, openSocketDoor, textOf } from './fake-door.ts';
import { fakeConsole, neverEnds, viewer, withConsole } from './streams.fixture.ts';

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
