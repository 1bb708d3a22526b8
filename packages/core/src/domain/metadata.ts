/**
 * What the metadata service says of a guest, as the tree that EC2 has it in: pure, from records. Everything that a listing names is
 * there, since cloud-init reads the whole tree and gives up at the first gap.
 *
 * Source: EC2 User Guide, "Instance metadata categories"; cloud-init's DataSourceEc2.
 */
import type { Disk, Instance, Network, Nic } from '@wirt/api';
import { ec2Id } from './identity.ts';

export type MetadataNode = string | MetadataFolder;

export interface MetadataFolder {
  readonly entries: ReadonlyMap<string, MetadataNode>;
  /** One line for each entry; by default its name, with a slash behind it where it is a folder. */
  readonly listing: string;
}

export interface MetadataFacts {
  readonly instance: Instance;
  /** Of the image it was made from; undefined when that is gone. */
  readonly imageId: string | undefined;
  /** A card with its network and groups. In the order of the slots. */
  readonly cards: readonly MetadataCard[];
}

export interface MetadataCard {
  readonly nic: Nic;
  readonly network: Network;
  /** Names with ids, of those groups that are there. */
  readonly groups: readonly { readonly name: string; readonly id: string }[];
}

/** None of Amazon's names, so that nothing in the guest takes their mirrors for near ones. */
export const place = { region: 'wirt-1', zone: 'wirt-1a', account: '000000000000' } as const;

type Given = Readonly<Record<string, MetadataNode | undefined>>;

function folder(given: Given | ReadonlyMap<string, MetadataNode>, listing?: string): MetadataFolder {
  const pairs = given instanceof Map ? [...given] : Object.entries(given as Given);
  const entries = new Map<string, MetadataNode>();
  for (const [name, node] of pairs) if (node !== undefined) entries.set(name, node);
  const lines = [...entries].map(([name, node]) => (typeof node === 'string' ? name : `${name}/`));
  return { entries, listing: listing ?? lines.sort().join('\n') };
}

/** What is at a path; the key of a tag may have slashes in it. */
export function nodeAt(folder: MetadataFolder, names: readonly string[]): MetadataNode | undefined {
  const [first, ...rest] = names;
  if (first === undefined) return folder;
  const whole = folder.entries.get(names.join('/'));
  if (whole !== undefined) return whole;
  const child = folder.entries.get(first);
  return child === undefined || typeof child === 'string' ? undefined : nodeAt(child, rest);
}

/** What is below a version: `meta-data` and `dynamic`. */
export function metadataTree(facts: MetadataFacts): MetadataFolder {
  const given = { 'meta-data': metaData(facts), dynamic: folder({ 'instance-identity': identity(facts) }) };
  return folder(given, 'dynamic\nmeta-data');
}

function metaData({ instance, imageId, cards }: MetadataFacts): MetadataFolder {
  const { id, labels, spec } = instance;
  const first = cards[0];
  const hostname = hostnameOf(instance, first);
  const tags = new Map(Object.entries(labels));
  return folder({
    'ami-id': amiId(imageId),
    'ami-launch-index': '0',
    'ami-manifest-path': '(unknown)',
    'block-device-mapping': folder(deviceNames(spec.disks)),
    hostname,
    'instance-action': 'none',
    'instance-id': ec2Id('i', id),
    'instance-life-cycle': 'on-demand',
    'instance-type': typeOf(instance),
    ipv6: first?.nic.ipv6,
    'local-hostname': hostname,
    'local-ipv4': first?.nic.ipv4,
    mac: first?.nic.mac,
    network: folder({ interfaces: folder({ macs: macs(instance, cards) }) }),
    placement: folder({ 'availability-zone': place.zone, region: place.region }),
    profile: 'default-hvm',
    'public-ipv4': first?.nic.floating?.includes(':') === false ? first.nic.floating : undefined,
    'public-keys': publicKeys(spec.cloudInit?.sshKeys ?? []),
    'reservation-id': ec2Id('r', id),
    'security-groups': first?.groups.map(({ name }) => name).join('\n'),
    services: folder({ domain: 'wirt', partition: 'wirt' }),
    tags: tags.size === 0 ? undefined : folder({ instance: folder(tags) }),
  });
}

