import { afterEach, describe, expect, it } from 'vitest';
import { makeRoot, removeFiles, writeTable } from '../../platform/host-files.fixture.ts';
import { createHostFiles } from '../../platform/host-files.ts';
import { createSysfsWrites } from '../../platform/sysfs-writes.ts';
import { tuneHost } from './tune.ts';

const path = '/sys/kernel/mm/transparent_hugepage/shmem_enabled';
const log: string[] = [];
const keep = (event: string): void => void log.push(event);
const logger = { debug: keep, info: keep, warn: keep, error: keep };

afterEach(async () => {
  log.length = 0;
  await removeFiles();
});

/** What is in the file afterwards; undefined where the kernel has none. */
async function tuned(before: string | undefined): Promise<string | undefined> {
  const root = await makeRoot();
  if (before !== undefined) writeTable(root, { [path]: before });
  const files = createHostFiles(root);
  await tuneHost({ logger, files, writes: createSysfsWrites(root) });
  return await files.line(path);
}

describe('tuning the host', () => {
  it('lets QEMU have huge pages for guests where nobody has chosen otherwise', async () => {
    expect(await tuned('always within_size advise [never] deny force\n')).toMatch(/^advise/);
    expect(log).toEqual(['host.tuned']);
  });

  it('leaves alone what somebody has chosen, and a kernel that has none', async () => {
    for (const chosen of ['always', 'within_size', 'deny', 'force', 'advise'])
      expect(await tuned(`never [${chosen}]\n`)).toBe(`never [${chosen}]`);
    expect(await tuned(undefined)).toBeUndefined();
    expect(log).toEqual([]);
  });

  it('goes on where the kernel refuses, and says so', async () => {
    const root = await makeRoot();
    writeTable(root, { [path]: 'advise [never]\n' });
    const writes = { write: () => Promise.reject(new Error('EINVAL')) };
    await tuneHost({ logger, files: createHostFiles(root), writes });
    expect(log).toEqual(['host.not_tuned']);
  });
});
