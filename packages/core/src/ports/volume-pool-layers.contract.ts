// The part of the suite of VolumePool about single layers: making, finding, removing and growing them.
import { expect, it } from 'vitest';
import { type Bench, idOf, MIB } from './volume-pool-harness.contract.ts';

const formats = ['qcow2', 'raw'] as const;

export function volumePoolLayers(bench: () => Bench): void {
  it.each(formats)('makes an empty %s layer of the size that was asked for', async (format) => {
    const { harness, pool, layer, disk } = bench();
    const made = layer({ format, sizeBytes: 3 * MIB + 512 });
    await pool.create(made);
    expect(await harness.sizeBytes(disk(made))).toBe(made.sizeBytes);
    expect(await harness.reads(disk(made), { offset: 0, length: made.sizeBytes, byte: 0 })).toBe(true);
    expect(await harness.isSound(disk(made))).toBe(true);
    const last = { offset: made.sizeBytes - 512, length: 512, byte: 7 };
    await harness.write(disk(made), last);
    expect(await harness.reads(disk(made), last)).toBe(true);
  });

  it('makes the largest layer in no space', async () => {
    const { harness, pool, layer, disk } = bench();
    const made = layer({ sizeBytes: 64 * 1024 * 1024 * MIB });
    await pool.create(made);
    expect(await harness.sizeBytes(disk(made))).toBe(made.sizeBytes);
    const last = { offset: made.sizeBytes - MIB, length: MIB, byte: 7 };
    await harness.write(disk(made), last);
    expect(await harness.reads(disk(made), last)).toBe(true);
    expect(await pool.allocatedBytes([made])).toBeLessThan(8 * MIB);
  });

  it.each(formats)(
    'makes a layer anew in place of one that is there, of whatever format: %s',
    async (format) => {
      const { harness, pool, layer, disk, filled } = bench();
      const old = await filled({ offset: 0, length: MIB, byte: 1 });
      const made = layer({ ...old, format });
      await pool.create(made);
      expect(await harness.reads(disk(made), { offset: 0, length: 2 * MIB, byte: 0 })).toBe(true);
      expect(await pool.list()).toEqual([{ volume: made.volume, layer: made.layer }]);
    },
  );

  it('lists every layer that is there', async () => {
    const { pool, layer } = bench();
    const volume = idOf(500);
    const made = [layer({ volume }), layer({ volume, format: 'raw' }), layer()];
    for (const one of made) await pool.create(one);
    const refs = made.map((one) => ({ volume: one.volume, layer: one.layer }));
    const listed = await pool.list();
    expect(listed).toHaveLength(3);
    expect(listed).toEqual(expect.arrayContaining(refs));
  });

  it('removes a layer, once or twice, and no other', async () => {
    const { harness, pool, layer, disk, filled } = bench();
    const pattern = { offset: 0, length: MIB, byte: 5 };
    const kept = await filled(pattern);
    const gone = layer({ volume: kept.volume, format: 'raw' });
    await pool.create(gone);
    await pool.remove(gone);
    await pool.remove(gone);
    await pool.remove(layer());
    expect(await pool.list()).toEqual([{ volume: kept.volume, layer: kept.layer }]);
    expect(await harness.reads(disk(kept), pattern)).toBe(true);
  });

  it('makes and removes layers of one volume at the same time', async () => {
    const { pool, layer } = bench();
    const volume = idOf(500);
    const all = Array.from({ length: 20 }, () => layer({ volume }));
    await Promise.all(
      all.map(async (one, index) => {
        await pool.create(one);
        if (index % 2 === 0) await pool.remove(one);
      }),
    );
    expect(await pool.list()).toHaveLength(10);
  });

  it('takes no name that leads elsewhere', async () => {
    const { pool, layer } = bench();
    for (const bad of [
      '',
      '..',
      '../../etc',
      'a/b',
      'x'.repeat(26),
      `${idOf(1)}/..`,
      `01J9ZK3W8Y7Q5T2R4M6N8P${'\0'}001`,
    ]) {
      for (const changes of [{ volume: bad }, { layer: bad }]) {
        await expect(pool.create(layer(changes)), bad).rejects.toMatchObject({ code: 'internal' });
        await expect(pool.remove(layer(changes)), bad).rejects.toMatchObject({ code: 'internal' });
      }
    }
    expect(await pool.list()).toEqual([]);
  });

  it('tells the space that layers take, which grows with what is written', async () => {
    const { harness, pool, layer, disk } = bench();
    const [one, other] = [layer(), layer({ format: 'raw' })];
    expect(await pool.allocatedBytes([one, other])).toBe(0);
    await pool.create(one);
    await pool.create(other);
    const empty = await pool.allocatedBytes([one, other]);
    expect(empty).toBeLessThan(2 * MIB);
    await harness.write(disk(one), { offset: 0, length: 8 * MIB, byte: 1 });
    await harness.write(disk(other), { offset: MIB, length: 4 * MIB, byte: 1 });
    const written = await pool.allocatedBytes([one, other]);
    expect(written).toBeGreaterThanOrEqual(12 * MIB);
    expect(written).toBeLessThan(16 * MIB);
    expect(await pool.allocatedBytes([one])).toBeGreaterThanOrEqual(8 * MIB);
    expect(await pool.allocatedBytes([])).toBe(0);
  });
}

