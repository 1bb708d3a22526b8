import type { DiskLayerNode, LaunchPlan, PlannedDisk, PlannedNic } from '@wirt/core';
import { describe, expect, it } from 'vitest';
import { qemuArguments } from './arguments.ts';
import type { SharedMemory } from './memory-nodes.ts';

const aio = { direct: 'io_uring', cached: 'io_uring' } as const;
const render = (given: LaunchPlan, memory: SharedMemory = 'files'): string[] =>
  qemuArguments(given, { tag: 'tag', aio, memory });

const plan: LaunchPlan = {
  id: '01K00000000000000000000001',
  uuid: '01980000-0000-0000-0000-000000000001',
  generation: '01980000-0000-0000-0000-000000000002',
  machine: 'q35',
  accelerator: 'tcg',
  cpuModel: 'max',
  cpus: 2,
  maxCpus: 2,
  memoryMib: 256,
  maxMemoryMib: 256,
  freePageReporting: false,
  nics: [
    {
      name: 'nic0',
      slot: 0,
      model: 'virtio',
      mac: '02:00:00:00:00:01',
      mtu: 1500,
      backend: { type: 'user', hostname: 'demo', forwards: [] },
    },
  ],
  disks: [],
  firmware: { kind: 'bios' },
  kernel: {
    kernel: '/images/micro/vmlinuz',
    initrd: '/images/micro/initrd',
    kernelArgs: 'console=ttyS0 quiet',
  },
};
const { kernel: _kernel, ...ownLoader } = plan;
const nic = (last: number, model: PlannedNic['model'] = 'virtio'): PlannedNic => ({
  name: `nic${last - 1}`,
  slot: last - 1,
  model,
  mac: `02:00:00:00:00:0${last}`,
  mtu: 1500,
  backend: { type: 'user', hostname: 'demo', forwards: [] },
});
const layer = (last: string, format: DiskLayerNode['format'] = 'qcow2'): DiskLayerNode => ({
  layer: `01K0000000000000000000000${last}`,
  format,
  location: { driver: 'file', path: `/pool/${last}.${format}` },
  direct: true,
});
const disk = (name: string, more: Partial<PlannedDisk> = {}): PlannedDisk => ({
  name,
  device: 'disk',
  bus: 'virtio',
  readOnly: false,
  serial: name,
  slot: 0,
  source: { layers: [layer('A')] },
  ...more,
});
const medium: DiskLayerNode = { ...layer('M', 'raw'), direct: false };
const emptyDrive: PlannedDisk = {
  name: 'cd2',
  device: 'cdrom',
  bus: 'sata',
  readOnly: true,
  serial: 'cd2',
  slot: 0,
};

