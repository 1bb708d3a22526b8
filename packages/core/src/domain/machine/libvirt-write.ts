/**
 * A draft as libvirt's domain XML, for `virsh define`: a q35 of KVM with the draft's drives and NICs, the serial console and
 * the guest agent's channel. What libvirt cannot say is in the notes. Source: libvirt docs/formatdomain.
 */
import type { DraftDisk, DraftNic, DriveBus, MachineDraft } from './draft.ts';
import { type ImportNote, note } from './notes.ts';
import { element, renderXml, type XmlNode } from './xml.ts';

export interface WrittenMachine {
  readonly xml: string;
  /** What the foreign description says otherwise, or not at all. */
  readonly notes: readonly ImportNote[];
}

/** Files are named as the draft's sources are: absolute paths. */
export function writeLibvirt(draft: MachineDraft): WrittenMachine {
  const notes: ImportNote[] = [];
  const disks = draft.disks.filter((disk) => {
    if (disk.source.kind !== 'empty') return true;
    const reason = 'libvirt makes no disks; make the file and add it.';
    notes.push(note(`disk ${disk.key}`, `${disk.source.sizeBytes} bytes`, reason, 'dropped'));
    return false;
  });
  const places = placeDisks(disks, notes);
  const root = element('domain', { type: 'kvm' }, [
    element('name', {}, draft.name),
    draft.description === undefined ? undefined : element('description', {}, draft.description),
    element('memory', { unit: 'MiB' }, draft.memoryMib),
    element('vcpu', {}, draft.cpus),
    element('os', { firmware: draft.firmware === 'uefi' ? 'efi' : undefined }, [
      element('type', { arch: 'x86_64', machine: 'q35' }, 'hvm'),
    ]),
    element('features', {}, [element('acpi', {}), element('apic', {})]),
    element('cpu', { mode: 'host-passthrough' }),
    element('clock', { offset: 'utc' }),
    element('on_poweroff', {}, 'destroy'),
    element('on_reboot', {}, 'restart'),
    element('devices', {}, [
      ...controllers(places),
      ...places.map(disk),
      ...draft.nics.map(nic),
      element('serial', { type: 'pty' }, [element('target', { port: 0 })]),
      element('console', { type: 'pty' }, [element('target', { type: 'serial', port: 0 })]),
      element('channel', { type: 'unix' }, [
        element('target', { type: 'virtio', name: 'org.qemu.guest_agent.0' }),
      ]),
    ]),
  ]);
  return { xml: renderXml(root), notes };
}

type WrittenBus = Exclude<DriveBus, 'nvme'>;

interface PlacedDisk {
  readonly disk: DraftDisk;
  readonly bus: WrittenBus;
  readonly dev: string;
  /** Among the drives of the same bus, from 0. */
  readonly index: number;
}

const scsiControllers = {
  'virtio-scsi': { index: 0, model: 'virtio-scsi' },
  pvscsi: { index: 1, model: 'vmpvscsi' },
  lsi: { index: 2, model: 'lsisas1068' },
} as const;
type ScsiBus = keyof typeof scsiControllers;

function isScsi(bus: WrittenBus): bus is ScsiBus {
  return Object.hasOwn(scsiControllers, bus);
}

/** Names of targets are counted over all buses of the same prefix; addresses within each bus. */
function placeDisks(disks: readonly DraftDisk[], notes: ImportNote[]): PlacedDisk[] {
  const prefixes = new Map<string, number>();
  const buses = new Map<string, number>();
  const count = (counts: Map<string, number>, key: string): number => {
    const number = counts.get(key) ?? 0;
    counts.set(key, number + 1);
    return number;
  };
  return disks.map((disk) => {
    if (disk.bus === 'nvme') {
      const reason = 'Most versions of libvirt have no emulated NVMe; the disk is on SATA.';
      notes.push(note(`disk ${disk.key}`, 'nvme', reason, 'changed'));
    }
    const bus = disk.bus === 'nvme' ? 'sata' : disk.bus;
    const prefix = bus === 'virtio' ? 'vd' : 'sd';
    const letter = String.fromCharCode('a'.charCodeAt(0) + count(prefixes, prefix));
    return { disk, bus, dev: `${prefix}${letter}`, index: count(buses, bus) };
  });
}

function controllers(places: readonly PlacedDisk[]): XmlNode[] {
  const buses = [...new Set(places.map(({ bus }) => bus))].filter(isScsi);
  return buses.map((bus) => element('controller', { type: 'scsi', ...scsiControllers[bus] }));
}

function disk({ disk, bus, dev, index }: PlacedDisk): XmlNode {
  const { device, source, format, readOnly, serial, bootOrder, key } = disk;
  // A CD drive's contents are raw; an empty one has none, and libvirt wants a driver all the same.
  const type = format ?? (device === 'cdrom' ? 'raw' : undefined);
  return element('disk', { type: 'file', device }, [
    element('driver', { name: 'qemu', type }),
    source.kind === 'file' ? element('source', { file: source.name }) : undefined,
    element('target', { dev, bus: isScsi(bus) ? 'scsi' : bus }),
    readOnly ? element('readonly', {}) : undefined,
    serial === undefined ? undefined : element('serial', {}, serial),
    bootOrder === undefined ? undefined : element('boot', { order: bootOrder }),
    element('alias', { name: `ua-${key}` }),
    address(bus, index),
  ]);
}

/** SCSI: one target per disk, since pvscsi and lsisas1068 have no further units. SATA: six ports per controller. */
function address(bus: WrittenBus, index: number): XmlNode | undefined {
  const drive = (controller: number, target: number, unit: number): XmlNode =>
    element('address', { type: 'drive', controller, bus: 0, target, unit });
  if (isScsi(bus)) return drive(scsiControllers[bus].index, index, 0);
  return bus === 'sata' ? drive(Math.floor(index / 6), 0, index % 6) : undefined;
}

function nic({ mac, model, network, bootOrder }: DraftNic): XmlNode {
  return element('interface', { type: network === undefined ? 'user' : 'network' }, [
    mac === undefined ? undefined : element('mac', { address: mac }),
    network === undefined ? undefined : element('source', { network }),
    element('model', { type: model }),
    bootOrder === undefined ? undefined : element('boot', { order: bootOrder }),
  ]);
}
