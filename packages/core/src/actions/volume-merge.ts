/**
 * Takes layers out of chains: what lies on one is made to stand without it, live under a running guest or on the storage, and only then is it
 * removed. Interrupted anywhere, every chain reads as before and it can be done again.
 */
import type { LayerParent, Volume } from '@wirt/api';
import { chainOf, childrenOf, type LayerId, layerOf, withoutLayers, withParent } from '../domain/layers.ts';
import type { Guest } from '../ports/hypervisor.ts';
import { confined } from './confined.ts';
import type { LiveGuests } from './live-guests.ts';
import type { Progress } from './operation-runner.ts';
import type { Shared } from './parts.ts';
import { requireRoom } from './pool.ts';
import { commit } from './records.ts';

/** The guest that has a volume open now, and as which disk. */
export function holderOf(live: LiveGuests, { status }: Volume): { guest: Guest; name: string } | undefined {
  const { attachment } = status;
  const guest = attachment === undefined ? undefined : live.get(attachment.instance);
  return guest === undefined || attachment === undefined ? undefined : { guest, name: attachment.disk };
}

/** Makes a layer lie on `base` (undefined: on nothing) by copying what it reads from between; the record follows. */
export async function pullInto(
  shared: Shared,
  live: LiveGuests,
  layer: LayerId,
  base: LayerParent | undefined,
  progress: Progress,
): Promise<void> {
  const { store, volumes, storage, layers, faults } = shared;
  const find = (id: string): Volume | undefined => volumes.get(id);
  const volume = volumes.require(layer.volume);
  const pool = await storage.open(volume.spec.pool);
  await requireRoom(shared, volume.spec.pool, await bytesBetween(shared, layer, base));
  await faults.at('volume.merge/copy');
  const holder = holderOf(live, volume);
  const inChain = chainOf(find, { volume: volume.id, layer: volume.status.active }).some(
    (link) => link.kind === 'layer' && link.layer.id === layer.layer,
  );
  if (holder !== undefined && inChain) {
    const baseId = base === undefined ? undefined : 'image' in base ? base.image : base.layer;
    await holder.guest.disks.pull(
      { disk: holder.name, layer: layer.layer, base: baseId },
      {
        signal: progress.signal,
        onProgress: (done, total) => progress.stage('merge', { done, total, unit: 'bytes' }),
      },
    );
  } else {
    const chain = await layers.sourceOf(layer);
    const baseSource = await sourceOfParent(shared, base);
    await confined(shared, progress, 'merge', (work) => pool.pull(chain, baseSource, work));
  }
  await faults.at('volume.merge/record');
  await commit(store, [volumes.put(withParent(volumes.require(volume.id), layer.layer, base))]);
}

function sourceOfParent({ layers, images }: Shared, parent: LayerParent | undefined) {
  if (parent === undefined) return Promise.resolve(undefined);
  return 'image' in parent
    ? Promise.resolve(layers.imageSource(images.require(parent.image)))
    : layers.sourceOf(parent);
}

/** What a pull will copy at most. */
async function bytesBetween(
  { volumes, storage, images }: Shared,
  layer: LayerId,
  base: LayerParent | undefined,
): Promise<number> {
  const baseId = base === undefined ? undefined : 'image' in base ? base.image : base.layer;
  let bytes = 0;
  for (const link of chainOf((id) => volumes.get(id), layer)) {
    const id = link.kind === 'image' ? link.image : link.layer.id;
    if (id === baseId) {
      bytes = 0;
      continue;
    }
    if (id === layer.layer) continue;
    if (link.kind === 'image') bytes += images.get(link.image)?.status.sizeBytes ?? 0;
    else {
      const pool = await storage.open(volumes.require(link.volume).spec.pool);
      bytes += await pool.allocatedBytes([{ volume: link.volume, layer: link.layer.id }]);
    }
  }
  return bytes;
}

/**
 * Removes a frozen layer after merging it into what lies on it. Kept, and false, while another volume lies on it or on
 * what lies on it: that would have to be written under others.
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
  const children = childrenOf(volumes.after(), ref);
  if (children.some((child) => !isOwn(shared, volume, child))) return false;
  const { parent } = layerOf(volume, ref.layer);
  for (const child of children) await pullInto(shared, live, child, parent, progress);
  await commit(store, [volumes.put(withoutLayers(volumes.require(volume.id), [ref.layer]))]);
  const pool = await storage.open(volume.spec.pool);
  await pool.remove(ref);
  return true;
}

/** Whether a layer, and all that lies on it, is this volume's. */
function isOwn({ volumes }: Shared, volume: Volume, layer: LayerId): boolean {
  if (layer.volume !== volume.id) return false;
  return childrenOf(volumes.after(), layer).every(({ volume: other }) => other === volume.id);
}
