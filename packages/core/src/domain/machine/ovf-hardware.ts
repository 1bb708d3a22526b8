/**
 * The items of an OVF's virtual hardware (CIM_ResourceAllocationSettingData, DSP0243 and DSP1041): which are in force, and
 * what processors, memory, controllers, drives and NICs they make. Items that make nothing are told of by their type.
 */
import { WirtError } from '@wirt/api';
import { type DraftNic, type LooseDisk, macOf, type NicModel, refuseTooMany } from './draft.ts';
import { note, printable } from './notes.ts';
import { drivesOf } from './ovf-drives.ts';
import { defaultConfiguration, type OvfEnvelope } from './ovf-envelope.ts';
import { type BootOrders, bootPlace, type Controller, type OvfItem, used } from './ovf-item.ts';
import { bytesOf, ovfUnitBytes, wholeNumber } from './quantity.ts';
import type { XmlElement } from './xml.ts';
import {
  attribute,
  child,
  childText,
  pass,
  peekAttribute,
  peekText,
  type Reading,
  settingOf,
  tell,
  textOf,
} from './xml-reading.ts';

export interface OvfHardware {
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly disks: readonly LooseDisk[];
  readonly nics: readonly DraftNic[];
}

/** CIM resource types (DSP0243 uses those of CIM_ResourceAllocationSettingData.ResourceType). */
const types = {
  other: 1,
  cpu: 3,
  memory: 4,
  ide: 5,
  scsi: 6,
  nic: 10,
  floppy: 14,
  cd: 15,
  dvd: 16,
  disk: 17,
  otherStorage: 20,
  serial: 21,
  parallel: 22,
  usb: 23,
  graphics: 24,
  sound: 35,
} as const;

export function readHardware(envelope: OvfEnvelope, section: XmlElement, boot: BootOrders): OvfHardware {
  const { reading } = envelope;
  const items = itemsInForce(reading, section);
  const of = (...wanted: number[]): OvfItem[] => items.filter(({ type }) => wanted.includes(type));
  refuseTooMany(of(types.disk, types.cd, types.dvd, types.nic).length);
  const controllers = new Map<string, Controller>();
  for (const item of of(types.ide, types.scsi, types.otherStorage)) {
    used(reading, item, 'ResourceSubType', 'Address', 'BusNumber');
    controllers.set(item.id, {
      ...controllerBus(item),
      setting: settingOf(reading, item.element),
      name: item.subType || (item.type === types.ide ? 'IDE' : 'SCSI'),
    });
  }
  const cpus = of(types.cpu).reduce((sum, item) => sum + readCpus(reading, item), 0);
  const memoryBytes = of(types.memory).reduce((sum, item) => sum + readMemory(reading, item), 0);
  if (cpus === 0)
    throw new WirtError('import.malformed', 'The OVF does not say how many virtual CPUs the machine has.');
  if (memoryBytes === 0)
    throw new WirtError('import.malformed', 'The OVF does not say how much memory the machine has.');
  const drives = of(types.disk, types.cd, types.dvd);
  const disks = drivesOf(
    envelope,
    drives.map((item) => ({
      ...item,
      device: item.type === types.disk ? ('disk' as const) : ('cdrom' as const),
    })),
    controllers,
    boot,
  );
  const nics = of(types.nic).map((item) => readNic(reading, item, boot));
  let serials = 0;
  for (const item of items) {
    if (item.type === types.serial) serials += 1;
    tellOther(reading, item, serials);
  }
  return { cpus, memoryBytes, disks, nics };
}

const itemNames = ['Item', 'StorageItem', 'EthernetPortItem'];

/** Items of no deployment option and of the one in force; an item of the option stands for the general one of its id. */
function itemsInForce(reading: Reading, section: XmlElement): OvfItem[] {
  const chosen = defaultConfiguration(reading);
  const all: OvfItem[] = [];
  const general = new Set<OvfItem>();
  const special = new Set<OvfItem>();
  for (const element of section.children.filter(({ local }) => itemNames.includes(local))) {
    reading.seen.add(element);
    const configuration = attribute(reading, element, 'configuration');
    const bound = peekAttribute(element, 'bound');
    if (bound !== undefined && bound !== 'normal') {
      tell(reading, element, 'Bounds of a value are not kept, only the value itself.', 'dropped');
    } else if (configuration === undefined) {
      const item = itemOf(element);
      general.add(item);
      all.push(item);
    } else if (chosen !== undefined && configuration.split(/\s+/).includes(chosen.id)) {
      const item = itemOf(element);
      special.add(item);
      all.push(item);
    } else pass(reading, element);
  }
  if (chosen !== undefined) {
    const reason = 'Of the deployment options the default was taken; those of the others are left out.';
    reading.notes.push(
      note(settingOf(reading, chosen.element), `${chosen.id}: ${chosen.label}`, reason, 'changed'),
    );
  }
  const replaced = new Set([...special].map(({ id }) => id));
  for (const { id, element } of general) if (replaced.has(id)) pass(reading, element);
  return all.filter((item) => special.has(item) || !replaced.has(item.id));
}

