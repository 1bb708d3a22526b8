/**
 * OVF (the description inside an OVA) to a draft: VMware's, VirtualBox's, oVirt's. Pure; the files that it names are not
 * opened. `import.malformed` and `import.unsupported` as they are described in the error reference.
 */
import { WirtError } from '@wirt/api';
import { type Firmware, finishDraft, type MachineDraft } from './draft.ts';
import { type ImportNote, note } from './notes.ts';
import { openEnvelope, sectionKind, sections } from './ovf-envelope.ts';
import { type OvfHardware, readHardware } from './ovf-hardware.ts';
import type { BootOrders } from './ovf-item.ts';
import { explainOvf } from './ovf-reasons.ts';
import { orderByKind, readVirtualBox } from './ovf-virtualbox.ts';
import { parseXml, type XmlElement } from './xml.ts';
import {
  attribute,
  child,
  children,
  childText,
  indexLabel,
  type Label,
  pass,
  peekAttribute,
  peekText,
  type Reading,
  startReading,
  textOf,
  unread,
} from './xml-reading.ts';

/** Items, files, disks and settings by the identity that they have in the file. */
const ovfLabel: Label = (element, index, count) => {
  const kind = sectionKind(element);
  if (kind === 'VirtualSystem') return '';
  const name = kind === element.local ? element.name.replace(/^(ovf|rasd|vssd|[se]p?asd):/, '') : kind;
  if (kind.endsWith('Item')) {
    const id = peekText(element, 'InstanceID', 'InstanceId');
    if (id) return `${name}[InstanceID=${id}]`;
  }
  const key = peekAttribute(element, 'key');
  if (key) return `${name}[${key}]`;
  for (const other of ['diskId', 'id', 'name']) {
    const value = peekAttribute(element, other);
    if (value && count > 1) return `${name}[${value}]`;
  }
  return indexLabel({ ...element, name }, index, count);
};

export function readOvf(text: string): MachineDraft {
  const reading = startReading(parseXml(text, 'The OVF'), ovfLabel);
  const envelope = openEnvelope(reading);
  const { system } = envelope;
  const id = attribute(reading, system, 'id');
  const name = childText(reading, system, 'Name') || id;
  const description = readDescription(reading, system);
  // Its properties are told one by one.
  for (const place of [reading.root, system]) sections(reading, place, 'ProductSection');
  const boot = readBootOrders(reading, system);
  const [hardwareSection] = sections(reading, system, 'VirtualHardwareSection');
  if (hardwareSection === undefined) {
    throw new WirtError(
      'import.malformed',
      'The OVF says nothing of the machine’s hardware (no VirtualHardwareSection).',
    );
  }
  const family = readFamily(reading, hardwareSection);
  const firmware = readFirmware(reading, hardwareSection) ?? ovirtFirmware(reading, system);
  const hardware = readHardware(envelope, hardwareSection, boot);
  const box = readVirtualBox(reading, system);
  const nics = hardware.nics.map((nic, index) => {
    const mac = nic.mac ?? box?.macs[index];
    return mac === undefined ? nic : { ...nic, mac };
  });
  const ordered = orderByKind(box?.boot ?? [], hardware.disks, nics);
  const parents = (element: XmlElement): XmlElement[] => {
    const up: XmlElement[] = [];
    let at = reading.places.get(element)?.parent;
    for (; at !== undefined; at = reading.places.get(at)?.parent) up.push(at);
    return up;
  };
  const rest = unread(reading, explainOvf(parents));
  return finishDraft(
    {
      name: { setting: 'VirtualSystem/Name', value: name },
      description,
      cpus: hardware.cpus,
      memoryBytes: hardware.memoryBytes,
      firmware: firmware ?? box?.firmware ?? 'bios',
      ...ordered,
    },
    [...reading.notes, ...virtioHints(family, hardware), ...rest],
  );
}

function readDescription(reading: Reading, system: XmlElement): string | undefined {
  for (const section of sections(reading, system, 'AnnotationSection')) {
    const text = childText(reading, section, 'Annotation');
    if (text) return text;
  }
  return childText(reading, system, 'Description');
}

/** VMware's order of devices by their InstanceID; what else it says of them is left for the notes. */
function readBootOrders(reading: Reading, system: XmlElement): BootOrders {
  const orders = new Map<string, number>();
  for (const section of children(reading, system, 'BootOrderSection')) {
    const id = attribute(reading, section, 'instanceId');
    attribute(reading, section, 'type');
    if (id !== undefined && !orders.has(id)) orders.set(id, orders.size + 1);
  }
  return orders;
}

type Family = 'vmware' | 'virtualbox' | 'wirt' | 'other';

function readFamily(reading: Reading, section: XmlElement): Family {
  const type = peekText(child(reading, section, 'System') ?? section, 'VirtualSystemType') ?? '';
  const own = attribute(reading, section, 'exportedBy');
  for (const each of sections(reading, section, 'System')) {
    for (const name of ['ElementName', 'InstanceID', 'InstanceId', 'VirtualSystemIdentifier']) {
      textOf(reading, child(reading, each, name));
    }
    if (own === 'wirt') pass(reading, each);
  }
  if (own === 'wirt') return 'wirt';
  if (/vmx-/i.test(type)) return 'vmware';
  return /virtualbox/i.test(type) ? 'virtualbox' : 'other';
}

function readFirmware(reading: Reading, section: XmlElement): Firmware | undefined {
  const entries = section.children.filter((each) => each.local === 'Config');
  const found = entries.find((each) => peekAttribute(each, 'key') === 'firmware');
  if (found === undefined) return undefined;
  pass(reading, found);
  return /efi/i.test(peekAttribute(found, 'value') ?? '') ? 'uefi' : 'bios';
}

/** oVirt's BiosType: 3 and 4 are OVMF without and with Secure Boot. */
function ovirtFirmware(reading: Reading, system: XmlElement): Firmware | undefined {
  const type = childText(reading, system, 'BiosType');
  if (type === undefined) return undefined;
  if (type === '4') {
    const reason = 'Firmware starts without Secure Boot; a guest that checks it must be told.';
    reading.notes.push(note('VirtualSystem/BiosType', type, reason, 'changed'));
  }
  return type === '3' || type === '4' ? 'uefi' : 'bios';
}

/** Emulated devices are slower, and what a guest surely knows: how to get away from them. */
function virtioHints(family: Family, { disks, nics }: OvfHardware): ImportNote[] {
  if (family === 'wirt' || family === 'other') return [];
  const notes: ImportNote[] = [];
  const emulated = disks.filter(({ device, bus }) => device === 'disk' && !bus.startsWith('virtio'));
  const maker = family === 'vmware' ? 'VMware' : 'VirtualBox';
  if (emulated.length > 0) {
    const buses = [...new Set(emulated.map(({ bus }) => bus))].join(', ');
    const reason = `A guest from ${maker} may lack virtio drivers, so its disks stay on a bus that it knows; once it has them, detach the volumes and attach them with the bus virtio, which is faster.`;
    notes.push(note('disks', buses, reason, 'hint'));
  }
  const models = [...new Set(nics.map(({ model }) => model).filter((model) => model !== 'virtio'))];
  if (models.length > 0) {
    const reason = `A guest from ${maker} may lack virtio drivers, so it keeps a NIC that it knows; the model virtio is faster once the guest has the driver.`;
    notes.push(note('NICs', models.join(', '), reason, 'hint'));
  }
  return notes;
}
