// The devices by which a guest sees its disks, with the controllers and ports that they are plugged into. Pure. Every address
// is given by hand, so that a disk keeps its own when another comes or goes.
// Source: QEMU docs/pcie.txt (root ports), hw/block/virtio-blk.c, hw/scsi, hw/ide/ahci.c, hw/nvme/ctrl.c.
import type { LaunchPlan, PlannedDisk } from '@wirt/core';
import { deviceOf } from './disk-names.ts';
import { deviceNode } from './disk-nodes.ts';

export interface DeviceProperties {
  readonly driver: string;
  readonly id: string;
  readonly [property: string]: string | number | boolean | readonly object[];
}

type Bus = PlannedDisk['bus'];

/** Ports beyond those in use, into which disks can be plugged live. Each takes QEMU half a millisecond at the start. */
const freePorts = 4;
const maxPorts = 32;
/** On the root bus, 8 ports each. */
const firstPortSlot = 0x10;
/** VIRTIO_QUEUE_MAX. */
const maxQueues = 1024;

/** Where the controllers of each bus are on the root bus, and how many disks one takes. */
const controllers = {
  'virtio-scsi': { driver: 'virtio-scsi-pci', slot: 0x14, units: 64 },
  pvscsi: { driver: 'pvscsi', slot: 0x15, units: 64 },
  // The first is the machine's own, at 1f.2.
  sata: { driver: 'ich9-ahci', slot: 0x15, units: 6 },
  // The member of the family that VMware's guests have a driver for (mptsas); it has eight ports.
  lsi: { driver: 'mptsas1068', slot: 0x19, units: 8 },
} as const satisfies Partial<Record<Bus, unknown>>;

type SharedBus = keyof typeof controllers;

function isShared(bus: Bus): bus is SharedBus {
  return Object.hasOwn(controllers, bus);
}

/** Whether a guest with such disks lets them be plugged in and out while it runs. */
export function isHotPluggable(bus: Bus): boolean {
  return bus === 'virtio' || bus === 'nvme';
}

/** What has to be there before the disks of a q35. */
export function hotPlugPorts(plan: Pick<LaunchPlan, 'disks'>): DeviceProperties[] {
  const slots = plan.disks.filter(({ bus }) => isHotPluggable(bus)).map(({ slot }) => slot);
  const count = Math.min(Math.max(-1, ...slots) + 1 + freePorts, maxPorts);
  return Array.from({ length: count }, (_port, index) => ({
    driver: 'pcie-root-port',
    id: portOf(index),
    bus: 'pcie.0',
    addr: `0x${(firstPortSlot + Math.floor(index / 8)).toString(16)}.0x${index % 8}`,
    ...(index % 8 === 0 ? { multifunction: true } : {}),
    port: index,
    chassis: index + 1,
  }));
}

const portOf = (slot: number): string => `port${slot}`;

/** The controllers that the disks of a q35 take. */
export function diskControllers({ disks, cpus }: Pick<LaunchPlan, 'disks' | 'cpus'>): DeviceProperties[] {
  return (Object.keys(controllers) as SharedBus[]).flatMap((bus) => {
    const { driver, slot, units } = controllers[bus];
    const count = Math.ceil(disks.filter((disk) => disk.bus === bus).length / units);
    const all = Array.from({ length: count }, (_controller, index) => ({
      driver,
      id: controllerOf(bus, index),
      bus: 'pcie.0',
      addr: `0x${(slot + index).toString(16)}`,
      ...(bus === 'virtio-scsi' ? { 'disable-legacy': 'on', num_queues: Math.min(cpus, maxQueues) } : {}),
    }));
    return bus === 'sata' ? all.slice(1) : all;
  });
}

const controllerOf = (bus: SharedBus, index: number): string => `${bus}${index}`;

