/**
 * Device pools: which devices are split into virtual functions, and how many. The kernel forgets that at every boot; the record
 * does not. All of it runs in the lane of devices.
 */
import type { DevicePool } from '@wirt/api';
import type { PciDevice } from '../domain/devices/pci-device.ts';
import type { Shared } from './parts.ts';
import type { Staged } from './records.ts';

/** Devices are lent, given back and split in this lane; who has it waits for no other. */
export const devicesLane = 'devices';

export const deviceDeadlineMs = 60_000;

export interface SplitSource {
  readonly pool: string;
  readonly count: number;
}

/** How the records say that this device is split. */
export function sourceOf(
  { devicePools }: Pick<Shared, 'devicePools'>,
  address: string,
): SplitSource | undefined {
  for (const { name, spec } of devicePools.after()) {
    const source = spec.sources.find((each) => each.address === address);
    if (source !== undefined) return { pool: name, count: source.count };
  }
  return undefined;
}

/** The records with the device split so, and in no other pool; undefined: not at all. A pool without devices goes. */
export function withSource(shared: Shared, address: string, wanted: SplitSource | undefined): Staged[] {
  const { devicePools, operations, clock } = shared;
  const staged: Staged[] = [];
  for (const pool of devicePools.after()) {
    const others = pool.spec.sources.filter((each) => each.address !== address);
    const isWanted = pool.name === wanted?.pool;
    if (!isWanted && others.length === pool.spec.sources.length) continue;
    const sources = isWanted ? [...others, { address, count: wanted.count }] : others;
    staged.push(
      sources.length === 0 ? devicePools.remove(pool) : devicePools.put({ ...pool, spec: { sources } }),
    );
  }
  if (wanted === undefined || devicePools.find(wanted.pool) !== undefined) return staged;
  const made: DevicePool = {
    id: operations.newId(),
    name: wanted.pool,
    project: 'default',
    labels: {},
    revision: 0,
    createdAt: clock.now(),
    spec: { sources: [{ address, count: wanted.count }] },
  };
  return [...staged, devicePools.put(made)];
}

/** Addresses of the functions that a pool has now. Throws `pool.not_found`. */
export function functionsOf(
  { devicePools }: Pick<Shared, 'devicePools'>,
  pool: string,
  inventory: readonly PciDevice[],
): readonly string[] {
  const { spec } = devicePools.require(pool);
  return spec.sources.flatMap(
    ({ address }) => inventory.find((device) => device.address === address)?.sriov.vfs ?? [],
  );
}

/** Makes the functions again that the records ask for: of all pools, or of these. What cannot be is logged, and shown with its device. */
export async function restoreFunctions(shared: Shared, only?: readonly string[]): Promise<void> {
  const { devices, devicePools, logger } = shared;
  const pools = [...devicePools.after()].filter(({ name }) => only?.includes(name) ?? true);
  if (pools.length === 0) return;
  const inventory = await devices.inventory(AbortSignal.timeout(deviceDeadlineMs));
  for (const { name, spec } of pools)
    for (const { address, count } of spec.sources) {
      const device = inventory.find((each) => each.address === address);
      // More than asked for were made by somebody else, who may need them.
      if (device !== undefined && device.sriov.numVfs >= count) continue;
      try {
        await devices.createVfs(address, count, AbortSignal.timeout(deviceDeadlineMs));
        logger.info('device.split_again', { pool: name, address, count });
      } catch (error) {
        logger.warn('device.not_split', { pool: name, address, count, error });
      }
    }
}
