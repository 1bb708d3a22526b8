/**
 * Xen's xl.cfg to a draft: HVM, PVH and PV guests. A guest that was given its kernel from outside becomes a normal one, and
 * is told what it needs for that. Pure; the files that it names are not opened. Source: xl.cfg(5), xl-disk-configuration(5).
 */
import { WirtError } from '@wirt/api';
import {
  type DiskFormat,
  type DraftNic,
  type DriveBus,
  type Firmware,
  finishDraft,
  foreignPath,
  type LooseDisk,
  type MachineDraft,
  macOf,
  type NicModel,
  refuseTooMany,
} from './draft.ts';
import { blockDevice, hiddenValue, type ImportNote, isSecret, note, notesOf, printable } from './notes.ts';
import { bytesOf, wholeNumber } from './quantity.ts';
import { parseXl, type XlSetting, type XlValue } from './xl-config.ts';
import { parseXlDisk, type XlDiskSpec } from './xl-disk.ts';
import { reasonOfXl } from './xl-reasons.ts';

type GuestType = 'hvm' | 'pvh' | 'pv';

interface XlReading {
  readonly settings: ReadonlyMap<string, XlSetting>;
  readonly seen: Set<string>;
  readonly notes: ImportNote[];
}

export function readXl(text: string): MachineDraft {
  const reading: XlReading = { settings: parseXl(text), seen: new Set(), notes: [] };
  const type = readType(reading);
  const firmware = readFirmware(reading);
  readKernel(reading, type);
  const [specs, vifs] = [takeList(reading, 'disk'), takeList(reading, 'vif')];
  refuseTooMany(Math.max(specs.length, vifs.length));
  const disks = specs.flatMap((spec, index) => readDisk(reading, spec, index, type) ?? []);
  const nics = vifs.map((spec, index) => readNic(reading, spec, index, type));
  const ordered = readBoot(reading, disks, nics);
  passSame(reading);
  const loose = {
    name: { setting: 'name', value: take(reading, 'name') },
    cpus: readCpus(reading),
    memoryBytes: readMemory(reading),
    firmware,
    ...ordered,
  };
  return finishDraft(loose, [...reading.notes, ...unreadXl(reading)]);
}

/** The text of a setting, taken; undefined when it is not set. A list of one counts as its text. */
function take(reading: XlReading, name: string): string | undefined {
  const value = reading.settings.get(name)?.value;
  if (value === undefined) return undefined;
  const text = typeof value === 'string' ? value : value[0];
  if (typeof text !== 'string' || (typeof value !== 'string' && value.length > 1)) return undefined;
  reading.seen.add(name);
  return text;
}

function takeList(reading: XlReading, name: string): string[] {
  const setting = reading.settings.get(name);
  if (setting === undefined) return [];
  reading.seen.add(name);
  const list = typeof setting.value === 'string' ? [setting.value] : setting.value;
  return list.map((each) => {
    if (typeof each === 'string') return each;
    throw new WirtError('import.malformed', `The xl.cfg, line ${setting.line}: ${name} is a list of lists.`);
  });
}

function readType(reading: XlReading): GuestType {
  const type = take(reading, 'type');
  const builder = take(reading, 'builder');
  if (type === undefined) return builder === 'hvm' ? 'hvm' : 'pv';
  if (type === 'hvm' || type === 'pvh' || type === 'pv') return type;
  throw new WirtError(
    'import.malformed',
    `The xl.cfg has a guest of type "${printable(type, 40)}"; xl knows hvm, pvh and pv.`,
  );
}

function readFirmware(reading: XlReading): Firmware {
  for (const name of ['bios', 'firmware']) {
    const value = take(reading, name);
    if (value === undefined) continue;
    if (/^(ovmf|uefi)$/i.test(value)) return 'uefi';
    if (/^(seabios|bios)$/i.test(value)) return 'bios';
    const reason = 'Wirt has no such firmware; the guest starts with SeaBIOS.';
    reading.notes.push(note(name, value, reason, 'changed'));
    return 'bios';
  }
  return 'bios';
}

function readKernel(reading: XlReading, type: GuestType): void {
  const kernel = take(reading, 'kernel');
  const bootloader = take(reading, 'bootloader');
  if (type !== 'hvm') {
    const reason =
      'A paravirtual guest becomes a normal one: its disk needs a boot loader, its system virtio drivers and a console on ttyS0.';
    reading.notes.push(note('type', type, reason, 'changed'));
  }
  if (bootloader !== undefined && bootloader !== '') {
    const reason = /pygrub|pvgrub/.test(bootloader)
      ? 'The kernel lies on the disk and was read from there; a boot loader may be missing: install one in the guest (grub-install) while Xen still runs it.'
      : 'The boot loader of the old host is not used; the disk needs one of its own.';
    reading.notes.push(note('bootloader', bootloader, reason, 'hint'));
  }
  if (kernel === undefined || /hvmloader/.test(kernel)) return;
  const reason = /grub/.test(kernel)
    ? 'Xen’s grub read the kernel from the disk; a boot loader may be missing: install one in the guest (grub-install) while Xen still runs it.'
    : 'The kernel lies on the old host; install a kernel and a boot loader in the guest (grub-install) while Xen still runs it.';
  reading.notes.push(note('kernel', kernel, reason, 'hint'));
}

