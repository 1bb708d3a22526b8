// What every driver of VolumePool promises: actions rely on this and on nothing else. Data are written and read back by QEMU.
import { afterEach, describe, expect, it } from 'vitest';
import { volumePoolCopying } from './volume-pool-copying.contract.ts';
import { volumePoolFull } from './volume-pool-full.contract.ts';
import {
  type Bench,
  benchEach,
  idOf,
  MIB,
  owner,
  poolId,
  type VolumePoolHarness,
} from './volume-pool-harness.contract.ts';

export type {
  InterruptedWork,
  Pattern,
  SmallStorage,
  VolumePoolHarness,
} from './volume-pool-harness.contract.ts';

const formats = ['qcow2', 'raw'] as const;

export function volumePoolContract(name: string, create: () => Promise<VolumePoolHarness>): void {
  describe(`a volume pool: ${name}`, () => {
    describe('taking the storage', () => taking(create));
    describe('layers', () => layers(benchEach(create)));
    describe('overlays', () => overlays(benchEach(create)));
    describe('growing', () => growing(benchEach(create)));
    describe('who may open a layer', () => grants(benchEach(create)));
    describe('copying', () => volumePoolCopying(benchEach(create)));
    describe('a full storage', () => volumePoolFull(create));
  });
}

function taking(create: () => Promise<VolumePoolHarness>): void {
  let harness: VolumePoolHarness | undefined;
  const start = async (): Promise<VolumePoolHarness> => {
    harness = await create();
    return harness;
  };
  afterEach(async () => {
    await harness?.[Symbol.asyncDispose]();
    harness = undefined;
  });
  const layer = { volume: idOf(2), layer: idOf(3), format: 'qcow2', sizeBytes: MIB } as const;

  it('finds its volumes again when the daemon is started anew', async () => {
    const { driver, path } = await start();
    const pool = await driver(owner).open({ id: poolId, path });
    expect(await pool.list()).toEqual([]);
    await pool.create(layer);
    const again = await driver(owner).open({ id: poolId, path });
    expect(await again.list()).toEqual([{ volume: layer.volume, layer: layer.layer }]);
    expect(again.locate(layer)).toEqual(pool.locate(layer));
  });

  it('is refused to another wirtd', async () => {
    const { driver, path } = await start();
    await driver(owner).open({ id: poolId, path });
    const opening = driver('bbbb').open({ id: idOf(1), path });
    await expect(opening).rejects.toMatchObject({ code: 'pool.owned', hint: expect.any(String) });
  });

  it('is given to one of two that want it at once', async () => {
    const { driver, path } = await start();
    const owners = ['aaaa', 'bbbb', 'cccc', 'dddd'];
    const opened = await Promise.allSettled(
      owners.map((tag, index) => driver(tag).open({ id: idOf(index), path })),
    );
    expect(opened.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const one of opened)
      if (one.status === 'rejected') expect(one.reason).toMatchObject({ code: 'pool.owned' });
  });

  it('is refused to a second pool of the same wirtd', async () => {
    const { driver, path } = await start();
    const ours = driver(owner);
    await ours.open({ id: poolId, path });
    await expect(ours.open({ id: idOf(1), path })).rejects.toMatchObject({ code: 'pool.owned' });
  });

  it('is taken again after a wirtd died while it made a pool there', async () => {
    const { driver, path } = await start();
    await driver(owner).open({ id: poolId, path });
    const pool = await driver(owner).open({ id: idOf(1), path });
    await pool.create(layer);
    await expect(driver(owner).open({ id: poolId, path })).rejects.toMatchObject({ code: 'pool.owned' });
  });

  it('may be taken by another once it was given up, with the volumes that lie there', async () => {
    const { driver, path } = await start();
    const pool = await driver(owner).open({ id: poolId, path });
    await pool.create(layer);
    await pool.release();
    const other = await driver('bbbb').open({ id: idOf(1), path });
    expect(await other.list()).toEqual([{ volume: layer.volume, layer: layer.layer }]);
    await pool.release();
    await expect(driver(owner).open({ id: poolId, path })).rejects.toMatchObject({ code: 'pool.owned' });
  });

  it('tells how large it is and what is free', async () => {
    const { driver, path } = await start();
    const { capacityBytes, availableBytes } = await (
      await driver(owner).open({ id: poolId, path })
    ).capacity();
    expect(capacityBytes).toBeGreaterThan(0);
    expect(availableBytes).toBeGreaterThan(0);
    expect(availableBytes).toBeLessThanOrEqual(capacityBytes);
  });
}

