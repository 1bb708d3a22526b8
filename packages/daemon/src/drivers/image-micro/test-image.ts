// For tests that boot the real micro image: builds it once per version of this driver, and keeps it with its downloads
// in the folder WIRT_TEST_CACHE (default: .wirt/test-cache in the clone). Run as a program it prints where it is:
// `node test-image.ts` gives {"directory", "image"} as JSON. Not part of wirtd.
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { KernelImage } from '@wirt/core';
import { createMicroImageBuilder } from './image-micro.ts';

export interface TestImage {
  readonly directory: string;
  readonly image: KernelImage;
}

const buildTimeoutMs = 5 * 60_000;
const cloneRoot = join(import.meta.dirname, '../../../../..');

export function testCacheDirectory(): string {
  return process.env['WIRT_TEST_CACHE'] ?? join(cloneRoot, '.wirt/test-cache');
}

/** Where test builds keep their downloads. */
export function testWorkDirectory(): string {
  return join(testCacheDirectory(), 'micro-work');
}

export async function testImage(): Promise<TestImage> {
  const cache = testCacheDirectory();
  const directory = join(cache, `micro-${await fingerprint()}`);
  const kept = await readFile(join(directory, 'image.json'), 'utf8').catch(() => undefined);
  // Written below, from a KernelImage.
  if (kept !== undefined) return { directory, image: JSON.parse(kept) as KernelImage };

  await mkdir(cache, { recursive: true });
  const building = await mkdtemp(join(cache, 'building-'));
  try {
    const builder = createMicroImageBuilder({ workDirectory: testWorkDirectory() });
    const signal = AbortSignal.timeout(buildTimeoutMs);
    const image = await builder.build(building, { signal, onProgress: () => undefined });
    await writeFile(join(building, 'image.json'), JSON.stringify(image));
    await removeOthers(cache, directory);
    // Somebody else may have been quicker; theirs is as good.
    await rename(building, directory).catch(() => undefined);
    return { directory, image };
  } finally {
    await rm(building, { recursive: true, force: true });
  }
}

async function fingerprint(): Promise<string> {
  const hash = createHash('sha256');
  for (const name of (await readdir(import.meta.dirname)).sort()) {
    if (name.endsWith('.ts') && !name.endsWith('.test.ts'))
      hash.update(await readFile(join(import.meta.dirname, name)));
  }
  return hash.digest('hex').slice(0, 12);
}

async function removeOthers(cache: string, kept: string): Promise<void> {
  const names = (await readdir(cache)).filter(
    (name) => /^micro-[0-9a-f]{12}$/.test(name) && join(cache, name) !== kept,
  );
  await Promise.all(names.map(async (name) => await rm(join(cache, name), { recursive: true, force: true })));
}

if (import.meta.main) process.stdout.write(`${JSON.stringify(await testImage())}\n`);
