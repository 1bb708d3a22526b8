import { connect } from 'node:net';
import { WirtError } from '@wirt/api';
import type { Actions } from '@wirt/core';
import { describe, expect, it } from 'vitest';
import { ask, openSocketDoor, textOf } from './fake-door.ts';
import { event, fakeConsole, withConsole } from './streams.fixture.ts';

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