function readCpus(reading: XlReading): number {
  const text = take(reading, 'vcpus');
  const most = take(reading, 'maxvcpus');
  const cpus = wholeNumber(text ?? most ?? '1', 'The number of virtual CPUs');
  if (most !== undefined && Number(most) !== cpus) {
    const reason = 'Virtual CPUs are not plugged in while a guest runs; it has as many as it started with.';
    reading.notes.push(note('maxvcpus', most, reason, 'changed'));
  }
  return cpus;
}

function readMemory(reading: XlReading): number {
  const memory = take(reading, 'memory');
  const most = take(reading, 'maxmem');
  if (memory === undefined && most === undefined) {
    throw new WirtError('import.malformed', 'The xl.cfg does not say how much memory the guest has.', {
      hint: 'Add the line `memory = MIB`.',
    });
  }
  if (memory !== undefined && most !== undefined && memory !== most) {
    const reason = 'There is no balloon; the guest has the memory that it started with.';
    reading.notes.push(note('maxmem', `${most} MiB`, reason, 'changed'));
  }
  return bytesOf(wholeNumber(memory ?? most, 'The memory'), 1_048_576, 'The memory');
}

const formats: Readonly<Record<string, DiskFormat>> = {
  raw: 'raw',
  qcow2: 'qcow2',
  vhd: 'vpc',
  vdi: 'vdi',
  vmdk: 'vmdk',
  empty: 'raw',
};

function readDisk(reading: XlReading, text: string, index: number, type: GuestType): LooseDisk | undefined {
  const spec = parseXlDisk(text);
  const place = `disk[${index + 1}]`;
  const drop = (reason: string): undefined => {
    reading.notes.push(note(place, text, reason, 'dropped'));
    return undefined;
  };
  const { target, vdev, device } = spec;
  if (device === 'floppy') return drop('There are no floppy drives.');
  if (spec.script !== undefined) {
    return drop('The disk is made by a program of the old host; copy it into a file first, and name that.');
  }
  const format = Object.hasOwn(formats, spec.format) ? formats[spec.format] : undefined;
  if (format === undefined)
    return drop('Its format is not read; convert it first: qemu-img convert -O qcow2 FILE NEW.');
  if (target === '' && device === 'disk') return drop('The disk names no file.');
  tellDisk(reading, spec, place);
  const bus = diskBus(reading, spec, place, type);
  const common = { key: vdev, device, bus, readOnly: spec.readOnly };
  if (target === '' || (device === 'cdrom' && target.startsWith('/dev/'))) {
    if (target !== '') {
      reading.notes.push(note(place, target, 'It is a drive of the old host; this one is empty.', 'changed'));
    }
    return { ...common, source: { kind: 'none' } };
  }
  const name = foreignPath(target, place);
  if (name.startsWith('/dev/')) {
    reading.notes.push(note(place, target, blockDevice, 'hint'));
  }
  return { ...common, source: { kind: 'file', name }, format };
}

function tellDisk(reading: XlReading, { vdev, shared, rest }: XlDiskSpec, place: string): void {
  if (/^(xvd|hd|sd)[a-z]+\d+$/.test(vdev)) {
    const reason =
      'It is a partition without a disk around it, from which firmware cannot boot; copy it into a disk with a partition table and a boot loader.';
    reading.notes.push(note(`${place}/vdev`, vdev, reason, 'hint'));
  }
  if (shared)
    reading.notes.push(note(`${place}/access`, 'w!', 'A volume belongs to one guest at a time.', 'dropped'));
  for (const each of rest) {
    reading.notes.push(note(place, each, 'How a disk is opened is chosen by Wirt.', 'changed'));
  }
}

function diskBus(reading: XlReading, { vdev, device }: XlDiskSpec, place: string, type: GuestType): DriveBus {
  if (device === 'cdrom') return 'sata';
  if (type !== 'hvm') {
    const reason =
      'The disk is on virtio: in the guest it is vda and no longer xvda; let fstab and boot loader name UUIDs.';
    reading.notes.push(note(`${place}/vdev`, vdev, reason, 'changed'));
    return 'virtio';
  }
  const reason = vdev.startsWith('xvd')
    ? 'The disk is on SATA, which a guest knows without Xen: there it is sda and no longer xvda; let fstab and boot loader name UUIDs.'
    : 'The machine q35 has neither IDE nor Xen’s SCSI; the disk is on SATA.';
  reading.notes.push(note(`${place}/vdev`, vdev, reason, 'changed'));
  return 'sata';
}

