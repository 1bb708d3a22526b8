/** The works of operations on volumes. Each may run again from its beginning after a crash. */
import { type Volume, type VolumeFormat, WirtError } from '@wirt/api';
import { chainOf, type LayerId, layerOf } from '../domain/layers.ts';
import { confined } from './confined.ts';
import type { LiveGuests } from './live-guests.ts';
import type { Progress, Work } from './operation-runner.ts';
import type { Shared } from './parts.ts';
import { requireRoom } from './pool.ts';
import { commit } from './records.ts';
import { freezeVolumes, settleNext } from './volume-freeze.ts';
import { activeOf, storedLayer } from './volume-layers.ts';
import { completeVolume, makeVolume, unmakeVolume } from './volume-make.ts';
import { dropLayer, holderOf, pullInto } from './volume-merge.ts';
import { laneOf, requireLane } from './works.ts';

const commandMs = 20_000;

export interface VolumeParts {
  readonly shared: Shared;
  readonly live: LiveGuests;
}

/** Made whole, or gone again with its record. */
export function createVolume(parts: VolumeParts, id: string): Work {
  const { shared, live } = parts;
  const { store, volumes, lanes } = shared;
  return async (progress) => {
    const volume = volumes.require(id);
    const { origin } = volume.spec;
    const copiesLive = { layer: undefined as LayerId | undefined };
    try {
      if (origin.kind === 'volume') {
        const lane = laneOf(shared, { kind: 'volume', id: origin.volume });
        const from = await lanes.run(lane, () => cloneFrom(parts, volume, progress, lane));
        if (from.copied) return;
        if (origin.mode === 'full') copiesLive.layer = from.layer;
      }
      await completeVolume(shared, await makeVolume(shared, id, progress), progress);
    } catch (error) {
      if (error instanceof WirtError && error.code === 'daemon.stopping') throw error;
      await unmakeVolume(shared, volume);
      await commit(store, [volumes.remove(volumes.require(id))]);
      throw error;
    }
    const { layer } = copiesLive;
    if (layer === undefined) return;
    // What was frozen for the copy alone goes back into what lies on it.
    const lane = laneOf(shared, { kind: 'volume', id: layer.volume });
    await lanes.run(lane, () => dropLayer(shared, live, layer, { ...progress, stage: () => undefined }));
  };
}

/**
 * In the lane of the source. Its frozen layer becomes what the clone lies on, or is to be copied from. A full copy of a volume that
 * nobody has open is made at once, with nothing frozen.
 */
async function cloneFrom(
  { shared, live }: VolumeParts,
  clone: Volume,
  progress: Progress,
  lane: string,
): Promise<{ copied: boolean; layer: LayerId }> {
  const { store, volumes, storage, layers } = shared;
  const { origin } = clone.spec;
  if (origin.kind !== 'volume') throw new WirtError('internal', `Volume ${clone.name} is no clone.`);
  requireLane(shared, origin.volume, lane);
  const source = volumes.require(origin.volume);
  const holder = holderOf(live, source);
  await settleNext(shared, source.id, holder);
  const chosen = clone.status.layers[0]?.parent;
  // An earlier run has frozen it already.
  if (chosen !== undefined && 'layer' in chosen) return { copied: false, layer: chosen };
  if (origin.mode === 'full' && holder === undefined) {
    const from = activeOf(volumes.require(source.id));
    const pool = await storage.open(clone.spec.pool);
    await requireRoom(shared, clone.spec.pool, await allocated(shared, from));
    const target = storedLayer(clone, clone.status.active);
    const whole = await layers.sourceOf(from);
    await confined(shared, progress, 'copy', (work) => pool.copy(target, whole, work));
    const ready = { ...clone, status: { ...clone.status, state: 'ready' as const } };
    await completeVolume(shared, ready, progress);
    return { copied: true, layer: from };
  }
  const disk = holder === undefined ? {} : { disk: holder.name };
  const { frozen, changes } = await freezeVolumes(shared, [{ volume: source.id, ...disk }], {
    guest: holder?.guest,
    signal: progress.signal,
    step: 'volume.create',
  });
  const layer = { volume: source.id, layer: frozen.get(source.id) ?? '' };
  const now = volumes.require(clone.id);
  const [first, ...rest] = now.status.layers;
  if (first === undefined) throw new WirtError('internal', `Volume ${clone.name} has no layer.`);
  const withSource = { ...now, status: { ...now.status, layers: [{ ...first, parent: layer }, ...rest] } };
  await commit(store, [...changes, volumes.put(withSource)]);
  return { copied: false, layer };
}

