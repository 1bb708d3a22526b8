/** The works of operations on volumes that are there; making one is in volume-create. Each may run again from its beginning after a crash. */
import { type Volume, type VolumeFormat, WirtError } from '@wirt/api';
import { chainOf, dependentsOf, layerOf } from '../domain/layers.ts';
import { namesOf } from '../domain/names.ts';
import { confined } from './confined.ts';
import type { LiveGuests } from './live-guests.ts';
import type { Progress, Work } from './operation-runner.ts';
import type { Shared } from './parts.ts';
import { requireRoom } from './pool.ts';
import { promising } from './pool-promise.ts';
import { commit } from './records.ts';
import { settleNext } from './volume-freeze.ts';
import { activeOf, storedLayer } from './volume-layers.ts';
import { holderOf, pullInto } from './volume-merge.ts';
import { mergeSpent } from './volume-tidy.ts';
import { laneOf } from './works.ts';

const commandMs = 20_000;

export interface VolumeParts {
  readonly shared: Shared;
  readonly live: LiveGuests;
}

/** The storage first, or QEMU when a guest has it open; then the record. Growing what is grown already changes nothing. */
export function resizeVolume({ shared, live }: VolumeParts, id: string): Work {
  const { volumes } = shared;
  return async (progress) => {
    const { sizeBytes } = progress.input as { sizeBytes: number };
    await settleNext(shared, id, holderOf(live, volumes.require(id)));
    const volume = volumes.require(id);
    requireReady(volume, 'resized');
    requireGrowth(volume, sizeBytes);
    await requireRoom(shared, volume.spec.pool, 0);
    const larger = { ...volume, spec: { ...volume.spec, sizeBytes } };
    await promising(shared, [larger], () => grow({ shared, live }, volume, sizeBytes, progress));
  };
}

async function grow(
  { shared, live }: VolumeParts,
  volume: Volume,
  sizeBytes: number,
  progress: Progress,
): Promise<void> {
  const { volumes, storage, faults } = shared;
  const { id } = volume;
  const holder = holderOf(live, volume);
  await faults.at('volume.resize/grow');
  if (holder === undefined) {
    const pool = await storage.open(volume.spec.pool);
    await pool.grow(storedLayer(volume, volume.status.active), sizeBytes);
  } else {
    const signal = AbortSignal.any([progress.signal, AbortSignal.timeout(commandMs)]);
    await holder.guest.disks.resize(holder.name, sizeBytes, signal);
  }
  await faults.at('volume.resize/record');
  const now = volumes.require(id);
  const layers = now.status.layers.map((one) => (one.id === now.status.active ? { ...one, sizeBytes } : one));
  await progress.complete([
    volumes.put({ ...now, spec: { ...now.spec, sizeBytes }, status: { ...now.status, layers } }),
  ]);
}

/** Throws `volume.cannot_shrink`. */
export function requireGrowth({ name, spec }: Pick<Volume, 'name' | 'spec'>, sizeBytes: number): void {
  if (sizeBytes >= spec.sizeBytes) return;
  throw new WirtError(
    'volume.cannot_shrink',
    `Volume ${name} has ${spec.sizeBytes} bytes and cannot shrink to ${sizeBytes}: what lies at its end would be lost.`,
    {
      hint: 'Make a smaller volume, and copy the files into it inside a guest.',
      details: { sizeBytes: spec.sizeBytes },
    },
  );
}

export function requireReady({ name, status }: Volume, done: string): void {
  if (status.state === 'ready') return;
  throw new WirtError('volume.state_conflict', `Volume ${name} is ${status.state}, and cannot be ${done}.`, {
    hint: 'Wait for the operation on it: `wirt operation ls`.',
  });
}

/** Copies what the written layer shares into it. With `keepImage` it still lies on the image at its base. */
export function flattenVolume({ shared, live }: VolumeParts, id: string): Work {
  const { volumes, layers } = shared;
  return async (progress) => {
    if (progress.input['spent'] === true) {
      // It may be removed while this waits; its lane is asked when the readers are done.
      const lane = (): string => laneOf(shared, { kind: 'volume', id });
      return shared.lanes.follow(lane, async () => {
        if (volumes.get(id)?.status.state === 'ready') await mergeSpent(shared, live, id, progress);
      });
    }
    await settleNext(shared, id, holderOf(live, volumes.require(id)));
    const volume = volumes.require(id);
    requireReady(volume, 'flattened');
    const { active } = volume.status;
    const base = chainOf((one) => volumes.get(one), activeOf(volume))[0];
    const keep =
      progress.input['keepImage'] === true && base?.kind === 'image' ? { image: base.image } : undefined;
    const { parent } = layerOf(volume, active);
    const alone = parent === undefined || (keep !== undefined && 'image' in parent);
    if (!alone) await pullInto(shared, live, { volume: id, layer: active }, keep, progress);
    await layers.prune(id);
    pruneSources(shared, [volume]);
  };
}

