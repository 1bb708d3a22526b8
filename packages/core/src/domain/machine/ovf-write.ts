/**
 * A draft as an OVF 1.1 envelope (DSP0243 1.1.1) that VMware, VirtualBox and virt-v2v read. Drives and NICs on virtio, which
 * those do not know, are written as what they do know, with an attribute by which Wirt reads them back as they were.
 */
import type { DraftDisk, DraftNic, DriveBus, MachineDraft, NicModel } from './draft.ts';
import type { WrittenMachine } from './libvirt-write.ts';
import { type ImportNote, note } from './notes.ts';
import { element, renderXml, type XmlNode } from './xml.ts';

const namespaces = {
  xmlns: 'http://schemas.dmtf.org/ovf/envelope/1',
  'xmlns:ovf': 'http://schemas.dmtf.org/ovf/envelope/1',
  'xmlns:rasd': 'http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData',
  'xmlns:vssd': 'http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData',
  'xmlns:vmw': 'http://www.vmware.com/schema/ovf',
  'xmlns:wirt': 'urn:wirt:ovf:1',
} as const;

const formatUris = {
  vmdk: 'http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized',
  qcow2: 'http://www.gnome.org/~markmc/qcow-image-format.html',
  vpc: 'http://go.microsoft.com/fwlink/?LinkId=137171',
  vhdx: 'https://learn.microsoft.com/openspecs/windows_protocols/ms-vhdx',
  vdi: 'http://www.virtualbox.org/vdi',
  raw: undefined,
} as const;

export interface OvfFiles {
  /** Size of each file of the package, by its name. */
  readonly sizes: ReadonlyMap<string, number>;
}

/** Files are named as the draft's sources are: plain names in the package. Disks should have their `sizeBytes`. */
export function writeOvf(draft: MachineDraft, files: OvfFiles): WrittenMachine {
  const notes: ImportNote[] = [];
  if (draft.firmware === 'uefi') {
    const reason = 'VirtualBox does not read the firmware from an OVF; switch on EFI there by hand.';
    notes.push(note('firmware', 'uefi', reason, 'hint'));
  }
  tellUnsaid(draft, notes);
  const drives = draft.disks.map((disk, index) => ({ disk, number: index + 1, ...writtenBus(disk, notes) }));
  const root = element('Envelope', { ...namespaces, 'ovf:version': '1.0', 'xml:lang': 'en-US' }, [
    element(
      'References',
      {},
      drives.flatMap((drive) => fileOf(drive, files)),
    ),
    section('DiskSection', 'The disks of the machine', drives.flatMap(diskOf)),
    section('NetworkSection', 'The networks of the machine', networksOf(draft.nics)),
    machine(draft, drives, notes),
  ]);
  return { xml: renderXml(root), notes };
}

/** What OVF has no words for; the boot order is kept for Wirt alone. */
function tellUnsaid({ disks, nics }: MachineDraft, notes: ImportNote[]): void {
  for (const { key, device, readOnly, serial } of disks) {
    const say = (what: string, value: string): void => {
      notes.push(note(`disk ${key}: ${what}`, value, 'OVF cannot say it.', 'dropped'));
    };
    if (readOnly && device === 'disk') say('read-only', 'yes');
    if (serial !== undefined) say('serial number', serial);
  }
  const ordered = [...disks, ...nics].filter(({ bootOrder }) => bootOrder !== undefined);
  if (ordered.length > 1 || (ordered[0] !== undefined && ordered[0] !== disks[0])) {
    const reason = 'Other hypervisors boot in the order that they have themselves, most from the first disk.';
    notes.push(note('boot order', `${ordered.length} devices`, reason, 'hint'));
  }
}

interface Drive {
  readonly disk: DraftDisk;
  readonly number: number;
  readonly bus: OvfBus;
}

type OvfBus = Exclude<DriveBus, 'virtio' | 'virtio-scsi'>;

function writtenBus({ bus, key }: DraftDisk, notes: ImportNote[]): { bus: OvfBus } {
  if (bus !== 'virtio' && bus !== 'virtio-scsi') return { bus };
  const reason = 'Other hypervisors get the disk on SATA, for which the guest has to have a driver (ahci).';
  notes.push(note(`disk ${key}`, bus, reason, 'changed'));
  return { bus: 'sata' };
}

