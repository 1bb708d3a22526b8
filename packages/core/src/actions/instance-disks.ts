/**
 * The disks of an instance over its life: what is asked for becomes volumes and drives, a start makes what is not there yet and lets the
 * guest's process open it, an end takes that back, and a removal takes the volumes along that are to go with it.
 */
import {
  type Disk,
  type DiskCreate,
  type Image,
  type Instance,
  type InstanceSpecCreate,
  type Volume,
  WirtError,
} from '@wirt/api';
import { requireMetadata, seedContentOf } from '../domain/cloud-init.ts';
import type { LaunchPlan, PlannedDisk } from '../domain/guest.ts';
import { uuidOf } from '../domain/identity.ts';
import type { Identity } from '../ports/sandbox.ts';
import { freeName, freeSlot, plannedDisk, requireFree, requireNoSnapshots } from './disk-work.ts';
import { requireMedium, requireReady as requireWhole } from './image-use.ts';
import { requireService } from './metadata.ts';
import type { Progress } from './operation-runner.ts';
import type { Shared } from './parts.ts';
import { commit, type Staged } from './records.ts';
import { settleNext } from './volume-freeze.ts';
import { activeOf, volumesOf } from './volume-layers.ts';
import { makeVolumes } from './volume-make.ts';
import { newVolume, volumeNameFor } from './volume-new.ts';
import { removeLayers, requireReady, requireUnused } from './volume-work.ts';

const seedDisk = 'cidata';
/** Behind all ports that disks are given. */
const seedSlot = 31;

/** The disks that an instance will have, and the records of volumes that change with it. */
export interface DisksToBe {
  readonly disks: Disk[];
  readonly volumes: readonly Volume[];
}

/** Throws what is wrong with a volume, image, size or name. Makes nothing. */
export function disksToBe(
  shared: Shared,
  instance: Pick<Instance, 'id' | 'name' | 'project'>,
  image: Image | undefined,
  spec: InstanceSpecCreate,
): DisksToBe {
  const wanted: DiskCreate[] = [...(rootOf(image, spec) ?? []), ...spec.disks];
  const disks: Disk[] = [];
  const volumes: Volume[] = [];
  for (const one of wanted) {
    const name = freeName(disks, one.name);
    const slot = freeSlot(disks, instance.name);
    const place = {
      name,
      slot,
      bus: one.bus,
      ...(one.bootOrder === undefined ? {} : { bootOrder: one.bootOrder }),
    };
    if (one.device === 'cdrom') {
      if (one.image !== undefined)
        requireMedium(requireWhole(shared.images.require(one.image, instance.project)));
      disks.push({ ...place, device: 'cdrom', ...(one.image === undefined ? {} : { image: one.image }) });
      continue;
    }
    const volume = volumeFor(shared, instance, name, one, image, spec);
    if (volumes.some(({ id }) => id === volume.id))
      throw new WirtError('volume.in_use', `Volume ${volume.name} is asked for twice.`);
    volumes.push({
      ...volume,
      status: { ...volume.status, attachment: { instance: instance.id, disk: name } },
    });
    const { readOnly, limits, deleteOnTermination = one.volume === undefined } = one;
    const kept = limits === undefined ? {} : { limits };
    disks.push({ ...place, device: 'disk', volume: volume.id, readOnly, ...kept, deleteOnTermination });
  }
  return { disks, volumes };
}

const rootName = 'root';

/** A disk image becomes the first disk; a kernel needs none. */
function rootOf(image: Image | undefined, spec: InstanceSpecCreate): DiskCreate[] | undefined {
  if (image === undefined || image.spec.format === 'kernel') {
    if (spec.rootDisk === undefined) return undefined;
    throw new WirtError('request.invalid', 'rootDisk is for instances of a disk image.', {
      hint: 'Ask for a new disk instead: `wirt run --new-disk 10G`.',
    });
  }
  if (image.spec.format === 'iso')
    throw new WirtError(
      'image.wrong_kind',
      `Image ${image.name} is a medium, and no disk to boot a copy of.`,
      {
        hint: `Start from an empty disk: \`wirt run --cdrom ${image.name} --disk 20G\`.`,
      },
    );
  const {
    sizeBytes,
    limits,
    pool = 'default',
    bus = 'virtio',
    deleteOnTermination = true,
  } = spec.rootDisk ?? {};
  return [
    {
      device: 'disk',
      name: rootName,
      bus,
      pool,
      format: 'qcow2',
      readOnly: false,
      deleteOnTermination,
      bootOrder: 1,
      ...(sizeBytes === undefined ? {} : { sizeBytes }),
      ...(limits === undefined ? {} : { limits }),
    },
  ];
}