const nicModels: Readonly<Record<string, NicModel>> = {
  e1000: 'e1000',
  e1000e: 'e1000e',
  rtl8139: 'rtl8139',
  vmxnet3: 'vmxnet3',
  virtio: 'virtio',
  'virtio-net': 'virtio',
  'virtio-net-pci': 'virtio',
};

/** Keys of a vif that mean nothing without the old host's networks, and those that say what every NIC here is. */
const vifKeys: Readonly<Record<string, string | undefined>> = {
  type: undefined,
  script: 'Programs of the old host do not set up the NIC.',
  ip: 'Addresses are not given by the description.',
  rate: 'Limits are not kept; set them again in Wirt.',
};

function readNic(reading: XlReading, text: string, index: number, type: GuestType): DraftNic {
  const place = `vif[${index + 1}]`;
  const keys = new Map<string, string>();
  for (const word of text.split(',')) {
    const equals = word.indexOf('=');
    if (equals > 0) keys.set(word.slice(0, equals).trim(), word.slice(equals + 1).trim());
    else if (word.trim() !== '') keys.set(word.trim(), '');
  }
  const pull = (key: string): string | undefined => {
    const value = keys.get(key);
    keys.delete(key);
    return value;
  };
  const network = pull('bridge');
  if (network !== undefined) {
    const reason = 'Networks of another host are not known here; the NIC is on Wirt’s own.';
    reading.notes.push(note(`${place}/bridge`, network, reason, 'changed'));
  }
  const address = pull('mac');
  const mac = address === undefined ? undefined : macOf(address);
  if (address !== undefined && mac === undefined) {
    reading.notes.push(
      note(`${place}/mac`, address, 'It is no MAC address; the NIC gets a new one.', 'changed'),
    );
  }
  const model = nicModel(reading, pull('model'), place, type);
  for (const [key, value] of keys) {
    const reason = Object.hasOwn(vifKeys, key) ? vifKeys[key] : 'It is a matter of the old host’s networks.';
    if (reason !== undefined) reading.notes.push(note(`${place}/${key}`, value, reason, 'dropped'));
  }
  return {
    ...(mac === undefined ? {} : { mac }),
    model,
    ...(network ? { network: printable(network) } : {}),
  };
}

function nicModel(reading: XlReading, said: string | undefined, place: string, type: GuestType): NicModel {
  if (type !== 'hvm') {
    const reason = 'The NIC is of model virtio; it may have another name in the guest.';
    reading.notes.push(note(`${place}/model`, said ?? 'netfront', reason, 'changed'));
    return 'virtio';
  }
  // What xl gives to HVM guests when no model is said.
  if (said === undefined) return 'rtl8139';
  const model = Object.hasOwn(nicModels, said) ? nicModels[said] : undefined;
  if (model !== undefined) return model;
  reading.notes.push(
    note(`${place}/model`, said, 'Wirt has no such NIC; the guest gets an e1000.', 'changed'),
  );
  return 'e1000';
}

/** `boot = "dc"`: the first drive of each kind, letter by letter. */
function readBoot(
  reading: XlReading,
  disks: readonly LooseDisk[],
  nics: readonly DraftNic[],
): { disks: readonly LooseDisk[]; nics: readonly DraftNic[] } {
  const places = new Map<LooseDisk | DraftNic, number>();
  for (const [index, letter] of (take(reading, 'boot') ?? '').slice(0, 16).split('').entries()) {
    const device = letter === 'c' ? 'disk' : letter === 'd' ? 'cdrom' : undefined;
    const first = letter === 'n' ? nics[0] : disks.find((each) => each.device === device);
    if (first !== undefined && !places.has(first)) places.set(first, index + 1);
    if (first === undefined) {
      reading.notes.push(note('boot', letter, 'There is no such drive or NIC to boot from.', 'dropped'));
    }
  }
  const placed = <T extends LooseDisk | DraftNic>(each: T): T => {
    const bootOrder = places.get(each);
    return bootOrder === undefined ? each : { ...each, bootOrder };
  };
  return { disks: disks.map(placed), nics: nics.map(placed) };
}

/** What is so for every guest here. */
function passSame(reading: XlReading): void {
  const same: readonly (readonly [name: string, value: string])[] = [
    ['serial', 'pty'],
    ['serial', 'none'],
    ['on_poweroff', 'destroy'],
    ['on_reboot', 'restart'],
  ];
  for (const [name, value] of same) if (reading.settings.get(name)?.value === value) reading.seen.add(name);
}

function unreadXl(reading: XlReading): readonly ImportNote[] {
  const left = [...reading.settings].filter(([name]) => !reading.seen.has(name));
  return notesOf(
    left.map(([name, { value }]) => {
      const text = isSecret(name) ? hiddenValue : textOf(value);
      return {
        setting: name,
        kind: name,
        value: text,
        short: `${name}=${text}`,
        because: reasonOfXl(name, text),
      };
    }),
  );
}

function textOf(value: XlValue): string {
  return typeof value === 'string' ? value : `[${value.slice(0, 100).map(textOf).join('; ')}]`;
}
