import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createMicroImageBuilder } from './image-micro.ts';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'wirt-micro-'));
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true, force: true });
});

const options = (signal = AbortSignal.timeout(8_000)) => ({ signal, onProgress: () => undefined });

describe('the builder of the image micro', () => {
  it('names the program that is missing and how to install it', async () => {
    vi.stubEnv('PATH', folder);
    const builder = createMicroImageBuilder({ workDirectory: join(folder, 'work'), arch: 'amd64' });
    await expect(builder.build(folder, options())).rejects.toMatchObject({
      code: 'host.tool_missing',
      message: 'The image micro cannot be built without apt-config.',
      hint: expect.stringContaining('apt-get install apt'),
    });
  });

  it('leaves no scratch when it fails, and the next build gets its turn', async () => {
    vi.stubEnv('PATH', folder);
    const work = join(folder, 'work');
    const builder = createMicroImageBuilder({ workDirectory: work, arch: 'amd64' });
    const both = await Promise.allSettled([
      builder.build(folder, options()),
      builder.build(folder, options()),
    ]);
    expect(both.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect((await readdir(work)).filter((name) => name.startsWith('build-'))).toEqual([]);
  });

  it('throws the reason when it is cancelled before its turn', async () => {
    const builder = createMicroImageBuilder({ workDirectory: join(folder, 'work'), arch: 'amd64' });
    const build = builder.build(folder, options(AbortSignal.abort('not wanted')));
    await expect(build).rejects.toBe('not wanted');
    expect(await readdir(folder)).toEqual([]);
  });
});
