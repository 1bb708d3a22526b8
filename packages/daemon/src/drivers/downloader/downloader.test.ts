import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { DownloadRequest } from '@wirt/core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { endless, file, startWebServer, type WebServer } from '../../platform/web-server.fixture.ts';
import { createDownloader } from './downloader.ts';

const content = Buffer.from(Array.from({ length: 200_000 }, (_, at) => (at * 31 + (at >> 7)) & 0xff));
const other = Buffer.from(content.map((byte) => byte ^ 0xff));
const digest = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const sha256 = digest(content);

describe('a download', () => {
  let server: WebServer;
  let directory: string;
  let target: string;
  let waits: number[];
  let deadlines: { connectMs: number; stallMs: number };

  beforeEach(async () => {
    server = await startWebServer();
    directory = await mkdtemp(join(tmpdir(), 'wirt-download-'));
    target = join(directory, 'disk');
    waits = [];
    deadlines = { connectMs: 5_000, stallMs: 5_000 };
  });

  afterEach(async () => {
    await server[Symbol.asyncDispose]();
    await rm(directory, { recursive: true, force: true });
  });

  const fetch = (path: string, more: Partial<DownloadRequest> = {}) => {
    const clock = { sleep: async (ms: number) => void waits.push(ms) };
    return createDownloader({ clock, deadlines, checkpointBytes: 50_000 }).fetch({
      url: path.includes(':') ? path : server.url + path,
      target,
      maxBytes: 1e9,
      signal: AbortSignal.timeout(20_000),
      onProgress: () => undefined,
      ...more,
    });
  };
  const left = () => readdir(directory);
  const whole = { bytes: content.length, sha256 };
  /** Cuts the first answer. */
  const onceAt = (bytes: number) => {
    const cuts = [bytes];
    return () => cuts.shift();
  };
  const ranges = () => server.requests.map(({ range }) => range);
  /** Leaves a part of the file, as a daemon that died. */
  const leavePart = async (path: string, bytes: number) => {
    const cancel = new AbortController();
    const onProgress = (done: number): void => {
      if (done >= bytes) cancel.abort(new Error('enough'));
    };
    await expect(fetch(path, { signal: cancel.signal, onProgress })).rejects.toThrow('enough');
  };

  describe('from a server that breaks', () => {
    it('starts anew where the server cannot send parts', async () => {
      server.serve('/f', file({ content, ranges: false, cutAfter: onceAt(150_000) }));
      expect(await fetch('/f')).toEqual(whole);
      expect((await readFile(target)).equals(content)).toBe(true);
      expect(ranges()).toEqual([undefined, 'bytes=150000-']);
    });

    it('starts anew where the server has no name for the version of the file', async () => {
      server.serve('/f', file({ content, etag: null, cutAfter: onceAt(150_000) }));
      expect(await fetch('/f')).toEqual(whole);
      expect(ranges()).toEqual([undefined, undefined]);
    });

    it('starts anew where the file has changed between two parts, and mixes no versions', async () => {
      server.serve('/f', (request, response) => {
        const first = server.requests.length === 1;
        const answer = first
          ? file({ content: other, etag: '"old"', cutAfter: () => 150_000 })
          : file({ content, etag: '"new"' });
        answer(request, response);
      });
      expect(await fetch('/f')).toEqual(whole);
      expect((await readFile(target)).equals(content)).toBe(true);
      expect(ranges()).toEqual([undefined, 'bytes=150000-']);
    });

    it.each([
      [
        'another version, without knowing If-Range',
        { etag: '"new"', 'content-range': 'bytes 150000-199999/200000' },
      ],
      ['a part that begins elsewhere', { 'content-range': 'bytes 100000-149999/200000' }],
      ['a part of which it does not say where it begins', {}],
    ])('starts anew where the server sends %s', async (_what, headers) => {
      const good = file({ content, cutAfter: onceAt(150_000) });
      server.serve('/f', (request, response) => {
        if (request.headers.range === undefined) good(request, response);
        else response.writeHead(206, headers as Record<string, string>).end(other.subarray(150_000));
      });
      expect(await fetch('/f')).toEqual(whole);
      expect((await readFile(target)).equals(content)).toBe(true);
      expect(ranges()).toEqual([undefined, 'bytes=150000-', undefined]);
    });

    it('asks for the rest of parts that end too early', async () => {
      const good = file({ content, cutAfter: onceAt(100_000) });
      server.serve('/f', (request, response) => {
        if (request.headers.range !== 'bytes=100000-') return good(request, response);
        const piece = content.subarray(100_000, 150_000);
        response.writeHead(206, { 'content-range': 'bytes 100000-149999/200000', etag: '"1"' }).end(piece);
      });
      expect(await fetch('/f')).toEqual(whole);
      expect(ranges()).toEqual([undefined, 'bytes=100000-', 'bytes=150000-']);
    });

    it('tries again, waiting longer each time, and gives up when nothing more comes', async () => {
      server.serve('/f', file({ content, cutAfter: () => 10 }));
      await expect(fetch('/f')).rejects.toMatchObject({
        code: 'download.failed',
        cause: expect.objectContaining({ message: expect.stringMatching(/aborted|ended/) }),
      });
      expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 16_000]);
    });

    it('waits as long as a busy server asks for, within a minute, and goes on', async () => {
      const good = file({ content });
      server.serve('/f', (request, response) => {
        if (server.requests.length > 2) good(request, response);
        else response.writeHead(503, { 'retry-after': server.requests.length === 1 ? '30' : '9999' }).end();
      });
      expect(await fetch('/f')).toEqual(whole);
      expect(waits).toEqual([30_000, 60_000]);
    });

    it('does not ask again for a file that is not there', async () => {
      await expect(fetch('/missing')).rejects.toMatchObject({
        code: 'download.failed',
        cause: expect.objectContaining({ message: 'The server answered 404 Not Found.' }),
      });
      expect(server.requests).toHaveLength(1);
      expect(await left()).toEqual([]);
    });
  });

  describe('from a slow server', () => {
    it('ends when no answer comes', async () => {
      deadlines = { connectMs: 5_000, stallMs: 50 };
      server.serve('/f', () => undefined);
      await expect(fetch('/f')).rejects.toMatchObject({
        code: 'download.failed',
        cause: expect.objectContaining({ message: expect.stringContaining('did not answer within 0.05 s') }),
      });
    });

    it('is broken off when the body stops, and continued', async () => {
      deadlines = { connectMs: 5_000, stallMs: 100 };
      const good = file({ content });
      server.serve('/f', (request, response) => {
        if (request.headers.range !== undefined) return good(request, response);
        response.writeHead(200, { 'content-length': content.length, etag: '"1"' });
        response.write(content.subarray(0, 90_000));
      });
      expect(await fetch('/f')).toEqual(whole);
      expect(ranges()).toEqual([undefined, 'bytes=90000-']);
    });

    it('ends when bytes only drip', async () => {
      deadlines = { connectMs: 5_000, stallMs: 100 };
      server.serve('/f', (_request, response) => {
        response.writeHead(200, { 'content-length': content.length });
        const drip = setInterval(() => response.write('x'), 5);
        response.once('close', () => clearInterval(drip));
      });
      await expect(fetch('/f')).rejects.toMatchObject({
        cause: expect.objectContaining({
          message: expect.stringContaining('sent less than 64 KiB in 0.1 s'),
        }),
      });
    });
  });

  describe('left by a daemon that died', () => {
    it('is continued from what was durable, and what came after that is not trusted', async () => {
      server.serve('/f', file({ content }));
      await leavePart('/f', 60_000);
      const { durableBytes } = JSON.parse(await readFile(`${target}.part.json`, 'utf8'));
      await writeFile(target, Buffer.concat([content.subarray(0, durableBytes), Buffer.alloc(999)]));
      expect(await fetch('/f')).toEqual(whole);
      expect((await readFile(target)).equals(content)).toBe(true);
      expect(ranges()).toEqual([undefined, `bytes=${durableBytes}-`]);
      expect(await left()).toEqual(['disk']);
    });

    it('notes from time to time how much is durable, in case the host dies', async () => {
      const noted: number[] = [];
      server.serve('/f', file({ content }));
      const onProgress = (done: number): void => {
        const record = existsSync(`${target}.part.json`) ? readFileSync(`${target}.part.json`, 'utf8') : '';
        noted.push(record === '' ? 0 : JSON.parse(record).durableBytes);
        expect(done - (noted.at(-1) ?? 0)).toBeLessThan(50_000);
      };
      expect(await fetch('/f', { onProgress })).toEqual(whole);
      expect(noted.filter((bytes) => bytes > 0).length).toBeGreaterThan(0);
    });

    it('has a digest over what was there before, too', async () => {
      server.serve('/f', file({ content }));
      await leavePart('/f', 60_000);
      const part = await readFile(target);
      part[5] = (part[5] ?? 0) ^ 1;
      await writeFile(target, part);
      await expect(fetch('/f', { sha256 })).rejects.toMatchObject({ code: 'download.checksum_mismatch' });
      expect(await left()).toEqual([]);
    });

    it('is taken as it is when only its end was not noted', async () => {
      server.serve('/f', file({ content }));
      await leavePart('/f', 60_000);
      const record = JSON.parse(await readFile(`${target}.part.json`, 'utf8'));
      await writeFile(target, content);
      await writeFile(`${target}.part.json`, JSON.stringify({ ...record, durableBytes: content.length }));
      expect(await fetch('/f', { sha256, expectedBytes: content.length })).toEqual(whole);
      expect(ranges()).toEqual([undefined, `bytes=${content.length}-`]);
    });

    it.each([
      ['is no JSON', () => '{'],
      ['is of another form', () => '{"address":1}'],
      [
        'speaks of more than there is',
        (text: string) => JSON.stringify({ ...JSON.parse(text), durableBytes: 1e9 }),
      ],
      ['is of another address', (text: string) => JSON.stringify({ ...JSON.parse(text), address: 'x' })],
    ])('is started anew when its record %s', async (_what, spoil) => {
      server.serve('/f', file({ content }));
      await leavePart('/f', 60_000);
      const record = `${target}.part.json`;
      await writeFile(record, spoil(await readFile(record, 'utf8')));
      expect(await fetch('/f')).toEqual(whole);
      expect(ranges()).toEqual([undefined, undefined]);
    });

    it('does not say in its record where it came from', async () => {
      server.serve('/f', file({ content }));
      await leavePart('/f?signature=hunter2', 60_000);
      expect(await readFile(`${target}.part.json`, 'utf8')).not.toContain('hunter2');
    });
  });

  describe('of a server that lies', () => {
    it('about the length is stopped at the limit', async () => {
      server.serve('/f', endless(content));
      await expect(fetch('/f', { maxBytes: 1_000_000 })).rejects.toMatchObject({
        code: 'download.too_large',
      });
      await expect(fetch('/f', { expectedBytes: 500_000 })).rejects.toMatchObject({
        code: 'download.checksum_mismatch',
      });
      expect(await left()).toEqual([]);
    });

    it('with a body in chunks that is shorter than announced elsewhere is not kept', async () => {
      server.serve('/f', (_request, response) => void response.end(content));
      await expect(fetch('/f', { expectedBytes: content.length + 1 })).rejects.toMatchObject({
        code: 'download.checksum_mismatch',
      });
      expect(await left()).toEqual([]);
    });

    it('in not saying where the file ends is believed only where a digest is known', async () => {
      server.serve('/f', (_request, response) => {
        response.socket?.end(
          Buffer.concat([Buffer.from('HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n'), content]),
        );
      });
      expect(await fetch('/f', { sha256 })).toEqual(whole);
      await expect(fetch('/f')).rejects.toMatchObject({
        code: 'download.failed',
        cause: expect.objectContaining({
          message: expect.stringContaining('does not say where the file ends'),
        }),
      });
    });

    it('with a bomb that is asked not to be compressed gets it stored as it is', async () => {
      const bomb = gzipSync(Buffer.alloc(10_000_000));
      server.serve('/f', file({ content: bomb, headers: { 'content-encoding': 'gzip' } }));
      expect(await fetch('/f', { maxBytes: 1_000_000 })).toEqual({
        bytes: bomb.length,
        sha256: digest(bomb),
      });
    });

    it('by talking something else than HTTP fails', async () => {
      server.serve('/f', (_request, response) => response.socket?.end('\u0000garbage hunter2\r\n\r\n'));
      const error = await fetch('/f').catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: 'download.failed' });
      expect(JSON.stringify((error as Error).cause)).not.toContain('hunter2');
    });
  });

  describe('that is redirected', () => {
    const redirect = (path: string, location: string) =>
      server.serve(path, (_request, response) => response.writeHead(302, { location }).end());

    it('is followed up to five times', async () => {
      server.serve('/5', file({ content }));
      for (const step of [0, 1, 2, 3, 4]) redirect(`/${step}`, `/${step + 1}`);
      expect(await fetch('/0')).toEqual(whole);
      redirect('/-1', '/0');
      await expect(fetch('/-1')).rejects.toMatchObject({
        code: 'download.refused',
        cause: expect.objectContaining({ message: 'It redirects more than 5 times.' }),
      });
    });

    it.each([
      ['itself', '/loop', 'more than 5 times'],
      ['a metadata service', 'http://169.254.169.254/latest/', 'link-local'],
      ['plain http elsewhere', 'http://example.invalid/x', 'Over http'],
      ['a file', 'file:///etc/passwd', 'Only https and http'],
      ['a password', 'https://user:hunter2@example.invalid/x', 'user name or password'],
    ])('is not followed to %s', async (_what, location, why) => {
      redirect('/loop', location);
      await expect(fetch('/loop')).rejects.toMatchObject({
        code: 'download.refused',
        cause: expect.objectContaining({ message: expect.stringContaining(why) }),
      });
      expect(await left()).toEqual([]);
    });
  });

  it('says nothing of the query of an address in errors', async () => {
    const error = await fetch('/missing?token=hunter2').catch((thrown: unknown) => thrown);
    const { message, hint, details, cause } = error as Error & { hint: string; details: object };
    expect(JSON.stringify([message, hint, details, String(cause)])).not.toContain('hunter2');
    expect(message).toBe(`Could not download ${server.url}/missing?….`);
  });

  it('never writes through a link that somebody put in its place', async () => {
    server.serve('/f', file({ content }));
    await writeFile(join(directory, 'precious'), 'precious');
    await symlink(join(directory, 'precious'), target);
    await expect(fetch('/f')).rejects.toThrow('Could not open the download');
    expect(await readFile(join(directory, 'precious'), 'utf8')).toBe('precious');
  });
});
