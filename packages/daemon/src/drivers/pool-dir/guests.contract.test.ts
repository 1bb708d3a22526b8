// What guests do to the files of their layers: hold them open, and write into them what QEMU should never have to read.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { DiskSource, StoredLayer } from '@wirt/core';
import { describe, expect, it } from 'vitest';
import { isOpen, toolMissing } from './harness.fixture.ts';
import { nestedNode } from './nodes.ts';
import { createScene, diskOf, type Harness, idOf, layer, MIB, other, pathOf } from './scene.fixture.ts';

const raw: StoredLayer = { ...layer, layer: idOf(4), format: 'raw' };
let harness: Harness;
const { openPool, work } = createScene((made) => {
  harness = made;
});

/** Has the disk open for writing, as a running guest has. */
async function hold(disk: DiskSource): Promise<AsyncDisposable> {
  const image = `json:${JSON.stringify(nestedNode(disk))}`;
  const child = spawn('qemu-io', ['-c', 'sleep 50000', image], { stdio: 'ignore' });
  const ended = once(child, 'exit');
  const deadline = performance.now() + 10_000;
  while (!(await isOpen(disk.layers.at(-1)?.location.path ?? '')))
    if (performance.now() > deadline) throw new Error('qemu-io did not open the image.');
  return {
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

// Needs QEMU’s tools.
describe.skipIf(toolMissing)('a layer that a guest has open', () => {
  const locked = { code: 'volume.locked', hint: expect.stringContaining('fuser') };

  it('is neither grown nor pulled into nor copied from', async () => {
    const pool = await openPool();
    await pool.create(layer);
    await pool.createOverlay(other, diskOf(pool, layer));
    const chain = diskOf(pool, layer, other);
    const copy = { ...layer, layer: idOf(6) };
    {
      await using _guest = await hold(chain);
      await expect(pool.grow(other, 32 * MIB)).rejects.toMatchObject(locked);
      await expect(pool.pull(chain, undefined, work())).rejects.toMatchObject(locked);
      await expect(pool.copy(copy, chain, work())).rejects.toMatchObject(locked);
    }
    expect(await harness.sizeBytes(chain)).toBe(16 * MIB);
    expect(await pool.list()).toHaveLength(2);
    await pool.grow(other, 32 * MIB);
  });
});

// Needs QEMU’s tools.
describe.skipIf(toolMissing)('a layer that a hostile guest has written', () => {
  it('is not opened by anything when its header leads elsewhere', async () => {
    const pool = await openPool();
    await pool.create(layer);
    await pool.create(raw);
    await pool.createOverlay(other, diskOf(pool, layer));
    {
      await using file = await open(pathOf(pool, layer), 'r+');
      const features = Buffer.alloc(8);
      features.writeBigUInt64BE(4n);
      await file.write(features, 0, 8, 72);
    }
    const refused = { code: 'volume.failed', message: expect.stringContaining('data are in another file') };
    const { identity } = harness.confinement;
    for (const to of ['shared', { identity, write: true }, { identity, write: false }] as const)
      await expect(pool.grant(layer, to)).rejects.toMatchObject(refused);
    await pool.grant(layer, undefined);
    const copy = { ...layer, layer: idOf(6) };
    const chain = diskOf(pool, layer, other);
    await expect(pool.copy(copy, chain, work())).rejects.toMatchObject(refused);
    await expect(pool.pull(chain, undefined, work())).rejects.toMatchObject(refused);
    await expect(pool.createOverlay(copy, diskOf(pool, layer))).rejects.toMatchObject(refused);
    await expect(pool.grow(layer, 32 * MIB)).rejects.toMatchObject(refused);
    expect(await pool.list()).toHaveLength(3);
  });

  it('is read as what it is said to be, whatever its header names as its backing file', async () => {
    const pool = await openPool();
    const secret = join(harness.path, 'secret');
    await writeFile(secret, Buffer.alloc(MIB, 9), { mode: 0o644 });
    await pool.create(layer);
    execFileSync('qemu-img', ['rebase', '-u', '-f', 'qcow2', '-b', secret, '-F', 'raw', pathOf(pool, layer)]);
    await pool.copy(other, diskOf(pool, layer), work());
    expect(await harness.reads(diskOf(pool, other), { offset: 0, length: MIB, byte: 0 })).toBe(true);
  });

  it('stays raw though it begins like a qcow2', async () => {
    const pool = await openPool();
    await pool.create(layer);
    await pool.create(raw);
    const header = (await readFile(pathOf(pool, layer))).subarray(0, 4096);
    {
      await using file = await open(pathOf(pool, raw), 'r+');
      await file.write(header);
    }
    await pool.copy(other, diskOf(pool, raw), work());
    expect(await harness.sizeBytes(diskOf(pool, other))).toBe(16 * MIB);
    await pool.copy({ ...raw, layer: idOf(6) }, diskOf(pool, other), work());
    const back = await readFile(pathOf(pool, { ...raw, layer: idOf(6) }));
    expect(back.subarray(0, 4096).equals(header)).toBe(true);
  });

  it('fails with QEMU’s own words when its tables are garbage, and nothing is left', async () => {
    const pool = await openPool();
    await pool.create(layer);
    await harness.write(diskOf(pool, layer), { offset: 0, length: MIB, byte: 1 });
    await truncate(pathOf(pool, layer), 3 * 65_536);
    {
      await using file = await open(pathOf(pool, layer), 'r+');
      await file.write(Buffer.alloc(8, 0xff), 0, 8, 40);
    }
    await expect(pool.copy(other, diskOf(pool, layer), work())).rejects.toMatchObject({
      code: 'volume.failed',
      cause: { message: expect.stringMatching(/qemu-img convert: .*L1 table/i) },
    });
    expect(await pool.list()).toHaveLength(1);
  });
});
