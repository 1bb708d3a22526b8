import { afterEach, expect, it } from 'vitest';
import { makeRoot, removeFiles, writeTable } from '../../platform/host-files.fixture.ts';
import { createHostFiles } from '../../platform/host-files.ts';
import { createSysfsWrites } from '../../platform/sysfs-writes.ts';
import { createPageMerging } from './page-merging.ts';

afterEach(removeFiles);

const mergingAt = (root: string) =>
  createPageMerging({ files: createHostFiles(root), writes: createSysfsWrites(root) });

it('is turned on and off where the kernel has the switch', async () => {
  const root = await makeRoot();
  writeTable(root, { '/sys/kernel/mm/ksm/run': '2\n' });
  const merging = mergingAt(root);
  expect(await merging.run()).toBe(2);
  for (const value of [1, 0] as const) {
    await merging.setRun(value);
    expect(await merging.run()).toBe(value);
  }
});

it('is unknown to a kernel without it, which says so when it is set', async () => {
  const merging = mergingAt(await makeRoot());
  expect(await merging.run()).toBeUndefined();
  await expect(merging.setRun(1)).rejects.toThrow();
});