function volumeFor(
  shared: Shared,
  { name, project }: Pick<Instance, 'name' | 'project'>,
  diskName: string,
  disk: Extract<DiskCreate, { device: 'disk' }>,
  image: Image | undefined,
  spec: InstanceSpecCreate,
): Volume {
  const { volumes } = shared;
  if (disk.volume !== undefined) {
    const volume = volumes.require(disk.volume, project);
    requireReady(volume, 'attached');
    requireFree(shared, volume, { name });
    return volume;
  }
  const fromImage = diskName === rootName && image !== undefined && image.spec.format !== 'kernel';
  const source = fromImage
    ? ({ kind: 'image', image: image.id, mode: spec.rootDisk?.mode ?? 'linked' } as const)
    : ({ kind: 'empty' } as const);
  const { pool, format, sizeBytes } = disk;
  const size = sizeBytes === undefined ? {} : { sizeBytes };
  return newVolume(shared, {
    name: volumeNameFor(shared, name, diskName, project),
    project,
    labels: {},
    pool,
    format,
    source,
    ...size,
  });
}

/** Writes the seed, and keeps the user-data, when cloud-init was asked for; its secrets are nowhere else. */
export async function writeSeed(
  shared: Shared,
  instance: Pick<Instance, 'id' | 'name' | 'project' | 'spec'>,
  { cloudInit }: InstanceSpecCreate,
): Promise<Instance['spec']['cloudInit']> {
  if (cloudInit === undefined) return undefined;
  const { seeds } = shared;
  const { id, name } = instance;
  const { hostname = name, sshKeys, passwordHash, user, userData, networkConfig, datasource } = cloudInit;
  if (datasource === 'metadata') {
    requireMetadata(instance, cloudInit);
    requireService(shared, instance);
  }
  const content = seedContentOf({
    instanceId: uuidOf(id),
    hostname,
    sshKeys,
    ...(passwordHash === undefined ? {} : { passwordHash }),
    ...(user === undefined ? {} : { user }),
    ...(userData === undefined ? {} : { userData }),
    ...(networkConfig === undefined ? {} : { networkConfig }),
    mayLackAgent: mayLackAgent(shared, instance),
  });
  if (datasource === 'seed') await seeds.write(id, content);
  if (userData !== undefined) await seeds.keepUserData(id, userData);
  return {
    datasource,
    hostname,
    ...(user === undefined ? {} : { user }),
    sshKeys,
    password: passwordHash !== undefined,
    userData: userData !== undefined,
    networkConfig: networkConfig !== undefined,
  };
}

/** Images of recipes have the guest agent; of others nobody knows. Without a card there is no way to fetch it. */
function mayLackAgent({ images }: Shared, { project, spec }: Pick<Instance, 'project' | 'spec'>): boolean {
  const image = spec.image === undefined ? undefined : images.find(spec.image, project);
  return image !== undefined && image.spec.recipe === undefined && spec.nics.length > 0;
}

/** What a start opens. */
export interface OpenedDisks {
  readonly disks: PlannedDisk[];
  readonly firmware: LaunchPlan['firmware'];
}

/** Makes what is not there yet, and lets the guest's process open all of it. Taken back by `closeDisks`, also when it failed. */
export async function openDisks(
  shared: Shared,
  instance: Instance,
  image: Image | undefined,
  identity: Identity,
  progress: Progress,
): Promise<OpenedDisks> {
  const { volumes, layers, firmware, seeds, faults } = shared;
  const own = volumesOf(shared, instance);
  for (const volume of own.values()) {
    if (volume.status.state === 'removing') requireReady(volume, 'opened');
    await settleNext(shared, volume.id, undefined);
  }
  await makeVolumes(shared, [...own.values()], progress);
  await faults.at('instance.start/grant-disks');
  const disks: PlannedDisk[] = [];
  for (const disk of instance.spec.disks) {
    if (disk.device === 'disk')
      await layers.grant(activeOf(volumes.require(disk.volume)), identity, !disk.readOnly);
    disks.push(await plannedDisk(shared, disk));
  }
  if (instance.spec.cloudInit?.datasource === 'seed') {
    await seeds.grant(instance.id, identity);
    disks.push(seedDrive(seeds.path(instance.id)));
  }
  return { disks, firmware: await openFirmware(firmware, instance, image, identity) };
}

