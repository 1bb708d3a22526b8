// What every driver of VolumePool promises: actions rely on this and on nothing else. Data are written and read back by QEMU.
import { afterEach, describe, expect, it } from 'vitest';
import { volumePoolAccess } from './volume-pool-access.contract.ts';
import { volumePoolCopying } from './volume-pool-copying.contract.ts';
import { volumePoolFull } from './volume-pool-full.contract.ts';
import {
  benchEach,
  idOf,
  MIB,
  owner,
  poolId,
  type VolumePoolHarness,
} from './volume-pool-harness.contract.ts';
import { volumePoolGrowing, volumePoolLayers } from './volume-pool-layers.contract.ts';
import { volumePoolOverlays } from './volume-pool-overlays.contract.ts';
import { volumePoolPulling } from './volume-pool-pulling.contract.ts';

export type {
  InterruptedWork,
  Pattern,
  SmallStorage,
  VolumePoolHarness,
} from './volume-pool-harness.contract.ts';

export function volumePoolContract(name: string, create: () => Promise<VolumePoolHarness>): void {
  describe(`a volume pool: ${name}`, () => {
    describe('taking the storage', () => taking(create));
    describe('layers', () => volumePoolLayers(benchEach(create)));
    describe('overlays', () => volumePoolOverlays(benchEach(create)));
    describe('growing', () => volumePoolGrowing(benchEach(create)));
    describe('who may open a layer', () => volumePoolAccess(benchEach(create)));
    describe('copying', () => volumePoolCopying(benchEach(create)));
    describe('pulling', () => volumePoolPulling(benchEach(create)));
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
    const pool = await driver(owner).open({ id: poolId, path });
    const { capacityBytes, availableBytes } = await pool.capacity();
    expect(capacityBytes).toBeGreaterThan(0);
    expect(pool.fileSystem).not.toBe('');
    expect(availableBytes).toBeGreaterThan(0);
    expect(availableBytes).toBeLessThanOrEqual(capacityBytes);
  });
}
