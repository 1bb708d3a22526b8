/** Drives of an OVF: which disk or file each one has, on which bus, and whether anything names what is not there. */
import { WirtError } from '@wirt/api';
import type { DiskSource, DriveBus, LooseDisk } from './draft.ts';
import { note, printable } from './notes.ts';
import { capacityBytes, diskFormat, type OvfDisk, type OvfEnvelope, type OvfFile } from './ovf-envelope.ts';
import { type BootOrders, bootPlace, type Controller, type OvfItem, used } from './ovf-item.ts';
import { bytesOf, ovfUnitBytes, wholeNumber } from './quantity.ts';
import { attribute, peekText, settingOf, tell, textOf } from './xml-reading.ts';

export type OvfDrive = OvfItem & { readonly device: 'disk' | 'cdrom' };

interface Medium {
  readonly source: DiskSource;
  readonly format?: NonNullable<LooseDisk['format']>;
  readonly compression?: 'gzip';
  readonly sizeBytes?: number;
  readonly bus?: DriveBus;
}

export function drivesOf(
  envelope: OvfEnvelope,
  items: readonly OvfDrive[],
  controllers: ReadonlyMap<string, Controller>,
  boot: BootOrders,
): LooseDisk[] {
  const taken = new Set<OvfFile | OvfDisk>();
  const told = new Set<string>();
  const drives: LooseDisk[] = [];
  for (const item of items) {
    const medium = mediumOf(envelope, item, taken);
    if (medium === undefined) continue;
    drives.push(driveOf(envelope, item, medium, controllers, boot, told));
  }
  return drives;
}

function driveOf(
  { reading }: OvfEnvelope,
  item: OvfDrive,
  { bus: diskBus, ...medium }: Medium,
  controllers: ReadonlyMap<string, Controller>,
  boot: BootOrders,
  told: Set<string>,
): LooseDisk {
  const { element, parent, device } = item;
  used(
    reading,
    item,
    'HostResource',
    'Parent',
    'AddressOnParent',
    'AutomaticAllocation',
    'ResourceSubType',
    'Type',
  );
  const own = attribute(reading, element, 'bus');
  const controller = controllers.get(parent);
  const bus = (isBus(own) ? own : undefined) ?? diskBus ?? controller?.bus;
  if (controller?.change !== undefined && bus === controller.bus && !told.has(parent)) {
    told.add(parent);
    reading.notes.push(note(controller.setting, controller.name, controller.change, 'changed'));
  }
  if (bus === undefined) {
    const reason = 'Its controller is not described; the drive is on SATA.';
    reading.notes.push(note(`${settingOf(reading, element)}/Parent`, parent, reason, 'changed'));
  }
  const bootOrder = bootPlace(reading, item, boot);
  return {
    key: peekText(element, 'ElementName', 'Caption'),
    device,
    ...medium,
    // A CD drive is known to every guest on SATA, and to few on other controllers.
    bus: device === 'cdrom' ? 'sata' : (bus ?? 'sata'),
    readOnly: device === 'cdrom',
    ...(bootOrder === undefined ? {} : { bootOrder }),
  };
}

const buses: readonly string[] = [
  'virtio',
  'virtio-scsi',
  'sata',
  'nvme',
  'pvscsi',
  'lsi',
] satisfies DriveBus[];

function isBus(text: string | undefined): text is DriveBus {
  return text !== undefined && buses.includes(text);
}

/** What HostResource names; undefined when the drive is left out, which a note then tells. */
function mediumOf(envelope: OvfEnvelope, item: OvfDrive, taken: Set<OvfFile | OvfDisk>): Medium | undefined {
  const { reading } = envelope;
  const resource = peekText(item.element, 'HostResource') ?? '';
  const take = <T extends OvfFile | OvfDisk>(found: T): T => {
    // A disk without a file is a description of a new one, of which there may be several.
    if (taken.has(found) && !('id' in found && found.fileRef === undefined)) {
      const message = `The OVF has two drives with the same disk, "${printable(resource)}".`;
      throw new WirtError('import.malformed', message);
    }
    taken.add(found);
    return found;
  };
  if (resource === '') return withoutResource(envelope, item);
  const found = resolve(envelope, resource);
  if (found === undefined) {
    if (item.device === 'cdrom') {
      const reason = 'The medium is on the other host; the drive is empty.';
      reading.notes.push(
        note(`${settingOf(reading, item.element)}/HostResource`, resource, reason, 'changed'),
      );
      return { source: { kind: 'none' } };
    }
    const message = `The OVF has a drive with "${printable(resource)}", and no such disk or file.`;
    throw new WirtError('import.malformed', message);
  }
  return 'id' in found
    ? diskMedium(envelope, item, take(found), take)
    : fileMedium(envelope, item, take(found));
}

