// LaunchPlan → QEMU's command line; pure. Nothing is left to QEMU's defaults: no device, no network, no firmware choice
// that is not named here. No path of the host is in it but those of kernel, firmware, disks and passt: our own sockets come as descriptors.
// Source: QEMU docs/system (invocation, i386/microvm), qemu-options.hx.
import type { LaunchPlan } from '@wirt/core';
import {
  type DeviceProperties,
  diskControllers,
  diskDevice,
  hotPlugPorts,
  iothreadCount,
  unitsOf,
} from './disk-devices.ts';
import { iothreadsOf } from './disk-names.ts';
import { type AioChoice, type BlockNode, diskNodes, isThrottled, throttleGroup } from './disk-nodes.ts';
import { inheritedFds } from './inherited-fds.ts';
import { interruptRemapping, irqchip, processor } from './many-vcpus.ts';
import { balloon, memoryHotplug } from './memory-devices.ts';
import { machineMemory, memoryObjects, memoryRegionMib, type SharedMemory } from './memory-nodes.ts';
import { netdev, nicDevice, nicPorts } from './nic-devices.ts';
import { platformDevices } from './platform-devices.ts';
import { vfioDevices } from './vfio-devices.ts';

/** QEMU's ids of what QMP events and answers name. */
export const agentChardev = 'agent0';
export const agentPort = 'agent-port0';

/** By which a process is known as this daemon's guest in /proc. */
export function guestName(tag: string, id: string): string {
  return `wirt-${tag}-${id}`;
}

/** What of system calls QEMU may not do. */
export const sandbox = 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny';

export interface ArgumentOptions {
  readonly tag: string;
  readonly aio: AioChoice;
  readonly memory: SharedMemory;
}

export function qemuArguments(plan: LaunchPlan, { tag, aio, memory }: ArgumentOptions): string[] {
  return [
    ...['-name', `guest=${guestName(tag, plan.id)},debug-threads=on`],
    ...['-uuid', plan.uuid],
    ...(plan.serial === undefined ? [] : ['-smbios', `type=1,serial=${plan.serial}`]),
    '-nodefaults',
    '-no-user-config',
    ...['-display', 'none'],
    '-S',
    ...['-msg', 'timestamp=on'],
    ...['-sandbox', sandbox],
    ...['-machine', machine(plan)],
    ...['-accel', plan.accelerator === 'kvm' ? 'kvm' : 'tcg,thread=multi'],
    ...['-cpu', processor(plan)],
    ...['-smp', vcpus(plan)],
    ...['-m', memorySize(plan)],
    ...memoryObjects(plan, memory),
    ...['-rtc', 'base=utc'],
    ...['-boot', 'strict=on'],
    ...kernel(plan),
    ...firmware(plan),
    ...transport(plan),
    ...interruptRemapping(plan),
    ...control(),
    ...console(),
    ...agent(plan),
    ...memoryDevices(plan, memory),
    ...nics(plan),
    ...disks(plan, aio),
    ...platformDevices(plan),
    ...vfioDevices(plan),
  ];
}

/** A microvm has all it will ever have. */
function vcpus({ machine: type, cpus, maxCpus, placement }: LaunchPlan): string {
  const max = type === 'q35' ? Math.max(cpus, maxCpus) : cpus;
  const { sockets, cores, threads } = placement?.topology ?? { sockets: 1, cores: max, threads: 1 };
  return `cpus=${cpus},maxcpus=${max},sockets=${sockets},cores=${cores},threads=${threads}`;
}

function memorySize(plan: LaunchPlan): string {
  const { memoryMib } = plan;
  const regionMib = memoryRegionMib(plan);
  return `size=${memoryMib}M${regionMib === 0 ? '' : `,maxmem=${memoryMib + regionMib}M`}`;
}

function memoryDevices(plan: LaunchPlan, memory: SharedMemory): string[] {
  const hotplug = memoryHotplug(plan, memory);
  return [
    ...device(balloon(plan)),
    ...(hotplug === undefined ? [] : ['-object', JSON.stringify(hotplug.backend), ...device(hotplug.device)]),
  ];
}

function machine(plan: LaunchPlan): string {
  const {
    machine: type,
    firmware: { kind },
  } = plan;
  const shared = [...machineMemory(plan), 'dump-guest-core=off', 'usb=off'];
  switch (type) {
    case 'q35': {
      const flash = kind === 'uefi' ? [`pflash0=${firmwareNodes.code}`, `pflash1=${firmwareNodes.vars}`] : [];
      return ['q35', ...shared, 'vmport=off', ...irqchip(plan), ...flash].join(',');
    }
    case 'microvm':
      // ACPI tells the guest where its virtio-mmio devices are, and carries the power button. The timer, the interrupt
      // controller and the clock of old stay, since a guest without kvmclock has no other.
      return [
        'microvm',
        ...shared,
        'acpi=on',
        'pcie=off',
        'pic=on',
        'pit=on',
        'rtc=on',
        'isa-serial=on',
        'x-option-roms=off',
        'auto-kernel-cmdline=off',
      ].join(',');
  }
}

