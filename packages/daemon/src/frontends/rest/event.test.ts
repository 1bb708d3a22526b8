import { type Event, WirtError } from '@wirt/api';
import type { Actions } from '@wirt/core';
import { describe, expect, it } from 'vitest';
import { ask, openSocketDoor, textOf } from './fake-door.ts';
import { event, eventsThenQuiet, neverEnds } from './streams.fixture.ts';

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
