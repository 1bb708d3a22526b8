/** Volumes: listing, creating, cloning, growing, flattening, exporting, removing. The works are in volume-work. */
import { type Operation, type Volume, type VolumeCreate, WirtError } from '@wirt/api';
import { pageOf } from '../domain/page.ts';
import type { Request, VolumeActions } from './actions.ts';
import { usesLane } from './image-use.ts';
import { requireRevision } from './instance-state.ts';
import type { Shared } from './parts.ts';
import { promising } from './pool-promise.ts';
import { commit, nameConflict, nameTaken } from './records.ts';
import { createVolume } from './volume-create.ts';
import { newVolume } from './volume-new.ts';
import { shorteningOf } from './volume-tidy.ts';
import {
  exportVolume,
  flattenVolume,
  removeVolume,
  requireGrowth,
  requireUnused,
  resizeVolume,
  type VolumeParts,
} from './volume-work.ts';
import type { Answering } from './waiting.ts';
import { begin, laneOf, type WorkTable } from './works.ts';

export type VolumeKind = Extract<Operation['kind'], `volume.${string}`>;

export function volumeWorks(parts: VolumeParts): WorkTable<VolumeKind> {
  return {
    'volume.create': (id) => createVolume(parts, id),
    'volume.resize': (id) => resizeVolume(parts, id),
    'volume.flatten': (id) => flattenVolume(parts, id),
    'volume.remove': (id) => removeVolume(parts, id),
    'volume.export': (id) => exportVolume(parts, id),
  };
}

/** Starts an operation on a volume that is there. */
export function beginOnVolume(
  shared: Shared,
  works: WorkTable<VolumeKind>,
  request: Request,
  kind: Exclude<VolumeKind, 'volume.create'>,
  { id, name }: Volume,
  input: Operation['input'],
): Promise<Operation> {
  const cancellable = kind !== 'volume.remove';
  return begin(shared, request, {
    kind,
    target: { kind: 'volume', id, name },
    input,
    cancellable,
    work: works[kind](id),
  });
}

/** For `VolumeLayers.tidy`. */
export function createTidy(shared: Shared, works: WorkTable<VolumeKind>): (id: string) => Promise<void> {
  const { volumes, logger } = shared;
  return async (id) => {
    try {
      const volume = volumes.get(id);
      const shortening = volume === undefined ? undefined : await shorteningOf(shared, volume);
      if (volume === undefined || shortening === undefined) return;
      const request = { caller: shortening.caller, signal: new AbortController().signal };
      await beginOnVolume(shared, works, request, 'volume.flatten', volume, { ...shortening.input });
    } catch (error) {
      logger.warn('volume.not_tidied', { volume: id, error });
    }
  };
}

export function createVolumeActions(
  shared: Shared,
  works: WorkTable<VolumeKind>,
  answering: Answering,
): VolumeActions {
  const { volumes, instances } = shared;
  const on = (
    kind: Exclude<VolumeKind, 'volume.create'>,
    request: Request,
    ref: string,
    input: object = {},
    check: (volume: Volume) => void = () => undefined,
  ): Promise<Operation> => {
    const volume = volumes.require(ref);
    requireRevision(volume, request.ifRevision);
    check(volume);
    return beginOnVolume(shared, works, request, kind, volume, { ...input });
  };
  return {
    list: async ({ cursor, limit, project, pool, instance }) => {
      const holder = instance === undefined ? undefined : instances.require(instance).id;
      const { items, ...rest } = pageOf(
        volumes.after(cursor),
        limit,
        (volume) =>
          volume.project === project &&
          (pool === undefined || volume.spec.pool === pool) &&
          (holder === undefined || volume.status.attachment?.instance === holder),
      );
      return { items: await Promise.all(items.map((volume) => measured(shared, volume))), ...rest };
    },
    get: async (ref) => measured(shared, volumes.require(ref)),
    create: (request, input, wait) => answering(request, wait, () => create(shared, works, request, input)),
    update: (request, ref, { name, labels }) => {
      const { id } = volumes.require(ref);
      const lane = (): string => laneOf(shared, { kind: 'volume', id });
      return shared.lanes.follow(lane, async () => {
        const volume = volumes.require(id);
        requireRevision(volume, request.ifRevision);
        const changed = { ...volume, name: name ?? volume.name, labels: labels ?? volume.labels };
        await commit(shared.store, [volumes.put(changed)]).catch((error: unknown) => {
          throw nameConflict(error, 'volume');
        });
        return measured(shared, volumes.require(id));
      });
    },
    resize: (request, ref, input, wait) =>
      answering(request, wait, () =>
        on('volume.resize', request, ref, input, (volume) => requireGrowth(volume, input.sizeBytes)),
      ),
    flatten: (request, ref, wait) => answering(request, wait, () => on('volume.flatten', request, ref)),
    export: (request, ref, input, wait) =>
      answering(request, wait, () => on('volume.export', request, ref, input)),
    remove: (request, ref, wait) =>
      answering(request, wait, () =>
        on('volume.remove', request, ref, {}, (volume) => requireUnused(shared, volume)),
      ),
  };
}

/** With what it takes on its storage now, where that can be looked at. */
async function measured({ storage }: Shared, volume: Volume): Promise<Volume> {
  try {
    const pool = await storage.open(volume.spec.pool);
    const refs = volume.status.layers.map(({ id }) => ({ volume: volume.id, layer: id }));
    return { ...volume, status: { ...volume.status, allocatedBytes: await pool.allocatedBytes(refs) } };
  } catch (error) {
    if (error instanceof WirtError) return volume;
    throw error;
  }
}

/** In the lanes of its pool and image, which cannot go between the look at them and the record that holds them. */
async function create(
  shared: Shared,
  works: WorkTable<VolumeKind>,
  request: Request,
  input: VolumeCreate,
): Promise<Operation> {
  const { volumes, pools, images, lanes } = shared;
  const { source, project } = input;
  const held = source.kind === 'image' ? [usesLane(images.require(source.image, project).id)] : [];
  return lanes.runAll([pools.require(input.pool).id, ...held], async () => {
    const volume = newVolume(shared, input);
    if (volumes.find(volume.name, volume.project) !== undefined) throw nameTaken('volume', volume.name);
    const { id, name } = volume;
    const started = promising(shared, [volume], () =>
      begin(shared, request, {
        kind: 'volume.create',
        target: { kind: 'volume', id, name },
        input: {},
        staged: [volumes.put(volume)],
        work: works['volume.create'](id),
      }),
    );
    return started.catch((error: unknown) => {
      throw nameConflict(error, 'volume');
    });
  });
}