function section(name: string, info: string, content: readonly (XmlNode | undefined)[]): XmlNode {
  return element(name, {}, [element('Info', {}, info), ...content]);
}

function isIso({ device, format = 'raw' }: DraftDisk): boolean {
  return device === 'cdrom' && format === 'raw';
}

function fileOf({ disk, number }: Drive, { sizes }: OvfFiles): XmlNode[] {
  const { source, compression } = disk;
  if (source.kind !== 'file') return [];
  const size = sizes.get(source.name);
  const attributes = { 'ovf:href': source.name, 'ovf:id': `file${number}`, 'ovf:size': size };
  return [element('File', { ...attributes, 'ovf:compression': compression })];
}

function diskOf({ disk, number }: Drive): XmlNode[] {
  const { source, sizeBytes, format } = disk;
  if (source.kind === 'none' || isIso(disk)) return [];
  const capacity = source.kind === 'empty' ? source.sizeBytes : sizeBytes;
  return [
    element('Disk', {
      'ovf:capacity': capacity,
      'ovf:capacityAllocationUnits': capacity === undefined ? undefined : 'byte',
      'ovf:diskId': `vmdisk${number}`,
      'ovf:fileRef': source.kind === 'file' ? `file${number}` : undefined,
      'ovf:format': formatUris[format ?? (source.kind === 'empty' ? 'vmdk' : 'raw')],
      'ovf:volume-format': source.kind === 'file' && format === 'raw' ? 'RAW' : undefined,
    }),
  ];
}

function networksOf(nics: readonly DraftNic[]): XmlNode[] {
  return [...new Set(nics.map(networkName))].map((name) =>
    element('Network', { 'ovf:name': name }, [element('Description', {}, `The network ${name}`)]),
  );
}

const noNetwork = 'NAT';

function networkName({ network }: DraftNic): string {
  return network ?? noNetwork;
}

function machine(draft: MachineDraft, drives: readonly Drive[], notes: ImportNote[]): XmlNode {
  const usesNvme = drives.some(({ bus }) => bus === 'nvme');
  const items = hardware(draft, drives, notes);
  return element('VirtualSystem', { 'ovf:id': draft.name }, [
    element('Info', {}, 'A virtual machine'),
    element('Name', {}, draft.name),
    element('OperatingSystemSection', { 'ovf:id': 102, 'vmw:osType': 'otherGuest64' }, [
      element('Info', {}, 'The guest operating system'),
    ]),
    element('VirtualHardwareSection', { 'wirt:exportedBy': 'wirt' }, [
      element('Info', {}, 'The virtual hardware of the machine'),
      element('System', {}, [
        element('vssd:ElementName', {}, 'Virtual Hardware Family'),
        element('vssd:InstanceID', {}, 0),
        element('vssd:VirtualSystemIdentifier', {}, draft.name),
        element('vssd:VirtualSystemType', {}, usesNvme ? 'vmx-13' : 'vmx-10'),
      ]),
      ...items,
      element('vmw:Config', {
        'ovf:required': 'false',
        'vmw:key': 'firmware',
        'vmw:value': draft.firmware === 'uefi' ? 'efi' : 'bios',
      }),
    ]),
    draft.description === undefined
      ? undefined
      : element('AnnotationSection', { 'ovf:required': 'false' }, [
          element('Info', {}, 'What the machine is for'),
          element('Annotation', {}, draft.description),
        ]),
  ]);
}

/** Fields are written in the order of the alphabet, as the schema of the items has them. */
function item(
  attributes: Record<string, string | number | undefined>,
  fields: Record<string, string | number | undefined>,
): XmlNode {
  const entries = Object.entries(fields).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return element(
    'Item',
    attributes,
    entries.map(([name, value]) => (value === undefined ? undefined : element(`rasd:${name}`, {}, value))),
  );
}

