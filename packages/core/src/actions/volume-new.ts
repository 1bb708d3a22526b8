/** The record of a volume to be: its origin, size and pool checked, its name made up where an instance needs one. Makes nothing. */
import { type Volume, type VolumeCreate, type VolumeOrigin, WirtError } from '@wirt/api';
import { requireDisk, requireReady as requireImage } from './image-use.ts';
import type { Shared } from './parts.ts';
import { requireReady } from './volume-work.ts';

/** The record of a volume that is still to be made. Throws what is wrong with its source, size or pool. */
export function newVolume(shared: Shared, input: VolumeCreate): Volume {
  const { pools, operations, clock } = shared;
  const pool = pools.require(input.pool);
  const { origin, leastBytes, parent } = originOf(shared, input);
  const sizeBytes = input.sizeBytes ?? leastBytes;
  if (sizeBytes === undefined)
    throw new WirtError('request.invalid', `Volume ${input.name} needs a size.`, {
      hint: 'Give one with `--size 10G`.',
    });
  if (leastBytes !== undefined && sizeBytes < leastBytes)
    throw new WirtError(
      'volume.cannot_shrink',
      `Volume ${input.name} of ${sizeBytes} bytes would be smaller than its source of ${leastBytes}.`,
      { hint: 'Leave the size out, or give a larger one.', details: { leastBytes } },
    );
  const layer = operations.newId();
  const linked = origin.kind !== 'empty' && origin.kind !== 'file' && origin.mode === 'linked';
  const format = linked ? 'qcow2' : input.format;
  return {
    id: operations.newId(),
    name: input.name,
    project: input.project,
    labels: input.labels,
    revision: 0,
    createdAt: clock.now(),
    spec: { pool: pool.name, format, sizeBytes, origin },
    status: {
      state: 'creating',
      active: layer,
      layers: [{ id: layer, format, sizeBytes, ...(parent === undefined ? {} : { parent }) }],
    },
  };
}

function originOf(
  { images, volumes }: Shared,
  { source, project }: VolumeCreate,
): { origin: VolumeOrigin; leastBytes?: number; parent?: { image: string } } {
  switch (source.kind) {
    case 'empty':
      return { origin: { kind: 'empty' } };
    case 'image': {
      const image = requireDisk(requireImage(images.require(source.image, project)));
      const leastBytes = image.status.virtualSizeBytes ?? 0;
      const origin = { kind: 'image', image: image.id, mode: source.mode } as const;
      return source.mode === 'linked'
        ? { origin, leastBytes, parent: { image: image.id } }
        : { origin, leastBytes };
    }
    case 'volume': {
      const from = volumes.require(source.volume, project);
      requireReady(from, 'cloned');
      return {
        origin: { kind: 'volume', volume: from.id, mode: source.mode },
        leastBytes: from.spec.sizeBytes,
      };
    }
  }
}

/** `web-root`; with digits behind it when that is taken. */
export function volumeNameFor(
  { volumes, operations }: Shared,
  instance: string,
  disk: string,
  project: string,
): string {
  const name = `${instance.slice(0, 40).replace(/-+$/, '')}-${disk}`;
  return volumes.find(name, project) === undefined
    ? name
    : `${name}-${operations.newId().slice(-6).toLowerCase()}`;
}
