import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createClient, requestLine } from './client.ts';

/** A fetch that gives this answer and keeps what it was asked. */
function answering(response: () => Response) {
  const asked: { url: string; init: RequestInit }[] = [];
  const fake: typeof fetch = async (url, init) => {
    asked.push({ url: typeof url === 'string' ? url : '', init: init ?? {} });
    return response();
  };
  return { asked, client: createClient({ fetch: fake }) };
}

describe('a request line', () => {
  it('fills the path and leaves out what is not given', () => {
    const line = requestLine('GET /v1/instances/{instance}', {
      params: { instance: 'a/b ?' },
      query: { limit: 5, cursor: undefined, label: 'a=b&c' },
    });
    expect(line).toEqual({ method: 'GET', path: '/v1/instances/a%2Fb%20%3F?limit=5&label=a%3Db%26c' });
  });

  it('is read back as what was put in, whatever that is', () => {
    const text = fc.string({ unit: 'binary', minLength: 1 }).filter((each) => each.isWellFormed());
    fc.assert(
      fc.property(text, text, (instance, label) => {
        const { path } = requestLine('GET /v1/instances/{instance}', {
          params: { instance },
          query: { label },
        });
        const url = new URL(`http://wirt${path}`);
        // `.` and `..` are path segments to every URL parser; references have no use for them.
        if (instance === '.' || instance === '..') return;
        expect(decodeURIComponent(url.pathname.slice('/v1/instances/'.length))).toBe(instance);
        expect(url.searchParams.get('label')).toBe(label);
      }),
    );
  });
});

describe('the client', () => {
  it('sends JSON and gives the decoded answer', async () => {
    const { asked, client } = answering(() => Response.json({ id: 'x' }, { status: 202 }));
    const answer = await client.call('POST /v1/instances', {
      body: { spec: { image: 'micro' } },
      query: { wait: 'done' },
      headers: { 'idempotency-key': 'k' },
    });
    expect(answer).toEqual({ id: 'x' });
    expect(asked[0]?.url).toBe('http://wirt/v1/instances?wait=done');
    expect(asked[0]?.init).toMatchObject({
      method: 'POST',
      body: '{"spec":{"image":"micro"}}',
      headers: { 'content-type': 'application/json', 'idempotency-key': 'k' },
    });
  });

  it('gives undefined for an answer without content', async () => {
    const { client } = answering(() => new Response(null, { status: 204 }));
    expect(await client.call('DELETE /v1/images/{image}', { params: { image: 'micro' } })).toBeUndefined();
  });

  it('throws the server’s error with code, cause, hint and details', async () => {
    const problem = {
      code: 'host.insufficient_memory',
      detail: 'Too little memory.',
      cause: 'it is full',
      hint: 'Use --overcommit.',
      details: { freeMib: 3 },
    };
    const { client } = answering(() => Response.json(problem, { status: 409 }));
    await expect(client.call('GET /v1/host', {})).rejects.toMatchObject({
      name: 'WirtError',
      message: 'Too little memory.',
      code: 'host.insufficient_memory',
      cause: 'it is full',
      hint: 'Use --overcommit.',
      details: { freeMib: 3 },
    });
  });

  it.each([
    ['no JSON', () => new Response('<html>', { status: 502 })],
    ['nothing', () => new Response(null, { status: 502 })],
    ['JSON of another kind', () => Response.json({ error: 1 }, { status: 502 })],
    ['a code of a later version', () => Response.json({ code: 'future.thing' }, { status: 502 })],
  ])('throws `internal` for a failure that says %s', async (_, response) => {
    const { client } = answering(response);
    await expect(client.call('GET /v1/host', {})).rejects.toMatchObject({
      code: 'internal',
      message: 'The server answered 502 without a description.',
    });
  });

  it('gives events one by one, and throws the problem that ends them', async () => {
    const body =
      'data: {"revision":1}\n\nid: 1\ndata: {"revision":1,"n":2}\n\n' +
      'event: problem\ndata: {"code":"store.failed","detail":"The store broke."}\n\n';
    const { asked, client } = answering(() => new Response(body));
    const seen: unknown[] = [];
    const reading = (async () => {
      for await (const event of client.events({ since: 4 }, new AbortController().signal)) seen.push(event);
    })();
    await expect(reading).rejects.toMatchObject({ code: 'store.failed', message: 'The store broke.' });
    expect(seen).toEqual([{ revision: 1 }, { revision: 1, n: 2 }]);
    expect(asked[0]?.url).toBe('http://wirt/v1/events?since=4');
  });
});
