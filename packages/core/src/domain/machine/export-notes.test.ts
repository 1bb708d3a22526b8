// What an export tells that it could not say.
import {
  cdromDiskSchema,
  type Image,
  type Instance,
  instanceSpecSchema,
  nicSchema,
  volumeDiskSchema,
} from '@wirt/api';
import { describe, expect, it } from 'vitest';
import { type Exported, exportNotes } from './export-notes.ts';

const id = '01J9ZK3W8Y7Q5T2R4M6N8P1000';
const card = { name: 'nic0', slot: 0, network: 'default', mac: '02:00:00:00:00:01' };
const root = {
  name: 'root',
  device: 'disk',
  bus: 'virtio',
  slot: 0,
  volume: id,
  readOnly: false,
  deleteOnTermination: true,
} as const;

const plain = instanceSpecSchema.parse({ nics: [card], disks: [root] });

/** Nothing is as it is by default. */
const full = instanceSpecSchema.parse({
  image: 'base',
  cpus: 2,
  memoryMib: 512,
  maxCpus: 4,
  maxMemoryMib: 1024,
  policy: 'bronze',
  limits: { cpu: { cores: 1.5, weight: 50 }, memory: { ceilingMib: 'auto' } },
  tuning: { profile: 'latency', hugePages: '2M', vcpuPins: { 0: '3' } },
  devices: [{ name: 'gpu', address: '0000:03:00.0' }],
  vsock: true,
  machine: 'microvm',
  accelerator: 'tcg',
  cpuModel: 'EPYC-v1,+avx2',
  nics: [
    {
      ...card,
      ipv4: '10.0.0.2',
      ipv6: 'fd00::2',
      model: 'e1000',
      securityGroups: ['web', 'ssh'],
      publish: [{ hostPort: 8080, guestPort: 80 }],
      floating: '192.0.2.7',
      antiSpoofing: false,
      queues: 2,
      limits: { ingress: { bytesPerSecond: 1000 } },
      bootOrder: 2,
    },
  ],
  firmware: 'uefi',
  disks: [
    { ...root, readOnly: true, bootOrder: 1, limits: { readBytes: { rate: 100 } } },
    { name: 'cd', device: 'cdrom', bus: 'sata', slot: 1, image: 'netinst', bootOrder: 3 },
  ],
  metadata: { enabled: true, tokens: 'optional', hopLimit: 2 },
  cloudInit: { hostname: 'web', sshKeys: [], password: false, userData: false, networkConfig: false },
  restart: 'always',
  autostart: true,
  overcommit: true,
});

const kernel: Image = {
  id,
  name: 'base',
  project: 'default',
  labels: {},
  createdAt: '2026-01-01T00:00:00.000Z',
  revision: 1,
  spec: { format: 'kernel' },
  status: { state: 'ready' },
};

function told(format: Exported['format'], spec: Instance['spec'], more: Partial<Exported> = {}) {
  const instance = { spec, labels: spec === full ? { tier: 'front' } : {} };
  return exportNotes({ instance, firmware: spec.firmware ?? 'bios', format, ...more });
}

const settingsOf = (notes: readonly { readonly setting: string }[]): string[] =>
  notes.map(({ setting }) => setting);

/** Of the guest that has everything, what no format says. */
const inNone = [
  'kernel',
  'maxCpus',
  'maxMemoryMib',
  'policy',
  'limits: cpu',
  'limits: memory',
  'tuning: profile',
  'tuning: hugePages',
  'tuning: vcpuPins',
  'device gpu',
  'vsock',
  'machine',
  'accelerator',
  'cpuModel',
  'NIC nic0: MAC address',
  'NIC nic0: place',
  'NIC nic0: network',
  'NIC nic0: address',
  'NIC nic0: address',
  'NIC nic0: security groups',
  'NIC nic0: published ports',
  'NIC nic0: floating address',
  'NIC nic0: anti-spoofing',
  'NIC nic0: queues',
  'NIC nic0: limits: ingress',
  'UEFI variables',
  'disk root: limits: readBytes',
  'medium of cd',
  'metadata service',
  'cloud-init',
  'restart',
  'autostart',
  'overcommit',
  'labels',
];

/** What descriptions say, and a disk does not. */
const inDescriptions = [
  'cpus',
  'memory',
  'NIC nic0',
  'NIC nic0: boot order',
  'firmware',
  'disk root: bus',
  'disk root: boot order',
  'disk root: read-only',
  'drive cd',
  'disk cd: boot order',
];

describe('an export of a guest with everything set', () => {
  it('has everything: no key of an instance, a card or a disk is left out here', () => {
    expect(Object.keys(full).toSorted()).toEqual(Object.keys(instanceSpecSchema.shape).toSorted());
    const [nic] = full.nics;
    expect(Object.keys(nic ?? {}).toSorted()).toEqual(Object.keys(nicSchema.shape).toSorted());
    const [disk, drive] = full.disks;
    expect(Object.keys(disk ?? {}).toSorted()).toEqual(Object.keys(volumeDiskSchema.shape).toSorted());
    expect(Object.keys(drive ?? {}).toSorted()).toEqual(Object.keys(cdromDiskSchema.shape).toSorted());
  });

  it.each(['ova', 'libvirt'] as const)('tells of all that the description does not say: %s', (format) => {
    expect(settingsOf(told(format, full, { image: kernel })).toSorted()).toEqual(inNone.toSorted());
  });

  it.each(['qcow2', 'raw'] as const)(
    'tells beside it of the machine itself where disks go alone: %s',
    (format) => {
      const notes = told(format, full, { image: kernel });
      expect(settingsOf(notes).toSorted()).toEqual([...inNone, ...inDescriptions].toSorted());
      expect(notes.filter(({ effect }) => effect !== 'dropped')).toEqual([]);
    },
  );

  it('tells what each setting was', () => {
    const notes = told('ova', full, { image: kernel });
    const valueOf = (setting: string) => notes.find((note) => note.setting === setting)?.value;
    expect(valueOf('limits: cpu')).toBe('cores 1.5, weight 50');
    expect(valueOf('tuning: vcpuPins')).toBe('0 3');
    expect(valueOf('device gpu')).toBe('address 0000:03:00.0');
    expect(valueOf('NIC nic0: security groups')).toBe('web, ssh');
    expect(valueOf('NIC nic0: published ports')).toBe('8080:80/tcp');
    expect(valueOf('disk root: limits: readBytes')).toBe('rate 100');
  });
});

describe('an export of a guest as it is by default', () => {
  it.each(['ova', 'libvirt'] as const)('tells of nothing but its card: %s', (format) => {
    const notes = told(format, plain);
    expect(settingsOf(notes)).toEqual([
      'NIC nic0: MAC address',
      'NIC nic0: place',
      'NIC nic0: network',
      'NIC nic0: security groups',
    ]);
    expect(notes[0]).toMatchObject({ effect: 'hint', value: card.mac });
  });

  it('tells of no kernel where the image was a disk', () => {
    const image = { ...kernel, spec: { format: 'qcow2' as const } };
    expect(settingsOf(told('ova', { ...plain, image: 'base' }, { image }))).not.toContain('kernel');
  });
});
