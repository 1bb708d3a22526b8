/**
 * Makes a volume: empty, from an image, or as the clone of another. Made whole, or gone again with its record. A clone of a volume is
 * made of a frozen layer; a full one of a volume that nobody has open, of what it is.
 */
import { type Volume, WirtError } from '@wirt/api';
import { type LayerId, layerOf } from '../domain/layers.ts';
import type { LiveGuests } from './live-guests.ts';
import { isStopping, type Progress, type Work } from './operation-runner.ts';
import type { Shared } from './parts.ts';
import { commit } from './records.ts';
import { freezeVolumes, settleNext } from './volume-freeze.ts';
import { activeOf } from './volume-layers.ts';
import { completeVolume, copyWhole, makeVolume, unmakeVolume } from './volume-make.ts';
import { dropLayer, holderOf } from './volume-merge.ts';
import { requireReady, type VolumeParts } from './volume-work.ts';
import { laneOf } from './works.ts';

export function createVolume(parts: VolumeParts, id: string): Work {
  const { shared } = parts;
  const { volumes } = shared;
  return async (progress) => {
    const volume = volumes.require(id);
    try {
      const made =
        volume.spec.origin.kind === 'volume'
          ? await makeClone(parts, volume, volume.spec.origin, progress)
          : await makeVolume(shared, id, progress);
      await completeVolume(shared, made, progress);
      const { origin } = made.spec;
      if (origin.kind === 'volume') for (const one of [origin.volume, id]) await shared.layers.tidy(one);
    } catch (error) {
      if (isStopping(progress)) throw error;
      // In a pool that cannot be opened nothing was made; what is there is swept when it can be.
      await unmakeVolume(shared, volume).catch((undoing: unknown) => {
        shared.logger.warn('volume.unmake_failed', { volume: id, error: undoing });
      });
      await progress.record([volumes.remove(volumes.require(id))]);
      throw error;
    }
  };
}

type FromVolume = Extract<Volume['spec']['origin'], { kind: 'volume' }>;

/**
 * No lane waits for the lane of a volume that is being made, since nothing can be done with it yet: so this may wait for the lane of its
 * source.
 */
async function makeClone(
  parts: VolumeParts,
  clone: Volume,
  { volume: source, mode }: FromVolume,
  progress: Progress,
): Promise<Volume> {
  const { shared } = parts;
  const inSourceLane = <T>(work: () => Promise<T>): Promise<T> =>
    shared.lanes.follow(() => laneOf(shared, { kind: 'volume', id: source }), work);
  const copied = await inSourceLane(() => copyAtRest(parts, clone, source, mode, progress));
  if (copied !== undefined) return copied;
  const made = await makeVolume(shared, clone.id, progress);
  if (mode === 'linked') return made;
  const frozen = parentOf(shared.volumes.require(clone.id));
  await commit(shared.store, [
    shared.volumes.put({ ...made, status: { ...made.status, state: 'creating' } }),
  ]);
  // What was frozen for the copy alone goes back into what lies on it. Left where it is, it only makes a chain longer.
  if (frozen !== undefined)
    await inSourceLane(() => dropLayer(shared, parts.live, frozen, progress)).catch((error: unknown) => {
      shared.logger.warn('volume.layer_kept', { volume: source, error });
    });
  return made;
}

/**
 * In the lane of the source. Undefined, when the source was frozen: the frozen layer is then recorded as the parent of the clone's, to lie on
 * or to be copied from.
 */
async function copyAtRest(
  { shared, live }: VolumeParts,
  clone: Volume,
  sourceId: string,
  mode: FromVolume['mode'],
  progress: Progress,
): Promise<Volume | undefined> {
  const { volumes } = shared;
  await settleNext(shared, sourceId, holderOf(live, volumes.require(sourceId)));
  // An earlier run has frozen it already.
  if (parentOf(volumes.require(clone.id)) !== undefined) return undefined;
  const source = volumes.require(sourceId);
  requireReady(source, 'cloned');
  requireNotSmaller(clone, source);
  if (mode === 'full' && holderOf(live, source) === undefined)
    return copyWhole(shared, clone, activeOf(source), progress);
  await freezeFor(shared, live, clone.id, source, progress);
  return undefined;
}

async function freezeFor(
  shared: Shared,
  live: LiveGuests,
  clone: string,
  source: Volume,
  progress: Progress,
): Promise<void> {
  const { store, volumes } = shared;
  const holder = holderOf(live, source);
  const disk = holder === undefined ? {} : { disk: holder.name };
  const { frozen, changes } = await freezeVolumes(shared, [{ volume: source.id, ...disk }], {
    guest: holder?.guest,
    signal: progress.signal,
    step: 'volume.create',
  });
  const parent = { volume: source.id, layer: frozen.get(source.id) ?? '' };
  const now = volumes.require(clone);
  const layers = now.status.layers.map((layer) =>
    layer.id === now.status.active ? { ...layer, parent } : layer,
  );
  await commit(store, [...changes, volumes.put({ ...now, status: { ...now.status, layers } })]);
}

function parentOf(clone: Volume): LayerId | undefined {
  const { parent } = layerOf(clone, clone.status.active);
  return parent !== undefined && 'layer' in parent ? parent : undefined;
}

/** It may have grown since the clone was asked for. */
function requireNotSmaller(clone: Volume, source: Volume): void {
  if (clone.spec.sizeBytes >= source.spec.sizeBytes) return;
  throw new WirtError(
    'volume.cannot_shrink',
    `Volume ${source.name} has grown to ${source.spec.sizeBytes} bytes, and its clone ${clone.name} was to have ${clone.spec.sizeBytes}.`,
    { hint: 'Make the clone again.' },
  );
}
