import { chmod, mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createImageFiles } from './image-files.ts';

let stateDirectory: string;

beforeEach(async () => {
  stateDirectory = await mkdtemp(join(tmpdir(), 'wirt-images-'));
});

afterEach(async () => {
  await rm(stateDirectory, { recursive: true, force: true });
});

const modeOf = async (path: string): Promise<number> => (await stat(path)).mode & 0o777;

it('lets every user open the files of an image, and list none', async () => {
  const files = createImageFiles({ stateDirectory });
  const staging = await files.stage('img1');
  expect(await modeOf(staging)).toBe(0o700);
  await writeFile(join(staging, 'kernel'), 'k', { mode: 0o600 });
  await files.publish('img1', 'img1');
  expect(await modeOf(files.path('img1', 'kernel'))).toBe(0o644);
  expect(await modeOf(join(stateDirectory, 'images', 'img1'))).toBe(0o711);
  expect(await modeOf(join(stateDirectory, 'images'))).toBe(0o711);
});

it('publishes no link, which would lead out of the image', async () => {
  const files = createImageFiles({ stateDirectory });
  await symlink('/etc/passwd', join(await files.stage('img1'), 'kernel'));
  await expect(files.publish('img1', 'img1')).rejects.toMatchObject({ code: 'internal' });
  await expect(stat(join(stateDirectory, 'images', 'img1'))).rejects.toMatchObject({ code: 'ENOENT' });
});

it('is whole again when the daemon died between finding a key taken and dropping what was staged', async () => {
  const files = createImageFiles({ stateDirectory });
  for (const id of ['img1', 'img2']) await writeFile(join(await files.stage(id), 'kernel'), id);
  await files.publish('img1', 'sha256-aa');
  // As it stands at that moment: settled, and still under its staged name.
  await chmod(join(stateDirectory, 'images', '.staging-img2'), 0o711);
  const restarted = createImageFiles({ stateDirectory });
  expect(await restarted.list()).toEqual(['img2', 'sha256-aa']);
  await restarted.publish('img2', 'sha256-aa');
  expect(await readFile(restarted.path('sha256-aa', 'kernel'), 'utf8')).toBe('img1');
  expect(await restarted.list()).toEqual(['sha256-aa']);
});

it('names the path when the state directory cannot be written', async () => {
  await writeFile(join(stateDirectory, 'images'), 'in the way');
  await expect(createImageFiles({ stateDirectory }).stage('img1')).rejects.toMatchObject({
    message: expect.stringContaining(stateDirectory),
  });
});
