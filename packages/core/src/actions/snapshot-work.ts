/** Taking, restoring and removing snapshots, in the lane of their instance. Each may run again from its beginning after a crash. */
import { type Instance, type Snapshot, snapshotCreateSchema, type Volume, WirtError } from '@wirt/api';
import { layerOf } from '../domain/layers.ts';
import { Undo } from '../domain/undo.ts';
import type { Guest } from '../ports/hypervisor.ts';
import { atRest, consistencyOf, thawed } from './guest-freeze.ts';
import { requireCan } from './instance-state.ts';
import type { LiveGuests } from './live-guests.ts';
import { isStopping, type Progress, type Work } from './operation-runner.ts';
import type { Shared } from './parts.ts';
import { requireRoom } from './pool.ts';
import { commit, type Staged } from './records.ts';
import { freezeVolumes, settleNext, type ToFreeze } from './volume-freeze.ts';
import { volumesOf } from './volume-layers.ts';
import { dropLayer, holderOf } from './volume-merge.ts';

export interface SnapshotParts {
  readonly shared: Shared;
  readonly live: LiveGuests;
}

export function takeSnapshot(parts: SnapshotParts, id: string): Work {
  const { shared, live } = parts;
  const { snapshots, instances } = shared;
  return async (progress) => {
    const instance = instances.require(snapshots.require(id).spec.instance);
    const guest = live.holding(instance.id);
    try {
      // An earlier daemon may have frozen it and ended. One that was not frozen answers so.
      if (progress.recovering && guest !== undefined) await thawed(guest, 1);
      await take(parts, instance, guest, id, progress);
    } catch (error) {
      if (!isStopping(progress)) {
        await giveUp(parts, instance, id, progress);
        await tidy(shared, instance);
      }
      throw error;
    }
    await tidy(shared, instance);
  };
}

/** Each has a layer more. */
async function tidy(shared: Shared, instance: Instance): Promise<void> {
  for (const { id } of volumesOf(shared, instance).values()) await shared.layers.tidy(id);
}

async function take(
  { shared, live }: SnapshotParts,
  instance: Instance,
  guest: Guest | undefined,
  id: string,
  progress: Progress,
): Promise<void> {
  const { snapshots, instances, faults, firmware } = shared;
  const { freeze } = snapshotCreateSchema.pick({ freeze: true }).parse({ freeze: progress.input['freeze'] });
  requireCan('snapshot', instance);
  await faults.at('snapshot.create/begin');
  const list = await disksToFreeze(shared, live, instance);
  const told = consistencyOf(guest);
  const { frozen, changes } = await freezeVolumes(shared, list, {
    guest,
    signal: progress.signal,
    step: 'snapshot.create',
    around: (moment) => atRest(guest, freeze, told, progress, moment),
  });
  await firmware.save(instance.id, id);
  const disks = list.map(({ disk = '', volume }) => ({ disk, volume, layer: frozen.get(volume) ?? '' }));
  const now = snapshots.require(id);
  const current = instances.require(instance.id);
  await progress.complete([
    ...changes,
    // What it was asked on may have been restored or removed while it waited.
    snapshots.put(
      withParentSnapshot(
        { ...now, status: { ...now.status, state: 'ready', ...told, disks } },
        current.status.snapshot,
      ),
    ),
    instances.put({ ...current, status: { ...current.status, snapshot: id } }),
  ]);
}

/** No snapshot has come about: disks that go on with new layers all the same only have longer chains. */
async function giveUp(
  { shared, live }: SnapshotParts,
  instance: Instance,
  id: string,
  progress: Progress,
): Promise<void> {
  const { volumes, logger } = shared;
  for (const volume of volumesOf(shared, instance).values())
    await settleNext(shared, volume.id, holderOf(live, volumes.require(volume.id))).catch(
      (error: unknown) => {
        logger.warn('volume.freezing_in_doubt', { volume: volume.id, error });
      },
    );
  await forgetSnapshot(shared, id, (changes) => progress.record(changes));
}

/** `record` makes the change durable. */
export async function forgetSnapshot(
  { snapshots, firmware }: Shared,
  id: string,
  record: (changes: readonly Staged[]) => Promise<void>,
): Promise<void> {
  const snapshot = snapshots.get(id);
  if (snapshot === undefined) return;
  await firmware.forget(snapshot.spec.instance, id);
  await record([snapshots.remove(snapshot)]);
}

async function disksToFreeze(shared: Shared, live: LiveGuests, instance: Instance): Promise<ToFreeze[]> {
  const list: ToFreeze[] = [];
  for (const [disk, volume] of volumesOf(shared, instance)) {
    await settleNext(shared, volume.id, holderOf(live, volume));
    await requireRoom(shared, volume.spec.pool, 0);
    list.push({ disk, volume: volume.id });
  }
  if (list.length > 0) return list;
  throw new WirtError('snapshot.failed', `Instance ${instance.name} has no disks to take a snapshot of.`, {
    hint: `Attach one: \`wirt volume attach VOLUME ${instance.name}\`.`,
  });
}

