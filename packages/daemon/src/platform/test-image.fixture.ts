// For tests that boot a real image: builds it once per version of its driver, and keeps it with its downloads in the
// folder WIRT_TEST_CACHE (default: .wirt/test-cache in the clone).
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { BuiltImage, ImageBuilder } from '@wirt/core';

export interface TestImage<K extends BuiltImage['kind']> {
  readonly directory: string;
  readonly image: Extract<BuiltImage, { kind: K }>;
}

interface Making<K> {
  readonly kind: K;
  readonly name: string;
  /** The folder of the driver, whose sources are its version. */
  readonly driver: string;
  readonly builder: ImageBuilder;
  readonly timeoutMs: number;
}

const cloneRoot = join(import.meta.dirname, '../../../..');

function cacheDirectory(): string {
  return process.env['WIRT_TEST_CACHE'] ?? join(cloneRoot, '.wirt/test-cache');
}

/** Where test builds keep their downloads. */
export function testWorkDirectory(name: string): string {
  return join(cacheDirectory(), `${name}-work`);
}

export async function testImage<K extends BuiltImage['kind']>(making: Making<K>): Promise<TestImage<K>> {
  const { kind, name, driver, builder, timeoutMs } = making;
  const isWanted = (image: BuiltImage): image is TestImage<K>['image'] => image.kind === kind;
  const cache = cacheDirectory();
  const directory = join(cache, `${name}-${await fingerprint(driver)}`);
  const kept = await readFile(join(directory, 'image.json'), 'utf8').catch(() => undefined);
  // Written below, from such an image.
  if (kept !== undefined) return { directory, image: JSON.parse(kept) as TestImage<K>['image'] };

  await mkdir(cache, { recursive: true });
  const building = await mkdtemp(join(cache, 'building-'));
  try {
    const signal = AbortSignal.timeout(timeoutMs);
    const image = await builder.build(building, { signal, onProgress: () => undefined });
    if (!isWanted(image)) throw new Error(`${name} is built as a ${kind}.`);
    await writeFile(join(building, 'image.json'), JSON.stringify(image));
    await removeOthers(name, directory);
    // Somebody else may have been quicker; theirs is as good.
    await rename(building, directory).catch(() => undefined);
    return { directory, image };
  } finally {
    await rm(building, { recursive: true, force: true });
  }
}

async function fingerprint(driver: string): Promise<string> {
  const hash = createHash('sha256');
  for (const name of (await readdir(driver)).sort()) {
    if (name.endsWith('.ts') && !name.endsWith('.test.ts')) hash.update(await readFile(join(driver, name)));
  }
  return hash.digest('hex').slice(0, 12);
}

async function removeOthers(name: string, kept: string): Promise<void> {
  const version = new RegExp(`^${name}-[0-9a-f]{12}$`);
  const cache = cacheDirectory();
  const others = (await readdir(cache)).filter((one) => version.test(one) && join(cache, one) !== kept);
  await Promise.all(others.map((one) => rm(join(cache, one), { recursive: true, force: true })));
}
