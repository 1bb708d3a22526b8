import type { InstanceCreate } from '@wirt/api';
import { WirtError } from '@wirt/api';
import type { Request } from '@wirt/core';
import type { InjectOptions } from 'fastify';
import { describe, expect, it } from 'vitest';
import { type Given, someId, someImage, someInstance, someOperation } from './fake-actions.ts';
import { keepingLogger, openDoor } from './fake-door.ts';

/** Sends one request to a door with these actions. */
async function inject(given: Given, options: InjectOptions) {
  const { app } = await openDoor(given);
  return app.inject(options);
}

const creates = (seen: { request?: Request; input?: InstanceCreate }): Given => ({
  instance: {
    create: async (request, input) => {
      Object.assign(seen, { request, input });
      return someOperation;
    },
  },
});

describe('a route', () => {
  it('answers a record with its revision as ETag', async () => {
    const answer = await inject(
      { instance: { get: async () => someInstance } },
      { url: '/v1/instances/demo' },
    );
    expect(answer.statusCode).toBe(200);
    expect(answer.headers.etag).toBe('"7"');
    expect(answer.json()).toEqual(someInstance);
  });

  it('answers 202 and where the operation is to be found', async () => {
    const answer = await inject(creates({}), {
      method: 'POST',
      url: '/v1/instances',
      payload: { spec: { image: 'micro' } },
    });
    expect(answer.statusCode).toBe(202);
    expect(answer.headers.location).toBe(`/v1/operations/${someOperation.id}`);
    expect(answer.headers.etag).toBeUndefined();
  });

  it('answers 204 without a body', async () => {
    const answer = await inject(
      { image: { remove: async () => undefined } },
      { method: 'DELETE', url: '/v1/images/micro' },
    );
    expect([answer.statusCode, answer.body]).toEqual([204, '']);
  });

  it('fills in the defaults of the contract before the action sees the input', async () => {
    const seen: { input?: InstanceCreate } = {};
    await inject(creates(seen), { method: 'POST', url: '/v1/instances', payload: { spec: { image: 'm' } } });
    expect(seen.input).toMatchObject({
      project: 'default',
      start: false,
      spec: { cpus: 1, disks: [], machine: 'q35' },
    });
  });

  it('takes a missing body for an empty one where every field has a default', async () => {
    const stop = async () => someOperation;
    const answer = await inject({ instance: { stop } }, { method: 'POST', url: '/v1/instances/a/stop' });
    expect(answer.statusCode).toBe(202);
  });

  it('sends nothing that is not in the schema of the answer', async () => {
    const leaky = { ...someImage, secret: 'x', status: { ...someImage.status, path: '/var' } };
    const answer = await inject({ image: { get: async () => leaky } }, { url: '/v1/images/micro' });
    expect(answer.json()).toEqual(someImage);
  });

  it('calls an answer that does not fit its schema a defect, and tells only the log what it was', async () => {
    const log = keepingLogger();
    const wrong = { ...someImage, revision: 'secret' } as unknown as typeof someImage;
    const { app } = await openDoor({ image: { get: async () => wrong } }, {}, log);
    const answer = await app.inject({ url: '/v1/images/micro' });
    expect(answer.json()).toMatchObject({ status: 500, code: 'internal' });
    expect(answer.body).not.toContain('secret');
    expect(answer.body).not.toContain('revision');
    expect(log.lines.map((line) => line.event)).toContain('rest.defect');
  });

  it('gives only the fields asked for', async () => {
    const list = async () => ({ items: [someInstance], next: 'c' });
    const answer = await inject(
      { instance: { list } },
      { url: '/v1/instances?fields=name,status.state,labels.tier,labels.none' },
    );
    expect(answer.json()).toEqual({
      items: [{ name: 'demo', status: { state: 'running' }, labels: { tier: 'web' } }],
      next: 'c',
    });
  });

  it('offers the field meant when `fields` names one that is not there', async () => {
    const list = async () => ({ items: [someInstance] });
    const answer = await inject({ instance: { list } }, { url: '/v1/instances?fields=name,state' });
    expect(answer.json()).toMatchObject({ status: 400, code: 'request.unknown_field' });
    expect(answer.json().detail).toContain('did you mean status.state?');
  });
});

