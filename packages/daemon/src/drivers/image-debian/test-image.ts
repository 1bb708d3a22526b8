// For tests that boot the real Debian image: builds it once per version of this driver, and keeps it with its downloads
// in the folder WIRT_TEST_CACHE (default: .wirt/test-cache in the clone). Run as a program it prints where it is:
// `node test-image.ts` gives {"directory", "image"} as JSON. Needs root. Not part of wirtd.
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { BuiltImage } from '@wirt/core';
import { createDebianImageBuilder } from './image-debian.ts';

export interface TestImage {
  readonly directory: string;
  readonly image: Extract<BuiltImage, { kind: 'disk' }>;
}

const buildTimeoutMs = 25 * 60_000;
const cloneRoot = join(import.meta.dirname, '../../../../..');

function cacheDirectory(): string {
  return process.env['WIRT_TEST_CACHE'] ?? join(cloneRoot, '.wirt/test-cache');
}

/** Where test builds keep their downloads. */
export function testWorkDirectory(): string {
  return join(cacheDirectory(), 'debian-work');
}

export async function testImage(): Promise<TestImage> {
  const cache = cacheDirectory();
  const directory = join(cache, `debian-${await fingerprint()}`);
  const kept = await readFile(join(directory, 'image.json'), 'utf8').catch(() => undefined);
  // Written below, from a BuiltImage.
  if (kept !== undefined) return { directory, image: JSON.parse(kept) as TestImage['image'] };

  await mkdir(cache, { recursive: true });
  const building = await mkdtemp(join(cache, 'building-'));
  try {
    const builder = createDebianImageBuilder({ workDirectory: testWorkDirectory() });
    const signal = AbortSignal.timeout(buildTimeoutMs);
    const image = await builder.build(building, { signal, onProgress: () => undefined });
    if (image.kind !== 'disk') throw new Error('debian-12 is built as a disk.');
    await writeFile(join(building, 'image.json'), JSON.stringify(image));
    await removeOthers(cache, directory);
    await rename(building, directory);
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
    (name) => /^debian-[0-9a-f]{12}$/.test(name) && join(cache, name) !== kept,
  );
  await Promise.all(names.map(async (name) => await rm(join(cache, name), { recursive: true, force: true })));
}

if (import.meta.main) process.stdout.write(`${JSON.stringify(await testImage())}\n`);