function layers(bench: () => Bench): void {
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

function overlays(bench: () => Bench): void {
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

function growing(bench: () => Bench): void {
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

function grants(bench: () => Bench): void {
  const noOthers = 'nobody can become another user here';

  it('lets the guest that has it write, and no other guest open it', async ({ skip }) => {
    const { harness, pool, layer } = bench();
    if (harness.guests === undefined) return skip(noOthers);
    const [guest, other] = harness.guests;
    const made = layer();
    await pool.create(made);
    const node = pool.locate(made);
    for (const one of harness.guests) expect(await harness.canOpen(one, node, 'read')).toBe(false);
    await pool.grant(made, { identity: guest, write: true });
    expect(await harness.canOpen(guest, node, 'write')).toBe(true);
    expect(await harness.canOpen(guest, node, 'read')).toBe(true);
    expect(await harness.canOpen(other, node, 'read')).toBe(false);
  });

  it('lets a guest read what is frozen, and not write', async ({ skip }) => {
    const { harness, pool, layer } = bench();
    if (harness.guests === undefined) return skip(noOthers);
    const [guest, other] = harness.guests;
    const made = layer({ format: 'raw' });
    await pool.create(made);
    await pool.grant(made, { identity: guest, write: false });
    expect(await harness.canOpen(guest, pool.locate(made), 'read')).toBe(true);
    expect(await harness.canOpen(guest, pool.locate(made), 'write')).toBe(false);
    expect(await harness.canOpen(other, pool.locate(made), 'read')).toBe(false);
  });

  it('lets every guest read what several use, and none write', async ({ skip }) => {
    const { harness, pool, layer } = bench();
    if (harness.guests === undefined) return skip(noOthers);
    const made = layer();
    await pool.create(made);
    await pool.grant(made, { identity: harness.guests[0], write: true });
    await pool.grant(made, 'shared');
    for (const guest of harness.guests) {
      expect(await harness.canOpen(guest, pool.locate(made), 'read')).toBe(true);
      expect(await harness.canOpen(guest, pool.locate(made), 'write')).toBe(false);
    }
  });

  it('takes a layer from one guest when it goes to another, and from all when the daemon takes it back', async ({
    skip,
  }) => {
    const { harness, pool, disk, filled } = bench();
    if (harness.guests === undefined) return skip(noOthers);
    const [guest, other] = harness.guests;
    const made = await filled({ offset: 0, length: MIB, byte: 1 });
    await pool.grant(made, { identity: guest, write: true });
    await pool.grant(made, { identity: other, write: true });
    expect(await harness.canOpen(guest, pool.locate(made), 'read')).toBe(false);
    expect(await harness.canOpen(other, pool.locate(made), 'write')).toBe(true);
    await pool.grant(made, 'shared');
    await pool.grant(made, undefined);
    for (const one of harness.guests)
      expect(await harness.canOpen(one, pool.locate(made), 'read')).toBe(false);
    expect(await harness.reads(disk(made), { offset: 0, length: MIB, byte: 1 })).toBe(true);
  });

  it('misses a layer only when something is to be granted', async () => {
    const { harness, pool, layer } = bench();
    const missing = layer();
    await pool.grant(missing, undefined);
    const { identity } = harness.confinement;
    for (const to of ['shared', { identity, write: true }] as const)
      await expect(pool.grant(missing, to)).rejects.toMatchObject({ code: 'volume.failed' });
  });
}