describe('headers with a meaning', () => {
  const post = (key: string, payload: object, url = '/v1/instances'): InjectOptions => ({
    method: 'POST',
    url,
    payload,
    headers: { 'idempotency-key': key },
  });

  it('gives the same fingerprint to the same request, whatever the order of its fields', async () => {
    const prints: (string | undefined)[] = [];
    const given: Given = {
      instance: {
        create: async (request) => {
          prints.push(request.idempotency?.fingerprint);
          return someOperation;
        },
      },
    };
    await inject(given, post('k', { start: true, spec: { image: 'm', cpus: 2 } }));
    await inject(given, post('k', { spec: { cpus: 2, image: 'm' }, start: true }));
    await inject(given, post('k', { spec: { cpus: 3, image: 'm' }, start: true }));
    expect(prints[0]).toMatch(/^[0-9a-f]{64}$/);
    expect(prints[1]).toBe(prints[0]);
    expect(prints[2]).not.toBe(prints[0]);
  });

  it.each([
    ['longer than 255 characters', post('k'.repeat(256), { spec: { image: 'm' } })],
    ['on a route that keeps no keys', post('k', { argv: ['true'] }, '/v1/instances/a/exec')],
    ['with control characters', post('a\tb', { spec: { image: 'm' } })],
  ])('refuses an Idempotency-Key %s', async (_, request) => {
    const answer = await inject({}, request);
    expect(answer.json()).toMatchObject({ status: 400, code: 'request.invalid' });
    expect(answer.json().detail).toContain('Idempotency-Key');
  });

  it('hands the revision of If-Match to the action', async () => {
    const seen: { revision?: number | undefined } = {};
    const update = async (request: Request) => {
      seen.revision = request.ifRevision;
      return someInstance;
    };
    const answer = await inject(
      { instance: { update } },
      { method: 'PATCH', url: '/v1/instances/a', payload: {}, headers: { 'if-match': '"42"' } },
    );
    expect([answer.statusCode, seen.revision]).toEqual([200, 42]);
  });

  it('refuses If-Match where it would not be heeded', async () => {
    const answer = await inject(
      {},
      { method: 'DELETE', url: '/v1/images/micro', headers: { 'if-match': '"1"' } },
    );
    expect(answer.json()).toMatchObject({ status: 400, code: 'request.invalid' });
  });

  it.each(['W/"4"', '4', '"x"', '"1", "2"'])('refuses the If-Match %s', async (header) => {
    const answer = await inject(
      {},
      { method: 'PATCH', url: '/v1/instances/a', payload: {}, headers: { 'if-match': header } },
    );
    expect(answer.json()).toMatchObject({ status: 400, code: 'request.invalid' });
  });
});

