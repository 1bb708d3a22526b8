/** Pools: their records, the storage behind them, and the room that is left. What a pool holds is looked at when asked. */
import { type Pool, type PoolCreate, type PoolStatus, type Volume, WirtError } from '@wirt/api';
import { namesOf } from '../domain/names.ts';
import { pageOf } from '../domain/page.ts';
import type { CopyWork } from '../ports/volume-pool.ts';
import type { PoolActions } from './actions.ts';
import type { Shared } from './parts.ts';
import { commit, nameConflict, nameTaken } from './records.ts';

export const defaultPool = 'default';

/** Between looks at the room that is left while a copy is under way. */
const lookMs = 1_000;

/**
 * Refuses what would leave less than the pool's reserve free; what frees more than it takes may use the reserve. Throws `pool.full` with
 * the sum.
 */
export async function requireRoom(
  { pools, storage }: Pick<Shared, 'pools' | 'storage'>,
  ref: string,
  bytes: number,
  { frees = false }: { readonly frees?: boolean } = {},
): Promise<void> {
  const pool = pools.require(ref);
  const { capacityBytes, availableBytes } = await (await storage.open(pool.id)).capacity();
  const reserveBytes = frees ? 0 : reserveOf(pool, capacityBytes);
  if (availableBytes - bytes >= reserveBytes) return;
  throw new WirtError(
    'pool.full',
    `Pool ${pool.name} has ${availableBytes} bytes free, ${reserveBytes} of them reserved, and ${bytes} are needed.`,
    {
      hint: `Remove volumes or snapshots, enlarge ${pool.spec.path}, or use another pool: \`wirt pool ls\`.`,
      details: { availableBytes, reserveBytes, neededBytes: bytes, capacityBytes },
    },
  );
}

/**
 * Runs a copy into a pool, and gives it up when the pool's reserve is reached: how much a copy takes is known only afterwards, and
 * several may be under way. Throws `pool.full`, and what `copy` throws.
 */
export async function keepingRoom<T>(
  shared: Pick<Shared, 'pools' | 'storage'>,
  ref: string,
  work: CopyWork,
  copy: (work: CopyWork) => Promise<T>,
  room: { readonly frees?: boolean } = {},
): Promise<T> {
  const full = new AbortController();
  const look = (): void => {
    requireRoom(shared, ref, 0, room).catch((error: unknown) => {
      // A pool that cannot be asked is the copy's own trouble.
      if (error instanceof WirtError && error.code === 'pool.full') full.abort(error);
    });
  };
  const timer = setInterval(look, lookMs);
  try {
    return await copy({ ...work, signal: AbortSignal.any([work.signal, full.signal]) });
  } finally {
    clearInterval(timer);
  }
}

export function reserveOf({ spec }: Pick<Pool, 'spec'>, capacityBytes: number): number {
  return Math.floor((capacityBytes * spec.reservePercent) / 100);
}

export function createPoolActions(shared: Shared): PoolActions {
  const { store, pools, storage, operations, clock, lanes } = shared;
  return {
    list: async ({ cursor, limit }) => {
      const { items, ...rest } = pageOf(pools.after(cursor), limit, () => true);
      return { items: await Promise.all(items.map((pool) => observedPool(shared, pool))), ...rest };
    },
    get: async (ref) => observedPool(shared, pools.require(ref)),
    create: (_request, input) =>
      lanes.run('pools', async () => {
        if (pools.find(input.name) !== undefined) throw nameTaken('pool', input.name);
        const pool = newPool(operations.newId(), clock.now(), input);
        const taken = await storage.take(pool);
        try {
          await commit(store, [pools.put(pool)]);
        } catch (error) {
          storage.forget(pool.id);
          await taken.release();
          throw nameConflict(error, 'pool');
        }
        return observedPool(shared, pools.require(pool.id));
      }),
    remove: async (_request, ref) =>
      lanes.runAll(['pools', pools.require(ref).id], async () => {
        const pool = pools.require(ref);
        const held = volumesIn(shared, pool);
        if (held.length > 0) throw inUse(pool, held);
        const taken = await storage.open(pool.id).catch(() => undefined);
        await commit(store, [pools.remove(pool)]);
        storage.forget(pool.id);
        await taken?.release();
      }),
  };
}

/** Makes the pool that volumes go to when none is named. */
export async function ensureDefaultPool(shared: Shared): Promise<void> {
  const { store, pools, operations, clock } = shared;
  if (pools.find(defaultPool) !== undefined) return;
  const spec = { driver: 'dir', path: shared.defaultPoolPath, reservePercent: 5 } as const;
  await commit(store, [pools.put(newPool(operations.newId(), clock.now(), { name: defaultPool, spec }))]);
}

function newPool(id: string, now: string, { name, spec }: PoolCreate): Pool {
  const status: PoolStatus = { state: 'ready', provisionedBytes: 0, volumes: 0 };
  return { id, name, project: 'default', labels: {}, revision: 0, createdAt: now, spec, status };
}

function volumesIn({ volumes }: Pick<Shared, 'volumes'>, pool: Pool): Volume[] {
  return [...volumes.after()].filter(({ spec }) => spec.pool === pool.name);
}

export async function observedPool(shared: Shared, pool: Pool): Promise<Pool> {
  const held = volumesIn(shared, pool);
  const provisionedBytes = held.reduce((sum, { spec }) => sum + spec.sizeBytes, 0);
  const counted = { provisionedBytes, volumes: held.length };
  try {
    const storage = await shared.storage.open(pool.id);
    const { capacityBytes, availableBytes } = await storage.capacity();
    const refs = held.flatMap(({ id, status }) =>
      status.layers.map((layer) => ({ volume: id, layer: layer.id })),
    );
    const status: PoolStatus = {
      state: 'ready',
      capacityBytes,
      availableBytes,
      reserveBytes: reserveOf(pool, capacityBytes),
      allocatedBytes: await storage.allocatedBytes(refs),
      overcommit: Math.round((provisionedBytes / Math.max(1, capacityBytes)) * 1000) / 1000,
      ...counted,
    };
    return { ...pool, status };
  } catch (error) {
    if (!(error instanceof WirtError)) throw error;
    return { ...pool, status: { state: 'unusable', message: error.message, ...counted } };
  }
}

function inUse(pool: Pool, held: readonly Volume[]): WirtError {
  return new WirtError('pool.in_use', `Pool ${pool.name} has the volumes ${namesOf(held)}.`, {
    hint: `Remove them first: \`wirt volume rm ${held[0]?.name}\`.`,
    details: { volumes: held.map(({ name }) => name) },
  });
}
