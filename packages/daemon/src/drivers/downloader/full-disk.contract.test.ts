import { execFile } from 'node:child_process';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../platform/clock.ts';
import { file, startWebServer } from '../../platform/web-server.fixture.ts';
import { createDownloader } from './downloader.ts';

const run = promisify(execFile);

describe.skipIf(process.getuid?.() !== 0)(
  'a download onto a full disk (needs root to mount a small one)',
  () => {
    let directory: string;

    beforeEach(async () => {
      directory = await mkdtemp(join(tmpdir(), 'wirt-download-'));
      await run('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', directory]);
    });

    afterEach(async () => {
      await run('umount', ['-l', directory]);
      await rm(directory, { recursive: true, force: true });
    });

    it('is not begun when too little would stay free, though it would fit', async () => {
      await using server = await startWebServer();
      server.serve('/f', file({ content: Buffer.alloc(20_000) }));
      await writeFile(join(directory, 'other'), Buffer.alloc(980_000, 1));
      const download = createDownloader({ clock: systemClock }).fetch({
        url: `${server.url}/f`,
        target: join(directory, 'disk'),
        maxBytes: 1e9,
        signal: AbortSignal.timeout(20_000),
        onProgress: () => undefined,
      });
      await expect(download).rejects.toMatchObject({ code: 'host.storage_full' });
      expect(await readdir(directory)).toEqual(['other']);
    });

    it('says that the disk is full, and leaves it as it was', async () => {
      await using server = await startWebServer();
      server.serve('/f', file({ content: Buffer.alloc(3_000_000) }));
      const download = createDownloader({ clock: systemClock }).fetch({
        url: `${server.url}/f`,
        target: join(directory, 'disk'),
        maxBytes: 1e9,
        signal: AbortSignal.timeout(20_000),
        onProgress: () => undefined,
      });
      await expect(download).rejects.toMatchObject({
        code: 'host.storage_full',
        message: `Could not write ${join(directory, 'disk')}.`,
        hint: expect.stringContaining('df -h'),
      });
      expect(server.requests).toHaveLength(1);
      expect(await readdir(directory)).toEqual([]);
    });
  },
);
