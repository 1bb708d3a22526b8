import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Answer, endless, startWebServer, type WebServer } from '../../platform/web-server.fixture.ts';
import { createSimplestreamsCatalogue } from './catalogue-simplestreams.ts';
import { indexText, productsText } from './tree.fixture.ts';

const debian = {
  os: 'Debian',
  release: '12',
  variant: 'cloud',
  aliases: 'debian/12/cloud',
  sizeBytes: 1000,
  sha256: 'ab'.repeat(32),
};

describe('a simplestreams catalogue', () => {
  let server: WebServer;
  let nowMs: number;

  beforeEach(async () => {
    server = await startWebServer();
    nowMs = 0;
    serve('index.json', text(indexText));
    serve('images.json', text(productsText([debian])));
  });

  afterEach(async () => {
    await server[Symbol.asyncDispose]();
  });

  const text =
    (content: string | Uint8Array, headers: Record<string, string> = {}): Answer =>
    (_request, response) =>
      void response.writeHead(200, headers).end(content);
  const serve = (name: string, answer: Answer) => server.serve(`/streams/v1/${name}`, answer);
  const open = (url = server.url) =>
    createSimplestreamsCatalogue({
      sources: { local: url },
      arch: 'x64',
      clock: { monotonicMs: () => nowMs },
      deadlines: { connectMs: 5_000, stallMs: 200 },
    });
  const resolve = (name = 'debian/12') => open().resolve('local', name, AbortSignal.timeout(10_000));

  it('gives the newest version of an image, with an address below its own', async () => {
    expect(await resolve()).toEqual({
      source: 'local',
      product: 'debian:12:amd64:cloud',
      version: '20261122_05:24',
      title: 'Debian 12 (cloud)',
      url: `${server.url}/images/debian/12/amd64/cloud/20261122_05:24/disk.qcow2`,
      sizeBytes: 1000,
      sha256: 'ab'.repeat(32),
      format: 'qcow2',
      firmware: ['uefi'],
      cloudInit: true,
    });
  });

  it('is read once, and again after five minutes', async () => {
    const catalogue = open();
    const signal = AbortSignal.timeout(10_000);
    await catalogue.list('local', signal);
    await catalogue.resolve('local', 'debian/12', signal);
    expect(server.requests.map(({ path }) => path)).toEqual([
      '/streams/v1/index.json',
      '/streams/v1/images.json',
    ]);
    nowMs = 5 * 60_000;
    serve('images.json', text(productsText([{ ...debian, sha256: 'cd'.repeat(32) }])));
    expect((await catalogue.resolve('local', 'debian/12', signal)).sha256).toBe('cd'.repeat(32));
  });

  it('is asked again at once after it could not be read', async () => {
    const catalogue = open();
    const signal = AbortSignal.timeout(10_000);
    serve('images.json', (_request, response) => void response.writeHead(503).end());
    await expect(catalogue.list('local', signal)).rejects.toMatchObject({ code: 'catalogue.unreachable' });
    serve('images.json', text(productsText([debian])));
    expect(await catalogue.list('local', signal)).toHaveLength(1);
  });

  it.each<[string, Answer, string]>([
    ['that does not exist', (_q, r) => void r.writeHead(404).end(), 'The server answered 404 Not Found'],
    [
      'that ends too early',
      (_q, r) => void r.writeHead(200, { 'content-length': 99 }).write('{', () => r.destroy()),
      '',
    ],
    ['that stops', (_q, r) => void r.writeHead(200).write('{'), 'sent less than 64 KiB'],
    [
      'that redirects to itself',
      (_q, r) => void r.writeHead(302, { location: '/streams/v1/images.json' }).end(),
      'more than 5 times',
    ],
    [
      'that redirects to a metadata service',
      (_q, r) => void r.writeHead(302, { location: 'http://169.254.169.254/' }).end(),
      'link-local',
    ],
    [
      'that redirects to plain http',
      (_q, r) => void r.writeHead(302, { location: 'http://example.invalid/' }).end(),
      'Over http',
    ],
  ])('%s is unreachable, and the cause says why', async (_what, answer, why) => {
    serve('images.json', answer);
    await expect(resolve()).rejects.toMatchObject({
      code: 'catalogue.unreachable',
      message: `Could not read the catalogue at ${server.url}/streams/v1/images.json.`,
      cause: expect.objectContaining({ message: expect.stringContaining(why) }),
    });
  });

  it.each<[string, Answer]>([
    ['is a web page', text('<!doctype html>')],
    ['is not UTF-8', text(Buffer.from([0x7b, 0xff, 0x7d]))],
    ['is a bomb', text(gzipSync(Buffer.alloc(50_000_000, 0x20)), { 'content-encoding': 'gzip' })],
    ['does not end', endless(Buffer.alloc(1_000_000, 0x20))],
  ])('whose product file %s is malformed', async (_what, answer) => {
    serve('images.json', answer);
    await expect(resolve()).rejects.toMatchObject({ code: 'catalogue.malformed' });
  });

  it('whose index leads elsewhere is malformed, and nothing else is asked for', async () => {
    const index = { images: { datatype: 'image-downloads', path: '../../secret.json' } };
    serve('index.json', text(JSON.stringify({ format: 'index:1.0', index })));
    await expect(resolve()).rejects.toMatchObject({ code: 'catalogue.malformed' });
    expect(server.requests).toHaveLength(1);
  });

  it.each([
    'http://images.example.org',
    'ftp://images.example.org',
    'https://u:p@images.example.org',
    'https://images.example.org/?x',
    'images',
    'https://169.254.169.254',
  ])('cannot be at %s', (url) => {
    expect(() => open(url)).toThrow(expect.objectContaining({ code: 'daemon.config_invalid' }));
  });
});
