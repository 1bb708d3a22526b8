import { mkdtemp, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createStaging } from './staging.ts';

const dayMs = 24 * 3600 * 1000;
let root: string;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'wirt-staging-'));
});
afterEach(() => rm(root, { recursive: true, force: true }));

it('what was written lately stays where only what is older is removed', async () => {
  const staging = createStaging(root);
  for (const id of ['young', 'old', 'empty']) {
    const path = await staging.stagePath(id, 'download');
    await writeFile(path, id === 'empty' ? '' : 'half');
  }
  const before = (Date.now() - 2 * dayMs) / 1000;
  await utimes(join(root, 'old', 'download'), before, before);
  for (const id of ['young', 'old', 'empty', 'nowhere']) await staging.clean(id, { olderThanMs: dayMs });
  expect(await staging.list()).toEqual(['young']);
  await staging.clean('young');
  expect(await staging.list()).toEqual([]);
});
