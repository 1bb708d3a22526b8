/**
 * What VirtualBox says of a machine only in its own part of the OVF (`vbox:Machine`, VirtualBox's settings file): the
 * firmware, MAC addresses and the boot order. The rest there repeats the OVF or is told as not carried over.
 */
import { type DraftNic, type Firmware, type LooseDisk, macOf } from './draft.ts';
import type { XmlElement } from './xml.ts';
import { attribute, child, children, pass, peekAttribute, type Reading } from './xml-reading.ts';

export interface VirtualBoxMachine {
  readonly firmware: Firmware | undefined;
  /** Of the adapters that are switched on, in the order of their slots, which is that of the OVF's items. */
  readonly macs: readonly (string | undefined)[];
  /** Kinds of devices, the first to be tried first. */
  readonly boot: readonly string[];
}

export function readVirtualBox(reading: Reading, system: XmlElement): VirtualBoxMachine | undefined {
  const machine = system.children.find(({ local, uri }) => local === 'Machine' && uri.includes('virtualbox'));
  if (machine === undefined) return undefined;
  reading.seen.add(machine);
  for (const name of ['name', 'version', 'OSType', 'snapshotFolder', 'lastStateChange'])
    attribute(reading, machine, name);
  const hardware = child(reading, machine, 'Hardware');
  attribute(reading, hardware, 'version');
  const firmware = attribute(reading, child(reading, hardware, 'Firmware'), 'type');
  pass(reading, child(reading, machine, 'StorageControllers'));
  for (const same of ['CPU', 'Memory']) {
    const element = child(reading, hardware, same);
    for (const name of ['count', 'RAMSize']) attribute(reading, element, name);
  }
  return {
    firmware: firmware === undefined ? undefined : /^EFI/i.test(firmware) ? 'uefi' : 'bios',
    macs: readAdapters(reading, child(reading, hardware, 'Network')),
    boot: readBoot(reading, child(reading, hardware, 'Boot')),
  };
}

function readAdapters(reading: Reading, network: XmlElement | undefined): (string | undefined)[] {
  const macs: (string | undefined)[] = [];
  for (const adapter of children(reading, network, 'Adapter')) {
    if (peekAttribute(adapter, 'enabled') !== 'true') {
      pass(reading, adapter);
      continue;
    }
    for (const name of ['enabled', 'slot', 'cable', 'type', 'speed']) attribute(reading, adapter, name);
    pass(reading, child(reading, adapter, 'DisabledModes'));
    macs.push(macOf(attribute(reading, adapter, 'MACAddress') ?? ''));
  }
  return macs;
}

function readBoot(reading: Reading, boot: XmlElement | undefined): string[] {
  const orders = children(reading, boot, 'Order').map((order) => ({
    position: Number(attribute(reading, order, 'position') ?? 0),
    device: attribute(reading, order, 'device') ?? 'None',
  }));
  return orders.toSorted((a, b) => a.position - b.position).map(({ device }) => device);
}

/** Gives the first drive or NIC of each kind its place; nothing is changed where the OVF itself has an order. */
export function orderByKind(
  kinds: readonly string[],
  disks: readonly LooseDisk[],
  nics: readonly DraftNic[],
): { disks: readonly LooseDisk[]; nics: readonly DraftNic[] } {
  if ([...disks, ...nics].some(({ bootOrder }) => bootOrder !== undefined)) return { disks, nics };
  const places = new Map<LooseDisk | DraftNic, number>();
  for (const [index, kind] of kinds.entries()) {
    const device = kind === 'HardDisk' ? 'disk' : kind === 'DVD' ? 'cdrom' : undefined;
    const first = kind === 'Network' ? nics[0] : disks.find((each) => each.device === device);
    if (first !== undefined && !places.has(first)) places.set(first, index + 1);
  }
  const placed = <T extends LooseDisk | DraftNic>(each: T): T => {
    const bootOrder = places.get(each);
    return bootOrder === undefined ? each : { ...each, bootOrder };
  };
  return { disks: disks.map(placed), nics: nics.map(placed) };
}
