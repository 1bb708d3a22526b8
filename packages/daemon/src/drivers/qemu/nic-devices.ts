// A guest's network cards as QEMU is told of them: the netdev, which is the end on the host, and the device that the guest sees,
// each in a port of its own. Pure. Every address is given by hand: the ports come before those of disks, so that a card's
// bus number, by which a guest names its interface, follows from its slot alone.
// Source: QEMU qapi/net.json, hw/net/virtio-net.c, docs/pcie.txt.
import { type LaunchPlan, maxNics, type NicBackend, type PlannedNic } from '@wirt/core';
import type { QmpArguments } from '@wirt/qemu';
import type { DeviceProperties } from './disk-devices.ts';

export type Netdev = QmpArguments<'netdev_add'>;

const device = 'nic-';
/** All ports are functions of this slot of the root bus. */
const portsSlot = '0x2';
/** Chassis numbers below are those of the ports for disks. */
const firstChassis = 0x41;
const usualMtu = 1500;

export const nicDeviceOf = (nic: string): string => device + nic;
export const netdevOf = (nic: string): string => `net-${nic}`;
const portOf = (slot: number): string => `netport${slot}`;

/** The card whose device this is; undefined for what is none. */
export function nicOfDevice(id: string): string | undefined {
  return id.startsWith(device) ? id.slice(device.length) : undefined;
}

/** A q35 has all of them from the start. Each takes QEMU half a millisecond. */
export function nicPorts(): DeviceProperties[] {
  return Array.from({ length: maxNics }, (_port, slot) => ({
    driver: 'pcie-root-port',
    id: portOf(slot),
    bus: 'pcie.0',
    addr: `${portsSlot}.0x${slot}`,
    ...(slot === 0 ? { multifunction: true } : {}),
    port: slot,
    chassis: firstChassis + slot,
  }));
}

export function netdev({ name, backend }: Pick<PlannedNic, 'name' | 'backend'>): Netdev {
  const id = netdevOf(name);
  switch (backend.type) {
    case 'user':
      return {
        type: 'user',
        id,
        ipv4: true,
        ipv6: true,
        hostname: backend.hostname,
        ...(backend.forwards.length === 0 ? {} : { hostfwd: backend.forwards.map(forward) }),
      };
    case 'tap':
      return {
        type: 'tap',
        id,
        ifname: backend.interface,
        script: 'no',
        downscript: 'no',
        ...(backend.queues > 1 ? { queues: backend.queues } : {}),
        ...(backend.vhost ? { vhost: true } : {}),
      };
    case 'stream':
      return {
        type: 'stream',
        id,
        server: false,
        addr: { type: 'unix', path: backend.path },
        ...reconnect(backend),
      };
  }
}

const reconnectUnits = { reconnect: 1, 'reconnect-ms': 1000 } as const;

/** A second after it broke, and every second until there is a peer. */
function reconnect({ reconnect: option }: Extract<NicBackend, { type: 'stream' }>): object {
  return option === undefined ? {} : { [option]: reconnectUnits[option] };
}

type Forward = Extract<NicBackend, { type: 'user' }>['forwards'][number];

/** Slirp takes no IPv6 address here, and says so; in brackets it is at least not taken for something else. */
function forward({ protocol, hostAddress = '', hostPort, guestPort }: Forward): { str: string } {
  const address = hostAddress.includes(':') ? `[${hostAddress}]` : hostAddress;
  return { str: `${protocol}:${address}:${hostPort}-:${guestPort}` };
}

export function nicDevice(nic: PlannedNic, machine: LaunchPlan['machine']): DeviceProperties {
  const { name, slot, model, mac, mtu, bootIndex, backend } = nic;
  const queues = backend.type === 'tap' ? backend.queues : 1;
  const onPci = machine === 'q35';
  const virtio = {
    ...(onPci ? { 'disable-legacy': 'on' } : {}),
    ...(queues > 1 ? { mq: true } : {}),
    // One for each queue of each direction, one for the control queue, one for changes of the configuration.
    ...(queues > 1 && onPci ? { vectors: 2 * queues + 2 } : {}),
    ...(mtu === usualMtu ? {} : { host_mtu: mtu }),
  };
  return {
    driver: model === 'virtio' ? `virtio-net-${onPci ? 'pci' : 'device'}` : model,
    ...(onPci ? { bus: portOf(slot), addr: '0x0' } : {}),
    ...(model === 'virtio' ? virtio : {}),
    id: nicDeviceOf(name),
    netdev: netdevOf(name),
    mac,
    ...(bootIndex === undefined ? {} : { bootindex: bootIndex }),
    // Without its boot ROM, which a host need not have: firmware brings drivers of its own.
    ...(onPci ? { romfile: '' } : {}),
  };
}
