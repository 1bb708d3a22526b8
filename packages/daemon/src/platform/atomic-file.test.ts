import { mkdir, mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { writeFileAtomically } from './atomic-file.ts';

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'wirt-atomic-'));
});

afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

it('writes a file with the mode asked for, whatever the umask', async () => {
  const path = join(directory, 'file');
  await writeFileAtomically(path, 'first', { mode: 0o666 });
  await writeFileAtomically(path, new Uint8Array([0x32]), { mode: 0o622 });
  expect(await readFile(path, 'utf8')).toBe('2');
  expect((await stat(path)).mode & 0o777).toBe(0o622);
  expect(await readdir(directory)).toEqual(['file']);
});

it('leaves the old content, and nothing else, when it fails', async () => {
  const path = join(directory, 'taken');
  await mkdir(join(path, 'inside'), { recursive: true });
  await expect(writeFileAtomically(path, 'x', { mode: 0o600 })).rejects.toThrow(`Could not write ${path}.`);
  expect(await readdir(directory)).toEqual(['taken']);
});

it('shows readers whole contents only, while many write at once', async () => {
  const path = join(directory, 'file');
  const contents = Array.from({ length: 20 }, (_, n) => String(n).repeat(50_000));
  await writeFileAtomically(path, contents[0] ?? '', { mode: 0o600 });
  const writes = Promise.all(contents.map((content) => writeFileAtomically(path, content, { mode: 0o600 })));
  for (let n = 0; n < 50; n += 1) expect(contents).toContain(await readFile(path, 'utf8'));
  await writes;
  expect(await readdir(directory)).toEqual(['file']);
});
