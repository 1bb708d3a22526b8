// For tests: a kernel with an agent that a test of another driver has built and kept in the folder WIRT_TEST_CACHE.
import { chmod, copyFile, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { LaunchPlan } from '@wirt/core';

const cloneRoot = join(import.meta.dirname, '../../../../..');
const missing = 'no image micro has been built by the tests of image-micro as yet';

/** Copied to where the guest's user may read it. */
export async function linuxKernel(
  directory: string,
): Promise<Pick<Required<LaunchPlan>, 'kernel'> | { readonly missing: string }> {
  const cache = process.env['WIRT_TEST_CACHE'] ?? join(cloneRoot, '.wirt/test-cache');
  const [built] = (await readdir(cache).catch(() => [])).filter((name) => /^micro-[0-9a-f]{12}$/.test(name));
  if (built === undefined) return { missing };
  const text = await readFile(join(cache, built, 'image.json'), 'utf8').catch(() => undefined);
  if (text === undefined) return { missing };
  // Written by the fixture that builds images for tests.
  const image = JSON.parse(text) as { kernel: string; initrd: string; kernelArgs: string };
  const place = async (name: string): Promise<string> => {
    const to = join(directory, `linux-${name}`);
    await copyFile(join(cache, built, name), to);
    await chmod(to, 0o644);
    return to;
  };
  const [kernel, initrd] = [await place(image.kernel), await place(image.initrd)];
  return { kernel: { kernel, initrd, kernelArgs: image.kernelArgs } };
}
