/**
 * Makes the data of a volume whose record is `creating`, as its origin says. May be done again from the beginning: nothing has been
 * written to it that was acknowledged. Gives back the record's change, to be made durable by the caller.
 */
import { type Volume, WirtError } from '@wirt/api';
import type { LayerId } from '../domain/layers.ts';
import { confined } from './confined.ts';
import { requireDisk } from './image-use.ts';
import type { Progress } from './operation-runner.ts';
import type { Shared } from './parts.ts';
import { keepingRoom, requireRoom } from './pool.ts';
import { commit } from './records.ts';
import { activeOf, bytesToRead, storedLayer } from './volume-layers.ts';

/** A file cannot be made again from its record: its import does that. */
export async function makeVolume(shared: Shared, id: string, progress: Progress): Promise<Volume> {
  const { volumes, storage, layers, faults } = shared;
  const volume = volumes.require(id);
  const pool = await storage.open(volume.spec.pool);
  const layer = storedLayer(volume, volume.status.active);
  const { origin } = volume.spec;
  await faults.at('volume.create/make');
  switch (origin.kind) {
    case 'empty':
      await requireRoom(shared, volume.spec.pool, 0);
      await pool.create(layer);
      return ready(volume);
    case 'image': {
      const source = layers.imageSource(requireDisk(shared.images.require(origin.image)));
      if (origin.mode === 'linked') {
        await requireRoom(shared, volume.spec.pool, 0);
        await pool.createOverlay(layer, source);
      } else {
        const { sizeBytes = 0 } = shared.images.require(origin.image).status;
        await requireRoom(shared, volume.spec.pool, sizeBytes);
        await confined(shared, progress, 'copy', (work) =>
          keepingRoom(shared, volume.spec.pool, work, (kept) => pool.copy(layer, source, kept)),
        );
      }
      return ready(volume);
    }
    case 'volume': {
      const from = parentLayer(volume);
      const source = await layers.sourceOf(from);
      if (origin.mode === 'linked') {
        await requireRoom(shared, volume.spec.pool, 0);
        await pool.createOverlay(layer, source);
        return ready(volume);
      }
      return copyWhole(shared, volume, from, progress);
    }
    case 'file':
      throw new WirtError(
        'volume.state_conflict',
        `Volume ${volume.name} was being imported and is not whole.`,
        {
          hint: `Remove it, and import it again: \`wirt volume rm ${volume.name}\`.`,
        },
      );
  }
}

/** A copy of a layer and all below it, sharing nothing with them. */
export async function copyWhole(
  shared: Shared,
  volume: Volume,
  from: LayerId,
  progress: Progress,
): Promise<Volume> {
  const pool = await shared.storage.open(volume.spec.pool);
  await requireRoom(shared, volume.spec.pool, await bytesToRead(shared, from));
  const source = await shared.layers.sourceOf(from);
  await confined(shared, progress, 'copy', (work) =>
    keepingRoom(shared, volume.spec.pool, work, (kept) =>
      pool.copy(storedLayer(volume, volume.status.active), source, kept),
    ),
  );
  const alone = volume.status.layers.map(({ parent: _, ...layer }) => layer);
  return ready({ ...volume, status: { ...volume.status, layers: alone } });
}

/** Takes back what a make has left on the storage. */
export async function unmakeVolume({ storage }: Pick<Shared, 'storage'>, volume: Volume): Promise<void> {
  await (await storage.open(volume.spec.pool)).remove(activeOf(volume));
}

function ready(volume: Volume): Volume {
  return { ...volume, status: { ...volume.status, state: 'ready' } };
}

/** Until it is copied, the layer's parent says what is to be copied. */
function parentLayer(volume: Volume): LayerId {
  const parent = volume.status.layers[0]?.parent;
  if (parent !== undefined && 'layer' in parent) return parent;
  throw new WirtError('internal', `Volume ${volume.name} does not say what it is a clone of.`);
}

/** Makes every volume of a list that is still to be made, and records each at once: from then on a guest may write it. */
export async function makeVolumes(
  shared: Shared,
  list: readonly Volume[],
  progress: Progress,
): Promise<void> {
  for (const { id, status } of list) {
    if (status.state !== 'creating') continue;
    progress.stage('disks');
    await commit(shared.store, [shared.volumes.put(await makeVolume(shared, id, progress))]);
  }
}

/** Makes a volume ready by itself, outside an instance. */
export async function completeVolume(shared: Shared, made: Volume, progress: Progress): Promise<void> {
  await shared.faults.at('volume.create/record');
  await progress.complete([
    shared.volumes.put({ ...made, revision: shared.volumes.require(made.id).revision }),
  ]);
}
