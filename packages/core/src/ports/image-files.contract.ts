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

    const key = `sha256-${'a1'.repeat(32)}`;

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
      await files.publish('img1', 'img1');
      expect(await readFile(files.path('img1', 'kernel'), 'utf8')).toBe('content');
      expect(under.open().path('img1', 'kernel')).toBe(files.path('img1', 'kernel'));
      expect(await under.open().list()).toEqual(['img1']);
    });

    it('empties what an earlier build of the same image left', async () => {
      await build('img1', 'half');
      expect(await readdir(await files.stage('img1'))).toEqual([]);
    });

    it('shows the files under the key of their content, and no more under the id', async () => {
      await build('img1', 'content');
      await files.publish('img1', key);
      expect(await readFile(files.path(key, 'kernel'), 'utf8')).toBe('content');
      await expect(readFile(files.path('img1', 'kernel'))).rejects.toMatchObject({ code: 'ENOENT' });
      expect(await files.list()).toEqual([key]);
      await files.remove('img1');
      expect(await files.list()).toEqual([key]);
      await files.remove(key);
      expect(await files.list()).toEqual([]);
    });

    it('keeps the files that a key has, and drops those staged for it', async () => {
      await build('img1', 'first');
      await files.publish('img1', key);
      await build('img2', 'second');
      await writeFile(join(await files.stage('img3'), 'initrd'), 'third');
      await files.publish('img2', key);
      await files.publish('img3', key);
      expect(await readFile(files.path(key, 'kernel'), 'utf8')).toBe('first');
      await expect(readFile(files.path(key, 'initrd'))).rejects.toMatchObject({ code: 'ENOENT' });
      expect(await files.list()).toEqual([key]);
    });

    it('publishes one whole set of files when several come to a key at once', async () => {
      const ids = ['img1', 'img2', 'img3', 'img4'];
      for (const id of ids) {
        const directory = await files.stage(id);
        for (const file of ['kernel', 'initrd']) await writeFile(join(directory, file), id);
      }
      await Promise.all(ids.map((id, index) => (index % 2 ? under.open() : files).publish(id, key)));
      const kernel = await readFile(files.path(key, 'kernel'), 'utf8');
      expect(ids).toContain(kernel);
      expect(await readFile(files.path(key, 'initrd'), 'utf8')).toBe(kernel);
      expect(await files.list()).toEqual([key]);
    });

    it('finds what was staged when the daemon died, and removes it', async () => {
      await build('img1', 'half');
      const restarted = under.open();
      expect(await restarted.list()).toEqual(['img1']);
      await restarted.stage('img1');
      await restarted.remove('img1');
      expect(await restarted.list()).toEqual([]);
    });

    it('publishes nothing that was not staged', async () => {
      await expect(files.publish('img1', 'img1')).rejects.toThrow('img1');
      expect(await files.list()).toEqual([]);
    });

    it('lists staged and published images once each, and removes both', async () => {
      await build('img1', 'a');
      await files.publish('img1', 'img1');
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
        await expect(files.publish('img1', bad), bad).rejects.toThrow('cannot be a file');
      }
    });
  });
}
