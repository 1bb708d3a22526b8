// What every ImageFiles must do.
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ImageFiles } from './image-files.ts';

export interface ImageFilesUnderTest {
  /** Another object on the same files, as after a restart. */
  open(): ImageFiles;
  /** Removes everything. */
  destroy(): Promise<void>;
}

export function imageFilesContract(name: string, make: () => Promise<ImageFilesUnderTest>): void {
  describe(`${name} as ImageFiles`, () => {
    let under: ImageFilesUnderTest;
    let files: ImageFiles;

    beforeEach(async () => {
      under = await make();
      files = under.open();
    });

    afterEach(async () => {
      await under.destroy();
    });

    const build = async (id: string, content: string): Promise<void> => {
      await writeFile(join(await files.stage(id), 'kernel'), content);
    };

    it('has no images at first', async () => {
      expect(await files.list()).toEqual([]);
      await files.remove('img1');
    });

    it('shows the files of an image once it is published, and also after a restart', async () => {
      await build('img1', 'content');
      await expect(readFile(files.path('img1', 'kernel'))).rejects.toMatchObject({ code: 'ENOENT' });
      await files.publish('img1');
      expect(await readFile(files.path('img1', 'kernel'), 'utf8')).toBe('content');
      expect(under.open().path('img1', 'kernel')).toBe(files.path('img1', 'kernel'));
      expect(await under.open().list()).toEqual(['img1']);
    });

    it('empties what an earlier build of the same image left', async () => {
      await build('img1', 'half');
      expect(await readdir(await files.stage('img1'))).toEqual([]);
    });

    it('replaces a published image as a whole', async () => {
      await build('img1', 'old');
      await writeFile(join(await files.stage('img1'), 'initrd'), 'old');
      await files.publish('img1');
      await build('img1', 'new');
      await files.publish('img1');
      expect(await readFile(files.path('img1', 'kernel'), 'utf8')).toBe('new');
      await expect(readFile(files.path('img1', 'initrd'))).rejects.toMatchObject({ code: 'ENOENT' });
    });

    it('publishes nothing that was not staged', async () => {
      await expect(files.publish('img1')).rejects.toThrow('img1');
      expect(await files.list()).toEqual([]);
    });

    it('lists staged and published images once each, and removes both', async () => {
      await build('img1', 'a');
      await files.publish('img1');
      await build('img1', 'b');
      await build('img2', 'c');
      expect(await files.list()).toEqual(['img1', 'img2']);
      await files.remove('img1');
      await files.remove('img2');
      expect(await files.list()).toEqual([]);
    });

    it('makes no path of a name that leads elsewhere', async () => {
      for (const bad of ['..', '.', '', 'a/b', '/etc', 'a\0b', '.staging-x']) {
        expect(() => files.path('img1', bad), bad).toThrow('cannot be a file');
        expect(() => files.path(bad, 'kernel'), bad).toThrow('cannot be a file');
        await expect(files.remove(bad), bad).rejects.toThrow('cannot be a file');
      }
    });
  });
}
