import type { Disk, Instance, Network, Nic } from '@wirt/api';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type MetadataFolder, metadataTree, nodeAt } from './metadata.ts';

const id = '01ARZ3NDEKTSV4RRFFQ69G5FAV';
const networkId = '01ARZ3NDEKTSV4RRFFQ69G5FAW';
const groupId = '01ARZ3NDEKTSV4RRFFQ69G5FAX';
const imageId = '01ARZ3NDEKTSV4RRFFQ69G5FAY';
const head = { project: 'default', labels: {}, revision: 1, createdAt: '2030-01-01T00:00:00.000Z' };

const network: Network = {
  ...head,
  id: networkId,
  name: 'default',
  spec: {
    kind: 'nat',
    ipv4: '10.80.0.0/24',
    ipv6: 'fd80::/64',
    mtu: 1500,
    domain: 'wirt',
    dnsForward: true,
  },
  status: { driver: 'bridge', state: 'ready', gateways: ['10.80.0.1', 'fd80::1'] },
};

function nicOf(slot: number, given: Partial<Nic> = {}): Nic {
  return {
    name: `nic${slot}`,
    slot,
    network: 'default',
    mac: `02:00:00:00:00:0${slot}`,
    ipv4: `10.80.0.${slot + 5}`,
    ipv6: `fd80::${slot + 5}`,
    model: 'virtio',
    securityGroups: ['default', 'web'],
    publish: [],
    antiSpoofing: true,
    ...given,
  };
}

interface Given {
  readonly spec?: Partial<Instance['spec']>;
  readonly labels?: Record<string, string>;
  readonly nics?: readonly Nic[];
  readonly imageId?: string | undefined;
}

const group = (name: string) => ({ name, id: groupId });

function treeOf({ spec = {}, labels = {}, nics = [nicOf(0)], ...rest }: Given = {}): MetadataFolder {
  const instance: Instance = {
    ...head,
    id,
    labels,
    name: 'web',
    spec: {
      cpus: 2,
      memoryMib: 1024,
      machine: 'q35',
      accelerator: 'auto',
      nics: [...nics],
      metadata: { enabled: true, tokens: 'required', hopLimit: 1 },
      disks: [],
      restart: 'never',
      autostart: false,
      overcommit: false,
      ...spec,
    },
    status: { state: 'running', since: head.createdAt, agent: false, restarts: 0 },
  };
  const cards = nics.map((nic) => ({ nic, network, groups: [group('default'), group('web')] }));
  return metadataTree({ instance, cards, imageId: 'imageId' in rest ? rest.imageId : imageId });
}

/** As a client walks it: by what the listings say. Leaves by path; a name that leads nowhere throws. */
function walk(folder: MetadataFolder, path = ''): Record<string, string> {
  const found: Record<string, string> = {};
  for (const line of folder.listing.split('\n').filter((one) => one !== '')) {
    const [, key] = /^(\d+)=/.exec(line) ?? [];
    const name = key ?? line.replace(/\/$/, '');
    const node = folder.entries.get(name);
    if (node === undefined) throw new Error(`${path}${name} is listed and not there`);
    if (typeof node === 'string') found[`${path}${name}`] = node;
    else Object.assign(found, walk(node, `${path}${name}/`));
  }
  return found;
}

const metaData = (given?: Given) => {
  const node = treeOf(given).entries.get('meta-data');
  return typeof node === 'object' ? walk(node) : {};
};