/** The disks go on from the snapshot; what was written since is given up, unless a later snapshot holds it. */
export function restoreSnapshot({ shared }: SnapshotParts, id: string): Work {
  const { snapshots, instances, volumes, storage, layers, operations, faults, logger } = shared;
  return async (progress) => {
    const snapshot = snapshots.require(id);
    const instance = instances.require(snapshot.spec.instance);
    requireCan('restore', instance);
    requireRestorable(snapshot);
    await using undo = new Undo((error) => logger.error('snapshot.undo_failed', { snapshot: id, error }));
    const restored: Volume[] = [];
    for (const { volume: volumeId, layer, disk } of snapshot.status.disks) {
      await settleNext(shared, volumeId, undefined);
      const volume = attached(shared, instance, volumeId, disk);
      await requireRoom(shared, volume.spec.pool, 0);
      await faults.at('snapshot.restore/layer');
      const pool = await storage.open(volume.spec.pool);
      const next = operations.newId();
      const { sizeBytes } = layerOf(volume, layer);
      const stored = { volume: volumeId, layer: next, format: 'qcow2', sizeBytes } as const;
      undo.add(() => pool.remove(stored));
      await pool.createOverlay(stored, await layers.sourceOf({ volume: volumeId, layer }));
      const added = { id: next, format: 'qcow2', sizeBytes, parent: { volume: volumeId, layer } } as const;
      const status = { ...volume.status, active: next, layers: [...volume.status.layers, added] };
      restored.push({ ...volume, spec: { ...volume.spec, sizeBytes }, status });
    }
    await faults.at('snapshot.restore/firmware');
    await shared.firmware.restore(instance.id, id);
    await faults.at('snapshot.restore/record');
    const current = instances.require(instance.id);
    await progress.complete([
      ...restored.map((volume) => volumes.put(volume)),
      instances.put({ ...current, status: { ...current.status, snapshot: id } }),
    ]);
    undo.release();
    for (const { id: volume } of restored) await layers.prune(volume);
  };
}

/** Its removal may have begun since this was asked for. */
function requireRestorable({ name, status }: Snapshot): void {
  if (status.state === 'ready') return;
  throw new WirtError('snapshot.failed', `Snapshot ${name} is ${status.state}.`);
}

function attached({ volumes }: Shared, instance: Instance, id: string, disk: string): Volume {
  const volume = volumes.get(id);
  if (volume?.status.attachment?.instance === instance.id) return volume;
  throw new WirtError(
    'snapshot.failed',
    `Disk ${disk} of the snapshot is not attached to ${instance.name} any more.`,
    {
      hint: `Attach its volume again: \`wirt volume attach ${volume?.name ?? id} ${instance.name}\`.`,
    },
  );
}

/**
 * Its frozen layers are merged into what lies on them; what follows it in the tree follows its parent. Runs in the lane of the readers, and
 * goes into that of the instance itself.
 */
export function removeSnapshot(parts: SnapshotParts, id: string): Work {
  const { snapshots, lanes } = parts.shared;
  return async (progress) => {
    const instance = snapshots.get(id)?.spec.instance;
    if (instance !== undefined) await lanes.run(instance, () => remove(parts, id, progress));
  };
}

async function remove({ shared, live }: SnapshotParts, id: string, progress: Progress): Promise<void> {
  const { store, snapshots, instances, volumes, layers, faults, firmware, logger } = shared;
  const snapshot = snapshots.get(id);
  if (snapshot === undefined) return;
  await faults.at('snapshot.remove/mark');
  if (snapshot.status.state !== 'removing')
    await commit(store, [snapshots.put({ ...snapshot, status: { ...snapshot.status, state: 'removing' } })]);
  for (const { volume, layer } of snapshot.status.disks) {
    await settleNext(shared, volume, holderOrNone(shared, live, volume));
    await faults.at('snapshot.remove/merge');
    const gone = await dropLayer(shared, live, { volume, layer }, progress);
    if (!gone) logger.info('snapshot.layer_kept', { snapshot: id, volume, layer });
  }
  await firmware.forget(snapshot.spec.instance, id);
  await faults.at('snapshot.remove/record');
  const now = snapshots.require(id);
  const { parent } = now.status;
  const orphans = [...snapshots.after()].filter(({ status }) => status.parent === id);
  const instance = instances.get(now.spec.instance);
  await progress.complete([
    snapshots.remove(now),
    ...orphans.map((one) => snapshots.put(withParentSnapshot(one, parent))),
    ...(instance?.status.snapshot === id ? [instances.put(onSnapshot(instance, parent))] : []),
  ]);
  // What only the dropped layers had needed.
  for (const { volume } of snapshot.status.disks)
    if (volumes.get(volume) !== undefined) {
      await layers.prune(volume);
      await layers.tidy(volume);
    }
}

function holderOrNone({ volumes }: Shared, live: LiveGuests, id: string) {
  const volume = volumes.get(id);
  return volume === undefined ? undefined : holderOf(live, volume);
}

function withParentSnapshot(snapshot: Snapshot, parent: string | undefined): Snapshot {
  const { parent: _, ...status } = snapshot.status;
  return { ...snapshot, status: parent === undefined ? status : { ...status, parent } };
}

function onSnapshot(instance: Instance, snapshot: string | undefined): Instance {
  const { snapshot: _, ...status } = instance.status;
  return { ...instance, status: snapshot === undefined ? status : { ...status, snapshot } };
}
