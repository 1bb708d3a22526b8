/**
 * libvirt's domain XML to a draft: domains of KVM, QEMU and Xen for x86. Pure; the files that it names are not opened.
 * `import.malformed` and `import.unsupported` as they are described in the error reference. Source: libvirt formatdomain.
 */
import { WirtError } from '@wirt/api';
import { type DraftNic, type Firmware, finishDraft, type LooseDisk, type MachineDraft } from './draft.ts';
import { readDisks } from './libvirt-drives.ts';
import { readNics } from './libvirt-nics.ts';
import { libvirtReasons, otherwise, serialConsole } from './libvirt-reasons.ts';
import { note, printable } from './notes.ts';
import { bytesOf, libvirtUnitBytes, wholeNumber } from './quantity.ts';
import { parseXml, type XmlElement } from './xml.ts';
import {
  attribute,
  child,
  children,
  childText,
  openBranches,
  pass,
  peekAttribute,
  type Reading,
  reasonFinder,
  startReading,
  textOf,
  unread,
} from './xml-reading.ts';

const hypervisors = [
  'kvm',
  'qemu',
  'kqemu',
  'hvf',
  'xen',
  'vbox',
  'vmware',
  'hyperv',
  'bhyve',
  'parallels',
  'test',
];

export function readLibvirt(text: string): MachineDraft {
  const reading = startReading(parseXml(text, 'The libvirt XML'));
  const { root } = reading;
  if (root.local !== 'domain') {
    const message = `The XML begins with <${printable(root.name)}>, and libvirt’s machines are in <domain>.`;
    throw new WirtError('import.malformed', message, {
      hint: 'Write it with `virsh dumpxml --inactive NAME > NAME.xml`.',
    });
  }
  const type = attribute(reading, root, 'type') ?? '';
  if (!hypervisors.includes(type)) {
    throw new WirtError(
      'import.unsupported',
      `Domains of type "${printable(type)}" are no virtual machines with disks.`,
    );
  }
  const os = child(reading, root, 'os');
  const pv = readOsType(reading, os);
  const firmware = readFirmware(reading, os);
  const devices = child(reading, root, 'devices');
  const disks = readDisks(reading, devices, pv);
  const nics = readNics(reading, devices, pv);
  const ordered = orderByClass(readBootClasses(reading, os), disks, nics);
  const loose = {
    name: { setting: 'name', value: childText(reading, root, 'name') },
    description: childText(reading, root, 'description'),
    cpus: readCpus(reading, root),
    memoryBytes: readMemory(reading, root),
    firmware,
    ...ordered,
  };
  readConsole(reading, devices);
  passSame(reading, root);
  const find = reasonFinder(libvirtReasons);
  const rest = unread(reading, (path) => {
    // Namespaces of other tools, such as qemu:commandline, by their plain name.
    return find(path) ?? find(path.replaceAll(/(^|\/)[^/:]*:/g, '$1')) ?? otherwise;
  });
  return finishDraft(loose, [...reading.notes, ...rest]);
}

/** Whether it is a paravirtual Xen guest. Refuses containers and other processors than x86. */
function readOsType(reading: Reading, os: XmlElement | undefined): boolean {
  const element = child(reading, os, 'type');
  const type = textOf(reading, element) ?? 'hvm';
  const arch = attribute(reading, element, 'arch') ?? 'x86_64';
  if (!/^(x86_64|amd64|i[3-6]86)$/.test(arch)) {
    throw new WirtError(
      'import.unsupported',
      `The machine is for processors of type ${printable(arch)}; Wirt’s are x86-64.`,
    );
  }
  if (type === 'exe')
    throw new WirtError('import.unsupported', 'The domain is a container and no virtual machine.');
  const machine = attribute(reading, element, 'machine');
  if (machine !== undefined && !/^(pc-)?q35/.test(machine)) {
    const reason =
      'Every imported machine is a q35; other places of devices may give them new names in the guest.';
    reading.notes.push(note('os/type/@machine', machine, reason, 'changed'));
  } else if (machine !== undefined && machine !== 'q35') {
    reading.notes.push(
      note(
        'os/type/@machine',
        machine,
        'The machine is a q35 of the installed QEMU’s own version.',
        'changed',
      ),
    );
  }
  const pv = type === 'linux' || type === 'xen' || type === 'xenpvh';
  if (pv) {
    const reason =
      'A paravirtual guest becomes a normal one, and boots if its disk has a boot loader and its system virtio drivers.';
    reading.notes.push(note('os/type', type, reason, 'changed'));
  }
  return pv;
}

