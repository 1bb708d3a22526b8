/** Disks of a libvirt domain: source, format and bus of each, and the reason for each that is left out. */
import {
  type DiskFormat,
  type DriveBus,
  dnsLabel,
  foreignPath,
  type LooseDisk,
  refuseTooMany,
} from './draft.ts';
import { blockDevice, note } from './notes.ts';
import type { XmlElement } from './xml.ts';
import {
  attribute,
  child,
  children,
  childText,
  pass,
  peekAttribute,
  type Reading,
  settingOf,
  tell,
} from './xml-reading.ts';

type Medium = Pick<LooseDisk, 'source' | 'format' | 'sizeBytes'>;

export function readDisks(reading: Reading, devices: XmlElement | undefined, pv: boolean): LooseDisk[] {
  const disks = children(reading, devices, 'disk');
  refuseTooMany(disks.length);
  return disks.flatMap((disk) => readDisk(reading, devices, disk, pv) ?? []);
}

function readDisk(
  reading: Reading,
  devices: XmlElement | undefined,
  disk: XmlElement,
  pv: boolean,
): LooseDisk | undefined {
  const device = attribute(reading, disk, 'device') ?? 'disk';
  if (device !== 'disk' && device !== 'cdrom') {
    const floppy = device === 'floppy';
    tell(
      reading,
      disk,
      floppy ? 'There are no floppy drives.' : 'SCSI devices of the old host are not passed through.',
      'dropped',
    );
    return undefined;
  }
  const medium = readMedium(reading, disk, device);
  if (medium === undefined) return undefined;
  const bus = readBus(reading, devices, disk, device, pv);
  const order = attribute(reading, child(reading, disk, 'boot'), 'order');
  const bootOrder = order === undefined ? undefined : Number(order);
  const serial = childText(reading, disk, 'serial');
  const readOnly = child(reading, disk, 'readonly') !== undefined || device === 'cdrom';
  return {
    key: keyOf(reading, disk),
    device,
    ...medium,
    bus,
    readOnly,
    ...(bootOrder !== undefined && Number.isSafeInteger(bootOrder) && bootOrder > 0 ? { bootOrder } : {}),
    ...(serial ? fitSerial(reading, disk, serial) : {}),
  };
}

/** An alias that a user gave (`ua-`), which is also how our own export keeps the name; else the target. */
function keyOf(reading: Reading, disk: XmlElement): string | undefined {
  const target = peekAttribute(child(reading, disk, 'target'), 'dev');
  const alias = disk.children.find(({ local }) => local === 'alias');
  const given = peekAttribute(alias, 'name');
  if (given?.startsWith('ua-') !== true || dnsLabel(given.slice(3), 20) !== given.slice(3)) return target;
  pass(reading, alias);
  return given.slice(3);
}

function fitSerial(reading: Reading, disk: XmlElement, serial: string): { serial?: string } {
  if (/^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/.test(serial) && serial.length <= 36 && !serial.includes(','))
    return { serial };
  const reason = 'The serial number has characters or a length that a drive cannot have.';
  reading.notes.push(note(`${settingOf(reading, disk)}/serial`, serial, reason, 'dropped'));
  return {};
}

const left: Readonly<Record<string, string>> = {
  network: 'Its disk is on a network; copy it into a file first, and name that.',
  volume: 'Its disk is named by a pool of the old host; name the file instead (virsh vol-path tells it).',
  dir: 'A folder that is shown as a FAT disk is not a disk file.',
  nvme: 'It is an NVMe device of the old host; copy it into a file first, and name that.',
  vhostuser: 'Its disk is served by a program of the old host.',
  vhostvdpa: 'It is a device of the old host.',
};

function readMedium(reading: Reading, disk: XmlElement, device: 'disk' | 'cdrom'): Medium | undefined {
  const type = attribute(reading, disk, 'type') ?? 'file';
  const reason = Object.hasOwn(left, type) ? left[type] : undefined;
  if (reason !== undefined || (type !== 'file' && type !== 'block')) {
    tell(reading, disk, reason ?? 'Wirt knows no such kind of disk.', 'dropped');
    return undefined;
  }
  const source = child(reading, disk, 'source');
  if (disk.children.some(isEncryption) || source?.children.some(isEncryption)) {
    tell(
      reading,
      disk,
      'It is encrypted by the old host; decrypt it into a file first, and name that.',
      'dropped',
    );
    return undefined;
  }
  const format = readFormat(reading, disk);
  if (format === 'unknown') return undefined;
  for (const store of [
    ...children(reading, disk, 'backingStore'),
    ...children(reading, source, 'backingStore'),
  ]) {
    if (store.children.length === 0) pass(reading, store);
    else {
      const reason =
        'It only has what changed since another file; write both into one first: qemu-img convert -O qcow2 FILE NEW.';
      tell(reading, store, reason, 'hint');
    }
  }
  const path = attribute(reading, source, type === 'block' ? 'dev' : 'file');
  for (const same of ['index', 'name']) attribute(reading, source, same);
  if (path === undefined || path === '') {
    if (device === 'cdrom') return { source: { kind: 'none' } };
    tell(reading, disk, 'The disk names no file.', 'dropped');
    return undefined;
  }
  const place = settingOf(reading, disk);
  if (type === 'block' && device === 'cdrom') {
    reading.notes.push(
      note(`${place}/source`, path, 'It is a drive of the old host; this one is empty.', 'changed'),
    );
    return { source: { kind: 'none' } };
  }
  if (type === 'block') {
    reading.notes.push(note(`${place}/source`, path, blockDevice, 'hint'));
  }
  return {
    source: { kind: 'file', name: foreignPath(path, place) },
    ...(format === undefined ? {} : { format }),
  };
}

