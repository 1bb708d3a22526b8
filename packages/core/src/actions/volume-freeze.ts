/**
 * Freezes volumes at one moment: what they held becomes a layer that is never written again, and a new layer takes the writes, also
 * under a running guest. The intent (`status.next`) is durable before the first file is made, and that the file is whole before a guest is
 * given it; after a crash, `settleNext` finishes or undoes it.
 */
import { type Volume, WirtError } from '@wirt/api';
import type { DiskLayerNode } from '../domain/disk-source.ts';
import { layerOf, withNextLayer, withoutNextLayer, withPendingLayer } from '../domain/layers.ts';
import { Undo } from '../domain/undo.ts';
import type { Guest } from '../ports/hypervisor.ts';
import type { LayerRef, VolumePool } from '../ports/volume-pool.ts';
import type { Shared } from './parts.ts';
import { commit, type Staged } from './records.ts';
import { activeOf, storedLayer } from './volume-layers.ts';

/** QEMU switches within milliseconds; past this it hangs. */
const switchMs = 20_000;

/** A volume to freeze, and as which disk a guest has it. */
export interface ToFreeze {
  readonly volume: string;
  readonly disk?: string;
}

export interface Freezing {
  /** Frozen layer by volume id. */
  readonly frozen: ReadonlyMap<string, string>;
  /** The volumes' changes, to be committed with what they are for. */
  readonly changes: readonly Staged[];
}

interface Planned extends ToFreeze {
  readonly next: string;
  readonly pool: VolumePool;
}

export interface FreezeOptions {
  /** Under control, with the volumes attached; without it nobody has them open. */
  readonly guest?: Guest | undefined;
  readonly signal: AbortSignal;
  /** Called around the moment itself. */
  around?(moment: () => Promise<void>): Promise<void>;
  /** Name of the steps, for faults. */
  readonly step: string;
}

/** Runs in the lane of the instance, or of the unattached volume. When it throws, the volumes read as before. */
export async function freezeVolumes(
  shared: Shared,
  list: readonly ToFreeze[],
  options: FreezeOptions,
): Promise<Freezing> {
  const { store, volumes, faults, logger } = shared;
  const { guest, signal, step } = options;
  await using undo = new Undo((error) => logger.error('volume.undo_failed', { error }));
  const planned = await plan(shared, list);
  await commit(store, planned.map(changeTo(shared, (record, { next }) => withNext(record, next))));
  undo.add(() => shared.late.commit(planned.map(changeTo(shared, withoutNextLayer))));
  await faults.at(`${step}/layers`);
  for (const one of planned) await makeLayer(shared, one, guest, undo);
  signal.throwIfAborted();
  // From here on a guest may write them, whatever becomes of the daemon.
  if (guest !== undefined) await commit(store, planned.filter(isLayered).map(changeTo(shared, pending)));
  await faults.at(`${step}/moment`);
  const around = options.around ?? ((moment) => moment());
  let begun = false;
  try {
    await around(() => {
      begun = true;
      return moment(shared, planned, guest);
    });
  } catch (error) {
    // What QEMU did not answer it may have done all the same.
    if (begun && guest !== undefined) {
      undo.release();
      await settleAll(shared, planned, guest);
    }
    throw error;
  }
  undo.release();
  if (guest !== undefined)
    for (const { volume } of planned.filter(isLayered))
      await narrowFrozen(shared, activeOf(volumes.require(volume)), guest);
  const frozen = new Map<string, string>();
  const changes = planned.map((one) => {
    const record = volumes.require(one.volume);
    frozen.set(one.volume, isLayered(one) ? record.status.active : one.next);
    return volumes.put(frozenRecord(record, one.next, one.pool));
  });
  await faults.at(`${step}/record`);
  return { frozen, changes };
}

function isLayered({ pool }: Planned): boolean {
  return pool.snapshots === 'layered';
}

function withNext(record: Volume, next: string): Volume {
  return { ...record, status: { ...record.status, next } };
}

function pending(record: Volume, { next }: Planned): Volume {
  return withPendingLayer(record, next);
}

/** The change of a planned volume's record as it is now. */
function changeTo(
  { volumes }: Shared,
  change: (record: Volume, one: Planned) => Volume,
): (one: Planned) => Staged {
  return (one) => volumes.put(change(volumes.require(one.volume), one));
}

async function settleAll(shared: Shared, planned: readonly Planned[], guest: Guest): Promise<void> {
  for (const { volume, disk = '' } of planned)
    await settleNext(shared, volume, { guest, name: disk }).catch((error: unknown) => {
      // Settled by the next that is done with the volume.
      shared.logger.warn('volume.freezing_in_doubt', { volume, error });
    });
}

