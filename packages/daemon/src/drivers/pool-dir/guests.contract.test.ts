// What guests do to the files of their layers: hold them open, and write into them what QEMU should never have to read.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { DiskSource, StoredLayer, VolumePool } from '@wirt/core';
import type { VolumePoolHarness } from '@wirt/core/contract/volume-pool';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createHarness, isOpen, toolMissing } from './harness.fixture.ts';
import { nestedNode } from './nodes.ts';

const MIB = 1024 ** 2;
const idOf = (index: number): string => `01J9ZK3W8Y7Q5T2R4M6N8P${1000 + index}`;
const id = idOf(0);
const layer: StoredLayer = { volume: idOf(1), layer: idOf(2), format: 'qcow2', sizeBytes: 16 * MIB };
const other: StoredLayer = { ...layer, layer: idOf(3) };
const raw: StoredLayer = { ...layer, layer: idOf(4), format: 'raw' };

let harness: VolumePoolHarness;

beforeEach(async () => {
  harness = await createHarness();
});
afterEach(() => harness[Symbol.asyncDispose]());

const openPool = (path = harness.path): Promise<VolumePool> => harness.driver('aaaa').open({ id, path });
const work = () => ({
  confinement: harness.confinement,
  signal: AbortSignal.timeout(50_000),
  onProgress: () => {},
});
const pathOf = (pool: VolumePool, one: StoredLayer): string => pool.locate(one).location.path;
const diskOf = (pool: VolumePool, ...layers: StoredLayer[]): DiskSource => ({
  layers: layers.map((one) => pool.locate(one)),
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
