// A state directory, or a folder outside, that is nearly full: what is converted into it is not begun.
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { createHarness, isRoot, toolMissing, workOf } from './harness.fixture.ts';

const run = promisify(execFile);
const MIB = 1024 * 1024;
const id = '01J9ZK3W8Y7Q5T2R4M6N8P0001';

const canRun = isRoot && !toolMissing;

interface SmallDisk extends AsyncDisposable {
  readonly path: string;
}

/** A file system of 40 MiB, 2 of which are to stay free. */
async function smallDisk(): Promise<SmallDisk> {
  const path = await mkdtemp(join(tmpdir(), 'wirt-small-'));
  await run('mount', ['-t', 'tmpfs', '-o', 'size=40m,mode=0711', 'tmpfs', path]);
  return {
    path,
    [Symbol.asyncDispose]: async () => {
      await run('umount', ['-l', path]);
      await rm(path, { recursive: true, force: true });
    },
  };
}

async function fill(small: SmallDisk, sizeMib: number): Promise<void> {
  await writeFile(join(small.path, 'other'), Buffer.alloc(sizeMib * MIB, 1));
}

it.skipIf(!canRun)(
  'what is converted is not begun where too little would stay free, though it would fit (needs root)',
  async () => {
    await using small = await smallDisk();
    await using under = await createHarness({ storage: small.path });
    const path = join(under.folder, 'disk');
    await under.make(path, 'vmdk', Buffer.alloc(MIB));
    await fill(small, 38.5);
    await using opened = await under.transfer.openDisk({
      path,
      id,
      maxVirtualBytes: 8 * MIB,
      work: workOf(),
    });
    const made = under.transfer.toFile(
      opened,
      { path: join(small.path, 'image'), format: 'qcow2' },
      workOf(),
    );
    await expect(made).rejects.toMatchObject({ code: 'host.storage_full' });
    expect(await under.runs()).toEqual([]);
    expect(await readdir(small.path)).not.toContain('image');
  },
);

describe.skipIf(!canRun)(
  'an export to a file system that has room, but too little beside it (needs root)',
  () => {
    const description = { name: 'web.ovf', text: () => '<Envelope/>' };

    it.each(['qcow2', 'raw', 'vmdk', 'vpc', 'vhdx', 'vdi'] as const)(
      'of a disk is not begun, and leaves no file: %s',
      async (format) => {
        await using small = await smallDisk();
        await using under = await createHarness();
        const source = await under.chain(randomBytes(MIB / 2), randomBytes(4096));
        await fill(small, 38.5);
        const path = join(small.path, `out.${format}`);
        await expect(under.transfer.fromSource(source, { path, format }, workOf())).rejects.toMatchObject({
          code: 'host.storage_full',
          message: expect.stringContaining(path),
          hint: `Free space on the file system: df -h ${path}`,
        });
        expect(await under.runs()).toEqual([]);
        expect(await readdir(small.path)).toEqual(['other']);
      },
    );

    it('of an OVA leaves no file, and nothing in the staging folder', async () => {
      await using small = await smallDisk();
      await using under = await createHarness();
      const source = await under.chain(randomBytes(MIB), randomBytes(4096));
      // More than is to stay free, and less than that and the disk.
      await fill(small, 37.5);
      const path = join(small.path, 'web.ova');
      const disks = [{ name: 'web-root.vmdk', source }];
      await expect(
        under.transfer.writeOva(path, description, disks, { ...workOf(), id }),
      ).rejects.toMatchObject({ code: 'host.storage_full', message: `Could not write ${path}.` });
      expect(await readdir(small.path)).toEqual(['other']);
      expect(await under.transfer.list()).toEqual([]);
      // The same fits as soon as as much stays free as is to stay.
      await fill(small, 30);
      await under.transfer.writeOva(path, description, disks, { ...workOf(), id });
      expect(await readdir(small.path)).toEqual(expect.arrayContaining(['web.ova']));
    });

    it('of an OVA is not begun where its disks would fill the state directory', async () => {
      await using small = await smallDisk();
      await using under = await createHarness({ storage: small.path });
      const source = await under.chain(randomBytes(MIB / 2), randomBytes(4096));
      await fill(small, 38.5);
      const path = join(under.folder, 'web.ova');
      const made = under.transfer.writeOva(path, description, [{ name: 'web-root.vmdk', source }], {
        ...workOf(),
        id,
      });
      await expect(made).rejects.toMatchObject({ code: 'host.storage_full' });
      expect(await under.runs()).toEqual([]);
      expect(await readdir(under.folder)).toEqual([]);
    });
  },
);
