// The part of the suite of VolumePool that copies whole layers.
import { expect, it } from 'vitest';
import { type Bench, expectComplete, MIB, owner, poolId, watched } from './volume-pool-harness.contract.ts';

export function volumePoolCopying(bench: () => Bench): void {
  wholeCopies(bench);
  interruptedCopies(bench);
}

function wholeCopies(bench: () => Bench): void {
  it.each([
    ['qcow2', 'qcow2'],
    ['qcow2', 'raw'],
    ['raw', 'qcow2'],
    ['raw', 'raw'],
  ] as const)('makes of %s a %s layer that shares nothing with it', async (from, to) => {
    const { harness, pool, layer, disk, filled, overlay } = bench();
    const base = await filled({ offset: 0, length: 4 * MIB, byte: 1 }, { format: from });
    const middle = await overlay([base]);
    await harness.write(disk(base, middle), { offset: 2 * MIB, length: 4 * MIB, byte: 2 });
    const copy = layer({ format: to });
    const { seen, work } = watched(bench());
    await pool.copy(copy, disk(base, middle), work);
    expectComplete(seen);
    await pool.remove(middle);
    await pool.remove(base);
    for (const [offset, length, byte] of [
      [0, 2, 1],
      [2, 4, 2],
      [6, 10, 0],
    ] as const)
      expect(await harness.reads(disk(copy), { offset: offset * MIB, length: length * MIB, byte })).toBe(
        true,
      );
    expect(await pool.list()).toEqual([{ volume: copy.volume, layer: copy.layer }]);
    expect(await pool.allocatedBytes([copy])).toBeLessThan(8 * MIB);
    expect(await harness.isSound(disk(copy))).toBe(true);
  });

  it('makes the copy as large as was asked for, and writable', async () => {
    const { harness, pool, layer, disk, filled, work } = bench();
    const source = await filled({ offset: 0, length: MIB, byte: 1 });
    const copy = layer({ sizeBytes: 40 * MIB });
    await pool.copy(copy, disk(source), work());
    expect(await harness.sizeBytes(disk(copy))).toBe(40 * MIB);
    await pool.grow(copy, 700 * MIB);
    const last = { offset: 699 * MIB, length: MIB, byte: 3 };
    await harness.write(disk(copy), last);
    expect(await harness.reads(disk(copy), last)).toBe(true);
    expect(await harness.reads(disk(copy), { offset: 0, length: MIB, byte: 1 })).toBe(true);
  });

  it('refuses to make a copy too small, and leaves nothing of it', async () => {
    const { pool, layer, disk, filled, work } = bench();
    const source = await filled({ offset: 0, length: MIB, byte: 1 });
    const copying = pool.copy(layer({ sizeBytes: MIB }), disk(source), work());
    await expect(copying).rejects.toMatchObject({ code: 'volume.failed' });
    expect(await pool.list()).toHaveLength(1);
  });

  it('says what is missing, and leaves nothing', async () => {
    const { pool, layer, disk, work } = bench();
    await expect(pool.copy(layer(), disk(layer()), work())).rejects.toMatchObject({ code: 'volume.failed' });
    expect(await pool.list()).toEqual([]);
  });

  it('leaves everybody’s access as it was', async ({ skip }) => {
    const { harness, pool, layer, disk, filled, overlay, work } = bench();
    if (harness.guests === undefined) return skip('nobody can become another user here');
    const [guest] = harness.guests;
    const { identity } = harness.confinement;
    const shared = await filled({ offset: 0, length: MIB, byte: 1 });
    const guests = await overlay([shared]);
    const own = await overlay([shared, guests]);
    await pool.grant(shared, 'shared');
    await pool.grant(guests, { identity: guest, write: false });
    const copy = layer();
    await Promise.all([
      pool.copy(copy, disk(shared, guests, own), work()),
      pool.copy(layer(), disk(shared, guests, own), work()),
    ]);
    for (const one of [guests, own, copy]) {
      expect(await harness.canOpen(identity, pool.locate(one), 'read')).toBe(false);
      expect(await harness.canOpen(identity, pool.locate(one), 'write')).toBe(false);
    }
    expect(await harness.canOpen(guest, pool.locate(guests), 'read')).toBe(true);
    expect(await harness.canOpen(guest, pool.locate(shared), 'read')).toBe(true);
    expect(await harness.canOpen(guest, pool.locate(copy), 'read')).toBe(false);
  });
}

function interruptedCopies(bench: () => Bench): void {
  const size = 96 * MIB;
  const content = { offset: 0, length: size, byte: 1 };

  it('leaves nothing when it is cancelled in the middle', async () => {
    const { pool, layer, disk, filled, work } = bench();
    const source = await filled(content, { sizeBytes: size });
    const controller = new AbortController();
    const onProgress = (done: number): void => {
      if (done > 0) controller.abort(new Error('no longer wanted'));
    };
    const copying = pool.copy(
      layer({ sizeBytes: size }),
      disk(source),
      work({ signal: controller.signal, onProgress }),
    );
    await expect(copying).rejects.toThrow('no longer wanted');
    expect(await pool.list()).toEqual([{ volume: source.volume, layer: source.layer }]);
  });

  it('does not begin what is cancelled already', async () => {
    const { pool, layer, disk, filled, work } = bench();
    const source = await filled({ ...content, length: MIB });
    const signal = AbortSignal.abort(new Error('no longer wanted'));
    await expect(pool.copy(layer(), disk(source), work({ signal }))).rejects.toThrow('no longer wanted');
    expect(await pool.list()).toHaveLength(1);
  });

  it('is listed when the daemon died in the middle, and is made anew or removed', async () => {
    const { harness, pool, layer, disk, filled, work } = bench();
    const source = await filled(content, { sizeBytes: size });
    const [redone, undone] = [layer({ sizeBytes: size }), layer({ sizeBytes: size })];
    for (const one of [redone, undone])
      await harness.dieDuring(
        owner,
        { id: poolId, path: harness.path },
        { kind: 'copy', layer: one, source: disk(source) },
      );
    const restarted = await harness.driver(owner).open({ id: poolId, path: harness.path });
    expect(await restarted.list()).toHaveLength(3);
    await restarted.copy(redone, disk(source), work());
    await restarted.remove(undone);
    expect(await restarted.list()).toHaveLength(2);
    await pool.remove(source);
    expect(await harness.reads(disk(redone), content)).toBe(true);
  });

  it('leaves no access behind when the daemon died in the middle', async ({ skip }) => {
    const { harness, pool, layer, disk, filled } = bench();
    if (harness.guests === undefined) return skip('nobody can become another user here');
    const source = await filled(content, { sizeBytes: size });
    const copy = layer({ sizeBytes: size });
    await harness.dieDuring(
      owner,
      { id: poolId, path: harness.path },
      { kind: 'copy', layer: copy, source: disk(source) },
    );
    await harness.driver(owner).open({ id: poolId, path: harness.path });
    for (const one of [source, copy])
      expect(await harness.canOpen(harness.confinement.identity, pool.locate(one), 'read')).toBe(false);
  });
}
