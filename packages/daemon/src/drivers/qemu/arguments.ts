// LaunchPlan → QEMU's command line; pure. Nothing is left to QEMU's defaults: no device, no network, no firmware choice
// that is not named here. No path of the host is in it but those of kernel and initrd: sockets come as descriptors.
// Source: QEMU docs/system (invocation, i386/microvm), qemu-options.hx.
import type { LaunchPlan } from '@wirt/core';

/** The descriptors that QEMU inherits, each a listening socket. */
export const inheritedFds = { qmp: 3, console: 4, agent: 5 } as const;

/** QEMU's ids of what QMP events and answers name. */
export const agentChardev = 'agent0';
export const agentPort = 'agent-port0';

/** By which a process is known as this daemon's guest in /proc. */
export function guestName(tag: string, id: string): string {
  return `wirt-${tag}-${id}`;
}

export function qemuArguments(plan: LaunchPlan, tag: string): string[] {
  return [
    ...['-name', `guest=${guestName(tag, plan.id)},debug-threads=on`],
    ...['-uuid', plan.uuid],
    '-nodefaults',
    '-no-user-config',
    ...['-display', 'none'],
    '-S',
    ...['-msg', 'timestamp=on'],
    ...['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'],
    ...['-machine', machine(plan)],
    ...['-accel', plan.accelerator === 'kvm' ? 'kvm' : 'tcg,thread=multi'],
    ...['-cpu', plan.cpuModel],
    ...['-smp', `cpus=${plan.cpus},maxcpus=${plan.cpus},sockets=1,cores=${plan.cpus},threads=1`],
    ...['-m', `size=${plan.memoryMib}M`],
    // Shared, so that huge pages, NUMA policy and forking need no other backend later.
    ...['-object', `memory-backend-memfd,id=ram0,size=${plan.memoryMib}M,share=on`],
    ...['-rtc', 'base=utc'],
    ...['-boot', 'strict=on'],
    ...boot(plan.boot),
    ...transport(plan),
    ...control(),
    ...console(),
    ...agent(plan),
    ...plan.nics.flatMap((nic, index) => network(plan, nic, index)),
  ];
}

function machine({ machine: type }: LaunchPlan): string {
  const shared = ['memory-backend=ram0', 'dump-guest-core=off', 'usb=off'];
  switch (type) {
    case 'q35':
      return ['q35', ...shared, 'vmport=off'].join(',');
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

function boot({ kernel, initrd, kernelArgs }: LaunchPlan['boot']): string[] {
  return ['-kernel', kernel, '-initrd', initrd, '-append', kernelArgs];
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

function network(plan: LaunchPlan, nic: LaunchPlan['nics'][number], index: number): string[] {
  const id = `net${index}`;
  const device = `${virtio(plan, 'net', index + 2)},id=nic${index},netdev=${id},mac=${nic.mac}`;
  switch (nic.type) {
    case 'user':
      return [
        ...['-netdev', `user,id=${id},ipv4=on,ipv6=on,hostname=${escaped(nic.hostname)}`],
        // Without its boot ROM: nothing is booted from the network.
        ...['-device', plan.machine === 'q35' ? `${device},romfile=` : device],
      ];
  }
}

/** A comma ends a value in QEMU's option syntax unless it is doubled. */
function escaped(value: string): string {
  return value.replaceAll(',', ',,');
}
