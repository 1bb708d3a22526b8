/**
 * What of pools is promised: a volume takes less than its size until it is written, and more may be promised than there is, up to a factor. What would
 * go beyond is refused where a volume is made or enlarged, and where a guest is to write volumes that were promised under a larger factor.
 */
import { type Instance, type Volume, WirtError } from '@wirt/api';
import type { Shared } from './parts.ts';
import { volumesOf } from './volume-layers.ts';

/** Pools on one file system have the same space, and promise it together. */
interface PoolSpace {
  readonly name: string;
  readonly fileSystem: string;
  /** Of those that were asked. */
  readonly capacityBytes?: number;
}

export interface PoolPromise {
  readonly name: string;
  readonly capacityBytes: number;
  readonly promisableBytes: number;
  /** The sizes of all volumes on its file system. */
  readonly promisedBytes: number;
  /** Of it, those of guests that run or are being started. */
  readonly runningBytes: number;
}

type Ground = Pick<Shared, 'volumes' | 'instances' | 'admitted' | 'admittedVolumes' | 'settings'>;

/**
 * `asked`: which are looked at, so that no start waits for the disks of another; all where it is absent. One that cannot be opened or looked at is left
 * out: who uses it is told so.
 */
export async function poolSpaces(
  { pools, storage }: Pick<Shared, 'pools' | 'storage'>,
  asked?: ReadonlySet<string>,
): Promise<PoolSpace[]> {
  const found = await Promise.all(
    [...pools.after()].map(async ({ id, name }): Promise<PoolSpace[]> => {
      try {
        const pool = await storage.open(id);
        const { fileSystem } = pool;
        if (asked?.has(name) === false) return [{ name, fileSystem }];
        return [{ name, fileSystem, capacityBytes: (await pool.capacity()).capacityBytes }];
      } catch (error) {
        if (error instanceof WirtError) return [];
        throw error;
      }
    }),
  );
  return found.flat();
}

/** Of those that were asked; with what is being recorded, and `given` as they are to be. */
export function poolPromises(
  shared: Ground,
  spaces: readonly PoolSpace[],
  given: readonly Volume[] = [],
): PoolPromise[] {
  const { volumes, instances, admitted, admittedVolumes, settings } = shared;
  const isRunning = ({ status }: Volume): boolean => {
    const id = status.attachment?.instance;
    return id !== undefined && (admitted.has(id) || instances.get(id)?.status.process !== undefined);
  };
  const found = [...volumes.after(), ...given, ...admittedVolumes.values()];
  const all = [...new Map(found.map((one) => [one.id, one])).values()];
  const running = all.filter(isRunning);
  return spaces.flatMap(({ name, capacityBytes, fileSystem }) => {
    if (capacityBytes === undefined) return [];
    const sharing = new Set(spaces.filter((one) => one.fileSystem === fileSystem).map((one) => one.name));
    const sum = (list: readonly Volume[]): number =>
      list.reduce((bytes, { spec }) => bytes + (sharing.has(spec.pool) ? spec.sizeBytes : 0), 0);
    return {
      name,
      capacityBytes,
      promisableBytes: Math.floor(capacityBytes * settings.value.poolOvercommit),
      promisedBytes: sum(all),
      runningBytes: sum(running),
    };
  });
}

/**
 * Runs what records new or larger volumes, which count from the question on. Throws `pool.overcommitted` with the sum, and what `record` throws.
 * `overcommit`: it is not asked, and they count all the same.
 */
export async function promising<T>(
  shared: Shared,
  wanted: readonly Volume[],
  record: () => Promise<T>,
  { overcommit = false }: { readonly overcommit?: boolean } = {},
): Promise<T> {
  const larger = wanted.filter(
    ({ id, spec }) => spec.sizeBytes > (shared.volumes.get(id)?.spec.sizeBytes ?? 0),
  );
  if (larger.length === 0) return record();
  const spaces = overcommit ? [] : await poolSpaces(shared, poolsOf(larger));
  for (const volume of larger) shared.admittedVolumes.set(volume.id, volume);
  try {
    requirePromisable(shared, spaces, larger, (pool) => ({
      who: `Volume ${larger.find(({ spec }) => spec.pool === pool)?.name}`,
      sum: 'promisedBytes',
    }));
    return await record();
  } finally {
    for (const { id } of larger) shared.admittedVolumes.delete(id);
  }
}

/**
 * Refuses a guest that is admitted, or is given a volume, where guests that run would then be promised too much; who takes the risk is not asked.
 * Looks at the pools first: what it gives back is to be called with no await between it and the admission. Throws `pool.overcommitted`.
 */
export async function poolsToRun(
  shared: Shared,
  instance: Instance,
  given: readonly Volume[] = [...volumesOf(shared, instance).values()],
): Promise<() => void> {
  if (given.length === 0 || instance.spec.overcommit) return () => undefined;
  const spaces = await poolSpaces(shared, poolsOf(given));
  return () =>
    requirePromisable(shared, spaces, given, () => ({
      who: `Instance ${instance.name}`,
      sum: 'runningBytes',
    }));
}

const poolsOf = (list: readonly Volume[]): Set<string> => new Set(list.map(({ spec }) => spec.pool));

function requirePromisable(
  shared: Ground,
  spaces: readonly PoolSpace[],
  wanted: readonly Volume[],
  words: (pool: string) => { readonly who: string; readonly sum: 'promisedBytes' | 'runningBytes' },
): void {
  for (const { name, capacityBytes, promisableBytes, ...sums } of poolPromises(shared, spaces, wanted)) {
    const own = wanted.filter(({ spec }) => spec.pool === name);
    const { who, sum } = words(name);
    const promisedBytes = sums[sum];
    if (own.length === 0 || promisedBytes <= promisableBytes) continue;
    const neededBytes = own.reduce((bytes, { spec }) => bytes + spec.sizeBytes, 0);
    const factor = Math.ceil(promisedBytes / Math.max(1, capacityBytes));
    const [whose, first] =
      sum === 'promisedBytes'
        ? ['volumes on its file system', 'Make it smaller, remove others']
        : ['volumes of guests that run', 'Stop other guests'];
    throw new WirtError(
      'pool.overcommitted',
      `${who} needs ${neededBytes} bytes of pool ${name}, which may promise ${promisableBytes} ` +
        `(${capacityBytes} bytes, ${shared.settings.value.poolOvercommit} times): with it, ${promisedBytes} would be promised to ${whose}.`,
      {
        hint:
          factor > mostFactor
            ? `${first}, or use another pool: \`wirt host capacity\`.`
            : `${first}, or let pools promise more: \`wirt host set pool-overcommit=${factor}\`.`,
        details: { pool: name, neededBytes, promisableBytes, promisedBytes, capacityBytes },
      },
    );
  }
}

/** That can be set. */
const mostFactor = 1000;
