import { appendFile, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { writeBehind } from './write-behind.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'wirt-behind-'));
});
afterEach(() => rm(folder, { recursive: true }));

describe('writing behind', () => {
  it('leaves alone what others write meanwhile', async () => {
    const path = join(folder, 'disk');
    await appendFile(path, 'one');
    await using written = await writeBehind(path);
    for (const piece of [' two', ' three']) {
      written.soFar();
      await appendFile(path, piece);
      written.soFar();
    }
    await written.sync();
    expect(await readFile(path, 'utf8')).toBe('one two three');
  });

  it('tells of a file that is not there by its name', async () => {
    await expect(writeBehind(join(folder, 'none'))).rejects.toMatchObject({
      message: expect.stringContaining(join(folder, 'none')),
    });
  });
});