/** The record goes last: until then it can be removed again. */
export function removeVolume({ shared }: VolumeParts, id: string): Work {
  const { volumes, faults } = shared;
  return async (progress) => {
    const volume = volumes.get(id);
    if (volume === undefined) return;
    requireUnused(shared, volume);
    await faults.at('volume.remove/mark');
    await commit(shared.store, [volumes.put({ ...volume, status: { ...volume.status, state: 'removing' } })]);
    await faults.at('volume.remove/storage');
    await removeLayers(shared, volumes.require(id));
    await faults.at('volume.remove/record');
    await progress.complete([volumes.remove(volumes.require(id))]);
    pruneSources(shared, [volume]);
  };
}

/**
 * The sources of linked clones may have layers that only those needed. Done behind the back of who asks, in the lanes of the sources, so
 * that no lane waits for another; what does not get done is done at the start of the next daemon.
 */
export function pruneSources(shared: Shared, clones: readonly Volume[]): void {
  const { volumes, lanes, layers, logger } = shared;
  const sources = clones.flatMap(({ id, status }) =>
    status.layers.flatMap(({ parent }) =>
      parent !== undefined && 'layer' in parent && parent.volume !== id ? [parent.volume] : [],
    ),
  );
  for (const id of new Set(sources)) {
    const lane = (): string => laneOf(shared, { kind: 'volume', id });
    lanes
      .follow(lane, async () => {
        if (volumes.get(id) !== undefined) await layers.prune(id);
      })
      .then(() => layers.tidy(id))
      .catch((error: unknown) => logger.warn('volume.not_pruned', { volume: id, error }));
  }
}

export async function removeLayers({ storage }: Pick<Shared, 'storage'>, volume: Volume): Promise<void> {
  const pool = await storage.open(volume.spec.pool);
  const { layers, next } = volume.status;
  for (const layer of [...layers.map((one) => one.id), ...(next === undefined ? [] : [next])])
    await pool.remove({ volume: volume.id, layer });
}

/** Throws `volume.in_use`, and says by whom. */
export function requireUnused({ volumes, instances, snapshots }: Shared, volume: Volume, by?: string): void {
  const { attachment } = volume.status;
  const instance = attachment === undefined ? undefined : instances.get(attachment.instance);
  if (instance !== undefined && instance.id !== by)
    throw new WirtError('volume.in_use', `Volume ${volume.name} is attached to ${instance.name}.`, {
      hint: `Detach it first: \`wirt volume detach ${volume.name}\`.`,
      details: { instance: instance.name },
    });
  const clones = dependentsOf(volumes.after(), volume);
  if (clones.length > 0)
    throw new WirtError(
      'volume.in_use',
      `Volume ${volume.name} is shared by its clones ${namesOf(clones)}.`,
      {
        hint: `Let them stand alone: \`wirt volume flatten ${clones[0]?.name}\`.`,
        details: { volumes: clones.map(({ name }) => name) },
      },
    );
  const held = [...snapshots.after()].filter(
    ({ spec, status }) => spec.instance !== by && status.disks.some(({ volume: id }) => id === volume.id),
  );
  if (held.length > 0)
    throw new WirtError('volume.in_use', `Volume ${volume.name} is held by the snapshots ${namesOf(held)}.`, {
      hint: 'Remove them first: `wirt snapshot rm INSTANCE SNAPSHOT`.',
      details: { snapshots: held.map(({ name }) => name) },
    });
}

/** Of a volume that no guest is writing. */
export function exportVolume({ shared, live }: VolumeParts, id: string): Work {
  const { volumes, layers, transfer } = shared;
  return async (progress) => {
    const { format, path } = progress.input as { format: VolumeFormat; path: string };
    await settleNext(shared, id, holderOf(live, volumes.require(id)));
    const volume = volumes.require(id);
    requireReady(volume, 'exported');
    if (holderOf(live, volume) !== undefined)
      throw new WirtError('volume.in_use', `Volume ${volume.name} is being written by a running guest.`, {
        hint: 'Export a snapshot of it: `wirt snapshot create`, then `wirt snapshot export`.',
      });
    // What an earlier daemon had begun, and nobody else's file of that name.
    if (progress.recovering) await transfer.removeOutput(path);
    await confined(shared, progress, 'export', async (work) => {
      const source = await layers.sourceOf(activeOf(volume));
      return await transfer.fromSource(source, { path, format }, work);
    });
    await progress.complete([], { files: [path] });
  };
}