const cases: Record<string, LaunchPlan> = {
  'q35-tcg': plan,
  'q35-kvm': { ...plan, accelerator: 'kvm', cpuModel: 'host', cpus: 64, memoryMib: 2_097_152 },
  'q35-tcg-2-tib': { ...plan, cpus: 64, maxCpus: 64, memoryMib: 2_097_152, maxMemoryMib: 2_097_152 },
  'q35-tcg-1024-vcpus': { ...plan, cpus: 1024, maxCpus: 1024 },
  'q35-kvm-1024-vcpus': { ...plan, accelerator: 'kvm', cpuModel: 'host', cpus: 1024, maxCpus: 1024 },
  'q35-growing': { ...plan, maxCpus: 8, maxMemoryMib: 1000, freePageReporting: true },
  'q35-growing-big': { ...plan, memoryMib: 65_536, maxMemoryMib: 65_537 },
  'q35-huge-pages-on-a-node': {
    ...plan,
    memoryMib: 2048,
    placement: {
      nodes: [{ memoryMib: 2048, vcpus: [0, 1], hostNode: 3, distances: [10] }],
      topology: { sockets: 1, cores: 1, threads: 2 },
      pageSizeKib: 1_048_576,
    },
  },
  'q35-two-nodes': {
    ...plan,
    cpus: 6,
    maxCpus: 8,
    memoryMib: 1024,
    maxMemoryMib: 2048,
    placement: {
      nodes: [
        { memoryMib: 512, vcpus: [0, 1, 2, 3], hostNode: 1, distances: [10, 21] },
        { memoryMib: 512, vcpus: [4, 5, 6, 7], hostNode: 4, distances: [21, 10] },
      ],
      topology: { sockets: 2, cores: 4, threads: 1 },
    },
  },
  'q35-mergeable': { ...plan, maxMemoryMib: 512, freePageReporting: true, mergeable: true },
  'microvm-growing': { ...plan, machine: 'microvm', maxCpus: 8, maxMemoryMib: 1000 },
  'q35-three-nics': { ...plan, nics: [nic(1), nic(2), nic(3)] },
  'q35-taps': {
    ...plan,
    nics: [
      { ...nic(1), backend: { type: 'tap', interface: 'wt0123456789', queues: 2, vhost: true } },
      { ...nic(2), mtu: 9000, backend: { type: 'tap', interface: 'wt9876543210', queues: 1, vhost: false } },
      {
        ...nic(8, 'e1000e'),
        backend: { type: 'stream', path: '/run/passt.sock', reconnect: 'reconnect-ms' },
      },
    ],
  },
  'microvm-tap': {
    ...plan,
    machine: 'microvm',
    nics: [
      { ...nic(1), mtu: 1400, backend: { type: 'tap', interface: 'wt0123456789', queues: 4, vhost: false } },
    ],
  },
  'q35-no-nics': { ...plan, nics: [] },
  'microvm-tcg': { ...plan, machine: 'microvm' },
  'microvm-kvm-two-nics': {
    ...plan,
    machine: 'microvm',
    accelerator: 'kvm',
    cpuModel: 'host',
    nics: [nic(1), nic(2)],
  },
  'q35-own-boot-loader': {
    ...ownLoader,
    disks: [disk('root', { bootIndex: 1, source: { layers: [layer('B'), layer('C'), layer('A')] } })],
    nics: [
      {
        ...nic(1),
        bootIndex: 2,
        backend: {
          type: 'user',
          hostname: 'demo',
          forwards: [{ protocol: 'tcp', hostAddress: '127.15.18.6', hostPort: 20_022, guestPort: 22 }],
        },
      },
    ],
  },
  'q35-uefi': {
    ...ownLoader,
    firmware: { kind: 'uefi', code: '/firmware/code.fd', vars: '/state/vars.fd' },
    disks: [disk('root', { bootIndex: 1 })],
  },
  'q35-shared-layer-and-media': {
    ...ownLoader,
    cpus: 8,
    disks: [
      disk('one', { source: { layers: [layer('B'), layer('A')] } }),
      disk('two', { slot: 9, source: { layers: [layer('B'), layer('C')] } }),
      disk('read', { slot: 2, readOnly: true, source: { layers: [layer('D', 'raw')] } }),
      disk('cd', { device: 'cdrom', bus: 'sata', bootIndex: 1, source: { layers: [medium] } }),
      emptyDrive,
    ],
  },
  'q35-emulated': {
    ...ownLoader,
    nics: [nic(1, 'e1000e'), nic(2, 'e1000'), nic(3, 'vmxnet3'), nic(4, 'rtl8139')],
    disks: [
      disk('sata', { bus: 'sata', bootIndex: 1 }),
      disk('nvme', { bus: 'nvme', slot: 1, source: { layers: [layer('B')] } }),
      disk('scsi', { bus: 'virtio-scsi', source: { layers: [layer('C')] } }),
      disk('pvscsi', { bus: 'pvscsi', source: { layers: [layer('D')] } }),
      ...Array.from({ length: 8 }, (_disk, index) =>
        disk(`lsi${index}`, { bus: 'lsi', source: { layers: [layer(String(index))] } }),
      ),
      disk('block', {
        slot: 0,
        source: {
          layers: [{ ...layer('F', 'raw'), location: { driver: 'host_device', path: '/dev/wirt/f' } }],
        },
      }),
    ],
  },
  'q35-host-devices': {
    ...plan,
    accelerator: 'kvm',
    cpuModel: 'host',
    devices: [
      { name: 'gpu0', slot: 0, source: { kind: 'pci', address: '0000:01:00.0' } },
      { name: 'vgpu', slot: 1, source: { kind: 'mdev', uuid: '83b8f4f2-509f-382f-3c1e-e6bfe0fa1001' } },
    ],
  },
  'q35-disks-on-several-threads': {
    ...ownLoader,
    cpus: 16,
    maxCpus: 16,
    diskIothreads: 4,
    disks: [
      disk('root', { bootIndex: 1 }),
      disk('nvme', { bus: 'nvme', slot: 1, source: { layers: [layer('B')] } }),
    ],
  },
  'q35-vsock': { ...plan, vsockCid: 3 },
  'microvm-vsock': {
    ...plan,
    machine: 'microvm',
    accelerator: 'kvm',
    cpuModel: 'host',
    vsockCid: 4_294_967_294,
    diskIothreads: 4,
    disks: [disk('root')],
  },
  'microvm-tcg-disk': { ...plan, machine: 'microvm', disks: [disk('root')] },
  'microvm-kvm-disk': {
    ...plan,
    machine: 'microvm',
    accelerator: 'kvm',
    cpuModel: 'host',
    disks: [disk('root')],
  },
};

