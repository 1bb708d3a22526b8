// What a plan of an import sees: disks inside of packages that are not unpacked, and the first bytes that a guest would see of any disk.
import { execFile } from 'node:child_process';
import { chmod, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import type { OpenedMachine } from '@wirt/core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  createHarness,
  type Harness,
  testWorkId as id,
  isRoot,
  testLayer as layer,
  toolMissing,
  workOf,
} from './harness.fixture.ts';
import { tarOf } from './tar.fixture.ts';

const run = promisify(execFile);
const MIB = 1024 * 1024;
const envelope = '<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1"/>';

function diskBytes(): Buffer {
  const bytes = Buffer.alloc(4 * MIB);
  for (let at = 0; at < MIB; at += 4) bytes.writeUInt32LE(at + 1, at);
  return bytes;
}

describe.skipIf(toolMissing)(`looking into disks${toolMissing ? ` (skipped: ${toolMissing})` : ''}`, () => {
  let under: Harness;
  const held: AsyncDisposable[] = [];
  const at = (file: string): string => join(under.folder, file);

  beforeEach(async () => {
    under = await createHarness();
  });
  afterEach(async () => {
    for (const one of held.splice(0).reverse()) await one[Symbol.asyncDispose]();
    expect(await under.transfer.list()).toEqual([]);
    await under[Symbol.asyncDispose]();
  });

  async function openDisk(path: string) {
    const disk = await under.transfer.openDisk({ path, id, maxVirtualBytes: 64 * MIB, work: workOf() });
    held.push(disk);
    return disk;
  }

  async function openPackage(files: Readonly<Record<string, Buffer>>): Promise<OpenedMachine> {
    const entries = Object.entries(files).map(([name, content]) => ({ name, content }));
    await writeFile(at('web.ova'), tarOf([{ name: 'web.ovf', content: Buffer.from(envelope) }, ...entries]));
    const machine = await under.transfer.openMachine({
      path: at('web.ova'),
      format: 'auto',
      id,
      unpack: false,
      maxBytes: 64 * MIB,
      work: workOf(),
    });
    held.push(machine);
    return machine;
  }

  const head = async (path: string) => under.transfer.head(await openDisk(path), 64 * 1024, workOf());

  it.each(['qcow2', 'raw', 'vmdk', 'vpc', 'vhdx', 'vdi'])(
    'tells how a %s begins for a guest',
    async (format) => {
      await under.make(at('disk'), format, diskBytes());
      expect(Buffer.from((await head(at('disk'))) ?? []).equals(diskBytes().subarray(0, 65_536))).toBe(true);
    },
  );

  // Skipped without root: then the user is the daemon's own, who may.
  it.skipIf(!isRoot)('copies no disk for it that the confined user may not read', async () => {
    await under.make(at('disk'), 'qcow2', diskBytes());
    await chmod(at('disk'), 0o600);
    expect(await head(at('disk'))).toBeUndefined();
    expect(await under.runs()).toEqual([]);
  });

  it('finds a disk where it is in a package, unpacks nothing, and converts it from there', async () => {
    await under.make(at('disk'), 'vmdk', diskBytes());
    const machine = await openPackage({ 'web.vmdk': await readFile(at('disk')) });
    const path = machine.resolve('web.vmdk');
    const disk = await openDisk(path);
    expect(disk).toMatchObject({ format: 'vmdk', virtualSizeBytes: 4 * MIB });
    expect(await under.transfer.list()).toEqual([]);
    const found = await under.transfer.head(disk, 64 * 1024, workOf());
    expect(Buffer.from(found ?? []).equals(diskBytes().subarray(0, 65_536))).toBe(true);
    await under.transfer.toLayer(disk, under.pool, layer, workOf());
    const stored = await under.contents(under.pool.locate(layer).location.path, 'qcow2');
    expect(stored.equals(diskBytes())).toBe(true);
  });

  it('finds one whose size is no whole number of sectors, as compressed qcow2 files have', async () => {
    await under.make(at('disk'), 'qcow2', diskBytes());
    const odd = Buffer.concat([await readFile(at('disk')), Buffer.alloc(100)]);
    const machine = await openPackage({ 'web.qcow2': odd, 'last.nvram': Buffer.alloc(10, 1) });
    const found = await head(machine.resolve('web.qcow2'));
    expect(Buffer.from(found ?? []).equals(diskBytes().subarray(0, 65_536))).toBe(true);
  });

  it.each(['monolithicFlat', 'twoGbMaxExtentFlat', 'twoGbMaxExtentSparse'])(
    'takes a %s in a package for a disk, and its extents out to convert it',
    async (subformat) => {
      await writeFile(at('disk'), diskBytes());
      const words = ['convert', '-f', 'raw', '-O', 'vmdk', '-o', `subformat=${subformat}`];
      await run('qemu-img', [...words, at('disk'), at('web.vmdk')]);
      const names = (await readdir(under.folder)).filter((name) => name.startsWith('web'));
      expect(names.length).toBeGreaterThan(1);
      const files = await Promise.all(names.map(async (name) => [name, await readFile(at(name))] as const));
      expect(Buffer.from((await head(at('web.vmdk'))) ?? []).length).toBe(65_536);
      const machine = await openPackage(Object.fromEntries(files));
      const disk = await openDisk(machine.resolve('web.vmdk'));
      expect(await under.transfer.head(disk, 64 * 1024, workOf())).toBeUndefined();
      await under.transfer.toLayer(disk, under.pool, layer, workOf());
      const stored = await under.contents(under.pool.locate(layer).location.path, 'qcow2');
      expect(stored.equals(diskBytes())).toBe(true);
    },
  );

  it('refuses a hostile disk in a package before any program has seen it', async () => {
    await under.make(at('disk'), 'qcow2', diskBytes());
    const bytes = await readFile(at('disk'));
    bytes.writeUInt32BE(40, 20);
    const machine = await openPackage({ 'web.qcow2': bytes });
    await expect(openDisk(machine.resolve('web.qcow2'))).rejects.toMatchObject({
      code: 'disk.refused',
      details: { reason: 'absurd-geometry' },
    });
    expect(await under.runs()).toEqual([]);
  });

  it('says how a disk in a package is compressed, and unpacks it when asked', async () => {
    await under.make(at('disk'), 'qcow2', diskBytes());
    const machine = await openPackage({
      'first.gz': Buffer.from('x'),
      'web.gz': gzipSync(await readFile(at('disk'))),
    });
    const path = machine.resolve('web.gz');
    expect(await under.transfer.compressionOf({ path })).toBe('gzip');
    expect(await openDisk(path)).toMatchObject({ format: 'qcow2', virtualSizeBytes: 4 * MIB });
  });

  it('forgets where the files of a package are when it is closed', async () => {
    const machine = await openPackage({ 'web.raw': Buffer.alloc(MIB) });
    const path = machine.resolve('web.raw');
    await held.pop()?.[Symbol.asyncDispose]();
    await expect(openDisk(path)).rejects.toMatchObject({ code: 'disk.not_found' });
    expect(await readdir(under.folder)).toContain('web.ova');
  });
});
