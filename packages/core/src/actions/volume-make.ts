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
import { requireRoom } from './pool.ts';
import { commit } from './records.ts';
import { activeOf, storedLayer } from './volume-layers.ts';

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
        await requireRoom(shared, volume.spec.pool, await imageBytes(shared, origin.image));
        await confined(shared, progress, 'copy', (work) => pool.copy(layer, source, work));
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
      const from_ = shared.volumes.require(from.volume);
      const stored = from_.status.layers.map((one) => ({ volume: from_.id, layer: one.id }));
      const bytes = await (await storage.open(from_.spec.pool)).allocatedBytes(stored);
      await requireRoom(shared, volume.spec.pool, bytes);
      await confined(shared, progress, 'copy', (work) => pool.copy(layer, source, work));
      const alone = volume.status.layers.map(({ parent: _, ...rest }) => rest);
      return ready({ ...volume, status: { ...volume.status, layers: alone } });
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

/** Takes back what a make has left on the storage. */
export async function unmakeVolume({ storage }: Pick<Shared, 'storage'>, volume: Volume): Promise<void> {
  await (await storage.open(volume.spec.pool)).remove(activeOf(volume));
}

function ready(volume: Volume): Volume {
  return { ...volume, status: { ...volume.status, state: 'ready' } };
}

function imageBytes({ images }: Pick<Shared, 'images'>, id: string): Promise<number> {
  return Promise.resolve(images.require(id).status.sizeBytes ?? 0);
}

/** Until it is copied, the layer's parent says what is to be copied. */
function parentLayer(volume: Volume): LayerId {
  const parent = volume.status.layers[0]?.parent;
  if (parent !== undefined && 'layer' in parent) return parent;
  throw new WirtError('internal', `Volume ${volume.name} does not say what it is a clone of.`);
}

/** Makes every volume of a list that is still to be made; when one fails, what was made of the others stays for the next time. */
export async function makeVolumes(
  shared: Shared,
  list: readonly Volume[],
  progress: Progress,
): Promise<Volume[]> {
  const made: Volume[] = [];
  for (const { id, status } of list) {
    if (status.state !== 'creating') continue;
    progress.stage('disks');
    made.push(await makeVolume(shared, id, progress));
  }
  return made;
}

/** Makes a volume ready by itself, outside an instance. */
export async function completeVolume(shared: Shared, made: Volume, progress: Progress): Promise<void> {
  await shared.faults.at('volume.create/record');
  await progress.complete([
    shared.volumes.put({ ...made, revision: shared.volumes.require(made.id).revision }),
  ]);
}

/** For recovery: what a running guest has open is whole. */
export async function markReady(shared: Shared, volume: Volume): Promise<void> {
  if (volume.status.state === 'creating') await commit(shared.store, [shared.volumes.put(ready(volume))]);
}
