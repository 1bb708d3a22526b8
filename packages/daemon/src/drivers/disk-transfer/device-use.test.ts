// Which devices share bytes, by a sysfs as that of the kernel; and that looking for who writes one has an end.
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { devicesSharing, requireNoWriter } from './device-use.ts';

let root: string;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'wirt-sysfs-'));
});
afterEach(() => rm(root, { recursive: true }));

async function link(from: string, to: string): Promise<void> {
  await mkdir(dirname(from), { recursive: true });
  await symlink(relative(dirname(from), to), from);
}

/** `path`: below the devices; a partition is in the folder of its disk. */
async function device(path: string, number: string, slaves: readonly string[] = []): Promise<void> {
  const folder = join(root, 'devices', path);
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'dev'), `${number}\n`);
  if (path.includes('/')) await writeFile(join(folder, 'partition'), '1\n');
  await link(join(root, 'dev/block', number), folder);
  for (const slave of slaves) {
    const made = join(root, 'devices', slave);
    await link(join(folder, 'slaves', slave.replace(/.*\//, '')), made);
    await link(join(made, 'holders', path), folder);
  }
}

describe('devices that share bytes', () => {
  beforeEach(async () => {
    await device('sdb', '8:16');
    await device('sdb/sdb1', '8:17');
    await device('sdb/sdb2', '8:18');
    await device('real', '253:0', ['sdb/sdb2']);
    await device('origin', '253:1', ['real']);
    await device('snapshot', '253:2', ['real']);
    await device('sdc', '8:32');
  });
  const sharing = async (major: number, minor: number): Promise<string[]> =>
    (await devicesSharing({ major, minor }, join(root, 'dev/block'))).sort();

  it('of a partition are its disk, and not the other partitions', async () => {
    expect(await sharing(8, 17)).toEqual(['8:16', '8:17']);
  });

  it('of a disk are its partitions, and all volumes on them', async () => {
    expect(await sharing(8, 16)).toEqual(['253:0', '253:1', '253:2', '8:16', '8:17', '8:18']);
  });

  it('of a snapshot are the disks that it is on, and not its origin, which a guest may write meanwhile', async () => {
    expect(await sharing(253, 2)).toEqual(['253:0', '253:2', '8:16', '8:18']);
  });

  it('of a disk without any of these is the disk', async () => {
    expect(await sharing(8, 32)).toEqual(['8:32']);
  });

  it('are taken for written when the search for who writes them ends in an error', async () => {
    await writeFile(join(root, 'fails.mjs'), 'process.exit(1);\n');
    const search = { root: join(root, 'dev/block'), program: join(root, 'fails.mjs') };
    await expect(requireNoWriter('/dev/sdc', { major: 8, minor: 32 }, search)).rejects.toMatchObject({
      code: 'disk.refused',
      details: { reason: 'in-use' },
    });
  });

  it('are taken for written when it is not found out in time', async () => {
    await writeFile(join(root, 'hangs.mjs'), 'setInterval(() => {}, 1000);\n');
    const search = { root: join(root, 'dev/block'), program: join(root, 'hangs.mjs'), deadlineMs: 200 };
    await expect(requireNoWriter('/dev/sdc', { major: 8, minor: 32 }, search)).rejects.toMatchObject({
      code: 'disk.refused',
      details: { reason: 'in-use' },
    });
  });
});
