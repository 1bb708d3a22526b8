/**
 * Takes layers out of chains: what lies on one is made to stand without it, live under a running guest or on the storage, and only then is it
 * removed. Interrupted anywhere, every chain reads as before and it can be done again.
 */
import type { LayerParent, Volume } from '@wirt/api';
import {
  type ChainLink,
  chainOf,
  childrenOf,
  isReadByOthers,
  type LayerId,
  layerOf,
  parentIdOf,
  withoutLayers,
  withParent,
} from '../domain/layers.ts';
import { Undo } from '../domain/undo.ts';
import type { Guest } from '../ports/hypervisor.ts';
import { confined } from './confined.ts';
import type { LiveGuests } from './live-guests.ts';
import type { Progress } from './operation-runner.ts';
import type { Shared } from './parts.ts';
import { keepingRoom, requireRoom } from './pool.ts';
import { commit } from './records.ts';
import { bytesToRead } from './volume-layers.ts';

const chainsMs = 20_000;

export interface Holder {
  readonly guest: Guest;
  /** Of the disk. */
  readonly name: string;
}

/** The guest that has a volume open now, and as which disk. Throws as `LiveGuests.holding`. */
export function holderOf(live: LiveGuests, { status }: Volume): Holder | undefined {
  const { attachment } = status;
  const guest = attachment === undefined ? undefined : live.holding(attachment.instance);
  return guest === undefined || attachment === undefined ? undefined : { guest, name: attachment.disk };
}

/**
 * Makes a layer lie on `base` (undefined: on nothing) by copying what it reads from between; the record follows. `frees`: what lay between
 * goes afterwards.
 */
export async function pullInto(
  shared: Shared,
  live: LiveGuests,
  layer: LayerId,
  base: LayerParent | undefined,
  progress: Progress,
  room: { readonly frees?: boolean } = {},
): Promise<void> {
  const { store, volumes, storage, layers, faults } = shared;
  const volume = volumes.require(layer.volume);
  const pool = await storage.open(volume.spec.pool);
  const bytes = (await bytesToRead(shared, layer, base)) - (await pool.allocatedBytes([layer]));
  await requireRoom(shared, volume.spec.pool, bytes, room);
  await faults.at('volume.merge/copy');
  const holder = holderOf(live, volume);
  if (holder !== undefined) await settleChain(shared, volume.id, holder);
  const byStorage = pool.snapshots === 'native' && isBeside(shared, layer, base);
  if (holder !== undefined && !byStorage && isWrittenOver(shared, volume, layer))
    await pullLive(shared, holder, layer, base, progress);
  else {
    const chain = await layers.stackOf(layer);
    const baseSource = await sourceOfParent(shared, base);
    await confined(shared, progress, 'merge', (work) =>
      keepingRoom(shared, volume.spec.pool, work, (kept) => pool.pull(chain, baseSource, kept), room),
    );
  }
  await faults.at('volume.merge/record');
  await commit(store, [volumes.put(withParent(volumes.require(volume.id), layer.layer, base))]);
}

/**
 * What QEMU has taken out of a chain had been copied first: where that could not be recorded any more, the record follows. Layers that
 * nothing needs then stay until the next pruning.
 */
export async function settleChain(shared: Shared, id: string, { guest, name }: Holder): Promise<void> {
  const { store, volumes, storage, logger } = shared;
  const record = volumes.require(id);
  if ((await storage.open(record.spec.pool)).snapshots === 'native') return;
  const links = chainOf((one) => volumes.get(one), { volume: id, layer: record.status.active });
  const chain = (await guest.disks.chains(AbortSignal.timeout(chainsMs))).get(name) ?? [];
  let settled = record;
  for (const [index, layer] of chain.entries()) {
    const at = links.findIndex((link) => idOf(link) === layer);
    const link = links[at];
    const below = index === 0 ? undefined : links.find((one) => idOf(one) === chain[index - 1]);
    if (link?.kind !== 'layer' || link.volume !== id || idOf(links[at - 1]) === idOf(below)) continue;
    settled = withParent(settled, layer, below === undefined ? undefined : asParent(below));
  }
  if (settled === record) return;
  logger.info('volume.merging_settled', { volume: id, chain });
  await commit(store, [volumes.put(settled)]);
}

function idOf(link: ChainLink | undefined): string | undefined {
  return link?.kind === 'image' ? link.image : link?.layer.id;
}

function asParent(link: ChainLink): LayerParent {
  return link.kind === 'image' ? { image: link.image } : { volume: link.volume, layer: link.layer.id };
}

/** Whether all between a layer and `base` is in its own pool, whose storage takes it out also under a guest. */
function isBeside({ volumes }: Shared, layer: LayerId, base: LayerParent | undefined): boolean {
  const { pool } = volumes.require(layer.volume).spec;
  const chain = chainOf((id) => volumes.get(id), layer);
  const between = chain.slice(chain.findIndex((link) => idOf(link) === parentIdOf(base)) + 1);
  return between.every((link) => link.kind === 'layer' && volumes.require(link.volume).spec.pool === pool);
}

/** Whether a guest that has the volume open has the layer in its chain. */
function isWrittenOver({ volumes }: Shared, { id, status }: Volume, { layer }: LayerId): boolean {
  const chain = chainOf((one) => volumes.get(one), { volume: id, layer: status.active });
  return chain.some((link) => link.kind === 'layer' && link.layer.id === layer);
}

async function pullLive(
  { volumes, sandbox, layers, logger }: Shared,
  { guest, name }: Holder,
  layer: LayerId,
  base: LayerParent | undefined,
  progress: Progress,
): Promise<void> {
  const { status } = volumes.require(layer.volume);
  // Claimed at its start; claiming again gives the same.
  const identity = await sandbox.claim(guest.id, { kvm: false });
  // What stays writable by a failure is made good when the guest ends.
  await using undo = new Undo((error) => logger.warn('volume.frozen_layer_writable', { ...layer, error }));
  if (layer.layer !== status.active) undo.add(() => layers.narrow(layer, identity));
  await layers.widen(layer, identity);
  const onProgress = (done: number, total: number): void =>
    progress.stage('merge', { done, total, unit: 'bytes' });
  await guest.disks.pull(
    { disk: name, layer: layer.layer, base: parentIdOf(base) },
    { signal: progress.signal, onProgress },
  );
}

function sourceOfParent({ layers, images }: Shared, parent: LayerParent | undefined) {
  if (parent === undefined) return Promise.resolve(undefined);
  return 'image' in parent
    ? Promise.resolve(layers.imageSource(images.require(parent.image)))
    : layers.stackOf(parent);
}

/**
 * Removes a frozen layer after merging it into what lies on it. Kept, and false, while another volume reads it: what lies on it would have
 * to be written under others.
 */
export async function dropLayer(
  shared: Shared,
  live: LiveGuests,
  ref: LayerId,
  progress: Progress,
): Promise<boolean> {
  const { store, volumes, storage } = shared;
  const volume = volumes.get(ref.volume);
  if (volume === undefined || !volume.status.layers.some(({ id }) => id === ref.layer)) return true;
  if (volume.status.active === ref.layer) return false;
  const all = [...volumes.after()];
  if (isReadByOthers(all, ref)) return false;
  const children = childrenOf(all, ref);
  const { parent } = layerOf(volume, ref.layer);
  for (const child of children) await pullInto(shared, live, child, parent, progress, { frees: true });
  await commit(store, [volumes.put(withoutLayers(volumes.require(volume.id), [ref.layer]))]);
  const pool = await storage.open(volume.spec.pool);
  await pool.remove(ref);
  return true;
}
