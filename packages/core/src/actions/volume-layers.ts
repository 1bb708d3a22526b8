/**
 * The layers of volumes on their storage: what QEMU opens, who may open it, and the removal of what nothing needs any more. Records
 * first: a layer leaves its record before its file goes, and a file without a record is swept.
 */
import { type Image, type Instance, type LayerParent, type Volume, WirtError } from '@wirt/api';
import type { DiskLayerNode, DiskSource } from '../domain/disk-source.ts';
import {
  type ChainLink,
  chainOf,
  isReadByOthers,
  type LayerId,
  layerOf,
  parentIdOf,
  unneededLayers,
  withoutLayers,
} from '../domain/layers.ts';
import type { LayerRef, StoredLayer, VolumePool } from '../ports/volume-pool.ts';
import type { Shared, VolumeLayers } from './parts.ts';
import { commit } from './records.ts';

type Needs = Pick<
  Shared,
  'store' | 'volumes' | 'images' | 'pools' | 'snapshots' | 'storage' | 'imageFiles' | 'logger'
>;

type Grantee = Parameters<VolumePool['grant']>[1];

/** The directory key of an image's files. */
export function imageKey({ id, status }: Pick<Image, 'id' | 'status'>): string {
  return status.sha256 === undefined ? id : `sha256-${status.sha256}`;
}

export function createVolumeLayers(shared: Needs): VolumeLayers {
  const { store, volumes, images, pools, snapshots, storage, imageFiles, logger } = shared;
  const find = (id: string): Volume | undefined => volumes.get(id);

  async function nodeOf(link: ChainLink): Promise<DiskLayerNode> {
    if (link.kind === 'image') return imageNode(images.require(link.image));
    const volume = volumes.require(link.volume);
    const pool = await storage.open(volume.spec.pool);
    return pool.locate(storedLayer(volume, link.layer.id));
  }

  function imageNode(image: Image): DiskLayerNode {
    const { format } = image.spec;
    const { file } = image.status;
    if (format === 'kernel' || file === undefined)
      throw new WirtError('image.wrong_kind', `Image ${image.name} is a kernel and no disk.`);
    return {
      layer: image.id,
      format: format === 'qcow2' ? 'qcow2' : 'raw',
      location: { driver: 'file', path: imageFiles.path(imageKey(image), file) },
      // Many guests read the same: once from the disk, then from the host's page cache.
      direct: false,
    };
  }

  const isShared = (layer: LayerId): boolean => isReadByOthers([...volumes.after()], layer);

  async function grantTo({ volume, layer }: LayerId, to: Grantee): Promise<void> {
    const pool = await storage.open(volumes.require(volume).spec.pool);
    await pool.grant({ volume, layer }, to);
  }

  /** For a layer that is written no more: what a guest has left in it must keep neither that guest from ending nor others in danger. */
  async function narrow(layer: LayerId, to: Grantee): Promise<void> {
    try {
      await grantTo(layer, to);
    } catch (error) {
      logger.warn('volume.layer_refused', { ...layer, error });
      await grantTo(layer, undefined);
    }
  }

  function held(): Set<string> {
    return new Set([...snapshots.after()].flatMap(({ status }) => status.disks.map(({ layer }) => layer)));
  }

  async function stackOf(layer: LayerId): Promise<DiskSource> {
    return nodesOf(chainOf(find, layer));
  }

  async function nodesOf(links: readonly ChainLink[]): Promise<DiskSource> {
    const nodes: DiskLayerNode[] = [];
    for (const link of links) nodes.push(await nodeOf(link));
    return { layers: nodes };
  }

  async function sourceOf(layer: LayerId): Promise<DiskSource> {
    const links = chainOf(find, layer);
    const opened: ChainLink[] = [];
    for (const [index, link] of links.entries())
      if (!(await readsThrough(links[index + 1], link))) opened.push(link);
    return nodesOf(opened);
  }

  /** Whether the storage of a layer reads what is below it by itself. */
  async function readsThrough(over: ChainLink | undefined, link: ChainLink): Promise<boolean> {
    if (over?.kind !== 'layer' || link.kind !== 'layer') return false;
    const name = volumes.require(link.volume).spec.pool;
    if (volumes.require(over.volume).spec.pool !== name) return false;
    return (await storage.open(name)).snapshots === 'native';
  }

  return {
    sourceOf,
    stackOf,
    imageSource: (image) => ({ layers: [imageNode(image)] }),
    stored: ({ volume, layer }) => storedLayer(volumes.require(volume), layer),
    async grant(layer, identity, write) {
      for (const link of chainOf(find, layer)) {
        if (link.kind === 'image') continue;
        const ref = { volume: link.volume, layer: link.layer.id };
        const top = link.layer.id === layer.layer;
        await grantTo(ref, !top && isShared(ref) ? 'shared' : { identity, write: top && write });
      }
    },
    async revoke(volume) {
      for (const { id } of volume.status.layers) {
        const ref = { volume: volume.id, layer: id };
        if (isShared(ref)) await narrow(ref, 'shared');
        else await grantTo(ref, undefined);
      }
    },
    async widen(layer, identity) {
      if (isShared(layer))
        throw new WirtError('internal', `Layer ${layer.layer} cannot be written: other volumes read it.`);
      await grantTo(layer, { identity, write: true });
    },
    narrow: (layer, identity) => narrow(layer, isShared(layer) ? 'shared' : { identity, write: false }),
    async prune(id) {
      const volume = volumes.require(id);
      const gone = unneededLayers([...volumes.after()], volume, held());
      if (gone.length === 0) return;
      await commit(store, [volumes.put(withoutLayers(volume, gone))]);
      const pool = await storage.open(volume.spec.pool);
      for (const layer of gone) await pool.remove({ volume: id, layer });
    },
    tidy: () => Promise.resolve(),
    async sweep() {
      const known = new Set<string>();
      for (const { status } of volumes.after()) {
        for (const { id } of status.layers) known.add(id);
        if (status.next !== undefined) known.add(status.next);
      }
      for (const { name } of [...pools.after()]) {
        try {
          const pool = await storage.open(name);
          for (const ref of await pool.list()) {
            if (known.has(ref.layer)) continue;
            logger.info('volume.orphan_removed', { ...ref });
            await pool.remove(ref);
          }
        } catch (error) {
          logger.warn('pool.not_swept', { pool: name, error });
        }
      }
    },
  };
}