/** One option and its value a line. */
function lines(argv: readonly string[]): string {
  return `${argv.join('\n').replaceAll(/\n(?!-)/g, ' ')}\n`;
}

describe('the command line of QEMU', () => {
  it.each(Object.entries(cases))('for %s is the one on file', async (name, given) => {
    await expect(lines(render(given))).toMatchFileSnapshot(`golden/${name}.txt`);
  });

  it('has memory in memfds where there are no files for it', async () => {
    const given = cases['q35-growing'] ?? plan;
    await expect(lines(render(given, 'memfd'))).toMatchFileSnapshot('golden/q35-growing-memfd.txt');
  });

  it('tells the firmware a serial number where there is one', () => {
    const serial = 'ec280000-0000-0000-0000-000000000001';
    const args = render({ ...plan, serial });
    expect(args[args.indexOf('-smbios') + 1]).toBe(`type=1,serial=${serial}`);
    expect(render(plan)).not.toContain('-smbios');
  });

  it('keeps a comma in a host name from starting another option', () => {
    const argv = render({
      ...plan,
      nics: [{ ...nic(1), backend: { type: 'user', hostname: 'a,smb=/etc', forwards: [] } }],
    });
    expect(JSON.parse(argv[argv.indexOf('-netdev') + 1] ?? '')).toMatchObject({ hostname: 'a,smb=/etc' });
  });

  it('keeps a comma in a path from starting another option', () => {
    const path = '/pool/a,readonly=on.raw';
    const source = { layers: [{ ...layer('A', 'raw'), location: { driver: 'file' as const, path } }] };
    const argv = render({ ...ownLoader, disks: [disk('root', { source })] });
    const nodes = argv
      .filter((_word, index) => argv[index - 1] === '-blockdev')
      .map((text) => JSON.parse(text));
    expect(nodes[0]).toMatchObject({ filename: path, 'read-only': false });
  });

  it('gives QEMU no node name that it would refuse, and none twice', () => {
    const source = { layers: [layer('A'), layer('B')] };
    const disks = Array.from({ length: 24 }, (_disk, slot) => disk(`disk${slot}`, { slot, source }));
    const argv = render({ ...ownLoader, disks });
    const nodes = argv
      .filter((_word, index) => argv[index - 1] === '-blockdev')
      .map((text) => JSON.parse(text));
    const names = nodes.map((node) => String(node['node-name']));
    // Two for each layer, and the throttle.
    expect(new Set(names).size).toBe(24 * 5);
    expect(names.filter((name) => name.length > 31)).toEqual([]);
  });

  it('gives a guest no more bits of address than its memory takes, and the host’s own processor none', () => {
    const cpu = (change: Partial<LaunchPlan>): string => {
      const argv = render({ ...plan, ...change });
      return argv[argv.indexOf('-cpu') + 1] ?? '';
    };
    const tib = 1024 * 1024;
    expect(cpu({ memoryMib: tib - 50 * 1024 })).toBe('max');
    expect(cpu({ memoryMib: tib })).toBe('max,phys-bits=42');
    expect(cpu({ maxMemoryMib: 4 * tib })).toBe('max,phys-bits=43');
    expect(cpu({ memoryMib: 64 * tib, cpuModel: 'EPYC' })).toBe('EPYC,phys-bits=47');
    expect(cpu({ memoryMib: 64 * tib, cpuModel: 'host,-avx' })).toBe('host,-avx');
  });

  it('remaps interrupts of a guest whose processors are numbered beyond 254, and of no other', () => {
    const remaps = (change: Partial<LaunchPlan>): boolean =>
      render({ ...plan, ...change }).some((word) => word.startsWith('intel-iommu'));
    expect(remaps({ maxCpus: 255 })).toBe(false);
    expect(remaps({ maxCpus: 256 })).toBe(true);
    const placement = { nodes: [], topology: { sockets: 2, cores: 40, threads: 3 } };
    expect(remaps({ maxCpus: 240, placement })).toBe(true);
  });

  it('leaves the last place of a microvm to its disks', () => {
    const random = (disks: number, more: Partial<LaunchPlan> = {}): boolean =>
      render({
        ...plan,
        ...more,
        machine: 'microvm',
        disks: Array.from({ length: disks }, (_disk, slot) => disk(`disk${slot}`, { slot })),
      }).some((word) => word.includes('virtio-rng'));
    expect(random(20)).toBe(true);
    expect(random(21)).toBe(false);
    expect(random(20, { vsockCid: 3 })).toBe(false);
  });

  it('denies all four groups of system calls', () => {
    const argv = render(plan);
    expect(argv[argv.indexOf('-sandbox') + 1]).toBe(
      'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny',
    );
  });
});