/** An iothread is woken by a descriptor, which the microvm's transport has under KVM only; that one has one thread a disk. */
export function iothreadCount(
  { bus }: PlannedDisk,
  { machine, accelerator, diskIothreads = 1 }: Pick<LaunchPlan, 'machine' | 'accelerator' | 'diskIothreads'>,
): number {
  if (bus !== 'virtio') return 0;
  return machine === 'q35' ? diskIothreads : accelerator === 'kvm' ? 1 : 0;
}

export interface DeviceContext {
  readonly machine: LaunchPlan['machine'];
  readonly cpus: number;
  /** In whose order its queues are given to them, one after the other. */
  readonly iothreads: readonly string[];
  /** Of its block nodes. */
  readonly number: number;
  readonly throttled: boolean;
  /** How many disks on the same controllers come before it. */
  readonly unit: number;
}

export function diskDevice(disk: PlannedDisk, context: DeviceContext): DeviceProperties {
  const { bus, source } = disk;
  const common = {
    id: deviceOf(disk.name),
    ...(source === undefined ? {} : { drive: deviceNode(source, context) }),
    serial: disk.serial,
    ...(disk.bootIndex === undefined ? {} : { bootindex: disk.bootIndex }),
  };
  switch (bus) {
    case 'virtio':
      return { ...virtioBlk(disk, context), ...common, ...onError };
    case 'nvme':
      // It has no say in errors: they go to the guest.
      return { driver: 'nvme', bus: portOf(disk.slot), ...common };
    case 'sata': {
      // The machine's own controller calls its ports ide.0 to ide.5.
      const { units } = controllers.sata;
      const index = Math.floor(context.unit / units);
      const controller = index === 0 ? 'ide' : controllerOf('sata', index);
      const port = `${controller}.${context.unit % units}`;
      return { driver: `ide-${kindOf(disk)}`, bus: port, ...common, ...onError };
    }
    case 'virtio-scsi':
    case 'pvscsi':
    case 'lsi': {
      const { units } = controllers[bus];
      const controller = `${controllerOf(bus, Math.floor(context.unit / units))}.0`;
      const place = { bus: controller, 'scsi-id': context.unit % units };
      return { driver: `scsi-${kindOf(disk)}`, ...place, ...common, ...onError };
    }
  }
}

/** A full file system stops the guest until there is room again; any other error is the guest's to deal with. */
const onError = { werror: 'enospc', rerror: 'report' } as const;

function kindOf({ device }: PlannedDisk): 'hd' | 'cd' {
  return device === 'cdrom' ? 'cd' : 'hd';
}

function virtioBlk(
  disk: PlannedDisk,
  { machine, cpus, iothreads }: DeviceContext,
): { driver: string } & Omit<DeviceProperties, 'id' | 'driver'> {
  const shared = {
    ...threads(iothreads),
    'num-queues': Math.min(cpus, maxQueues),
    discard: true,
    'write-zeroes': true,
  };
  switch (machine) {
    case 'q35':
      return {
        driver: 'virtio-blk-pci',
        bus: portOf(disk.slot),
        addr: '0x0',
        'disable-legacy': 'on',
        ...shared,
      };
    case 'microvm':
      return { driver: 'virtio-blk-device', ...shared };
  }
}

/** QEMU takes one by name, or several as a list over which it deals the queues. */
function threads([first, ...more]: readonly string[]): Omit<DeviceProperties, 'id' | 'driver'> {
  if (first === undefined) return {};
  if (more.length === 0) return { iothread: first };
  return { 'iothread-vq-mapping': [first, ...more].map((iothread) => ({ iothread })) };
}

/** The place of each disk among those that share its controllers, in the order of the plan. */
export function unitsOf(disks: readonly PlannedDisk[]): number[] {
  const counts = new Map<Bus, number>();
  return disks.map(({ bus }) => {
    const unit = isShared(bus) ? (counts.get(bus) ?? 0) : 0;
    counts.set(bus, unit + 1);
    return unit;
  });
}