/** On a bus that kernels for clouds know: Debian's has no AHCI. */
function seedDrive(path: string): PlannedDisk {
  const node = { layer: seedDisk, format: 'raw', location: { driver: 'file', path }, direct: false } as const;
  return {
    name: seedDisk,
    device: 'cdrom',
    bus: 'virtio-scsi',
    readOnly: true,
    serial: seedDisk,
    slot: seedSlot,
    source: { layers: [node] },
  };
}

async function openFirmware(
  firmware: Shared['firmware'],
  { id, spec }: Instance,
  image: Image | undefined,
  identity: Identity,
): Promise<LaunchPlan['firmware']> {
  if (firmwareOf(spec, image) === 'bios') return { kind: 'bios' };
  const { code, vars } = await firmware.prepare(id);
  await firmware.grant(id, identity);
  return { kind: 'uefi', code, vars };
}

/** As asked; else by what the image boots, BIOS first, since it is there on every host. */
export function firmwareOf(
  spec: Pick<Instance['spec'], 'firmware'>,
  image: Image | undefined,
): 'bios' | 'uefi' {
  const can = image?.status.firmware;
  return spec.firmware ?? (can === undefined || can.includes('bios') ? 'bios' : 'uefi');
}

/** Nobody but the daemon opens the disks any more. There must be no process. */
export async function closeDisks(shared: Shared, id: string): Promise<void> {
  const { instances, layers, seeds, firmware } = shared;
  const instance = instances.get(id);
  if (instance === undefined) return;
  for (const volume of volumesOf(shared, instance).values()) await layers.revoke(volume);
  if (instance.spec.cloudInit !== undefined) await seeds.grant(id, undefined);
  await firmware.grant(id, undefined);
}

/** Refuses a removal that would take away what others need, or leave snapshots of a volume that stays. */
export function requireRemovable(shared: Shared, instance: Instance): void {
  for (const disk of instance.spec.disks) {
    if (disk.device !== 'disk') continue;
    const volume = shared.volumes.get(disk.volume);
    if (volume === undefined) continue;
    if (disk.deleteOnTermination) requireUnused(shared, volume, instance.id);
    else requireNoSnapshots(shared, volume, instance);
  }
}

/**
 * Takes away the files of what goes with the instance, and gives back the changes of the records: volumes that go, volumes that stay and are free
 * again, snapshots. What has begun to go is marked, so that nothing starts from it.
 */
export async function removeDisks(shared: Shared, instance: Instance): Promise<Staged[]> {
  const { store, volumes, snapshots, seeds, firmware } = shared;
  const changes: Staged[] = [];
  const attached = instance.spec.disks.flatMap((disk) => {
    const volume = disk.device === 'disk' ? volumes.get(disk.volume) : undefined;
    return volume === undefined || disk.device !== 'disk'
      ? []
      : [{ id: volume.id, goes: disk.deleteOnTermination }];
  });
  const going = attached.filter(({ goes }) => goes).map(({ id }) => volumes.require(id));
  await commit(
    store,
    going.map((one) => volumes.put({ ...one, status: { ...one.status, state: 'removing' } })),
  );
  for (const { id, goes } of attached) {
    const volume = volumes.require(id);
    if (goes) await removeLayers(shared, volume);
    const { attachment: _, ...status } = volume.status;
    changes.push(goes ? volumes.remove(volume) : volumes.put({ ...volume, status }));
  }
  for (const snapshot of snapshots.after())
    if (snapshot.spec.instance === instance.id) changes.push(snapshots.remove(snapshot));
  await seeds.remove(instance.id);
  await firmware.remove(instance.id);
  return changes;
}
