// What every Downloader must do.
import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Downloader, DownloadRequest } from './downloader.ts';

export interface DownloaderUnderTest {
  /** Another one on the same host, as after a restart. */
  open(): Downloader;
  /** Serves `content` at the address returned, able to send parts of it; each in the list of cuts ends one answer early. */
  serve(content: Uint8Array, cutsAfterBytes?: readonly number[]): Promise<string>;
  /** How many requests asked for a part. */
  partsAsked(): number;
  /** An address where nobody answers. */
  readonly deadUrl: string;
  destroy(): Promise<void>;
}

const content = Buffer.from(Array.from({ length: 300_000 }, (_, at) => (at * 7 + (at >> 8)) & 0xff));
const sha256 = createHash('sha256').update(content).digest('hex');

export function downloaderContract(name: string, make: () => Promise<DownloaderUnderTest>): void {
  describe(`${name} as Downloader`, () => {
    let under: DownloaderUnderTest;
    let directory: string;
    let target: string;
    let progress: { done: number; total: number | undefined }[];

    beforeEach(async () => {
      under = await make();
      directory = await mkdtemp(join(tmpdir(), 'wirt-download-'));
      target = join(directory, 'disk');
      progress = [];
    });

    afterEach(async () => {
      await under.destroy();
      await rm(directory, { recursive: true, force: true });
    });

    const fetch = (url: string, more: Partial<DownloadRequest> = {}) =>
      under.open().fetch({
        url,
        target,
        maxBytes: content.length,
        signal: AbortSignal.timeout(30_000),
        onProgress: (done, total) => progress.push({ done, total }),
        ...more,
      });
    const left = () => readdir(directory);

    it('stores the file as sent, alone, and returns its size and digest', async () => {
      const url = await under.serve(content);
      expect(await fetch(url, { sha256: sha256.toUpperCase(), expectedBytes: content.length })).toEqual({
        bytes: content.length,
        sha256,
      });
      expect((await readFile(target)).equals(content)).toBe(true);
      expect(await left()).toEqual(['disk']);
    });

    it('needs to know neither size nor digest beforehand', async () => {
      expect(await fetch(await under.serve(content))).toEqual({ bytes: content.length, sha256 });
    });

    it('tells bytes done and in total, up to the end', async () => {
      await fetch(await under.serve(content));
      expect(progress.at(-1)).toEqual({ done: content.length, total: content.length });
      expect(progress.map(({ done }) => done)).toEqual(
        progress.map(({ done }) => done).sort((a, b) => a - b),
      );
    });

    it('goes on where the connection broke, again and again', async () => {
      const url = await under.serve(content, [100_000, 100_000, 50_000]);
      expect(await fetch(url, { sha256 })).toEqual({ bytes: content.length, sha256 });
      expect((await readFile(target)).equals(content)).toBe(true);
      expect(under.partsAsked()).toBe(3);
    });

    it('goes on in a later call where an earlier one was cancelled', async () => {
      const url = await under.serve(content, [200_000]);
      const cancel = new AbortController();
      const reason = new Error('cancelled by the test');
      const onProgress = (done: number): void => {
        if (done >= 100_000) cancel.abort(reason);
      };
      await expect(fetch(url, { signal: cancel.signal, onProgress })).rejects.toBe(reason);
      expect(await left()).toContain('disk');
      expect(await fetch(url)).toEqual({ bytes: content.length, sha256 });
      expect((await readFile(target)).equals(content)).toBe(true);
      expect(progress[0]?.done).toBeGreaterThanOrEqual(100_000);
      expect(await left()).toEqual(['disk']);
    });

    it('does nothing once it was cancelled', async () => {
      const reason = new Error('cancelled by the test');
      await expect(fetch(await under.serve(content), { signal: AbortSignal.abort(reason) })).rejects.toBe(
        reason,
      );
    });

    it('continues no file that it does not know', async () => {
      await writeFile(target, 'something else');
      expect(await fetch(await under.serve(content))).toEqual({ bytes: content.length, sha256 });
      expect((await readFile(target)).equals(content)).toBe(true);
    });

    it('starts anew where the address is another one', async () => {
      const url = await under.serve(
        content,
        Array.from({ length: 50 }, () => 10),
      );
      await expect(fetch(url)).rejects.toMatchObject({ code: 'download.failed' });
      const other = Buffer.from('another file');
      expect((await fetch(await under.serve(other))).bytes).toBe(other.length);
      expect((await readFile(target)).equals(other)).toBe(true);
    });

    it('keeps nothing of a file with another digest', async () => {
      const url = await under.serve(content);
      await expect(fetch(url, { sha256: '0'.repeat(64) })).rejects.toMatchObject({
        code: 'download.checksum_mismatch',
        details: expect.objectContaining({ sha256, expectedSha256: '0'.repeat(64) }),
      });
      expect(await left()).toEqual([]);
    });

    it('keeps nothing of a file of another size', async () => {
      const url = await under.serve(content);
      for (const expectedBytes of [content.length - 1, content.length + 1]) {
        await expect(fetch(url, { expectedBytes, maxBytes: 1e9 })).rejects.toMatchObject({
          code: 'download.checksum_mismatch',
        });
      }
      expect(await left()).toEqual([]);
    });

    it('keeps nothing of a file larger than allowed', async () => {
      const url = await under.serve(content);
      await expect(fetch(url, { maxBytes: content.length - 1 })).rejects.toMatchObject({
        code: 'download.too_large',
        details: expect.objectContaining({ maxBytes: content.length - 1 }),
      });
      expect(await left()).toEqual([]);
    });

    it('fails where nobody answers', async () => {
      await expect(fetch(under.deadUrl)).rejects.toMatchObject({ code: 'download.failed' });
      expect(await left()).toEqual([]);
    });

    it.each([
      'ftp://localhost/x',
      'file:///etc/passwd',
      'not an address',
      'http://example.invalid/x',
      'https://169.254.169.254/latest/meta-data/',
      'https://user:hunter2@localhost/x',
    ])('refuses %s, and names no password', async (url) => {
      const error = await fetch(url).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: 'download.refused' });
      expect(`${error} ${JSON.stringify(error)} ${(error as Error).cause}`).not.toContain('hunter2');
      expect(await left()).toEqual([]);
    });
  });
}
