// A state directory that is nearly full: what is converted into it is not begun.
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { createHarness, isRoot, toolMissing, workOf } from './harness.fixture.ts';

const run = promisify(execFile);
const MIB = 1024 * 1024;
const id = '01J9ZK3W8Y7Q5T2R4M6N8P0001';

it.skipIf(!isRoot || toolMissing)(
  'what is converted is not begun where too little would stay free, though it would fit (needs root)',
  async () => {
    const small = await mkdtemp(join(tmpdir(), 'wirt-small-'));
    await run('mount', ['-t', 'tmpfs', '-o', 'size=40m,mode=0711', 'tmpfs', small]);
    try {
      await using under = await createHarness({ storage: small });
      const path = join(under.folder, 'disk');
      await under.make(path, 'vmdk', Buffer.alloc(MIB));
      await writeFile(join(small, 'other'), Buffer.alloc(38.5 * MIB, 1));
      await using opened = await under.transfer.openDisk({
        path,
        id,
        maxVirtualBytes: 8 * MIB,
        work: workOf(),
      });
      const made = under.transfer.toFile(opened, { path: join(small, 'image'), format: 'qcow2' }, workOf());
      await expect(made).rejects.toMatchObject({ code: 'host.storage_full' });
      expect(await under.runs()).toEqual([]);
      expect(await readdir(small)).not.toContain('image');
    } finally {
      await run('umount', ['-l', small]);
      await rm(small, { recursive: true, force: true });
    }
  },
);