function readFirmware(reading: Reading, os: XmlElement | undefined): Firmware {
  const said = attribute(reading, os, 'firmware');
  const loader = child(reading, os, 'loader');
  const path = textOf(reading, loader) ?? '';
  const type = attribute(reading, loader, 'type');
  const stateless = attribute(reading, loader, 'stateless');
  for (const name of ['readonly', 'format']) attribute(reading, loader, name);
  const uefi =
    said === 'efi' || (said === undefined && (type === 'pflash' || /ovmf|edk2|uefi|efi/i.test(path)));
  if (path !== '') {
    reading.notes.push(
      note('os/loader', path, `Firmware is that of Wirt’s host: ${uefi ? 'OVMF' : 'SeaBIOS'}.`, 'changed'),
    );
  }
  const nvram = child(reading, os, 'nvram');
  if (nvram !== undefined && stateless !== 'yes') {
    const reason =
      'Firmware starts with fresh variables: boot entries are found anew, keys for Secure Boot are gone.';
    reading.notes.push(note('os/nvram', textOf(reading, nvram) ?? '', reason, 'dropped'));
    pass(reading, nvram);
  }
  const secure = attribute(reading, loader, 'secure') === 'yes' || /secboot|secure/i.test(path);
  const features = children(reading, child(reading, os, 'firmware'), 'feature');
  for (const feature of features) pass(reading, feature);
  const wanted = features.some(
    (each) =>
      /secure-boot|enrolled-keys/.test(peekAttribute(each, 'name') ?? '') &&
      peekAttribute(each, 'enabled') === 'yes',
  );
  if (secure || wanted) {
    const reason = 'Firmware starts without Secure Boot; a guest that checks it must be told.';
    reading.notes.push(note('os: Secure Boot', 'yes', reason, 'changed'));
  }
  return uefi ? 'uefi' : 'bios';
}

function readCpus(reading: Reading, root: XmlElement): number {
  const element = child(reading, root, 'vcpu');
  const most = wholeNumber(textOf(reading, element) || '1', 'The number of virtual CPUs');
  if (attribute(reading, element, 'placement') === 'auto') {
    reading.notes.push(note('vcpu/@placement', 'auto', 'Wirt leaves placement to the kernel.', 'changed'));
  }
  const current = attribute(reading, element, 'current');
  if (current === undefined) return most;
  const now = wholeNumber(current, 'The number of virtual CPUs at start');
  if (now === most) return most;
  const reason = 'Virtual CPUs are not plugged in while a guest runs; it has as many as it started with.';
  reading.notes.push(note('vcpu', `${most}, ${now} at start`, reason, 'changed'));
  return now;
}

function sizeOf(reading: Reading, element: XmlElement | undefined, what: string): number | undefined {
  const text = textOf(reading, element);
  if (text === undefined) return undefined;
  const unit = attribute(reading, element, 'unit') ?? 'KiB';
  const unitBytes = libvirtUnitBytes(unit);
  if (unitBytes === undefined) {
    throw new WirtError(
      'import.malformed',
      `${what} is in "${printable(unit, 40)}", which is no unit that libvirt has.`,
    );
  }
  return bytesOf(wholeNumber(text, what), unitBytes, what);
}

