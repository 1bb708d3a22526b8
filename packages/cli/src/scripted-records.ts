/** For tests: records as wirtd answers them, to be changed where a test needs another. */
import { anInstance, doneOperation } from './scripted-daemon.ts';

export const anImage = {
  id: '01KATESTTESTTESTTESTTESTM1',
  name: 'micro',
  project: 'default',
  labels: {},
  revision: 3,
  createdAt: '2026-11-22T10:00:00Z',
  spec: { recipe: 'micro', format: 'kernel' },
  status: { state: 'ready', kernel: 'vmlinuz', kernelArgs: 'console=ttyS0', sizeBytes: 31_457_280 },
};

export const aDiskImage = {
  ...anImage,
  id: '01KATESTTESTTESTTESTTESTM2',
  name: 'debian-12',
  spec: { recipe: 'debian-12', format: 'qcow2' },
  status: {
    state: 'ready',
    sha256: 'ab'.repeat(32),
    file: 'disk.qcow2',
    virtualSizeBytes: 4 * 1024 ** 3,
    sizeBytes: 314_572_800,
    firmware: ['bios', 'uefi'],
    cloudInit: true,
  },
};

export const aVolume = {
  id: '01KATESTTESTTESTTESTTESTV1',
  name: 'data',
  project: 'default',
  labels: {},
  revision: 5,
  createdAt: '2026-11-22T10:00:00Z',
  spec: { pool: 'default', format: 'qcow2', sizeBytes: 10 * 1024 ** 3, origin: { kind: 'empty' } },
  status: {
    state: 'ready',
    active: '01KATESTTESTTESTTESTTESTY1',
    layers: [{ id: '01KATESTTESTTESTTESTTESTY1', format: 'qcow2', sizeBytes: 10 * 1024 ** 3 }],
    allocatedBytes: 1_572_864,
  },
};

/** As the disk `root` of `demo`. */
export const aRootVolume = {
  ...aVolume,
  id: '01KATESTTESTTESTTESTTESTV2',
  name: 'demo-root',
  status: { ...aVolume.status, attachment: { instance: anInstance.id, disk: 'root' } },
};

export const anInstanceWithDisks = {
  ...anInstance,
  spec: {
    ...anInstance.spec,
    image: 'debian-12',
    disks: [
      {
        ...{ device: 'disk', name: 'root', slot: 0, bus: 'virtio', bootOrder: 1, volume: aRootVolume.id },
        ...{ readOnly: false, deleteOnTermination: true },
      },
      {
        ...{ device: 'disk', name: 'disk1', slot: 1, bus: 'virtio', volume: aVolume.id },
        ...{ readOnly: true, deleteOnTermination: false },
      },
      { device: 'cdrom', name: 'cdrom', slot: 2, bus: 'sata', image: 'netinst' },
    ],
  },
  status: {
    ...anInstance.status,
    addresses: ['10.0.2.15'],
    ssh: { host: '127.9.8.7', port: 20_022 },
  },
};

/** A guest of four vCPUs with processors of its own, in huge pages on both nodes. */
export const aPlacement = {
  nodes: [0, 1],
  pageSizeKib: 2048,
  dedicated: '2-5',
  groupCpus: '0-5',
  vcpuPins: { '0': '2', '1': '3', '2': '4', '3': '5' },
  emulatorPin: '0-1',
  iothreadPin: '0-1',
  topology: { sockets: 2, cores: 2, threads: 1 },
  guestNodes: [
    { memoryMib: 1024, vcpus: '0-1', hostNode: 0, cpuNodes: [0], distances: [10, 21] },
    { memoryMib: 1024, vcpus: '2-3', hostNode: 1, cpuNodes: [1], distances: [21, 10] },
  ],
  reasons: ['No single node has 2 GiB free.'],
};

export const aNetwork = {
  id: '01KATESTTESTTESTTESTTESTN1',
  name: 'default',
  project: 'default',
  labels: {},
  revision: 4,
  createdAt: '2026-11-22T10:00:00Z',
  spec: { kind: 'nat', ipv4: '10.80.0.0/24', ipv6: 'fd12::/64', mtu: 1500, domain: 'wirt', dnsForward: true },
  status: { driver: 'bridge', state: 'ready', interface: 'wb0123456789', gateways: ['10.80.0.1', 'fd12::1'] },
};

export const aSecurityGroup = {
  id: '01KATESTTESTTESTTESTTESTG1',
  name: 'web',
  project: 'default',
  labels: {},
  revision: 4,
  createdAt: '2026-11-22T10:00:00Z',
  spec: {
    description: 'Web servers',
    rules: [
      { id: '01KATESTTESTTESTTESTTESTR1', direction: 'egress', protocol: 'any' },
      {
        ...{ id: '01KATESTTESTTESTTESTTESTR2', direction: 'ingress', protocol: 'tcp' },
        ...{ fromPort: 80, toPort: 80, description: 'HTTP' },
      },
      {
        ...{ id: '01KATESTTESTTESTTESTTESTR3', direction: 'ingress', protocol: 'tcp' },
        ...{ fromPort: 22, cidr: '192.0.2.0/24' },
      },
    ],
  },
  status: { members: 2 },
};

/** An operation that has ended well when it is answered. */
export function done(kind: string, target: object, more: object = {}) {
  return { ...doneOperation, kind, target, ...more };
}
