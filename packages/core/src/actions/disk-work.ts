/**
 * Attaching and detaching disks and changing media, in the lane of their instance: the record says first whose a volume is, then the guest
 * is given it; a guest lets go first, and only then is it anybody else's. Each may run again from its beginning.
 */
import {
  type CdromDisk,
  type Disk,
  diskAttachSchema,
  type Image,
  type Instance,
  mediumChangeSchema,
  type Volume,
  type VolumeDisk,
  WirtError,
} from '@wirt/api';
import type { PlannedDisk } from '../domain/guest.ts';
import { namesOf } from '../domain/names.ts';
import type { Guest } from '../ports/hypervisor.ts';
import { requireMedium, requireReady as requireWhole, usesLane } from './image-use.ts';
import { requireCan } from './instance-state.ts';
import { requireLimits } from './limits.ts';
import { followLimits } from './limits-hold.ts';
import type { LiveGuests } from './live-guests.ts';
import { isStopping, type Progress, type Work } from './operation-runner.ts';
import type { Shared } from './parts.ts';
import { poolsToRun } from './pool-promise.ts';
import { commit, type Staged } from './records.ts';
import { settleNext } from './volume-freeze.ts';
import { activeOf } from './volume-layers.ts';
import { holderOf } from './volume-merge.ts';
import { requireReady } from './volume-work.ts';

/** A guest that is booting takes a while to let go. */
const detachMs = 30_000;
const commandMs = 20_000;
/** Places for disks: the ports of the machine. */
const maxDisks = 24;

/** Throws `volume.in_use` when another has it, or this one already. */
export function requireFree(
  { instances }: Shared,
  { name, status }: Volume,
  instance: Pick<Instance, 'name'>,
): void {
  if (status.attachment === undefined) return;
  const holder = instances.get(status.attachment.instance)?.name ?? status.attachment.instance;
  throw new WirtError(
    'volume.in_use',
    `Volume ${name} is attached to ${holder} as ${status.attachment.disk}, and cannot be attached to ${instance.name}.`,
    { hint: `Detach it first: \`wirt volume detach ${name}\`.`, details: { instance: holder } },
  );
}

export function requireAttached(instance: Instance, name: string): Disk {
  const disk = instance.spec.disks.find((one) => one.name === name);
  if (disk !== undefined) return disk;
  const names = instance.spec.disks.map((one) => one.name).join(', ');
  throw new WirtError(
    'volume.not_attached',
    `Instance ${instance.name} has no disk ${JSON.stringify(name)}.`,
    {
      hint: names === '' ? 'It has none.' : `It has: ${names}.`,
    },
  );
}

export function requireDrive(instance: Instance, name: string): CdromDisk {
  const disk = requireAttached(instance, name);
  if (disk.device === 'cdrom') return disk;
  throw new WirtError('volume.not_attached', `Disk ${name} of ${instance.name} is no CD drive.`);
}

/** The lowest free port. Throws `instance.state_conflict` when all are taken. */
export function freeSlot(disks: readonly { readonly slot: number }[], name: string): number {
  const taken = new Set(disks.map(({ slot }) => slot));
  for (let slot = 0; slot < maxDisks; slot += 1) if (!taken.has(slot)) return slot;
  throw new WirtError(
    'instance.state_conflict',
    `Instance ${name} has ${maxDisks} disks, which is all it can have.`,
  );
}

export function freeName(disks: readonly Pick<Disk, 'name'>[], wanted: string | undefined): string {
  const taken = new Set(disks.map(({ name }) => name));
  if (wanted !== undefined) {
    if (!taken.has(wanted)) return wanted;
    throw new WirtError('request.invalid', `There is another disk named ${wanted}.`, {
      hint: 'Choose another name.',
    });
  }
  for (let number = 1; ; number += 1) if (!taken.has(`disk${number}`)) return `disk${number}`;
}

/** As QEMU is told of it. */
export async function plannedDisk(shared: Shared, disk: Disk): Promise<PlannedDisk> {
  const { name, bus, slot, bootOrder } = disk;
  const shown = {
    name,
    bus,
    slot,
    serial: name,
    ...(bootOrder === undefined ? {} : { bootIndex: bootOrder }),
  };
  if (disk.device === 'cdrom') {
    const source =
      disk.image === undefined
        ? {}
        : { source: shared.layers.imageSource(shared.images.require(disk.image)) };
    return { ...shown, device: 'cdrom', readOnly: true, ...source };
  }
  const volume = shared.volumes.require(disk.volume);
  return {
    ...shown,
    device: 'disk',
    readOnly: disk.readOnly,
    source: await shared.layers.sourceOf(activeOf(volume)),
  };
}