function itemOf(element: XmlElement): OvfItem {
  const text = (...names: string[]): string => peekText(element, ...names) ?? '';
  const device = text('Type');
  // oVirt's own devices: the type number 20 is a display there, and 0 anything.
  const type = device === 'video' ? types.graphics : Number(text('ResourceType') || Number.NaN);
  return {
    element,
    id: text('InstanceID', 'InstanceId'),
    type,
    subType: text('ResourceSubType'),
    parent: text('Parent'),
  };
}

/** The bus for drives on this controller, and what is to be said when a drive is on it. */
function controllerBus({ type, subType }: OvfItem): Omit<Controller, 'setting' | 'name'> {
  const kind = subType.toLowerCase().replaceAll('-', '');
  if (kind === 'virtioscsi') return { bus: 'virtio-scsi' };
  if (type === types.ide) {
    return { bus: 'sata', change: 'The machine q35 has no IDE; what was on this controller is on SATA.' };
  }
  if (type === types.scsi) {
    if (kind === '' || kind === 'lsilogicsas') return { bus: 'lsi' };
    if (kind.includes('lsilogic') || kind === 'lsi') {
      const change =
        'The parallel LSI Logic controller becomes its SAS sister, which needs the driver mptsas.';
      return { bus: 'lsi', change };
    }
    if (kind === 'virtualscsi' || kind === 'pvscsi') return { bus: 'pvscsi' };
    return { bus: 'sata', change: 'Wirt has no such SCSI controller; what was on it is on SATA.' };
  }
  if (kind.includes('nvme')) return { bus: 'nvme' };
  if (kind === '' || kind.includes('sata') || kind.includes('ahci')) return { bus: 'sata' };
  return { bus: 'sata', change: 'Wirt has no such controller; what was on it is on SATA.' };
}

function quantity(reading: Reading, item: OvfItem): number | undefined {
  const text = childText(reading, item.element, 'VirtualQuantity');
  return text === undefined ? undefined : wholeNumber(text, settingOf(reading, item.element));
}

function readCpus(reading: Reading, item: OvfItem): number {
  const { element } = item;
  const place = settingOf(reading, element);
  used(reading, item, 'AllocationUnits', 'ResourceSubType');
  const perSocket = child(reading, element, 'CoresPerSocket');
  if (perSocket !== undefined) {
    for (const name of ['required', 'type']) attribute(reading, perSocket, name);
    const reason = 'All virtual CPUs are cores of one socket.';
    const value = textOf(reading, perSocket) ?? '';
    if (value !== peekText(element, 'VirtualQuantity')) {
      reading.notes.push(note(`${place}/CoresPerSocket`, value, reason, 'changed'));
    }
  }
  const stated = quantity(reading, item);
  const topology = ['num_of_sockets', 'cpu_per_socket', 'threads_per_cpu'].map((name) => {
    const text = childText(reading, element, name);
    return text === undefined ? undefined : wholeNumber(text, place);
  });
  if (stated !== undefined || topology.every((each) => each === undefined)) return stated ?? 1;
  return topology.reduce<number>((product, each) => product * (each ?? 1), 1);
}

function readMemory(reading: Reading, item: OvfItem): number {
  const place = settingOf(reading, item.element);
  used(reading, item);
  const units = childText(reading, item.element, 'AllocationUnits');
  // Without units OVF means bytes, and some writers mean MiB; no machine has so few bytes, none so many MiB.
  const stated = quantity(reading, item) ?? 0;
  const unit = units ? ovfUnitBytes(units) : stated < 67_108_864 ? 1_048_576 : 1;
  if (unit === undefined) {
    const shown = printable(units ?? '', 40);
    throw new WirtError(
      'import.malformed',
      `The memory at ${place} is in "${shown}", which is no unit of bytes.`,
    );
  }
  return bytesOf(stated, unit, `The memory at ${place}`);
}

