// Block devices of the host as disks: what an import of a Xen or libvirt guest on a logical volume reads. Loop devices stand for them.
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, stat, symlink, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  createHarness,
  type Harness,
  testWorkId as id,
  isRoot,
  testLayer as layer,
  testUid,
  toolMissing,
  workOf,
} from './harness.fixture.ts';

const run = promisify(execFile);
const MIB = 1024 * 1024;

const noLoop = await run('losetup', ['-f']).then(
  () => undefined,
  () => 'no loop devices',
);
const skipped = (isRoot ? undefined : 'needs root') ?? toolMissing ?? noLoop;

function diskBytes(): Buffer {
  const bytes = Buffer.alloc(4 * MIB);
  for (let at = 0; at < MIB; at += 4) bytes.writeUInt32LE(at, at);
  // The mark of a partition table.
  bytes.set([0x55, 0xaa], 510);
  return bytes;
}

describe.skipIf(skipped)(`a block device${skipped ? ` (skipped: ${skipped})` : ''}`, () => {
  let under: Harness;
  let device: string;
  let ended: (() => Promise<unknown>)[];

  beforeEach(async () => {
    under = await createHarness();
    ended = [];
    const file = join(under.folder, 'behind.raw');
    await writeFile(file, diskBytes());
    device = (await run('losetup', ['-f', '--show', file])).stdout.trim();
  });
  afterEach(async () => {
    for (const end of ended.reverse()) await end();
    await run('losetup', ['-d', device]);
    await under[Symbol.asyncDispose]();
  });

  const open = (path = device, format?: 'raw' | 'qcow2') =>
    under.transfer.openDisk({
      path,
      id,
      maxVirtualBytes: 64 * MIB,
      work: workOf(),
      ...(format === undefined ? {} : { format }),
    });

  it('is converted raw by the confined user, who gets at it by a node of his own, and stays as it was', async () => {
    const before = await stat(device);
    {
      await using disk = await open();
      expect(disk).toMatchObject({ format: 'raw', virtualSizeBytes: 4 * MIB });
      await under.transfer.toLayer(disk, under.pool, layer, workOf());
    }
    const { path } = under.pool.locate(layer).location;
    expect((await under.contents(path, 'qcow2')).equals(diskBytes())).toBe(true);
    const [told = ''] = await under.runs();
    expect(told).toMatch(new RegExp(`^Uid:\\t${testUid}\\t`, 'm'));
    expect(told).toContain('"driver":"host_device","filename":"/proc/self/fd/3"');
    expect(await stat(device)).toMatchObject({ mode: before.mode, uid: before.uid, gid: before.gid });
    expect(await readdir(join(under.stateDirectory, 'transfers'))).toEqual([]);
  });

  it('is found by the name that a volume group gives it, a link below /dev', async () => {
    const name = '/dev/wirt-test-volume';
    await symlink(device, name);
    ended.push(() => unlink(name));
    {
      await using disk = await open(name, 'raw');
      expect(disk.virtualSizeBytes).toBe(4 * MIB);
    }
    await using machine = await under.transfer.openMachine({
      path: name,
      format: 'auto',
      id,
      unpack: false,
      maxBytes: MIB,
      work: workOf(),
    });
    expect(machine.kind).toBe('disk');
  });

  it('is refused while the host has it mounted', async () => {
    await run('mkfs.ext4', ['-q', '-F', device]);
    const folder = join(under.folder, 'mounted');
    await mkdir(folder);
    await run('mount', [device, folder]);
    ended.push(() => run('umount', [folder]));
    await expect(open()).rejects.toMatchObject({
      code: 'disk.refused',
      details: { path: device, reason: 'in-use' },
      hint: expect.stringContaining('lsblk'),
    });
  });

  /** Gives back its id. */
  async function startWriter(node: string): Promise<number | undefined> {
    const writer = spawn('sh', ['-c', `exec 9<>${node}; echo open; read line`]);
    ended.push(async () => {
      const gone = once(writer, 'exit');
      writer.stdin.end('\n');
      await gone;
    });
    await once(writer.stdout, 'data');
    return writer.pid;
  }

  it('is refused while a guest writes it, by whatever node, and said by whom', async () => {
    const node = join(under.folder, 'node');
    const { rdev } = await stat(device);
    await run('mknod', [node, 'b', '7', String(rdev & 0xff)]);
    const pid = await startWriter(node);
    await expect(open()).rejects.toMatchObject({
      message: expect.stringContaining(`process ${pid} (sh)`),
      details: { reason: 'in-use' },
    });
  });

  it('is refused while a guest writes the whole disk that it is a part of, or a part of it', async () => {
    await run('addpart', [device, '1', '2048', '4096']);
    ended.push(() => run('delpart', [device, '1']));
    const part = `${device}p1`;
    {
      await using disk = await open(part);
      expect(disk.virtualSizeBytes).toBe(2 * MIB);
    }
    for (const [written, read] of [
      [device, part],
      [part, device],
    ] as const) {
      const pid = await startWriter(written);
      await expect(open(read), read).rejects.toMatchObject({
        message: expect.stringContaining(`process ${pid} (sh)`),
        details: { reason: 'in-use' },
      });
      await ended.pop()?.();
    }
  });

  it('that somebody began to write before its copy was done gives no disk', async () => {
    await using disk = await open();
    await startWriter(device);
    await expect(under.transfer.toLayer(disk, under.pool, layer, workOf())).rejects.toMatchObject({
      code: 'disk.refused',
      details: { reason: 'in-use' },
    });
    await expect(stat(under.pool.locate(layer).location.path)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('that a description calls a file is opened as the device that it is, and said to be', async () => {
    const name = '/dev/wirt-test-file';
    await symlink(device, name);
    ended.push(() => unlink(name));
    await using disk = await open(name);
    expect(disk.device).toBe(device);
  });

  it('is not found by a link in a folder where others may put links', async () => {
    const name = '/dev/shm/wirt-test-link';
    await symlink(device, name);
    ended.push(() => unlink(name));
    await expect(open(name)).rejects.toMatchObject({ details: { reason: 'link' } });
  });

  it('is refused as anything but raw, and when it begins like another format', async () => {
    await expect(open(device, 'qcow2')).rejects.toMatchObject({
      code: 'disk.format_mismatch',
      hint: expect.stringContaining('qemu-img convert'),
    });
    await run('qemu-img', ['create', '-q', '-f', 'qcow2', join(under.folder, 'inner.qcow2'), '1M']);
    await run('dd', [`if=${join(under.folder, 'inner.qcow2')}`, `of=${device}`, 'conv=fsync', 'status=none']);
    await expect(open()).rejects.toMatchObject({ code: 'disk.format_mismatch' });
  });

  it('that a stranger’s description names is taken only when it has the marks of a disk', async () => {
    const cfg = join(under.folder, 'web.cfg');
    await writeFile(cfg, `name = "web"\ndisk = [ "phy:${device},xvda,w" ]\n`);
    await using machine = await under.transfer.openMachine({
      path: cfg,
      format: 'xl',
      id,
      unpack: true,
      maxBytes: MIB,
      work: workOf(),
    });
    const path = machine.resolve(device);
    {
      await using disk = await open(path, 'raw');
      expect(disk.format).toBe('raw');
    }
    await run('dd', ['if=/dev/zero', `of=${device}`, 'bs=4k', 'count=1', 'conv=fsync', 'status=none']);
    await expect(open(path, 'raw')).rejects.toMatchObject({ details: { reason: 'not-a-disk' } });
  });

  it('is a device below /dev or nothing: a node elsewhere is refused', async () => {
    const node = join(under.folder, 'elsewhere');
    await run('mknod', [node, 'b', '7', '0']);
    await expect(open(node)).rejects.toMatchObject({ details: { reason: 'not-a-file' } });
  });
});
