/**
 * Makes the host have the huge pages that guests were promised beyond what it had, and gives them back when those guests have ended. What
 * the pools held before is in the store, so that a daemon that dies in between leaves them to the next; what somebody else adds or takes
 * meanwhile is theirs, and stays.
 */
import { type Instance, type InstancePlacement, WirtError } from '@wirt/api';
import { pageSizeText } from '../domain/tuning/profile.ts';
import { demandsPages, pageSizeOf } from '../domain/tuning/request.ts';
import type { HugePageReserve } from '../ports/host-memory.ts';
import type { Json } from '../ports/store.ts';
import { admit } from './admission.ts';
import type { Shared } from './parts.ts';
import type { Placed } from './placing.ts';
import { commit } from './records.ts';

const key = 'host/huge-pages';
const setMs = 60_000;
const lane = 'huge-pages';

/** Of a pool that Wirt has enlarged. */
interface Kept {
  /** What others set, and what it goes back to. */
  base: number;
  /** What Wirt set last, or what the kernel made of it. */
  set: number;
  /** What it was about to set: a pool between the two is Wirt's own doing. */
  aim?: number;
}

type Pools = Record<string, Kept>;

interface Stored {
  /** Of the host, in which this was so. */
  readonly boot: string;
  readonly pools: Pools;
}
type Parts = Pick<Shared, 'store' | 'lanes' | 'instances' | 'placing' | 'hugePages' | 'host' | 'logger'>;
type StartParts = Parts & Pick<Shared, 'settings' | 'policies' | 'admitted' | 'admittedPolicies'>;

const poolKey = ({ node, sizeKib }: { readonly node: number; readonly sizeKib: number }): string =>
  `${node}/${sizeKib}`;

/** By pool; but for one instance, where it is told. */
function promised({ instances }: Pick<Parts, 'instances'>, except?: string): Map<string, number> {
  const sums = new Map<string, number>();
  for (const { id, status } of instances.after())
    for (const { node, sizeKib, count } of id === except ? [] : (status.placement?.reserved ?? []))
      sums.set(poolKey({ node, sizeKib }), (sums.get(poolKey({ node, sizeKib })) ?? 0) + count);
  return sums;
}

/**
 * As `placing.place`. What ended guests have left goes back first: it would be counted as there, and go back before the guest has it. A start
 * that is done again, after a daemon that died, counts as one that has nothing yet.
 */
export function placeInPages(parts: Parts, instance: Instance): Promise<Placed | undefined> {
  const { hugePages, lanes, placing } = parts;
  const { id } = instance;
  if (hugePages === undefined || pageSizeOf(instance) === undefined) return placing.place(instance);
  const sums = (): string => JSON.stringify([...promised(parts, id)]);
  return lanes.run(lane, async () => {
    for (;;) {
      const before = sums();
      await giveBack(parts, hugePages, id);
      const placed = await placing.place(instance);
      if (sums() === before) return placed;
      placing.ended(id);
    }
  });
}

type Reserved = NonNullable<InstancePlacement['reserved']>;

/**
 * Makes the pools as large as the records of guests say, and gives the place that the guest has then. Throws `host.insufficient_huge_pages` where the
 * kernel has less, which another has taken since it was looked at, or which is too scattered. A guest whose profile asked for the pages
 * goes without them then: its place and its record are new, and it throws what `admit` throws.
 */
export async function reservePages(parts: StartParts, instance: Instance, placed: Placed): Promise<Placed> {
  const { hugePages, logger } = parts;
  const { name } = instance;
  const { reserved } = placed.record;
  if (hugePages === undefined || reserved === undefined) return placed;
  try {
    await makePages(parts, hugePages, { name, reserved });
    return placed;
  } catch (error) {
    if (demandsPages(instance)) throw error;
    logger.warn('host.huge_pages_not_made', { instance: name, error });
    return await goWithout(parts, hugePages, instance);
  }
}

/** Gives back what was made, and promises the guest all of its memory of the host's own pages. */
async function goWithout(parts: StartParts, hugePages: HugePageReserve, instance: Instance): Promise<Placed> {
  const { store, instances, placing, host, admitted, lanes } = parts;
  const { id, spec } = instance;
  // In one turn of the lane: who is placed next would count what was made as there.
  const placed = await lanes.run(lane, async () => {
    await giveBack(parts, hugePages, id);
    const elsewhere = await placing.placeWithoutPages(instance);
    const { status, ...current } = instances.require(id);
    const placement = elsewhere.record;
    await commit(store, [instances.put({ ...current, status: { ...status, placement } })]);
    return elsewhere;
  });
  const memory = await host.memory();
  admitted.delete(id);
  admit(parts, instance, { memory, ownMib: spec.memoryMib, pagesMib: 0 });
  return placed;
}