function readMemory(reading: Reading, root: XmlElement): number {
  const element = child(reading, root, 'memory');
  const bytes = sizeOf(reading, element, 'The memory');
  const now = sizeOf(reading, child(reading, root, 'currentMemory'), 'The current memory');
  if (bytes === undefined && now === undefined) {
    throw new WirtError('import.malformed', 'The domain does not say how much memory it has.');
  }
  if (bytes !== undefined && now !== undefined && now < bytes) {
    const reason = 'There is no balloon; the guest has all of its memory from the start.';
    reading.notes.push(note('currentMemory', `${now} bytes`, reason, 'changed'));
  }
  if (attribute(reading, element, 'dumpCore') === 'on') {
    reading.notes.push(
      note('memory/@dumpCore', 'on', 'Memory of guests is never in a core dump.', 'changed'),
    );
  }
  return bytes ?? now ?? 0;
}

function readBootClasses(reading: Reading, os: XmlElement | undefined): string[] {
  const classes = children(reading, os, 'boot').flatMap((each) => attribute(reading, each, 'dev') ?? []);
  for (const each of classes) {
    if (['hd', 'cdrom', 'network'].includes(each)) continue;
    reading.notes.push(note('os/boot/@dev', each, 'There are no floppy drives.', 'dropped'));
  }
  return classes;
}

/** `<boot dev>` gives the first device of each class its place; libvirt knows either that or places per device. */
export function orderByClass(
  classes: readonly string[],
  disks: readonly LooseDisk[],
  nics: readonly DraftNic[],
): { disks: readonly LooseDisk[]; nics: readonly DraftNic[] } {
  if ([...disks, ...nics].some(({ bootOrder }) => bootOrder !== undefined)) return { disks, nics };
  const places = new Map<LooseDisk | DraftNic, number>();
  for (const [index, each] of classes.entries()) {
    const device = each === 'hd' ? 'disk' : each === 'cdrom' ? 'cdrom' : undefined;
    const first = each === 'network' ? nics[0] : disks.find((disk) => disk.device === device);
    if (first !== undefined && !places.has(first)) places.set(first, index + 1);
  }
  const placed = <T extends LooseDisk | DraftNic>(one: T): T => {
    const bootOrder = places.get(one);
    return bootOrder === undefined ? one : { ...one, bootOrder };
  };
  return { disks: disks.map(placed), nics: nics.map(placed) };
}

/** The first serial port is the console that every guest has here, and so is the channel of the agent. */
function readConsole(reading: Reading, devices: XmlElement | undefined): void {
  const all = devices?.children ?? [];
  const agent = all.find(
    (each) =>
      each.local === 'channel' &&
      each.children.some((inner) => peekAttribute(inner, 'name') === 'org.qemu.guest_agent.0'),
  );
  const serial = all.find(({ local }) => local === 'serial');
  const console = all.find(({ local }) => local === 'console');
  const found = [serial, console, agent].filter((each) => each !== undefined);
  for (const each of found) pass(reading, each);
  if (found.length === 0) return;
  const value = found.map(({ local }) => local).join(', ');
  reading.notes.push(note(serialConsole.together ?? '', value, serialConsole.reason, serialConsole.effect));
}

/** What Wirt does in any case, and what says that there is nothing. */
function passSame(reading: Reading, root: XmlElement): void {
  const same: readonly (readonly [name: string, value: string])[] = [
    ['on_poweroff', 'destroy'],
    ['on_reboot', 'restart'],
  ];
  for (const each of root.children) {
    if (same.some(([name, value]) => each.local === name && each.text.trim() === value)) pass(reading, each);
    // Their parts are told one by one.
    if (['features', 'cputune', 'metadata', 'commandline', 'sysinfo', 'pm'].includes(each.local)) {
      openBranches(reading, each);
    }
    if (each.local === 'cpu' || each.local === 'clock') reading.seen.add(each);
    if (each.local === 'clock') {
      if (peekAttribute(each, 'offset') === 'utc') attribute(reading, each, 'offset');
    }
    if (each.local === 'cpu' && peekAttribute(each, 'mode') === 'host-passthrough') {
      for (const name of ['mode', 'check', 'migratable']) attribute(reading, each, name);
    }
  }
  for (const each of root.children.find(({ local }) => local === 'devices')?.children ?? []) {
    const kind = peekAttribute(each, 'model') ?? peekAttribute(each, 'type');
    if (kind === 'none' && ['memballoon', 'audio', 'controller'].includes(each.local)) pass(reading, each);
  }
}
