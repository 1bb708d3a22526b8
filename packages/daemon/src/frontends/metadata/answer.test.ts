import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { answer, type Question, ttlHeader, versions } from './answer.ts';
import { type GivenGuest, guestOf } from './guests.fixture.ts';
import { createTokens } from './tokens.ts';

const tokens = createTokens(() => 0);
const ask = (question: Partial<Question>, given: GivenGuest = {}) =>
  answer(
    { method: 'GET', url: '/latest/meta-data/instance-id', forwarded: false, ...question },
    guestOf('one', given),
    tokens,
  );
const token = tokens.issue('one', 600);
const get = async (url: string, given: GivenGuest = {}): Promise<string> => {
  const { status, body } = await ask({ url, token }, given);
  return status === 200 ? Buffer.from(body as string).toString('utf8') : String(status);
};

describe('a token', () => {
  const put = (question: Partial<Question>, given?: GivenGuest) =>
    ask({ method: 'PUT', url: '/latest/api/token', ttl: '21600', ...question }, given);

  it('is given for a PUT that says how long it is to live, and opens the tree', async () => {
    const given = await put({ ttl: '60' });
    expect(given).toMatchObject({
      status: 200,
      headers: { [ttlHeader]: '60', 'content-type': 'text/plain' },
    });
    const answered = await ask({ token: String(given.body) });
    expect(answered).toMatchObject({ status: 200, body: 'one', headers: { [ttlHeader]: '60' } });
  });

  it.each([undefined, '', '0', '21601', '-1', '1.5', '60 ', '1e3', '0x10', '99999999999', '60, 60'])(
    'is refused with 400 for a life of %j seconds',
    async (ttl) => {
      expect(await put({ ttl })).toMatchObject({ status: 400 });
    },
  );

  it('is refused to what has come through a proxy', async () => {
    expect(await put({ forwarded: true })).toMatchObject({ status: 403 });
    expect(await ask({ token, forwarded: true })).toMatchObject({ status: 200 });
  });

  it('is given by PUT only, in the latest version only', async () => {
    expect(await ask({ url: '/latest/api/token', token })).toMatchObject({
      status: 405,
      headers: { allow: 'PUT' },
    });
    expect(await put({ url: '/2021-03-23/api/token' })).toMatchObject({ status: 405 });
  });

  it('is needed for everything, also for what is not there', async () => {
    for (const url of ['/', '/latest', '/latest/meta-data/', '/latest/user-data', '/nothing'])
      expect(await ask({ url }), url).toMatchObject({ status: 401, body: '401 - Unauthorized' });
    expect(await ask({ token: 'x' })).toMatchObject({ status: 401 });
  });

  it('is needed from the guest itself: another’s is none', async () => {
    const others = tokens.issue('two', 60);
    expect(await ask({ token: others })).toMatchObject({ status: 401 });
    expect(await ask({ token: others }, { tokens: 'optional' })).toMatchObject({ status: 401 });
  });

  it('is not needed where the guest’s owner says so', async () => {
    expect(await ask({}, { tokens: 'optional' })).toMatchObject({ status: 200, body: 'one' });
    expect(await ask({ token }, { tokens: 'optional' })).toMatchObject({ status: 200, body: 'one' });
  });
});

describe('the tree', () => {
  it('is listed as EC2 lists it', async () => {
    expect((await get('/')).split('\n')).toEqual(versions);
    expect(await get('/latest')).toBe('dynamic\nmeta-data');
    expect(await get('/latest/', { userData: 'x' })).toBe('dynamic\nmeta-data\nuser-data');
    expect(await get('/latest/meta-data/')).toBe('instance-id\npublic-keys/');
    expect(await get('/latest/meta-data')).toBe('instance-id\npublic-keys/');
    expect(await get('/latest/meta-data/public-keys/')).toBe('0=key-0');
    expect(await get('/latest/meta-data/public-keys/0/')).toBe('openssh-key');
    expect(await get('/latest/dynamic/instance-identity')).toBe('document');
  });

  it.each(versions)('is there in version %s', async (version) => {
    expect(await get(`/${version}/meta-data/instance-id`)).toBe('one');
  });

  it('has leaves with slashes and escapes in their names, and empty ones', async () => {
    expect(await get('/latest/meta-data/tags/instance/example.com/role')).toBe('web');
    expect(await get('/latest/meta-data/tags/instance/example.com%2Frole')).toBe('web');
    expect(await get('/latest/meta-data/tags/instance/empty')).toBe('');
  });

  it('passes over a query and doubled slashes', async () => {
    expect(await get('//latest//meta-data/instance-id?a=/b')).toBe('one');
  });

  it.each([
    '/nothing',
    '/2009-04-05/meta-data/instance-id',
    '/latest/meta-data/nothing',
    '/latest/meta-data/instance-id/',
    '/latest/meta-data/instance-id/more',
    '/latest/user-data',
    '/latest/user-data/more',
  ])('has nothing at %s', async (url) => {
    expect(await get(url)).toBe('404');
  });

  it.each(['*', 'http://169.254.169.254/latest/', '', '/%', '/%ff', `/${'x'.repeat(1024)}`])(
    'has no path %j',
    async (url) => {
      expect(await get(url)).toBe('400');
    },
  );

  it('has the user-data as it was given', async () => {
    expect(await get('/latest/user-data', { userData: '#!/bin/sh\r\ngröße' })).toBe('#!/bin/sh\r\ngröße');
    expect(await get('/latest/user-data/', { userData: 'x' })).toBe('404');
  });
});

it.each(['POST', 'DELETE', 'PUT', 'OPTIONS', 'PATCH'])(
  'answers %s with 405 and what is allowed',
  async (method) => {
    expect(await ask({ method, token })).toMatchObject({ status: 405, headers: { allow: 'GET, HEAD' } });
  },
);

it('answers everything with 403 for a guest for which it is switched off', async () => {
  for (const method of ['GET', 'PUT'])
    for (const url of ['/latest/api/token', '/latest/meta-data/', '*'])
      expect(await ask({ method, url, token, ttl: '60' }, { enabled: false })).toMatchObject({ status: 403 });
});

it('answers any question at all, and without a token with nothing of the guest', async () => {
  const part = fc.constantFrom(
    'latest',
    'meta-data',
    'secret',
    'user-data',
    'api',
    'token',
    '..',
    '%2e',
    '',
    '?',
    '%00',
  );
  const url = fc.oneof(
    fc.string(),
    fc.webUrl(),
    fc.array(part).map((parts) => `/${parts.join('/')}`),
  );
  const method = fc.constantFrom('GET', 'HEAD', 'PUT', 'POST', 'BREW');
  await fc.assert(
    fc.asyncProperty(url, method, fc.option(fc.string(), { nil: undefined }), async (where, how, made) => {
      const { status, body } = await ask(
        { url: where, method: how, token: made },
        { userData: 'secret data' },
      );
      expect([400, 401, 405]).toContain(status);
      expect(body).not.toContain('secret');
    }),
    { numRuns: 2000 },
  );
});