/** `ovf:/disk/ID`, `/disk/ID`, `ovf:/file/ID`; oVirt: the id of a file or disk, also after a folder. */
function resolve({ disks, files }: OvfEnvelope, resource: string): OvfDisk | OvfFile | undefined {
  const [, kind, id] = /^(?:ovf:)?\/{1,2}(disk|file)\/(.*)$/.exec(resource) ?? [];
  if (kind === 'disk') return disks.get(id ?? '');
  if (kind === 'file') return files.get(id ?? '');
  const last = resource.split('/').at(-1) ?? '';
  const byFile = (name: string) => [...disks.values()].find(({ fileRef }) => fileRef === name);
  return disks.get(resource) ?? disks.get(last) ?? byFile(resource) ?? byFile(last);
}

function withoutResource({ reading }: OvfEnvelope, item: OvfDrive): Medium | undefined {
  if (item.device === 'cdrom') return { source: { kind: 'none' } };
  const text = peekText(item.element, 'VirtualQuantity');
  const unit = ovfUnitBytes(peekText(item.element, 'AllocationUnits') ?? 'byte');
  if (text !== undefined && unit !== undefined) {
    used(reading, item, 'VirtualQuantity', 'AllocationUnits');
    const what = `The size at ${settingOf(reading, item.element)}`;
    const sizeBytes = bytesOf(wholeNumber(text, what), unit, what);
    if (sizeBytes > 0) return { source: { kind: 'empty', sizeBytes }, sizeBytes };
  }
  tell(reading, item.element, 'The drive names no disk and no size.', 'dropped');
  return undefined;
}

const isoName = /\.iso(\.gz)?$/i;

function fileMedium({ reading }: OvfEnvelope, item: OvfDrive, file: OvfFile): Medium {
  useFile({ reading }, file);
  const { name, compression } = file;
  // A medium by itself, and not by a disk of the disk section, is an image as it is.
  const format = item.device === 'cdrom' ? ({ format: 'raw' } as const) : {};
  return { source: { kind: 'file', name }, ...format, ...(compression ? { compression } : {}) };
}

function useFile({ reading }: Pick<OvfEnvelope, 'reading'>, { element }: OvfFile): void {
  reading.seen.add(element);
  textOf(reading, element);
  for (const name of ['id', 'href', 'size', 'compression', 'chunkSize', 'description'])
    attribute(reading, element, name);
}

const diskInterfaces: Readonly<Record<string, DriveBus>> = {
  virtio: 'virtio',
  virtio_scsi: 'virtio-scsi',
  ide: 'sata',
  sata: 'sata',
};

function diskMedium(
  envelope: OvfEnvelope,
  item: OvfDrive,
  disk: OvfDisk,
  take: (file: OvfFile) => OvfFile,
): Medium | undefined {
  const { reading, files } = envelope;
  const { element, id } = disk;
  reading.seen.add(element);
  for (const name of ['diskId', 'fileRef', 'populatedSize', 'size', 'actual_size'])
    attribute(reading, element, name);
  if (attribute(reading, element, 'parentRef')) {
    const message = `The disk "${printable(id)}" of the OVF only has what changed since another, its parent.`;
    throw new WirtError('import.unsupported', message, {
      hint: 'Merge the snapshots and export the machine again.',
    });
  }
  const sizeBytes = capacityBytes(envelope, disk);
  const said = diskFormat(reading, element);
  const bus = diskInterfaces[attribute(reading, element, 'disk-interface')?.toLowerCase() ?? ''];
  const size = sizeBytes === undefined || sizeBytes === 0 ? {} : { sizeBytes };
  const on = bus === undefined ? {} : { bus };
  if (disk.fileRef === undefined) {
    if (item.device === 'cdrom') return { source: { kind: 'none' } };
    if (sizeBytes !== undefined && sizeBytes > 0)
      return { source: { kind: 'empty', sizeBytes }, ...size, ...on };
    tell(reading, item.element, 'Its disk has neither a file nor a size.', 'dropped');
    return undefined;
  }
  const file = files.get(disk.fileRef);
  if (file === undefined) {
    const message = `The disk "${printable(id)}" of the OVF is in the file "${printable(disk.fileRef)}", which is not listed.`;
    throw new WirtError('import.malformed', message);
  }
  take(file);
  useFile(envelope, file);
  const iso = said === 'iso' || (item.device === 'cdrom' && isoName.test(file.name));
  const format = iso ? 'raw' : said;
  return {
    source: { kind: 'file', name: file.name },
    ...(format === undefined ? {} : { format }),
    ...(file.compression === undefined ? {} : { compression: file.compression }),
    ...size,
    ...on,
  };
}