/**
 * The record of the volume says first whose it is; then the guest is given it. Runs in the lanes of the volume and the instance, so that
 * nothing else is done to either meanwhile.
 */
export function attachDisk(shared: Shared, live: LiveGuests, id: string): Work {
  const { instances, volumes, admittedVolumes, faults } = shared;
  return async (progress) => {
    const input = diskAttachSchema.parse(progress.input);
    const instance = instances.require(id);
    requireCan('attach', instance);
    const done = instance.spec.disks.find((one) => one.device === 'disk' && one.volume === input.volume);
    // Recorded before the daemon ended: nothing is left to do.
    if (done !== undefined) return;
    await settleNext(shared, input.volume, holderOf(live, volumes.require(input.volume)));
    const volume = volumes.require(input.volume);
    requireReady(volume, 'attached');
    const { attachment } = volume.status;
    // Begun by an earlier run of this, which died: it goes on under the same name.
    const begun = attachment?.instance === id ? { name: attachment.disk } : {};
    if (attachment?.instance !== id) requireFree(shared, volume, instance);
    const disk = newDisk(instance, volume, { ...input, ...begun });
    await requireLimits(shared, {
      ...instance,
      spec: { ...instance.spec, disks: [...instance.spec.disks, disk] },
    });
    const guest = live.holding(id);
    const given = withAttachment(volume, { instance: id, disk: disk.name });
    const isNew = guest !== undefined && attachment?.instance !== id;
    if (isNew) (await poolsToRun(shared, instance, [given]))();
    try {
      // No await since it was asked: who asks next counts it.
      if (isNew) admittedVolumes.set(given.id, given);
      await faults.at('instance.attach/grant');
      if (guest === undefined) return await progress.complete(attached(shared, id, disk));
      await plugIn(shared, guest, disk, progress);
    } finally {
      admittedVolumes.delete(given.id);
    }
    live.onObserved(guest);
    await followLimits(shared, live, id);
  };
}

/** What may be plugged in is recorded as attached, also when it is in doubt, so that nobody else is given it. */
async function plugIn(shared: Shared, guest: Guest, disk: VolumeDisk, progress: Progress): Promise<void> {
  const { store, volumes, layers, faults, sandbox, logger } = shared;
  const change = (attachment: Attachment | undefined): Staged =>
    volumes.put(withAttachment(volumes.require(disk.volume), attachment));
  await commit(store, [change({ instance: guest.id, disk: disk.name })]);
  try {
    // Claimed at its start; claiming again gives the same.
    const identity = await sandbox.claim(guest.id, { kvm: false });
    await layers.grant(activeOf(volumes.require(disk.volume)), identity, !disk.readOnly);
    await faults.at('instance.attach/plug');
    const signal = AbortSignal.any([progress.signal, AbortSignal.timeout(commandMs)]);
    // Plugged in by an earlier run of this, which died before it could record it.
    const there = (await guest.disks.chains(signal)).has(disk.name);
    if (!there) await guest.disks.attach(await plannedDisk(shared, disk), signal);
    await faults.at('instance.attach/record');
    await progress.complete(attached(shared, guest.id, disk));
  } catch (error) {
    if (isStopping(progress)) throw error;
    try {
      await guest.disks.detach(disk.name, AbortSignal.timeout(detachMs));
      await layers.revoke(volumes.require(disk.volume));
      await progress.record([change(undefined)]);
    } catch (inDoubt) {
      logger.warn('disk.attached_in_doubt', { instance: guest.id, disk: disk.name, error: inDoubt });
      await progress.record(attached(shared, guest.id, disk));
    }
    throw error;
  }
}

type Attachment = NonNullable<Volume['status']['attachment']>;

function withAttachment(volume: Volume, attachment: Attachment | undefined): Volume {
  const { attachment: _, ...status } = volume.status;
  return { ...volume, status: attachment === undefined ? status : { ...status, attachment } };
}

/** The records of an instance that has a disk, and of its volume. */
function attached({ instances, volumes }: Shared, id: string, disk: VolumeDisk): Staged[] {
  const now = instances.require(id);
  const volume = volumes.require(disk.volume);
  return [
    instances.put({ ...now, spec: { ...now.spec, disks: [...now.spec.disks, disk] } }),
    volumes.put(withAttachment(volume, { instance: id, disk: disk.name })),
  ];
}

