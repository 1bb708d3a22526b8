// The part of the suite of VolumePool about who may open a layer.
import { expect, it } from 'vitest';
import { type Bench, MIB } from './volume-pool-harness.contract.ts';

export function volumePoolAccess(bench: () => Bench): void {
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