function isEncryption({ local }: XmlElement): boolean {
  return local === 'encryption';
}

const formats: Readonly<Record<string, DiskFormat>> = {
  qcow2: 'qcow2',
  raw: 'raw',
  vmdk: 'vmdk',
  vpc: 'vpc',
  vhd: 'vpc',
  vhdx: 'vhdx',
  vdi: 'vdi',
  aio: 'raw',
  iso: 'raw',
};

/** Undefined when the domain does not say it; `unknown` when the disk was left out for its format. */
function readFormat(reading: Reading, disk: XmlElement): DiskFormat | 'unknown' | undefined {
  const driver = child(reading, disk, 'driver');
  attribute(reading, driver, 'name');
  const type = attribute(reading, driver, 'type');
  if (type === undefined || type === 'auto') return undefined;
  const format = Object.hasOwn(formats, type) ? formats[type] : undefined;
  if (format !== undefined) return format;
  tell(
    reading,
    disk,
    'Its format is not read; convert it first: qemu-img convert -O qcow2 FILE NEW.',
    'dropped',
  );
  return 'unknown';
}

const prefixBuses: readonly (readonly [prefix: string, bus: string])[] = [
  ['hd', 'ide'],
  ['sd', 'scsi'],
  ['vd', 'virtio'],
  ['xvd', 'xen'],
  ['ub', 'usb'],
  ['nvme', 'nvme'],
];

function readBus(
  reading: Reading,
  devices: XmlElement | undefined,
  disk: XmlElement,
  device: 'disk' | 'cdrom',
  pv: boolean,
): DriveBus {
  const target = child(reading, disk, 'target');
  const name = attribute(reading, target, 'dev') ?? '';
  const said = attribute(reading, target, 'bus');
  const bus = said ?? prefixBuses.find(([prefix]) => name.startsWith(prefix))?.[1] ?? 'ide';
  const place = `${settingOf(reading, disk)}/target/@bus`;
  const as = (other: DriveBus, reason: string): DriveBus => {
    reading.notes.push(note(place, bus, reason, 'changed'));
    return other;
  };
  if (device === 'cdrom') {
    return bus === 'sata' ? 'sata' : as('sata', 'CD drives are on SATA, which every system knows.');
  }
  switch (bus) {
    case 'virtio':
    case 'sata':
    case 'nvme':
      return bus;
    case 'scsi':
      return scsiBus(reading, devices, disk, as);
    case 'ide':
      return as('sata', 'The machine q35 has no IDE; the disk is on SATA.');
    case 'xen':
      return pv
        ? as('virtio', 'The disk is on virtio; in the guest it is vda and no longer xvda.')
        : as('sata', 'The disk is on SATA, which a guest with Xen’s emulated IDE most likely knows.');
    default:
      return as('sata', 'Wirt has no such bus; the disk is on SATA.');
  }
}

function scsiBus(
  reading: Reading,
  devices: XmlElement | undefined,
  disk: XmlElement,
  as: (bus: DriveBus, reason: string) => DriveBus,
): DriveBus {
  const address = disk.children.find(({ local }) => local === 'address');
  const index = peekAttribute(address, 'controller') ?? '0';
  const controllers = devices?.children.filter(
    (each) => each.local === 'controller' && peekAttribute(each, 'type') === 'scsi',
  );
  const controller = controllers?.find((each) => (peekAttribute(each, 'index') ?? '0') === index);
  const model = peekAttribute(controller, 'model') ?? 'lsilogic';
  if (controller !== undefined) pass(reading, controller);
  if (model.startsWith('virtio')) return 'virtio-scsi';
  if (model === 'vmpvscsi') return 'pvscsi';
  if (model === 'lsisas1068') return 'lsi';
  if (model === 'lsilogic' || model === 'lsisas1078' || model === 'auto') {
    return as(
      'lsi',
      `The controller ${model === 'auto' ? 'lsilogic' : model} becomes an lsisas1068, which needs the driver mptsas.`,
    );
  }
  return as('sata', 'Wirt has no such SCSI controller; the disk is on SATA.');
}
