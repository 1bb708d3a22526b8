/** What `wirt run` says of disks: the root disk, further disks and CD drives, and the order in which they are booted from. */
import type { CallInput } from '@wirt/api/client';
import type { OptionSpecs, OptionValues } from '../command.ts';
import { usageError } from '../parse.ts';
import { busChoices } from './disk.ts';

type Spec = CallInput<'POST /v1/instances'>['body']['spec'];
type DiskInput = NonNullable<Spec['disks']>[number];

export const diskOptions = {
  disk: {
    kind: 'bytes',
    value: 'SIZE',
    short: 'd',
    summary: 'Size of the root disk: of the image’s copy, or without an image of an empty one',
  },
  cdrom: {
    kind: 'text',
    value: 'IMAGE',
    many: true,
    complete: 'image',
    summary: 'A CD drive with this ISO image; “none” for an empty drive',
  },
  volume: {
    kind: 'text',
    value: 'NAME[:ro]',
    many: true,
    complete: 'volume',
    summary: 'Attach a volume that is there, :ro for read-only',
  },
  'new-disk': { kind: 'bytes', value: 'SIZE', many: true, summary: 'A further empty disk' },
  pool: {
    kind: 'text',
    value: 'POOL',
    complete: 'pool',
    summary: 'Where new disks are made (default “default”)',
  },
  'disk-bus': {
    kind: 'choice',
    choices: busChoices,
    summary: 'How the guest sees its disks (default virtio; sata for guests without its drivers)',
  },
  full: { kind: 'flag', summary: 'Copy the image’s disk now, instead of sharing it' },
  firmware: {
    kind: 'choice',
    choices: ['bios', 'uefi'],
    summary: 'Default what the image boots by, BIOS first',
  },
} as const satisfies OptionSpecs;

type DiskValues = OptionValues<typeof diskOptions>;

/** Whether there is something to boot from without an image. */
export function hasDisk(given: DiskValues): boolean {
  return given.disk !== undefined || given.cdrom.length > 0 || given.volume.length > 0;
}

/**
 * An image's disk is booted from first. Without an image: CD drives, then the root disk or the first volume, so that a medium can
 * be installed from.
 */
export function diskSpec(
  given: DiskValues,
  from: 'image' | 'kernel' | 'nothing',
): Pick<Spec, 'disks' | 'rootDisk' | 'firmware'> {
  const withImage = from !== 'nothing';
  const { pool, firmware, full, disk: sizeBytes } = given;
  const bus = given['disk-bus'];
  if (full && !withImage) throw usageError('run', '--full copies the disk of an image, and there is none.');
  const made = { ...(pool === undefined ? {} : { pool }), ...(bus === undefined ? {} : { bus }) };
  const root = {
    ...made,
    ...(sizeBytes === undefined ? {} : { sizeBytes }),
    ...(full ? { mode: 'full' as const } : {}),
  };
  const disks = [
    ...(withImage || sizeBytes === undefined
      ? []
      : [{ ...made, device: 'disk', name: 'root', sizeBytes } as const]),
    ...numbered([
      ...given.volume.map((text) => ({ ...attached(text), ...(bus === undefined ? {} : { bus }) })),
      ...given['new-disk'].map((size) => ({ ...made, sizeBytes: size })),
    ]),
  ];
  const all = withBootOrder(disks, drives(given.cdrom), withImage);
  return {
    ...(all.length === 0 ? {} : { disks: all }),
    ...(from === 'image' && Object.keys(root).length > 0 ? { rootDisk: root } : {}),
    ...(firmware === undefined ? {} : { firmware }),
  };
}

type VolumeDisk = Extract<DiskInput, { device: 'disk' }>;
type Drive = Extract<DiskInput, { device: 'cdrom' }>;

function numbered(disks: readonly Omit<VolumeDisk, 'name' | 'device'>[]): VolumeDisk[] {
  return disks.map((disk, at) => ({ ...disk, device: 'disk', name: `disk${at + 1}` }));
}

function attached(text: string): { volume: string; readOnly?: true } {
  const match = /^([^:]+)(?::(.*))?$/s.exec(text);
  const [, volume, mode] = match ?? [];
  if (volume === undefined || (mode !== undefined && mode !== 'ro' && mode !== 'rw'))
    throw usageError('run', `--volume takes NAME or NAME:ro, and not ${JSON.stringify(text)}.`);
  return { volume, ...(mode === 'ro' ? { readOnly: true } : {}) };
}

function drives(images: readonly string[]): Drive[] {
  return images.map((image, at) => ({
    device: 'cdrom',
    name: at === 0 ? 'cdrom' : `cdrom${at + 1}`,
    ...(image === 'none' ? {} : { image }),
  }));
}

function withBootOrder(
  disks: readonly VolumeDisk[],
  cdroms: readonly Drive[],
  withImage: boolean,
): DiskInput[] {
  // A disk comes first: while it is empty the medium boots, and not again once there is a system on it. That of an image is
  // given its place by the daemon.
  return [
    ...disks.map((disk, at): VolumeDisk => (at === 0 && !withImage ? { ...disk, bootOrder: 1 } : disk)),
    ...cdroms.map((drive, at): Drive => ({ ...drive, bootOrder: at + 2 })),
  ];
}
