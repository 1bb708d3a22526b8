import { expect, it } from 'vitest';
import { createSpaceGuard, requireFreeSpace } from './free-space.ts';

const GIB = 1024 ** 3;
const full = { code: 'host.storage_full', hint: 'Free space on the file system: df -h /disk' };
const looking = (sizeBytes: number, freeBytes: () => number) => async () => ({
  blocks: sizeBytes / 4096,
  bavail: freeBytes() / 4096,
  bsize: 4096,
});

it('a twentieth of a file system stays free', async () => {
  const look = looking(10 * GIB, () => 2 * GIB);
  await requireFreeSpace('/disk', 1.5 * GIB, { look });
  await expect(requireFreeSpace('/disk', 1.5 * GIB + 1, { look })).rejects.toMatchObject(full);
});

it('of a large file system 1 GiB stays free', async () => {
  const look = looking(1000 * GIB, () => 2 * GIB);
  await requireFreeSpace('/disk', GIB, { look });
  await expect(requireFreeSpace('/disk', GIB + 1, { look })).rejects.toMatchObject(full);
});

it('what others write meanwhile is seen before much more is written', async () => {
  let freeBytes = 5 * GIB;
  const guard = createSpaceGuard('/disk', { look: looking(10 * GIB, () => freeBytes), everyBytes: 1000 });
  await guard.before(10);
  freeBytes = 0;
  const writing = (async () => {
    for (let written = 0; written < 10_000; written += 10) {
      await guard.before(10);
      if (written > 1000) throw new Error('written past the guard');
    }
  })();
  await expect(writing).rejects.toMatchObject(full);
});