function newDisk(
  instance: Instance,
  volume: Volume,
  input: ReturnType<typeof diskAttachSchema.parse>,
): VolumeDisk {
  const { bus, readOnly, limits, deleteOnTermination, bootOrder } = input;
  const { disks } = instance.spec;
  return {
    name: freeName(disks, input.name),
    device: 'disk',
    volume: volume.id,
    bus,
    readOnly,
    ...(limits === undefined ? {} : { limits }),
    deleteOnTermination,
    slot: freeSlot(disks, instance.name),
    ...(bootOrder === undefined ? {} : { bootOrder }),
  };
}

/** The guest lets go first; only then is the volume anybody else's to have. */
export function detachDisk(shared: Shared, live: LiveGuests, id: string): Work {
  const { instances, volumes, layers, faults } = shared;
  return async (progress) => {
    const name = String(progress.input['disk']);
    const instance = instances.require(id);
    requireCan('detach', instance);
    const disk = instance.spec.disks.find((one) => one.name === name);
    if (disk === undefined) return;
    const volume = disk.device === 'disk' ? volumes.require(disk.volume) : undefined;
    const guest = live.holding(id);
    if (volume !== undefined) {
      requireNoSnapshots(shared, volume, instance);
      await settleNext(shared, volume.id, guest === undefined ? undefined : { guest, name });
    }
    await faults.at('instance.detach/unplug');
    const signal = AbortSignal.any([progress.signal, AbortSignal.timeout(detachMs)]);
    await guest?.disks.detach(name, signal);
    if (volume !== undefined) {
      await faults.at('instance.detach/revoke');
      await layers.revoke(volumes.require(volume.id));
    }
    await faults.at('instance.detach/record');
    const now = instances.require(id);
    const changes = [
      instances.put({
        ...now,
        spec: { ...now.spec, disks: now.spec.disks.filter((one) => one.name !== name) },
      }),
    ];
    const freed = volume && volumes.put(withAttachment(volumes.require(volume.id), undefined));
    await progress.complete(freed === undefined ? changes : [...changes, freed]);
    await followLimits(shared, live, id);
  };
}

/** A snapshot of the instance could not be restored without it. */
export function requireNoSnapshots(
  { snapshots }: Pick<Shared, 'snapshots'>,
  volume: Volume,
  instance: Instance,
): void {
  const held = [...snapshots.after()].filter(({ status }) =>
    status.disks.some((one) => one.volume === volume.id),
  );
  if (held.length === 0) return;
  throw new WirtError(
    'volume.in_use',
    `Volume ${volume.name} is part of the snapshots ${namesOf(held)} of ${instance.name}.`,
    { hint: `Remove them first: \`wirt snapshot rm ${instance.name} ${held[0]?.name}\`.` },
  );
}

/** The record follows the drive. The image cannot go meanwhile. */
export function changeMedium(shared: Shared, live: LiveGuests, id: string): Work {
  const { instances, images, lanes } = shared;
  return async (progress) => {
    const { disk, ...change } = progress.input;
    const { image: name } = mediumChangeSchema.parse(change);
    const instance = instances.require(id);
    requireCan('medium', instance);
    const drive = requireDrive(instance, String(disk));
    const image = name === null ? undefined : images.require(name, instance.project);
    if (image === undefined) return insert(shared, live, id, drive, undefined, progress);
    await lanes.run(usesLane(image.id), () =>
      insert(shared, live, id, drive, images.require(image.id), progress),
    );
  };
}

async function insert(
  { instances, layers, faults }: Shared,
  live: LiveGuests,
  id: string,
  drive: CdromDisk,
  image: Image | undefined,
  progress: Progress,
): Promise<void> {
  const source = image === undefined ? undefined : layers.imageSource(requireMedium(requireWhole(image)));
  await faults.at('instance.medium/change');
  const signal = AbortSignal.any([progress.signal, AbortSignal.timeout(commandMs)]);
  await live.holding(id)?.disks.changeMedium(drive.name, source, signal);
  const { image: _, ...empty } = drive;
  const changed = image === undefined ? empty : { ...empty, image: image.name };
  const now = instances.require(id);
  const disks = now.spec.disks.map((one) => (one.name === drive.name ? changed : one));
  await progress.complete([instances.put({ ...now, spec: { ...now.spec, disks } })]);
}