async function makePages(
  parts: Parts,
  hugePages: HugePageReserve,
  { name, reserved }: { readonly name: string; readonly reserved: Reserved },
): Promise<void> {
  const short = await parts.lanes.run(lane, () => settle(parts, hugePages));
  const own = new Set(reserved.map(poolKey));
  // What another is short of is for that one to say.
  const first = short.find((pool) => own.has(poolKey(pool)));
  if (first === undefined) return;
  const { node, sizeKib, wanted, got } = first;
  throw new WirtError(
    'host.insufficient_huge_pages',
    `Instance ${name} needs ${wanted - got} more huge pages of ${pageSizeText(sizeKib)} on node ${node} than the kernel could make of free memory.`,
    {
      hint: `Free memory and let the kernel put it together, \`echo 1 > /proc/sys/vm/compact_memory\`; or \`wirt set ${name} hugepages=none\`.`,
      details: { node, sizeKib, wanted, got },
    },
  );
}

/** Gives back what nobody is promised any more. Costs nothing where Wirt has enlarged nothing. */
export async function returnPages(parts: Parts): Promise<void> {
  const { hugePages, lanes, placing, store } = parts;
  // What was looked at for a start that is under way stays until it has ended.
  if (hugePages === undefined || placing.isPlacing || (await store.get(key)) === undefined) return;
  await lanes.run(lane, () => giveBack(parts, hugePages));
}

/** Within the lane; but of one instance, where it is told. What cannot be given back now is by a later pass. */
async function giveBack(parts: Parts, hugePages: HugePageReserve, except?: string): Promise<void> {
  await settle(parts, hugePages, except).catch((error: unknown) =>
    parts.logger.warn('host.huge_pages_not_returned', { error }),
  );
}

interface Short {
  readonly node: number;
  readonly sizeKib: number;
  readonly wanted: number;
  readonly got: number;
}

async function settle(parts: Parts, hugePages: HugePageReserve, except?: string): Promise<Short[]> {
  const { store, host } = parts;
  const signal = AbortSignal.timeout(setMs);
  const boot = await host.bootId();
  const kept = (await store.get(key))?.value as unknown as Stored | undefined;
  // What a pool held before the host was started again says nothing of it now.
  const before = kept?.boot === boot ? kept.pools : {};
  if (kept !== undefined && kept.boot !== boot) await write(store, { boot, pools: {} });
  const sums = promised(parts, except);
  if (Object.keys(before).length === 0 && sums.size === 0) return [];
  const now = new Map((await hugePages.pages(signal)).map((pool) => [poolKey(pool), pool]));
  const after: Pools = {};
  const changes: { readonly pool: string; readonly wanted: number }[] = [];
  for (const pool of new Set([...Object.keys(before), ...sums.keys()])) {
    // In surplus: in use, and not set any more.
    const { total = 0, surplus = 0 } = now.get(pool) ?? {};
    const held = total - surplus;
    const known = before[pool] ?? { base: held, set: held };
    const base = Math.max(0, known.base + byOthers(known, held));
    const wanted = base + (sums.get(pool) ?? 0);
    after[pool] = { base, set: held, ...(wanted === held ? {} : { aim: wanted }) };
    if (wanted !== held) changes.push({ pool, wanted });
  }
  const short: Short[] = [];
  // First what is intended: a daemon that dies in between finds it.
  await write(store, { boot, pools: after });
  for (const { pool, wanted } of changes) {
    const [node = 0, sizeKib = 0] = pool.split('/').map(Number);
    const got = await hugePages.setTotal(node, sizeKib, wanted, signal);
    after[pool] = { base: after[pool]?.base ?? 0, set: Math.min(got, wanted) };
    if (got < wanted) short.push({ node, sizeKib, wanted, got });
  }
  for (const pool of Object.keys(after)) if (!sums.has(pool)) delete after[pool];
  await write(store, { boot, pools: after });
  return short;
}

/** What others have added to a pool, or taken, since Wirt looked. */
function byOthers({ set, aim = set }: Kept, held: number): number {
  const [least, most] = [Math.min(set, aim), Math.max(set, aim)];
  return held - Math.min(most, Math.max(least, held));
}

async function write(store: Parts['store'], { boot, pools }: Stored): Promise<void> {
  const before = await store.get(key);
  if (Object.keys(pools).length === 0) {
    if (before !== undefined) await store.write([{ type: 'delete', key }]);
    return;
  }
  // Numbers by name, which is JSON.
  const value = { boot, pools } as unknown as Json;
  if (JSON.stringify(before?.value) !== JSON.stringify(value))
    await store.write([{ type: 'put', key, value }]);
}