export function volumePoolGrowing(bench: () => Bench): void {
  it.each(formats)('makes a %s layer larger, keeps what was there, and has zeros behind', async (format) => {
    const { harness, pool, disk, filled } = bench();
    const pattern = { offset: 15 * MIB, length: MIB, byte: 9 };
    const layer = await filled(pattern, { format });
    // Past what one entry of a qcow2's first table covers, and to an odd size.
    for (const sizeBytes of [17 * MIB + 512, 600 * MIB, 3 * 1024 * 1024 * MIB]) {
      await pool.grow(layer, sizeBytes);
      const grown = disk({ ...layer, sizeBytes });
      expect(await harness.sizeBytes(grown)).toBe(sizeBytes);
      expect(await harness.reads(grown, pattern)).toBe(true);
      expect(await harness.reads(grown, { offset: sizeBytes - MIB, length: MIB, byte: 0 })).toBe(true);
      expect(await harness.isSound(grown)).toBe(true);
    }
    const last = { offset: 3 * 1024 * 1024 * MIB - MIB, length: MIB, byte: 4 };
    await harness.write(disk(layer), last);
    expect(await harness.reads(disk(layer), last)).toBe(true);
    expect(await harness.isSound(disk(layer))).toBe(true);
  });

  it('grows a layer that lies on another, which stays as large as it was', async () => {
    const { harness, pool, disk, filled, overlay } = bench();
    const base = await filled({ offset: 0, length: 16 * MIB, byte: 1 });
    const top = await overlay([base]);
    await pool.grow(top, 20 * MIB);
    expect(await harness.sizeBytes(disk(base, top))).toBe(20 * MIB);
    expect(await harness.sizeBytes(disk(base))).toBe(16 * MIB);
    expect(await harness.reads(disk(base, top), { offset: 0, length: 16 * MIB, byte: 1 })).toBe(true);
    expect(await harness.reads(disk(base, top), { offset: 16 * MIB, length: 4 * MIB, byte: 0 })).toBe(true);
  });

  it.each(formats)('never makes a %s layer smaller, and takes its present size', async (format) => {
    const { harness, pool, disk, filled } = bench();
    const pattern = { offset: 15 * MIB, length: MIB, byte: 9 };
    const layer = await filled(pattern, { format });
    await pool.grow(layer, layer.sizeBytes);
    await expect(pool.grow(layer, MIB)).rejects.toMatchObject({ code: 'volume.failed' });
    expect(await harness.reads(disk(layer), pattern)).toBe(true);
  });

  it('says which layer is missing', async () => {
    const { pool, layer } = bench();
    const missing = layer();
    await expect(pool.grow(missing, 32 * MIB)).rejects.toMatchObject({
      code: 'volume.failed',
      message: expect.stringContaining(missing.layer),
    });
  });
}