function amiId(imageId: string | undefined): string {
  return imageId === undefined ? `ami-${'0'.repeat(17)}` : ec2Id('ami', imageId);
}

function typeOf({ spec }: Instance): string {
  return `wirt.c${spec.cpus}m${spec.memoryMib}`;
}

/** As other guests of its first network find it. */
function hostnameOf({ name, spec }: Instance, first: MetadataCard | undefined): string {
  const short = spec.cloudInit?.hostname ?? name;
  return first === undefined || short.includes('.') ? short : `${short}.${first.network.spec.domain}`;
}

/** EC2 has one key with a name; of several each is listed by its number. */
function publicKeys(keys: readonly string[]): MetadataFolder | undefined {
  if (keys.length === 0) return undefined;
  const listing = keys.map((_, number) => `${number}=key-${number}`).join('\n');
  const entries = keys.map((key, number) => [String(number), folder({ 'openssh-key': key })] as const);
  return folder(new Map(entries), listing);
}

function macs(instance: Instance, cards: readonly MetadataCard[]): MetadataFolder {
  return folder(new Map(cards.map((card) => [card.nic.mac, interfaceOf(instance, card)])));
}

function interfaceOf(instance: Instance, card: MetadataCard): MetadataFolder {
  const { nic, network, groups } = card;
  const { ipv4, ipv6 } = network.spec;
  const floating = nic.floating;
  return folder({
    'device-number': String(nic.slot),
    'interface-id': ec2Id('eni', instance.id).replace(/^eni-./, `eni-${nic.slot}`),
    ipv6s: nic.ipv6,
    'local-hostname': hostnameOf(instance, card),
    'local-ipv4s': nic.ipv4,
    mac: nic.mac,
    'owner-id': place.account,
    'public-ipv4s': floating?.includes(':') === false ? floating : undefined,
    'security-group-ids': groups.map(({ id }) => ec2Id('sg', id)).join('\n'),
    'security-groups': groups.map(({ name }) => name).join('\n'),
    'subnet-id': ec2Id('subnet', network.id),
    'subnet-ipv4-cidr-block': nic.ipv4 === undefined ? undefined : (ipv4 ?? undefined),
    'subnet-ipv6-cidr-blocks': nic.ipv6 === undefined ? undefined : (ipv6 ?? undefined),
    'vpc-id': ec2Id('vpc', network.id),
    'vpc-ipv4-cidr-block': nic.ipv4 === undefined ? undefined : (ipv4 ?? undefined),
    'vpc-ipv4-cidr-blocks': nic.ipv4 === undefined ? undefined : (ipv4 ?? undefined),
    'vpc-ipv6-cidr-blocks': nic.ipv6 === undefined ? undefined : (ipv6 ?? undefined),
  });
}

/** Names that Linux gives to disks on each bus, in the order of their slots. */
function deviceNames(disks: readonly Disk[]): Given {
  const counts = { vd: 0, sd: 0, nvme: 0 };
  const names: Record<string, string> = {};
  for (const [number, disk] of disks.filter(({ device }) => device === 'disk').entries()) {
    const kind = disk.bus === 'virtio' ? 'vd' : disk.bus === 'nvme' ? 'nvme' : 'sd';
    const at = counts[kind];
    counts[kind] += 1;
    const device = kind === 'nvme' ? `nvme${at}n1` : `${kind}${String.fromCharCode(97 + at)}`;
    if (number === 0) {
      names['ami'] = device;
      names['root'] = `/dev/${device}`;
    } else names[`ebs${number - 1}`] = device;
  }
  return names;
}

/** EC2's "instance identity document", without its signatures. */
function identity({ instance, imageId, cards }: MetadataFacts): MetadataFolder {
  const document = {
    accountId: place.account,
    // Every machine type that there is.
    architecture: 'x86_64',
    availabilityZone: place.zone,
    billingProducts: null,
    devpayProductCodes: null,
    imageId: amiId(imageId),
    instanceId: ec2Id('i', instance.id),
    instanceType: typeOf(instance),
    kernelId: null,
    marketplaceProductCodes: null,
    pendingTime: instance.status.startedAt ?? instance.createdAt,
    privateIp: cards[0]?.nic.ipv4 ?? null,
    ramdiskId: null,
    region: place.region,
    version: '2017-09-30',
  };
  return folder({ document: JSON.stringify(document, undefined, 2) });
}
