// The part of the suite of VolumePool about layers that lie on others, and about moments that are kept.
import { expect, it } from 'vitest';
import { type Bench, idOf, MIB } from './volume-pool-harness.contract.ts';

const formats = ['qcow2', 'raw'] as const;

export function volumePoolOverlays(bench: () => Bench): void {
  it.each(formats)('reads as the %s layer under it until it is written', async (format) => {
    const { harness, disk, filled, overlay } = bench();
    const below = await filled({ offset: MIB, length: 2 * MIB, byte: 1 }, { format });
    const top = await overlay([below]);
    const whole = disk(below, top);
    expect(await harness.reads(whole, { offset: MIB, length: 2 * MIB, byte: 1 })).toBe(true);
    await harness.write(whole, { offset: 2 * MIB, length: 512, byte: 2 });
    expect(await harness.reads(whole, { offset: MIB, length: MIB, byte: 1 })).toBe(true);
    expect(await harness.reads(whole, { offset: 2 * MIB, length: 512, byte: 2 })).toBe(true);
    expect(await harness.reads(whole, { offset: 2 * MIB + 512, length: MIB - 512, byte: 1 })).toBe(true);
    expect(await harness.reads(disk(below), { offset: MIB, length: 2 * MIB, byte: 1 })).toBe(true);
    expect(await harness.isSound(whole)).toBe(true);
  });

  it('takes no space of what lies under it', async () => {
    const { pool, filled, overlay } = bench();
    const below = await filled({ offset: 0, length: 8 * MIB, byte: 1 });
    expect(await pool.allocatedBytes([await overlay([below])])).toBeLessThan(MIB);
  });

  it('may be larger than what lies under it, and reads zeros there', async () => {
    const { harness, disk, filled, overlay } = bench();
    const below = await filled({ offset: 0, length: 4 * MIB, byte: 1 }, { sizeBytes: 4 * MIB });
    const top = await overlay([below], { sizeBytes: 9 * MIB });
    expect(await harness.sizeBytes(disk(below, top))).toBe(9 * MIB);
    expect(await harness.reads(disk(below, top), { offset: 0, length: 4 * MIB, byte: 1 })).toBe(true);
    expect(await harness.reads(disk(below, top), { offset: 4 * MIB, length: 5 * MIB, byte: 0 })).toBe(true);
  });

  it('is refused when it would be smaller than what lies under it', async () => {
    const { pool, filled, overlay } = bench();
    const below = await filled({ offset: 0, length: MIB, byte: 1 });
    const making = overlay([below], { sizeBytes: below.sizeBytes - 512 });
    await expect(making).rejects.toMatchObject({ code: 'volume.failed' });
    expect(await pool.list()).toHaveLength(1);
  });

  it('lies on overlays, and two on one, each with its own data', async () => {
    const { harness, disk, filled, overlay } = bench();
    const base = await filled({ offset: 0, length: 3 * MIB, byte: 1 });
    const middle = await overlay([base]);
    await harness.write(disk(base, middle), { offset: MIB, length: MIB, byte: 2 });
    const [one, other] = [await overlay([base, middle]), await overlay([base, middle])];
    await harness.write(disk(base, middle, one), { offset: 2 * MIB, length: MIB, byte: 3 });
    for (const [offset, byte] of [
      [0, 1],
      [MIB, 2],
      [2 * MIB, 3],
    ] as const)
      expect(await harness.reads(disk(base, middle, one), { offset, length: MIB, byte })).toBe(true);
    expect(await harness.reads(disk(base, middle, other), { offset: 2 * MIB, length: MIB, byte: 1 })).toBe(
      true,
    );
  });

  it('has a hundred at once on one layer', async () => {
    const { harness, pool, disk, filled, overlay } = bench();
    const base = await filled({ offset: 0, length: MIB, byte: 1 });
    const tops = await Promise.all(Array.from({ length: 100 }, () => overlay([base])));
    expect(await pool.list()).toHaveLength(101);
    expect(await harness.reads(disk(base, tops[99] ?? base), { offset: 0, length: MIB, byte: 1 })).toBe(true);
  });

  it('is how a moment is kept, or the storage keeps it in place', async ({ skip }) => {
    const { harness, pool, layer, disk, filled } = bench();
    const active = await filled({ offset: 0, length: MIB, byte: 1 });
    const frozen = layer({ ...active, layer: idOf(600) });
    if (pool.snapshots === 'layered') {
      await expect(pool.freeze(active, frozen)).rejects.toMatchObject({ code: 'internal' });
      skip('this storage keeps moments by layers');
    }
    await pool.freeze(active, frozen);
    await harness.write(disk(active), { offset: 0, length: MIB, byte: 2 });
    expect(await harness.reads(disk(frozen), { offset: 0, length: MIB, byte: 1 })).toBe(true);
    expect(await harness.reads(disk(active), { offset: 0, length: MIB, byte: 2 })).toBe(true);
    await pool.remove(frozen);
    expect(await harness.reads(disk(active), { offset: 0, length: MIB, byte: 2 })).toBe(true);
  });
}