describe('bad input', () => {
  const create = (payload: unknown): InjectOptions => ({
    method: 'POST',
    url: '/v1/instances',
    payload: JSON.stringify(payload),
    headers: { 'content-type': 'application/json' },
  });

  it.each<[string, InjectOptions, string, RegExp]>([
    [
      'an unknown field',
      create({ spec: { image: 'm', memroyMib: 1 } }),
      'request.unknown_field',
      /spec\.memroyMib: did you mean spec\.memoryMib\?/,
    ],
    [
      'a field in the wrong place',
      create({ memoryMib: 64, spec: { image: 'm' } }),
      'request.unknown_field',
      /did you mean spec\.memoryMib\?/,
    ],
    [
      'a number out of range',
      create({ spec: { image: 'm', cpus: 0 } }),
      'request.invalid',
      /spec\.cpus must be a whole number from 1 to 4096, and is 0\./,
    ],
    [
      'a name too long',
      create({ name: 'x'.repeat(64), spec: { image: 'm' } }),
      'request.invalid',
      /name must be a text of 1 to 63 characters/,
    ],
    [
      'a name with odd characters',
      create({ name: '../x', spec: { image: 'm' } }),
      'request.invalid',
      /name must be lower-case letters.* and is "\.\.\/x"/,
    ],
    [
      'an unknown query parameter',
      { url: '/v1/instances?stat=running' },
      'request.unknown_field',
      /stat: did you mean state\?/,
    ],
    [
      'a parameter given twice',
      { url: '/v1/instances?state=paused&state=running' },
      'request.invalid',
      /state/,
    ],
    ['a path that is too long', { url: `/v1/instances/${'x'.repeat(200)}` }, 'request.invalid', /1 to 63/],
    ['a missing body', { method: 'POST', url: '/v1/instances' }, 'request.invalid', /body.*is missing/],
    ['a list for an object', create([]), 'request.invalid', /body must be an object/],
    [
      'a body where none is taken',
      {
        method: 'POST',
        url: '/v1/instances/a/pause',
        payload: '{"x":1}',
        headers: { 'content-type': 'application/json' },
      },
      'request.unknown_field',
      /no field x/,
    ],
    [
      'malformed JSON',
      {
        method: 'POST',
        url: '/v1/instances',
        payload: '{"a":',
        headers: { 'content-type': 'application/json' },
      },
      'request.invalid',
      /not valid JSON/,
    ],
    [
      'bytes that are no UTF-8',
      {
        method: 'POST',
        url: '/v1/instances',
        payload: Buffer.from([0x22, 0xff, 0x22]),
        headers: { 'content-type': 'application/json' },
      },
      'request.invalid',
      /not valid JSON/,
    ],
    [
      'another media type',
      { method: 'POST', url: '/v1/instances', payload: 'a=b', headers: { 'content-type': 'text/plain' } },
      'request.invalid',
      /must be JSON/,
    ],
    ['a malformed URL', { url: '/v1/instances/%zz' }, 'request.invalid', /not well-formed/],
    ['a console without an upgrade', { url: '/v1/instances/a/console' }, 'request.invalid', /WebSocket/],
    [
      'follow of QEMU’s log',
      { url: '/v1/instances/a/logs?source=qemu&follow=true' },
      'request.invalid',
      /source=console/,
    ],
  ])('%s is refused before any action is called', async (_, request, code, detail) => {
    const answer = await inject({}, request);
    expect(answer.json()).toMatchObject({ status: 400, code });
    expect(answer.json().detail).toMatch(detail);
    expect(answer.headers['content-type']).toMatch(/^application\/problem\+json/);
  });

  it('refuses a body of more than 1 MiB with 413', async () => {
    const answer = await inject({}, create({ name: 'x'.repeat(1024 * 1024), spec: { image: 'm' } }));
    expect(answer.json()).toMatchObject({ status: 413, code: 'request.too_large' });
    expect(answer.json().detail).toContain('1 MiB');
  });

  it('lets exec carry the standard input that the contract promises', async () => {
    const stdin = 'QUJD'.repeat(3_000_000);
    const exec = async () => ({ exitCode: 0, stdout: '', stderr: '', truncated: false });
    const answer = await inject(
      { guest: { exec } },
      { method: 'POST', url: '/v1/instances/a/exec', payload: { argv: ['cat'], stdin } },
    );
    expect(answer.statusCode).toBe(200);
  });
});

describe('errors', () => {
  it('come as problems with code, cause and hint', async () => {
    const get = async () => {
      throw new WirtError('instance.not_found', 'There is no instance demo.', {
        hint: 'See `wirt ls`.',
        cause: new Error('gone'),
      });
    };
    const answer = await inject({ instance: { get } }, { url: '/v1/instances/demo' });
    expect(answer.statusCode).toBe(404);
    expect(answer.json()).toEqual({
      type: 'urn:wirt:error:instance.not_found',
      title: 'There is no such instance.',
      status: 404,
      code: 'instance.not_found',
      detail: 'There is no instance demo.',
      cause: 'gone',
      hint: 'See `wirt ls`.',
    });
  });

  it('name the methods that a path takes', async () => {
    const answer = await inject({}, { method: 'PUT', url: `/v1/instances/${someId}` });
    expect(answer.json()).toMatchObject({ status: 404, code: 'request.not_found' });
    expect(answer.json().hint).toContain('GET, PATCH, DELETE');
  });

  it('offer the nearest path for one that is not there', async () => {
    const answer = await inject({}, { url: '/v1/instnaces' });
    expect(answer.json().hint).toContain('/v1/instances');
  });

  it('hide the inside of a defect, and log it', async () => {
    const log = keepingLogger();
    const get = async () => {
      throw new TypeError('the secret inside');
    };
    const { app } = await openDoor({ instance: { get } }, {}, log);
    const answer = await app.inject({ url: '/v1/instances/demo' });
    expect(answer.json().code).toBe('internal');
    expect(answer.body).not.toContain('secret');
    expect(log.lines.find((line) => line.event === 'rest.defect')?.fields).toMatchObject({
      error: { message: 'the secret inside' },
    });
  });
});