export function storedLayer(volume: Volume, layer: string): StoredLayer {
  const { format, sizeBytes } = layerOf(volume, layer);
  return { volume: volume.id, layer, format, sizeBytes };
}

/**
 * What a copy of a layer, and of what is between it and `base`, reads at most. Images count as they are stored.
 */
export async function bytesToRead(
  { volumes, storage, images }: Pick<Shared, 'volumes' | 'storage' | 'images'>,
  layer: LayerId,
  base?: LayerParent,
): Promise<number> {
  const baseId = parentIdOf(base);
  let bytes = 0;
  for (const link of chainOf((id) => volumes.get(id), layer)) {
    const id = link.kind === 'image' ? link.image : link.layer.id;
    if (id === baseId) bytes = 0;
    else if (link.kind === 'image') bytes += images.get(link.image)?.status.sizeBytes ?? 0;
    else {
      const pool = await storage.open(volumes.require(link.volume).spec.pool);
      bytes += await pool.allocatedBytes([{ volume: link.volume, layer: link.layer.id }]);
    }
  }
  return bytes;
}

export function activeOf({ id, status }: Volume): LayerRef {
  return { volume: id, layer: status.active };
}

/** The volumes that an instance has, by the disk's name. */
export function volumesOf({ volumes }: Pick<Shared, 'volumes'>, instance: Instance): Map<string, Volume> {
  const found = new Map<string, Volume>();
  for (const disk of instance.spec.disks)
    if (disk.device === 'disk') found.set(disk.name, volumes.require(disk.volume));
  return found;
}