describe('what a guest is told of itself', () => {
  it('is who it is, where, and how it is reached', () => {
    const sshKeys = ['ssh-ed25519 AAAA me', 'ssh-ed25519 BBBB you'];
    const cloudInit = {
      datasource: 'metadata',
      hostname: 'www',
      sshKeys,
      password: false,
      userData: true,
      networkConfig: false,
    } as const;
    expect(
      metaData({ spec: { cloudInit }, labels: { role: 'web', 'example.com/team': 'blue' } }),
    ).toMatchObject({
      'ami-id': 'ami-64c61efb99302bd5e',
      'instance-id': 'i-64c61efb99302bd5b',
      'instance-type': 'wirt.c2m1024',
      hostname: 'www.wirt',
      'local-hostname': 'www.wirt',
      'local-ipv4': '10.80.0.5',
      ipv6: 'fd80::5',
      mac: '02:00:00:00:00:00',
      'placement/availability-zone': 'wirt-1a',
      'placement/region': 'wirt-1',
      'public-keys/0/openssh-key': sshKeys[0],
      'public-keys/1/openssh-key': sshKeys[1],
      'reservation-id': 'r-64c61efb99302bd5b',
      'security-groups': 'default\nweb',
      'tags/instance/role': 'web',
      'tags/instance/example.com/team': 'blue',
    });
  });

  it('has each of its cards by MAC address, the first one’s addresses first', () => {
    const told = metaData({ nics: [nicOf(0), nicOf(1, { floating: '192.0.2.7' })] });
    const at = (mac: string, name: string) => told[`network/interfaces/macs/${mac}/${name}`];
    const second = '02:00:00:00:00:01';
    expect(told['local-ipv4']).toBe('10.80.0.5');
    expect(told['public-ipv4']).toBeUndefined();
    expect(at(second, 'local-ipv4s')).toBe('10.80.0.6');
    expect(at(second, 'public-ipv4s')).toBe('192.0.2.7');
    expect(at(second, 'device-number')).toBe('1');
    expect(at(second, 'vpc-id')).toBe('vpc-64c61efb99302bd5c');
    expect(at(second, 'subnet-ipv4-cidr-block')).toBe('10.80.0.0/24');
    expect(at(second, 'security-group-ids')).toBe('sg-64c61efb99302bd5d\nsg-64c61efb99302bd5d');
    expect(at(second, 'interface-id')).not.toBe(at('02:00:00:00:00:00', 'interface-id'));
  });

  it('leaves out what it has not: a card, keys, labels, an image', () => {
    const told = metaData({ nics: [], imageId: undefined });
    expect(told).toMatchObject({ hostname: 'web', 'ami-id': 'ami-00000000000000000' });
    for (const name of Object.keys(told))
      expect(name).not.toMatch(/^(local-ipv4|ipv6|mac|public-|tags|security)/);
    const bare = { slot: 0, name: 'nic0', network: 'default', mac: '02:00:00:00:00:00' } as const;
    const onlyMac: Nic = { ...bare, model: 'virtio', securityGroups: [], publish: [], antiSpoofing: true };
    expect(Object.keys(metaData({ nics: [onlyMac] })).join(' ')).not.toMatch(/ipv[46]/);
  });

  it('names disks as Linux does, by their bus', () => {
    const disk = (name: string, bus: Disk['bus'], slot: number): Disk => ({
      name,
      bus,
      slot,
      device: 'disk',
      volume: id,
      readOnly: false,
      deleteOnTermination: true,
    });
    const cd: Disk = { name: 'cd', bus: 'sata', slot: 1, device: 'cdrom' };
    const disks = [disk('root', 'virtio', 0), cd, disk('data', 'virtio', 2), disk('fast', 'nvme', 3)];
    const told = metaData({ spec: { disks } });
    expect(told).toMatchObject({
      'block-device-mapping/ami': 'vda',
      'block-device-mapping/root': '/dev/vda',
      'block-device-mapping/ebs0': 'vdb',
      'block-device-mapping/ebs1': 'nvme0n1',
    });
  });

  it('has EC2’s document of identity', () => {
    const document = JSON.parse(walk(treeOf())['dynamic/instance-identity/document'] ?? '');
    expect(document).toMatchObject({
      instanceId: 'i-64c61efb99302bd5b',
      privateIp: '10.80.0.5',
      region: 'wirt-1',
      architecture: 'x86_64',
    });
  });

  it('is all there that its listings name, whatever the labels', () => {
    const key = fc.stringMatching(/^[A-Za-z0-9]([A-Za-z0-9._/-]{0,20}[A-Za-z0-9])?$/);
    fc.assert(
      fc.property(fc.dictionary(key, fc.string(), { maxKeys: 5 }), fc.nat({ max: 3 }), (labels, count) => {
        const told = metaData({ labels, nics: Array.from({ length: count }, (_, slot) => nicOf(slot)) });
        for (const [name, value] of Object.entries(labels)) {
          expect(told[`tags/instance/${name}`]).toBe(value);
          expect(nodeAt(treeOf({ labels }), `meta-data/tags/instance/${name}`.split('/'))).toBe(value);
        }
      }),
    );
  });
});