function kernel({ kernel: given }: LaunchPlan): string[] {
  return given === undefined
    ? []
    : ['-kernel', given.kernel, '-initrd', given.initrd, '-append', given.kernelArgs];
}

const firmwareNodes = { code: 'firmware-code', vars: 'firmware-vars' } as const;

/** Flash in two parts: the code, which all guests share, and the guest's own variables. */
function firmware({ firmware: given }: LaunchPlan): string[] {
  if (given.kind === 'bios') return [];
  return (['code', 'vars'] as const).flatMap((part) => {
    const readOnly = part === 'code';
    const file = `${firmwareNodes[part]}-file`;
    const shared = { 'read-only': readOnly, 'auto-read-only': false } as const;
    return [
      ...block({ driver: 'file', 'node-name': file, filename: given[part], locking: 'on', ...shared }),
      ...block({ driver: 'raw', 'node-name': firmwareNodes[part], file, ...shared }),
    ];
  });
}

function nics({ nics: planned, machine: type }: LaunchPlan): string[] {
  return [
    ...(type === 'q35' ? nicPorts() : []).flatMap(device),
    ...planned.flatMap((nic) => ['-netdev', JSON.stringify(netdev(nic)), ...device(nicDevice(nic, type))]),
  ];
}

function disks(plan: LaunchPlan, aio: AioChoice): string[] {
  const units = unitsOf(plan.disks);
  return [
    ...['-object', JSON.stringify({ 'qom-type': 'throttle-group', id: throttleGroup })],
    ...(plan.machine === 'q35' ? [...hotPlugPorts(plan), ...diskControllers(plan)] : []).flatMap(device),
    ...plan.disks.flatMap((disk, number) => {
      const readOnly = disk.readOnly || disk.device === 'cdrom';
      const throttled = isThrottled(disk);
      const nodeOptions = { number, readOnly, throttled, aio };
      const nodes = disk.source === undefined ? [] : diskNodes(disk.source, nodeOptions);
      const iothreads = iothreadsOf(disk.name, iothreadCount(disk, plan));
      return [
        ...nodes.flatMap(block),
        ...iothreads.flatMap((id) => ['-object', JSON.stringify({ 'qom-type': 'iothread', id })]),
        ...device(diskDevice(disk, { ...plan, number, throttled, unit: units[number] ?? 0, iothreads })),
      ];
    }),
  ];
}

function block(node: BlockNode): string[] {
  return ['-blockdev', JSON.stringify(node)];
}

function device(properties: DeviceProperties): string[] {
  return ['-device', JSON.stringify(properties)];
}

/** Virtio 1 only, also where QEMU's default is the legacy register layout. */
function transport({ machine: type }: LaunchPlan): string[] {
  return type === 'microvm' ? ['-global', 'virtio-mmio.force-legacy=false'] : [];
}

/** Slots on the root bus are given by hand, so that a device keeps its address when another comes or goes. */
function virtio(plan: LaunchPlan, device: string, slot: number): string {
  switch (plan.machine) {
    case 'q35':
      return `virtio-${device}-pci,disable-legacy=on,bus=pcie.0,addr=0x${slot.toString(16)}`;
    case 'microvm':
      return `virtio-${device}-device`;
  }
}

function control(): string[] {
  return [
    ...['-chardev', `socket,id=qmp0,fd=${inheritedFds.qmp},server=on,wait=off`],
    ...['-mon', 'chardev=qmp0,mode=control'],
  ];
}

function console(): string[] {
  return [
    ...['-chardev', `socket,id=console0,fd=${inheritedFds.console},server=on,wait=off`],
    ...['-serial', 'chardev:console0'],
  ];
}

function agent(plan: LaunchPlan): string[] {
  return [
    ...['-chardev', `socket,id=${agentChardev},fd=${inheritedFds.agent},server=on,wait=off`],
    ...['-device', `${virtio(plan, 'serial', 1)},id=serial0,max_ports=2`],
    ...[
      '-device',
      `virtserialport,id=${agentPort},bus=serial0.0,nr=1,chardev=${agentChardev},name=org.qemu.guest_agent.0`,
    ],
  ];
}
