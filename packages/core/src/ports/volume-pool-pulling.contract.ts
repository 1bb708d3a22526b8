// The part of the suite of VolumePool that copies into a layer what it reads from those under it.
import { expect, it } from 'vitest';
import type { DiskSource } from '../domain/disk-source.ts';
import type { StoredLayer } from './volume-pool.ts';
import { type Bench, expectComplete, MIB, owner, poolId, watched } from './volume-pool-harness.contract.ts';

export function volumePoolPulling(bench: () => Bench): void {
  pulls(bench);
  interruptedPulls(bench);
}

interface Stack {
  readonly base: StoredLayer;
  readonly middle: StoredLayer;
  readonly upper: StoredLayer;
  readonly top: StoredLayer;
  readonly chain: DiskSource;
}

/** Four layers, each with 2 MiB of its own at the place of its number, from 0 to 3, hiding half of what lies under it. */
async function stack({ harness, disk, filled, overlay }: Bench): Promise<Stack> {
  const base = await filled({ offset: 0, length: 2 * MIB, byte: 1 }, { sizeBytes: 8 * MIB });
  const middle = await overlay([base]);
  await harness.write(disk(base, middle), { offset: MIB, length: 2 * MIB, byte: 2 });
  const upper = await overlay([base, middle], { sizeBytes: 12 * MIB });
  await harness.write(disk(base, middle, upper), { offset: 2 * MIB, length: 2 * MIB, byte: 3 });
  const top = await overlay([base, middle, upper], { sizeBytes: 16 * MIB });
  const chain = disk(base, middle, upper, top);
  await harness.write(chain, { offset: 3 * MIB, length: 2 * MIB, byte: 4 });
  return { base, middle, upper, top, chain };
}

async function expectStack({ harness }: Bench, disk: DiskSource): Promise<void> {
  for (const [offset, length, byte] of [
    [0, 1, 1],
    [1, 1, 2],
    [2, 1, 3],
    [3, 2, 4],
    [5, 11, 0],
  ] as const)
    expect(await harness.reads(disk, { offset: offset * MIB, length: length * MIB, byte })).toBe(true);
  expect(await harness.isSound(disk)).toBe(true);
}

function pulls(bench: () => Bench): void {
  it('takes layers out of the middle of a chain', async ({ skip }) => {
    const { pool, disk } = bench();
    skip(pool.snapshots === 'native', 'this storage has no chains');
    const { base, middle, upper, top, chain } = await stack(bench());
    const { seen, work } = watched(bench());
    await pool.pull(chain, disk(base), work);
    expectComplete(seen);
    await expectStack(bench(), chain);
    await pool.remove(upper);
    await pool.remove(middle);
    await expectStack(bench(), disk(base, top));
    expect(await pool.allocatedBytes([top])).toBeLessThan(6 * MIB);
  });

  it('makes a layer need nothing', async ({ skip }) => {
    const { pool, disk, work } = bench();
    skip(pool.snapshots === 'native', 'this storage has no chains');
    const { base, middle, upper, top, chain } = await stack(bench());
    await pool.pull(chain, undefined, work());
    for (const one of [upper, middle, base]) await pool.remove(one);
    await expectStack(bench(), disk(top));
  });

  it('does it again, and where there is nothing to do', async ({ skip }) => {
    const { pool, disk, work } = bench();
    skip(pool.snapshots === 'native', 'this storage has no chains');
    const { base, middle, upper, top, chain } = await stack(bench());
    await pool.pull(chain, disk(base, middle, upper), work());
    await pool.pull(chain, disk(base, middle), work());
    await pool.pull(chain, disk(base, middle), work());
    await pool.pull(disk(base, middle, top), disk(base), work());
    await pool.pull(disk(base, top), undefined, work());
    await pool.pull(disk(top), undefined, work());
    await expectStack(bench(), disk(top));
  });

  it('leaves everybody’s access as it was', async ({ skip }) => {
    const { harness, pool, disk, work } = bench();
    skip(pool.snapshots === 'native', 'this storage has no chains');
    if (harness.guests === undefined) return skip('nobody can become another user here');
    const { base, middle, top, chain } = await stack(bench());
    await pool.grant(base, 'shared');
    await pool.grant(middle, { identity: harness.guests[0], write: false });
    await pool.pull(chain, disk(base), work());
    for (const one of [middle, top])
      expect(await harness.canOpen(harness.confinement.identity, pool.locate(one), 'read')).toBe(false);
    expect(await harness.canOpen(harness.guests[0], pool.locate(middle), 'read')).toBe(true);
    expect(await harness.canOpen(harness.guests[0], pool.locate(top), 'read')).toBe(false);
  });
}

function interruptedPulls(bench: () => Bench): void {
  const size = 128 * MIB;

  /** A base full of 1, on it a layer with 2 in the second half, and an empty one. */
  async function tall({ harness, disk, filled, overlay }: Bench) {
    const base = await filled({ offset: 0, length: size, byte: 1 }, { sizeBytes: size });
    const middle = await overlay([base]);
    await harness.write(disk(base, middle), { offset: size / 2, length: size / 2, byte: 2 });
    const top = await overlay([base, middle]);
    return { base, middle, top, chain: disk(base, middle, top) };
  }
  async function expectTall({ harness }: Bench, disk: DiskSource): Promise<void> {
    expect(await harness.reads(disk, { offset: 0, length: size / 2, byte: 1 })).toBe(true);
    expect(await harness.reads(disk, { offset: size / 2, length: size / 2, byte: 2 })).toBe(true);
  }

  it('reads as before when a pull was cancelled, and can be pulled again', async ({ skip }) => {
    const { pool, disk, work } = bench();
    skip(pool.snapshots === 'native', 'this storage has no chains');
    const { top, chain } = await tall(bench());
    const controller = new AbortController();
    const pulling = pool.pull(chain, undefined, work({ signal: controller.signal }));
    const reason = new Error('no longer wanted');
    const timer = setInterval(() => {
      void pool.allocatedBytes([top]).then((bytes) => {
        if (bytes > 4 * MIB) controller.abort(reason);
      });
    }, 1);
    await expect(pulling.finally(() => clearInterval(timer))).rejects.toBe(reason);
    await expectTall(bench(), chain);
    await pool.pull(chain, undefined, work());
    await expectTall(bench(), disk(top));
  });

  it('reads as before when the daemon died while it pulled, and can be pulled again', async ({ skip }) => {
    const { harness, pool, disk, work } = bench();
    skip(pool.snapshots === 'native', 'this storage has no chains');
    const { base, middle, top, chain } = await tall(bench());
    const place = { id: poolId, path: harness.path };
    for (const onto of [disk(base), undefined]) {
      await harness.dieDuring(owner, place, { kind: 'pull', chain, base: onto });
      await expectTall(bench(), chain);
    }
    const restarted = await harness.driver(owner).open(place);
    await restarted.pull(chain, undefined, work());
    await restarted.remove(middle);
    await restarted.remove(base);
    await expectTall(bench(), disk(top));
    expect(await restarted.list()).toEqual([{ volume: top.volume, layer: top.layer }]);
  });
}