const nicModels: Readonly<Record<string, NicModel>> = {
  e1000: 'e1000',
  e1000e: 'e1000e',
  vmxnet3: 'vmxnet3',
  virtio: 'virtio',
  virtionet: 'virtio',
  rtl8139: 'rtl8139',
  // oVirt's numbers.
  '1': 'rtl8139',
  '2': 'e1000',
  '3': 'virtio',
};

function readNic(reading: Reading, item: OvfItem, boot: BootOrders): DraftNic {
  const { element } = item;
  const place = settingOf(reading, element);
  used(reading, item, 'ResourceSubType', 'Connection', 'Name', 'Type', 'AddressOnParent', 'Parent');
  const said = attribute(reading, element, 'model');
  const offered = [...(said === undefined ? [] : [said]), ...item.subType.split(/[\s,]+/)];
  const model = offered.map((each) => nicModels[each.toLowerCase().replace('-', '')]).find((each) => each);
  if (model === undefined) {
    const reason = 'Wirt has no such NIC; the guest gets an e1000, which systems of its age know.';
    reading.notes.push(note(`${place}/ResourceSubType`, item.subType, reason, 'changed'));
  }
  const bootOrder = bootPlace(reading, item, boot);
  const network = peekText(element, 'Connection');
  if (network) tellNetwork(reading, `${place}/Connection`, network);
  const mac = readMac(reading, element, place);
  if (childText(reading, element, 'AutomaticAllocation') === 'false') {
    const reason = 'The NIC was not connected at power-on; here it is.';
    reading.notes.push(note(`${place}/AutomaticAllocation`, 'false', reason, 'changed'));
  }
  return {
    ...(mac === undefined ? {} : { mac }),
    model: model ?? 'e1000',
    ...(network ? { network: printable(network) } : {}),
    ...(bootOrder === undefined ? {} : { bootOrder }),
  };
}

export function tellNetwork(reading: Reading, setting: string, network: string): void {
  const reason = 'Networks of another host are not known here; the NIC is on Wirt’s own.';
  reading.notes.push(note(setting, network, reason, 'changed'));
}

function readMac(reading: Reading, element: XmlElement, place: string): string | undefined {
  for (const name of ['Address', 'MACAddress']) {
    const text = peekText(element, name);
    if (!text) continue;
    childText(reading, element, name);
    const mac = macOf(text);
    if (mac !== undefined) return mac;
    reading.notes.push(
      note(`${place}/${name}`, text, 'It is no MAC address; the NIC gets a new one.', 'changed'),
    );
  }
  return undefined;
}

const otherReasons: Readonly<Record<number, string>> = {
  [types.floppy]: 'There are no floppy drives here.',
  [types.parallel]: 'There are no parallel ports here.',
  [types.usb]: 'Wirt gives no USB controller.',
  [types.sound]: 'Wirt gives no sound card.',
};

/** Items that make nothing in Wirt. */
function tellOther(reading: Reading, item: OvfItem, serials: number): void {
  const { element, type, subType } = item;
  const label = peekText(element, 'ElementName', 'Caption') ?? '';
  const value = [label, subType].filter((each) => each !== '').join(': ');
  const say = (reason: string, effect: 'dropped' | 'changed' = 'dropped'): void =>
    tell(reading, element, reason, effect, value);
  const made: readonly number[] = [
    types.cpu,
    types.memory,
    types.ide,
    types.scsi,
    types.nic,
    types.otherStorage,
  ];
  const drive: readonly number[] = [types.cd, types.dvd, types.disk];
  if (made.includes(type) || drive.includes(type)) return;
  if (type === types.serial && serials === 1) say('Every guest has one serial port, its console.', 'changed');
  else if (type === types.serial) say('A guest has one serial port, its console.');
  else if (type === types.graphics) say('Displays are chosen by Wirt.');
  else if (/vtpm/i.test(subType)) say('A TPM and what it keeps stay behind; have recovery keys at hand.');
  else if (/vmci/i.test(subType)) say('It is the channel between VMware’s host and its tools in the guest.');
  else say(otherReasons[type] ?? 'Wirt has no such device.');
}
