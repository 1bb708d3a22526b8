/**
 * The layers of volumes as a tree over all volumes and images: what lies under a layer, what lies on it, and what may go.
 * Pure; a cycle or a missing layer is a defect of the records and is reported as one.
 */
import { type LayerParent, type Volume, type VolumeLayer, WirtError } from '@wirt/api';

/** A link of a chain, from the base on. */
export type ChainLink =
  | { readonly kind: 'image'; readonly image: string }
  | { readonly kind: 'layer'; readonly volume: string; readonly layer: VolumeLayer };

export interface LayerId {
  readonly volume: string;
  readonly layer: string;
}

type FindVolume = (id: string) => Volume | undefined;

/** Deeper chains do not come about: they are flattened long before. */
const maxDepth = 1000;

export function layerOf(volume: Volume, layer: string): VolumeLayer {
  const found = volume.status.layers.find(({ id }) => id === layer);
  if (found === undefined) throw new WirtError('internal', `Volume ${volume.name} has no layer ${layer}.`);
  return found;
}

export function parentIdOf(parent: LayerParent | undefined): string | undefined {
  if (parent === undefined) return undefined;
  return 'image' in parent ? parent.image : parent.layer;
}

/** From the base to this layer. */
export function chainOf(find: FindVolume, from: LayerId): ChainLink[] {
  const links: ChainLink[] = [];
  let at: LayerId | undefined = from;
  while (at !== undefined) {
    if (links.length > maxDepth) throw new WirtError('internal', `Layer ${from.layer} lies on itself.`);
    const volume = find(at.volume);
    if (volume === undefined)
      throw new WirtError('internal', `Layer ${from.layer} needs volume ${at.volume}, which is not there.`);
    const layer = layerOf(volume, at.layer);
    links.push({ kind: 'layer', volume: at.volume, layer });
    const parent: LayerParent | undefined = layer.parent;
    if (parent !== undefined && 'image' in parent) links.push({ kind: 'image', image: parent.image });
    at = parent !== undefined && 'layer' in parent ? parent : undefined;
  }
  return links.toReversed();
}

/** Layers, of any volume, that lie directly on this one. */
export function childrenOf(volumes: Iterable<Volume>, { layer }: LayerId): LayerId[] {
  const children: LayerId[] = [];
  for (const volume of volumes) {
    for (const { id, parent } of volume.status.layers)
      if (parent !== undefined && 'layer' in parent && parent.layer === layer)
        children.push({ volume: volume.id, layer: id });
  }
  return children;
}

/** Whether another volume has a layer on this one, however many of its own are between: guests of several volumes may have it open. */
export function isReadByOthers(volumes: readonly Volume[], layer: LayerId): boolean {
  return childrenOf(volumes, layer).some(
    (child) => child.volume !== layer.volume || isReadByOthers(volumes, child),
  );
}

/** Volumes other than `volume` that have layers lying on its layers: its linked clones. */
export function dependentsOf(volumes: Iterable<Volume>, volume: Volume): Volume[] {
  const own = new Set(volume.status.layers.map(({ id }) => id));
  return [...volumes].filter(
    (other) =>
      other.id !== volume.id &&
      other.status.layers.some(
        ({ parent }) => parent !== undefined && 'layer' in parent && own.has(parent.layer),
      ),
  );
}

/** Volumes that have a layer lying on this image. */
export function volumesOnImage(volumes: Iterable<Volume>, image: string): Volume[] {
  return [...volumes].filter(({ spec, status }) => {
    if (status.state === 'creating' && spec.origin.kind === 'image' && spec.origin.image === image)
      return true;
    return status.layers.some(
      ({ parent }) => parent !== undefined && 'image' in parent && parent.image === image,
    );
  });
}

/**
 * The layers of a volume that nothing needs: neither written, nor held by a snapshot, nor under one that is needed. `held` are the
 * layers of snapshots.
 */
export function unneededLayers(
  volumes: readonly Volume[],
  volume: Volume,
  held: ReadonlySet<string>,
): string[] {
  let layers = volume.status.layers;
  for (;;) {
    const others = volumes.filter(({ id }) => id !== volume.id);
    const now = { ...volume, status: { ...volume.status, layers } };
    const kept = layers.filter(
      ({ id }) =>
        id === volume.status.active ||
        id === volume.status.next ||
        held.has(id) ||
        childrenOf([...others, now], { volume: volume.id, layer: id }).length > 0,
    );
    if (kept.length === layers.length) break;
    layers = kept;
  }
  const needed = new Set(layers.map(({ id }) => id));
  return volume.status.layers.map(({ id }) => id).filter((id) => !needed.has(id));
}

/**
 * Layers of a volume that only make its chain longer: neither written nor held by a snapshot, with one layer on them, and read by no other
 * volume.
 */
export function spentLayers(volumes: readonly Volume[], volume: Volume, held: ReadonlySet<string>): string[] {
  const { active, next, layers } = volume.status;
  return layers
    .map(({ id }) => id)
    .filter((id) => {
      if (id === active || id === next || held.has(id)) return false;
      const ref = { volume: volume.id, layer: id };
      const [child, ...others] = childrenOf(volumes, ref);
      if (child === undefined || others.length > 0 || child.layer === next) return false;
      return !isReadByOthers(volumes, ref);
    });
}

/**
 * The volume with the layer that is about to be written, on the one that is. While it is only `next`, it may not be whole; here, it is, and
 * a guest may write it at any moment.
 */
export function withPendingLayer(volume: Volume, next: string): Volume {
  const { active, layers } = volume.status;
  const { sizeBytes } = layerOf(volume, active);
  const parent = { volume: volume.id, layer: active };
  const layer: VolumeLayer = { id: next, format: 'qcow2', sizeBytes, parent };
  const others = layers.filter(({ id }) => id !== next);
  return { ...volume, status: { ...volume.status, next, layers: [...others, layer] } };
}

/** The volume with `next` as its written layer, lying on the one that was written. */
export function withNextLayer(volume: Volume, next: string): Volume {
  const { next: _, ...status } = withPendingLayer(volume, next).status;
  return { ...volume, status: { ...status, active: next } };
}

/** The volume as if nothing had been about to come. */
export function withoutNextLayer(volume: Volume): Volume {
  const { next, ...status } = volume.status;
  return { ...volume, status: { ...status, layers: status.layers.filter(({ id }) => id !== next) } };
}

/** The volume with a layer lying on something else; what lay between is not dropped. */
export function withParent(volume: Volume, layer: string, parent: LayerParent | undefined): Volume {
  const layers = volume.status.layers.map((one) => {
    if (one.id !== layer) return one;
    const { parent: _, ...rest } = one;
    return parent === undefined ? rest : { ...rest, parent };
  });
  return { ...volume, status: { ...volume.status, layers } };
}

export function withoutLayers(volume: Volume, gone: readonly string[]): Volume {
  const layers = volume.status.layers.filter(({ id }) => !gone.includes(id));
  return { ...volume, status: { ...volume.status, layers } };
}
