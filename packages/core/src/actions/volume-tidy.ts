/**
 * Shortens chains of layers in the background: long ones are flattened, and layers that only one other needs are merged into that one where
 * it is soon done. What is spent and large waits for one of the two reasons to copy it anyway: a long chain, or a person who flattens.
 */
import type { Volume } from '@wirt/api';
import { chainOf, spentLayers } from '../domain/layers.ts';
import type { LiveGuests } from './live-guests.ts';
import type { Progress } from './operation-runner.ts';
import type { Shared } from './parts.ts';
import { settleNext } from './volume-freeze.ts';
import { activeOf } from './volume-layers.ts';
import { dropLayer, holderOf } from './volume-merge.ts';

/** Longer chains are flattened: every read of what was never written walks all of it. */
export const longChain = 12;
/** Copied in a moment; more would hold the volume's lane up for nothing that anybody has asked for. */
const maxSpentBytes = 256 * 1024 ** 2;

export interface Shortening {
  readonly caller: string;
  readonly input: { readonly keepImage: true } | { readonly spent: true };
}

/** What there is to do for a volume, if anything. */
export async function shorteningOf(shared: Shared, volume: Volume): Promise<Shortening | undefined> {
  const { volumes, storage, operations } = shared;
  if (volume.status.state !== 'ready') return undefined;
  const isUnderway = operations
    .active()
    .some(({ kind, target }) => kind === 'volume.flatten' && target.id === volume.id);
  if (isUnderway) return undefined;
  if (chainOf((id) => volumes.get(id), activeOf(volume)).length > longChain)
    return { caller: 'long-chain', input: { keepImage: true } };
  // Most have one, and there may be thousands.
  const spent = volume.status.layers.length === 1 ? [] : spentOf(shared, volume);
  if (spent.length === 0) return undefined;
  const pool = await storage.open(volume.spec.pool);
  const bytes = await pool.allocatedBytes(spent.map((layer) => ({ volume: volume.id, layer })));
  return bytes > maxSpentBytes ? undefined : { caller: 'spent-layers', input: { spent: true } };
}

function spentOf({ volumes, snapshots }: Shared, volume: Volume): string[] {
  const held = new Set(
    [...snapshots.after()].flatMap(({ status }) => status.disks.map(({ layer }) => layer)),
  );
  return spentLayers([...volumes.after()], volume, held);
}

/** In the lane of the volume, and in that of its readers: what is merged into may be a snapshot's. */
export async function mergeSpent(
  shared: Shared,
  live: LiveGuests,
  id: string,
  progress: Progress,
): Promise<void> {
  const { volumes } = shared;
  await settleNext(shared, id, holderOf(live, volumes.require(id)));
  for (;;) {
    const [layer] = spentOf(shared, volumes.require(id));
    if (layer === undefined) return;
    if (!(await dropLayer(shared, live, { volume: id, layer }, progress))) return;
  }
}