async function plan({ volumes, storage, operations }: Shared, list: readonly ToFreeze[]): Promise<Planned[]> {
  const planned: Planned[] = [];
  for (const one of list) {
    const { spec, status, name } = volumes.require(one.volume);
    if (status.state !== 'ready')
      throw new WirtError(
        'volume.state_conflict',
        `Volume ${name} is ${status.state}, and cannot be frozen.`,
      );
    planned.push({ ...one, next: operations.newId(), pool: await storage.open(spec.pool) });
  }
  return planned;
}

async function makeLayer(shared: Shared, one: Planned, guest: Guest | undefined, undo: Undo): Promise<void> {
  const { volumes, layers } = shared;
  const record = volumes.require(one.volume);
  const ref = { volume: one.volume, layer: one.next };
  undo.add(() => one.pool.remove(ref));
  if (!isLayered(one)) return;
  const { sizeBytes } = layerOf(record, record.status.active);
  const layer = { ...ref, format: 'qcow2', sizeBytes } as const;
  await one.pool.createOverlay(layer, await layers.sourceOf(activeOf(record)));
  if (guest !== undefined) {
    // Claimed at its start; claiming again gives the same.
    const identity = await shared.sandbox.claim(guest.id, { kvm: false });
    await one.pool.grant(ref, { identity, write: true });
  }
}

/** The guest no longer writes it. The moment is over: what fails here spoils nothing, and is made good when the guest ends. */
async function narrowFrozen(
  { sandbox, layers, logger }: Shared,
  layer: LayerRef,
  guest: Guest,
): Promise<void> {
  try {
    await layers.narrow(layer, await sandbox.claim(guest.id, { kvm: false }));
  } catch (error) {
    logger.warn('volume.frozen_layer_writable', { ...layer, error });
  }
}

/** All layered disks in one transaction of QEMU's; storage that keeps the moment itself does so while the guest stands still. */
async function moment(
  { volumes }: Shared,
  planned: readonly Planned[],
  guest: Guest | undefined,
): Promise<void> {
  const signal = AbortSignal.timeout(switchMs);
  const native = planned.filter(({ pool }) => pool.snapshots === 'native');
  const layered = planned.filter(({ pool }) => pool.snapshots === 'layered');
  const halt = native.length > 0 && guest?.state.processors === 'running';
  if (halt) await guest?.pause(signal);
  try {
    for (const { volume, next, pool } of native) {
      const record = volumes.require(volume);
      await pool.freeze(storedLayer(record, record.status.active), { volume, layer: next });
    }
    if (guest !== undefined && layered.length > 0)
      await guest.disks.overlay(layered.map(overlayOf(volumes)), signal);
  } finally {
    if (halt) await guest?.resume(signal);
  }
}

function overlayOf(volumes: Shared['volumes']): (one: Planned) => { disk: string; layer: DiskLayerNode } {
  return ({ volume, disk, next, pool }) => {
    if (disk === undefined)
      throw new WirtError('internal', `Volume ${volume} is frozen under a guest that lacks it.`);
    const { sizeBytes } = layerOf(volumes.require(volume), volumes.require(volume).status.active);
    return { disk, layer: pool.locate({ volume, layer: next, format: 'qcow2', sizeBytes }) };
  };
}

/** Layered: `next` is written from now on. Native: `next` is what was frozen, and lies below the one that is written. */
function frozenRecord(record: Volume, next: string, pool: VolumePool): Volume {
  if (pool.snapshots === 'layered') return withNextLayer(record, next);
  const { next: _, ...status } = record.status;
  const active = layerOf(record, status.active);
  const frozen = { ...active, id: next };
  const onTop = { ...active, parent: { volume: record.id, layer: next } };
  const layers = [...status.layers.filter(({ id }) => id !== active.id), frozen, onTop];
  return { ...record, status: { ...status, layers } };
}

/**
 * Ends a freezing that was interrupted. With a guest, QEMU knows whether it switched. Without one, the new layer is taken when a guest may
 * have written it, and else it was never read. Call in the volume's lane before anything else is done with it.
 */
export async function settleNext(
  shared: Shared,
  id: string,
  disk: { guest: Guest; name: string } | undefined,
): Promise<void> {
  const { store, volumes, storage, logger } = shared;
  const record = volumes.get(id);
  const next = record?.status.next;
  if (record === undefined || next === undefined) return;
  const pool = await storage.open(record.spec.pool);
  const chain = await disk?.guest.disks.chains(AbortSignal.timeout(switchMs));
  const whole = record.status.layers.some((layer) => layer.id === next);
  const done = whole && (disk === undefined || chain?.get(disk.name)?.at(-1) === next);
  logger.info('volume.freezing_settled', { volume: id, layer: next, done });
  const settled = done ? frozenRecord(record, next, pool) : withoutNextLayer(record);
  await commit(store, [volumes.put(settled)]);
  if (done && disk !== undefined && pool.snapshots === 'layered')
    await narrowFrozen(shared, activeOf(record), disk.guest);
  if (!done) await pool.remove({ volume: id, layer: next });
}
