// What only directories can be made to suffer, and what their files look like.
import { execFileSync } from 'node:child_process';
import { chmod, chown, mkdir, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { VolumePool } from '@wirt/core';
import { describe, expect, it } from 'vitest';
import { toolMissing } from './harness.fixture.ts';
import { createDirPoolDriver } from './pool-dir.ts';
import { createScene, diskOf, type Harness, id, idOf, layer, MIB, other, pathOf } from './scene.fixture.ts';
import { silentLogger } from './silent-logger.fixture.ts';

const isRoot = process.geteuid?.() === 0;
/** For root its own group, which is also the mask of access lists. */
const daemonsAlone = isRoot ? 0o640 : 0o600;
let harness: Harness;
const { openPool, work } = createScene((made) => {
  harness = made;
});
const modeOf = async (path: string): Promise<number> => (await stat(path)).mode & 0o777;

describe.skipIf(toolMissing)(
  `a directory as a pool${toolMissing ? ` (skipped: ${toolMissing})` : ''}`,
  () => {
    it.skipIf(!isRoot)('names the directory that guests cannot pass (skipped without root)', async () => {
      const closed = join(dirname(harness.path), 'closed');
      await mkdir(closed, { mode: 0o700 });
      await expect(openPool(join(closed, 'deep', 'pool'))).rejects.toMatchObject({
        code: 'pool.unusable',
        message: expect.stringContaining(`${closed} lets no other user pass`),
        hint: expect.stringContaining(`chmod o+x ${closed}`),
      });
    });

    it.skipIf(!isRoot)(
      'is refused where others own it or may write in it (skipped without root)',
      async () => {
        await mkdir(harness.path);
        for (const mode of [0o775, 0o757, 0o1777]) {
          await chmod(harness.path, mode);
          await expect(openPool(), mode.toString(8)).rejects.toMatchObject({
            code: 'pool.unusable',
            hint: expect.stringContaining(`chmod go-w ${harness.path}`),
          });
        }
        await chmod(harness.path, 0o755);
        await chown(harness.path, 1000, 0);
        await expect(openPool()).rejects.toMatchObject({
          code: 'pool.unusable',
          hint: expect.stringContaining(`chown 0 ${harness.path}`),
        });
        await chown(harness.path, 0, 0);
        await expect(openPool()).resolves.toBeDefined();
      },
    );

    it('is refused where there is something else, and where a path leads nowhere', async () => {
      await writeFile(harness.path, 'in the way');
      for (const path of [harness.path, join(harness.path, 'below'), 'relative/pool'])
        await expect(openPool(path), path).rejects.toMatchObject({ code: 'pool.unusable' });
    });

    it('lists to nobody what lies in it, and leaves a directory that was there as it was', async () => {
      await mkdir(harness.path);
      await chmod(harness.path, 0o755);
      const pool = await openPool();
      await pool.create(layer);
      const volumes = join(harness.path, 'volumes');
      for (const made of [volumes, join(volumes, layer.volume)]) expect(await modeOf(made)).toBe(0o711);
      expect(await modeOf(harness.path)).toBe(0o755);
      expect(await modeOf(pathOf(pool, layer))).toBe(daemonsAlone);
      await pool.remove(layer);
      expect(await readdir(volumes)).toEqual([]);
    });

    it('says whose it is, and what to remove when that wirtd is gone for good', async () => {
      await openPool();
      const marker = join(harness.path, 'wirt-pool.json');
      expect(JSON.parse(await readFile(marker, 'utf8'))).toMatchObject({ pool: id, owner: 'aaaa' });
      await expect(harness.driver('bbbb').open({ id: idOf(9), path: harness.path })).rejects.toMatchObject({
        code: 'pool.owned',
        message: expect.stringContaining('aaaa'),
        hint: expect.stringContaining(`rm ${marker}`),
      });
      await rm(marker);
      await harness.driver('bbbb').open({ id: idOf(9), path: harness.path });
    });

    it('is not taken when its marker cannot be read', async () => {
      await mkdir(harness.path);
      await writeFile(join(harness.path, 'wirt-pool.json'), '{"pool":');
      await expect(openPool()).rejects.toMatchObject({
        code: 'pool.owned',
        hint: expect.stringContaining('rm '),
      });
    });

    it('is unusable once its file system is no longer there', async () => {
      const pool = await openPool();
      await rm(join(harness.path, 'wirt-pool.json'));
      await expect(pool.capacity()).rejects.toMatchObject({
        code: 'pool.unusable',
        hint: expect.stringContaining('findmnt'),
      });
    });

    it('is one pool by whatever link it is reached', async () => {
      const pool = await openPool();
      const link = `${harness.path}-link`;
      await symlink(harness.path, link);
      expect(pathOf(await openPool(link), layer)).toBe(pathOf(pool, layer));
      await expect(harness.driver('aaaa').open({ id, path: link })).resolves.toBeDefined();
    });

    it('leaves files alone that are not its own', async () => {
      const pool = await openPool();
      await pool.create(layer);
      const folder = dirname(pathOf(pool, layer));
      await writeFile(join(folder, 'notes.txt'), 'mine');
      await writeFile(join(harness.path, 'volumes', 'notes.txt'), 'mine');
      await mkdir(join(harness.path, 'volumes', 'lost+found'));
      expect(await pool.list()).toHaveLength(1);
      await pool.remove(layer);
      expect(await readdir(folder)).toEqual(['notes.txt']);
    });
  },
);

// Needs QEMU’s tools.
describe.skipIf(toolMissing)('the file of a layer', () => {
  it('names what it lies on, for people who open it by hand', async () => {
    const pool = await openPool();
    await pool.create(layer);
    await harness.write(diskOf(pool, layer), { offset: 0, length: MIB, byte: 7 });
    await pool.createOverlay(other, diskOf(pool, layer));
    const byHand = ['convert', '-f', 'qcow2', '-O', 'raw', pathOf(pool, other), join(harness.path, 'copy')];
    execFileSync('qemu-img', byHand);
    expect((await readFile(join(harness.path, 'copy'))).subarray(0, MIB).every((byte) => byte === 7)).toBe(
      true,
    );
    const third = { ...other, layer: idOf(5) };
    await pool.createOverlay(third, diskOf(pool, layer, other));
    await pool.pull(diskOf(pool, layer, other, third), diskOf(pool, layer), work());
    const info = execFileSync('qemu-img', ['info', '--output=json', '-f', 'qcow2', pathOf(pool, third)]);
    expect(JSON.parse(info.toString())).toMatchObject({
      'backing-filename': pathOf(pool, layer),
      'backing-filename-format': 'qcow2',
    });
  });

  // Becomes other users.
  it.skipIf(!isRoot)(
    'belongs to root, and its group is that of the guest that has it (skipped without root)',
    async () => {
      const pool = await openPool();
      await pool.create(layer);
      const [guest] = harness.guests ?? [];
      if (guest === undefined) throw new Error('root has guests');
      const facts = async () => {
        const { uid, gid, mode } = await stat(pathOf(pool, layer));
        return [uid, gid, (mode & 0o777).toString(8)];
      };
      await pool.grant(layer, { identity: guest, write: true });
      expect(await facts()).toEqual([0, guest.gid, '660']);
      await pool.grant(layer, { identity: guest, write: false });
      expect(await facts()).toEqual([0, guest.gid, '440']);
      await pool.grant(layer, 'shared');
      expect(await facts()).toEqual([0, 0, '444']);
      await pool.grant(layer, undefined);
      expect(await facts()).toEqual([0, 0, '640']);
    },
  );

  it('is not opened through a link', async () => {
    const pool = await openPool();
    await pool.create(layer);
    await rm(pathOf(pool, layer));
    await symlink('/etc/passwd', pathOf(pool, layer));
    await expect(pool.grant(layer, 'shared')).rejects.toMatchObject({ code: 'volume.failed' });
    await expect(pool.grow(layer, 32 * MIB)).rejects.toMatchObject({ code: 'volume.failed' });
    expect(await modeOf('/etc/passwd')).toBe(0o644);
  });
});

// Needs QEMU’s tools.
describe.skipIf(toolMissing)('what a copy may open', () => {
  async function someCopy(pool: VolumePool): Promise<void> {
    await pool.create(layer);
    await harness.write(diskOf(pool, layer), { offset: 0, length: MIB, byte: 1 });
    await pool.copy(other, diskOf(pool, layer), work());
    expect(await harness.reads(diskOf(pool, other), { offset: 0, length: MIB, byte: 1 })).toBe(true);
  }

  it('is as it was before when the copy is done, with nothing on record', async () => {
    const pool = await openPool();
    await someCopy(pool);
    for (const one of [layer, other]) expect(await modeOf(pathOf(pool, one))).toBe(daemonsAlone);
    if (isRoot) expect(await readdir(harness.lent)).toEqual([]);
  });

  it.skipIf(!isRoot)('is lent without access lists where there are none (skipped without root)', async () => {
    const tools = join(dirname(harness.path), 'tools');
    await mkdir(tools);
    await writeFile(
      join(tools, 'setfacl'),
      '#!/bin/sh\necho "setfacl: $4: Operation not supported" >&2\nexit 1\n',
    );
    await chmod(join(tools, 'setfacl'), 0o755);
    const path = process.env['PATH'];
    process.env['PATH'] = `${tools}:${path}`;
    try {
      const pool = await openPool();
      await someCopy(pool);
      await Promise.all(
        [6, 7, 8].map((index) => pool.copy({ ...layer, layer: idOf(index) }, diskOf(pool, layer), work())),
      );
      for (const one of [layer, other]) expect(await modeOf(pathOf(pool, one))).toBe(0o640);
    } finally {
      process.env['PATH'] = path;
    }
  });

  it('stays lent when the pool is opened anew by the daemon that copies', async () => {
    const driver = harness.driver('aaaa');
    const pool = await driver.open({ id, path: harness.path });
    const large = { ...layer, sizeBytes: 64 * MIB };
    await pool.create(large);
    await harness.write(diskOf(pool, large), { offset: 0, length: 64 * MIB, byte: 1 });
    let opened: Promise<unknown> | undefined;
    await pool.copy({ ...large, layer: idOf(6) }, diskOf(pool, large), {
      ...work(),
      onProgress: () => {
        opened ??= driver.open({ id, path: harness.path });
      },
    });
    await opened;
    expect(await pool.list()).toHaveLength(2);
  });
});

// Needs QEMU’s tools.
describe.skipIf(toolMissing)('a host without QEMU’s tools', () => {
  it('is told what to install, and nothing is left', async () => {
    const driver = createDirPoolDriver({
      owner: 'aaaa',
      loans: harness.loans,
      logger: silentLogger,
      qemuImg: 'no-such-qemu-img',
      qemuStorageDaemon: 'no-such-storage-daemon',
    });
    const pool = await driver.open({ id, path: harness.path });
    await pool.create(layer);
    await pool.createOverlay(other, diskOf(pool, layer));
    const missing = { code: 'host.tool_missing', hint: expect.stringContaining('apt install') };
    const copy = { ...layer, layer: idOf(6) };
    await expect(pool.copy(copy, diskOf(pool, layer), work())).rejects.toMatchObject(missing);
    const chain = diskOf(pool, layer, other);
    await expect(pool.pull(chain, undefined, work())).rejects.toMatchObject(missing);
    expect(await pool.list()).toHaveLength(2);
  });
});
