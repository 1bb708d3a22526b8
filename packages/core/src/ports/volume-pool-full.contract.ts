// The part of the suite of VolumePool that has no room: a clear error, nothing left, nothing lost.
import { afterEach, beforeEach, expect, it, type TestContext } from 'vitest';
import {
  type Bench,
  benchOf,
  MIB,
  owner,
  poolId,
  type SmallStorage,
  type VolumePoolHarness,
} from './volume-pool-harness.contract.ts';

export function volumePoolFull(create: () => Promise<VolumePoolHarness>): void {
  let harness: VolumePoolHarness;
  beforeEach(async () => {
    harness = await create();
  });
  afterEach(() => harness[Symbol.asyncDispose]());

  async function small({ skip }: TestContext): Promise<Bench & { readonly storage: SmallStorage }> {
    const storage = await harness.smallStorage();
    if (storage === undefined) return skip('no small storage can be had');
    const pool = await harness.driver(owner).open({ id: poolId, path: storage.path });
    return { ...benchOf(harness, pool), storage };
  }
  const full = { code: 'host.storage_full', hint: expect.any(String) };

  it('has as much less free as is written', async (context) => {
    const { pool, filled } = await small(context);
    const before = await pool.capacity();
    await filled({ offset: 0, length: 4 * MIB, byte: 1 });
    const after = await pool.capacity();
    expect(after.capacityBytes).toBe(before.capacityBytes);
    expect(before.availableBytes - after.availableBytes).toBeGreaterThanOrEqual(4 * MIB);
    expect(before.availableBytes - after.availableBytes).toBeLessThan(6 * MIB);
  });

  it('is opened again without room, as by the next daemon', async (context) => {
    const { storage, filled } = await small(context);
    const kept = await filled({ offset: 0, length: MIB, byte: 1 });
    await storage.fill();
    const again = await harness.driver(owner).open({ id: poolId, path: storage.path });
    expect(await again.list()).toEqual([{ volume: kept.volume, layer: kept.layer }]);
  });

  it('makes no layer without room, and leaves nothing of it', async (context) => {
    const { pool, storage, layer, disk, filled, overlay } = await small(context);
    const base = await filled({ offset: 0, length: MIB, byte: 1 });
    await storage.fill();
    const made = layer();
    await expect(pool.create(made)).rejects.toMatchObject(full);
    await expect(overlay([base])).rejects.toMatchObject(full);
    expect(await pool.list()).toEqual([{ volume: base.volume, layer: base.layer }]);
    await storage.makeRoom();
    await pool.create(made);
    expect(await harness.reads(disk(base), { offset: 0, length: MIB, byte: 1 })).toBe(true);
  });

  it.for(['qcow2', 'raw'] as const)(
    'leaves nothing of a %s copy that finds no room',
    async (format, context) => {
      const { pool, layer, disk, filled, work } = await small(context);
      const source = await filled({ offset: 0, length: 6 * MIB, byte: 1 });
      const free = (await pool.capacity()).availableBytes;
      const hog = await filled(
        { offset: 0, length: free - 3 * MIB, byte: 2 },
        { format: 'raw', sizeBytes: 64 * MIB },
      );
      const copy = layer({ format });
      await expect(pool.copy(copy, disk(source), work())).rejects.toMatchObject(full);
      expect(await pool.list()).toHaveLength(2);
      expect(await pool.allocatedBytes([copy])).toBe(0);
      await pool.remove(hog);
      await pool.copy(copy, disk(source), work());
      expect(await harness.reads(disk(copy), { offset: 0, length: 6 * MIB, byte: 1 })).toBe(true);
    },
  );

  it('reads as before when a pull finds no room, and is pulled when there is', async (context) => {
    const { pool, storage, disk, filled, overlay, work } = await small(context);
    context.skip(pool.snapshots === 'native', 'this storage has no chains');
    const base = await filled({ offset: 0, length: 6 * MIB, byte: 1 });
    const top = await overlay([base]);
    const chain = disk(base, top);
    await harness.write(chain, { offset: MIB, length: MIB, byte: 2 });
    const expectAll = async (whole: typeof chain): Promise<void> => {
      expect(await harness.reads(whole, { offset: 0, length: MIB, byte: 1 })).toBe(true);
      expect(await harness.reads(whole, { offset: MIB, length: MIB, byte: 2 })).toBe(true);
      expect(await harness.reads(whole, { offset: 2 * MIB, length: 4 * MIB, byte: 1 })).toBe(true);
      expect(await harness.isSound(whole)).toBe(true);
    };
    await storage.fill();
    await expect(pool.pull(chain, undefined, work())).rejects.toMatchObject(full);
    await expectAll(chain);
    await storage.makeRoom();
    await pool.pull(chain, undefined, work());
    await pool.remove(base);
    await expectAll(disk(top));
  });
}