const controllerTypes = {
  sata: { ElementName: 'SATA controller', ResourceSubType: 'AHCI', ResourceType: 20 },
  nvme: { ElementName: 'NVMe controller', ResourceSubType: 'vmware.nvme.controller', ResourceType: 20 },
  pvscsi: { ElementName: 'SCSI controller', ResourceSubType: 'VirtualSCSI', ResourceType: 6 },
  lsi: { ElementName: 'SCSI controller', ResourceSubType: 'lsilogicsas', ResourceType: 6 },
} as const satisfies Record<OvfBus, unknown>;

function hardware(draft: MachineDraft, drives: readonly Drive[], notes: ImportNote[]): XmlNode[] {
  const { cpus, memoryMib, nics } = draft;
  const items: XmlNode[] = [];
  const add = (
    fields: Record<string, string | number | undefined>,
    own: Record<string, string | number | undefined> = {},
  ): number => {
    const InstanceID = items.length + 1;
    items.push(item(own, { InstanceID, ...fields }));
    return InstanceID;
  };
  const cpu = { ElementName: `${cpus} virtual CPUs`, ResourceType: 3, VirtualQuantity: cpus };
  add({ ...cpu, AllocationUnits: 'hertz * 10^6', Description: 'Number of virtual CPUs' });
  const memory = { ElementName: `${memoryMib} MiB of memory`, ResourceType: 4, VirtualQuantity: memoryMib };
  add({ ...memory, AllocationUnits: 'byte * 2^20', Description: 'Memory size' });
  const buses = [...new Set(drives.map(({ bus }) => bus))];
  const controllers = new Map<OvfBus, number>();
  const addresses = new Map<number, number>();
  for (const bus of buses) {
    const type = controllerTypes[bus];
    // Each kind of controller is counted by itself.
    const Address = addresses.get(type.ResourceType) ?? 0;
    addresses.set(type.ResourceType, Address + 1);
    controllers.set(bus, add({ Address, ...type }));
  }
  const places = new Map<OvfBus, number>();
  for (const { disk, bus, number } of drives) {
    const { device, source, key, bootOrder } = disk;
    const place = places.get(bus) ?? 0;
    places.set(bus, place + 1);
    const where = isIso(disk) ? `ovf:/file/file${number}` : `ovf:/disk/vmdisk${number}`;
    add(
      {
        // VMware's SCSI controllers keep 7 for themselves.
        AddressOnParent: (bus === 'pvscsi' || bus === 'lsi') && place >= 7 ? place + 1 : place,
        AutomaticAllocation: device === 'cdrom' ? 'true' : undefined,
        ElementName: key,
        HostResource: source.kind === 'none' ? undefined : where,
        Parent: controllers.get(bus),
        ResourceType: device === 'cdrom' ? 15 : 17,
      },
      { 'wirt:bus': disk.bus === bus ? undefined : disk.bus, 'wirt:bootOrder': bootOrder },
    );
  }
  for (const [index, nic] of nics.entries()) {
    const { fields, own } = nicItem(nic, index, notes);
    add(fields, own);
  }
  return items;
}

const nicTypes = {
  virtio: 'E1000',
  e1000: 'E1000',
  e1000e: 'E1000e',
  vmxnet3: 'VmxNet3',
  rtl8139: 'E1000',
} as const satisfies Record<NicModel, string>;

type Fields = Record<string, string | number | undefined>;

function nicItem(nic: DraftNic, index: number, notes: ImportNote[]): { fields: Fields; own: Fields } {
  const { mac, model, bootOrder } = nic;
  const ResourceSubType = nicTypes[model];
  const kept = ResourceSubType.toLowerCase() === model;
  if (!kept) {
    const reason = `Other hypervisors give the NIC as ${ResourceSubType}, for which the guest has to have a driver.`;
    notes.push(note(`NIC ${index + 1}`, model, reason, 'changed'));
  }
  const fields = {
    Address: mac,
    AddressOnParent: index,
    AutomaticAllocation: 'true',
    Connection: networkName(nic),
    ElementName: `Network adapter ${index + 1}`,
    ResourceSubType,
    ResourceType: 10,
  };
  return { fields, own: { 'wirt:model': kept ? undefined : model, 'wirt:bootOrder': bootOrder } };
}