async function allocated({ volumes, storage }: Shared, layer: LayerId): Promise<number> {
  let bytes = 0;
  for (const link of chainOf((id) => volumes.get(id), layer)) {
    if (link.kind === 'image') continue;
    const pool = await storage.open(volumes.require(link.volume).spec.pool);
    bytes += await pool.allocatedBytes([{ volume: link.volume, layer: link.layer.id }]);
  }
  return bytes;
}

/** The storage first, or QEMU when a guest has it open; then the record. Growing what is grown already changes nothing. */
export function resizeVolume({ shared, live }: VolumeParts, id: string): Work {
  const { volumes, storage, faults } = shared;
  return async (progress) => {
    const { sizeBytes } = progress.input as { sizeBytes: number };
    const lane = laneOf(shared, { kind: 'volume', id });
    requireLane(shared, id, lane);
    await settleNext(shared, id, holderOf(live, volumes.require(id)));
    const volume = volumes.require(id);
    requireReady(volume, 'resized');
    requireGrowth(volume, sizeBytes);
    await requireRoom(shared, volume.spec.pool, 0);
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
    const layers = now.status.layers.map((one) =>
      one.id === now.status.active ? { ...one, sizeBytes } : one,
    );
    await progress.complete([
      volumes.put({ ...now, spec: { ...now.spec, sizeBytes }, status: { ...now.status, layers } }),
    ]);
  };
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
    // The source of a linked clone may have layers that only the clone needed.
    if (parent !== undefined && 'volume' in parent && volumes.get(parent.volume) !== undefined)
      await layers.prune(parent.volume);
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
  };
}

export async function removeLayers({ storage }: Pick<Shared, 'storage'>, volume: Volume): Promise<void> {
  const pool = await storage.open(volume.spec.pool);
  const { layers, next } = volume.status;
  for (const layer of [...layers.map((one) => one.id), ...(next === undefined ? [] : [next])])
    await pool.remove({ volume: volume.id, layer });
}

/** Throws `volume.in_use`, and says by whom. */
export function requireUnused({ volumes, instances, snapshots }: Shared, volume: Volume, by?: string): void {
  const { attachment, layers } = volume.status;
  const instance = attachment === undefined ? undefined : instances.get(attachment.instance);
  if (instance !== undefined && instance.id !== by)
    throw new WirtError('volume.in_use', `Volume ${volume.name} is attached to ${instance.name}.`, {
      hint: `Detach it first: \`wirt volume detach ${volume.name}\`.`,
      details: { instance: instance.name },
    });
  const own = new Set(layers.map(({ id }) => id));
  const clones = [...volumes.after()].filter(
    (other) =>
      other.id !== volume.id &&
      other.status.layers.some(
        ({ parent }) => parent !== undefined && 'layer' in parent && own.has(parent.layer),
      ),
  );
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

function namesOf(records: readonly { readonly name: string }[]): string {
  const names = records.slice(0, 5).map(({ name }) => name);
  return (
    names.join(', ') + (records.length > names.length ? ` and ${records.length - names.length} more` : '')
  );
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
    await confined(shared, progress, 'export', async (work) => {
      await using lent = await layers.lend(activeOf(volume), work.confinement.identity);
      return await transfer.fromSource(lent.source, { path, format }, work);
    });
    await progress.complete([], { files: [path] });
  };
}
