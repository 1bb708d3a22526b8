/**
 * What of an instance an export does not say, or says otherwise. Every key of the instance's spec, of its cards and of its disks is decided on
 * here: a new one does not compile until it is. What the writers themselves change (buses, models, serial numbers) is in their own notes.
 */
import type { CdromDisk, Disk, ExportCreate, Image, Instance, Nic, VolumeDisk } from '@wirt/api';
import { type ImportNote, note } from './notes.ts';

type Format = ExportCreate['format'];

export interface Exported {
  readonly instance: Pick<Instance, 'spec' | 'labels'>;
  readonly firmware: 'bios' | 'uefi';
  /** That it was made from, where it is still there. */
  readonly image?: Image | undefined;
  readonly format: Format;
}

interface Telling extends Exported {
  say(setting: string, value: string, reason: string, effect?: ImportNote['effect']): void;
}

/** In the order of the tables below; what is as it is by default, and nobody asked for, is not told. */
export function exportNotes(exported: Exported): ImportNote[] {
  const notes: ImportNote[] = [];
  const telling: Telling = {
    ...exported,
    say: (setting, value, reason, effect = 'dropped') => notes.push(note(setting, value, reason, effect)),
  };
  for (const tell of Object.values(machineSettings)) tell(telling);
  const labels = Object.keys(exported.instance.labels);
  if (labels.length > 0) telling.say('labels', labels.join(', '), 'Labels are not part of the description.');
  return notes;
}

const alone = 'A disk alone does not say what machine it belongs to.';
const limited = 'Limits are not part of the description; set them anew on the other side.';
const placed = 'It is for this host; the other side fits the machine to its own.';

/** Disks without any description. */
function isBare(format: Format): boolean {
  return format === 'qcow2' || format === 'raw';
}

/** For what is written as it is, what the other side has words of its own for, and what says nothing of the machine. */
const nothing = (): void => {};

const machineSettings = {
  image({ image, say }) {
    // An image's disk goes out with the clone that was made of it.
    if (image?.spec.format !== 'kernel') return;
    const reason =
      'The kernel is given to the guest from outside: the other side needs one, or a boot loader.';
    say('kernel', image.name, reason);
  },
  cpus: ({ instance: { spec }, format, say }) => {
    if (isBare(format)) say('cpus', String(spec.cpus), alone);
  },
  memoryMib: ({ instance: { spec }, format, say }) => {
    if (isBare(format)) say('memory', `${spec.memoryMib} MiB`, alone);
  },
  maxCpus({ instance: { spec }, say }) {
    const { cpus, maxCpus = cpus } = spec;
    if (maxCpus > cpus) say('maxCpus', String(maxCpus), 'The machine has the virtual CPUs of its start.');
  },
  maxMemoryMib({ instance: { spec }, say }) {
    const { memoryMib, maxMemoryMib = memoryMib } = spec;
    if (maxMemoryMib > memoryMib)
      say('maxMemoryMib', `${maxMemoryMib} MiB`, 'The machine has the memory of its start.');
  },
  policy({ instance: { spec }, say }) {
    if (spec.policy !== undefined) say('policy', spec.policy, limited);
  },
  limits: ({ instance: { spec }, say }) => sayEach('limits', spec.limits, limited, say),
  tuning: ({ instance: { spec }, say }) => sayEach('tuning', spec.tuning, placed, say),
  devices({ instance: { spec }, say }) {
    for (const { name, ...which } of spec.devices ?? [])
      say(`device ${name}`, listed(which), 'It is a device of this host.');
  },
  vsock({ instance: { spec }, say }) {
    if (spec.vsock === true) say('vsock', 'yes', 'The guest has no socket to programs of the other host.');
  },
  machine({ instance: { spec }, format, say }) {
    if (spec.machine === 'q35') return;
    if (isBare(format)) say('machine', spec.machine, alone);
    else
      say(
        'machine',
        spec.machine,
        'It is written as a machine with PCI (q35), as others have it.',
        'changed',
      );
  },
  accelerator({ instance: { spec }, format, say }) {
    if (spec.accelerator !== 'tcg') return;
    if (format === 'libvirt') say('accelerator', 'tcg', 'The domain is one of KVM.', 'changed');
    else say('accelerator', 'tcg', 'How it is run is not part of the description.');
  },
  cpuModel({ instance: { spec }, format, say }) {
    if (spec.cpuModel === undefined) return;
    if (format === 'libvirt')
      say(
        'cpuModel',
        spec.cpuModel,
        'The domain has the processor of its host (host-passthrough).',
        'changed',
      );
    else say('cpuModel', spec.cpuModel, 'The guest gets the processor that the other side gives.');
  },
  nics(telling) {
    for (const nic of telling.instance.spec.nics)
      for (const tell of Object.values(cardSettings)) tell(nic, telling);
  },
  firmware({ firmware, format, say }) {
    if (isBare(format)) say('firmware', firmware, alone);
    if (firmware === 'uefi')
      say('UEFI variables', '', 'Boot entries are found anew, and keys for Secure Boot are gone.');
  },
  disks(telling) {
    for (const disk of telling.instance.spec.disks)
      for (const tell of Object.values(diskSettings)) tell(disk, telling);
  },
  metadata({ instance: { spec }, say }) {
    const { enabled, tokens, hopLimit } = spec.metadata;
    const wasAskedFor = tokens !== 'required' || hopLimit !== 1 || spec.cloudInit?.datasource === 'metadata';
    if (enabled && wasAskedFor)
      say(
        'metadata service',
        `tokens ${tokens}, hopLimit ${hopLimit}`,
        'Nothing answers at 169.254.169.254.',
      );
  },
  cloudInit({ instance: { spec }, say }) {
    if (spec.cloudInit === undefined) return;
    const reason = 'The seed stays here; the guest has been configured by it already.';
    say('cloud-init', spec.cloudInit.hostname, reason);
  },
  restart({ instance: { spec }, say }) {
    if (spec.restart !== 'never')
      say('restart', spec.restart, 'What happens after an end is set on the other side.');
  },
  autostart({ instance: { spec }, say }) {
    if (spec.autostart)
      say('autostart', 'yes', 'What happens after a boot of the host is set on the other side.');
  },
  overcommit({ instance: { spec }, say }) {
    if (spec.overcommit)
      say('overcommit', 'yes', 'The other side has its own rules for memory that is not there.');
  },
} as const satisfies Record<keyof Instance['spec'], (telling: Telling) => void>;

const cardSettings = {
  // Nothing outside knows a card by its name.
  name: nothing,
  model(nic, { format, say }) {
    if (isBare(format)) say(card(nic), nic.model, alone);
  },
  mac(nic, { format, say }) {
    if (isBare(format)) say(card(nic, 'MAC address'), nic.mac, alone);
    else
      say(
        card(nic, 'MAC address'),
        nic.mac,
        'Both machines have it: do not run them on one network.',
        'hint',
      );
  },
  slot(nic, { say }) {
    const reason = 'It is given a place anew: its name in the guest, such as enp1s0, may change.';
    say(card(nic, 'place'), String(nic.slot), reason);
  },
  network(nic, { format, say }) {
    const setting = card(nic, 'network');
    if (format === 'ova')
      say(setting, nic.network, 'It is written as “NAT”: choose a network there.', 'changed');
    else if (format === 'libvirt')
      say(setting, nic.network, 'It is written as one in user mode: choose a network there.', 'changed');
    else say(setting, nic.network, alone);
  },
  ipv4: (nic, telling) => sayAddress(nic, nic.ipv4, telling),
  ipv6: (nic, telling) => sayAddress(nic, nic.ipv6, telling),
  securityGroups(nic, { say }) {
    const groups = nic.securityGroups.join(', ') || 'none';
    say(card(nic, 'security groups'), groups, 'What reaches the guest is not filtered by the description.');
  },
  publish(nic, { say }) {
    const ports = nic.publish.map(
      ({ hostPort, guestPort, protocol }) => `${hostPort}:${guestPort}/${protocol}`,
    );
    if (ports.length > 0)
      say(
        card(nic, 'published ports'),
        ports.join(', '),
        'Ports of the host are not part of the description.',
      );
  },
  floating(nic, { say }) {
    if (nic.floating !== undefined)
      say(card(nic, 'floating address'), nic.floating, 'The address stays with this host.');
  },
  antiSpoofing(nic, { say }) {
    if (!nic.antiSpoofing)
      say(
        card(nic, 'anti-spoofing'),
        'no',
        'Whether the guest may use other addresses is set on the other side.',
      );
  },
  queues(nic, { say }) {
    if (nic.queues !== undefined) say(card(nic, 'queues'), String(nic.queues), placed);
  },
  limits: (nic, { say }) => sayEach(card(nic, 'limits'), nic.limits, limited, say),
  bootOrder(nic, { format, say }) {
    if (isBare(format) && nic.bootOrder !== undefined)
      say(card(nic, 'boot order'), String(nic.bootOrder), alone);
  },
} as const satisfies Record<keyof Nic, (nic: Nic, telling: Telling) => void>;

const diskSettings = {
  // The file has its name; of the serial number, which is the same, the writers tell.
  name: nothing,
  device(disk, { format, say }) {
    if (isBare(format) && disk.device === 'cdrom') say(`drive ${disk.name}`, disk.bus, alone);
  },
  bus(disk, { format, say }) {
    if (isBare(format) && disk.device === 'disk') say(`disk ${disk.name}: bus`, disk.bus, alone);
  },
  bootOrder(disk, { format, say }) {
    const { name, bootOrder } = disk;
    if (isBare(format) && bootOrder !== undefined) say(`disk ${name}: boot order`, String(bootOrder), alone);
  },
  // Guests know their disks by what is on them, or by the serial number.
  slot: nothing,
  // The volume's contents are what is exported.
  volume: nothing,
  image(disk, { say }) {
    if (disk.device !== 'cdrom' || disk.image === undefined) return;
    const reason = `The tray is empty; \`wirt image export ${disk.image} FILE\` gives the medium.`;
    say(`medium of ${disk.name}`, disk.image, reason);
  },
  readOnly(disk, { format, say }) {
    if (isBare(format) && disk.device === 'disk' && disk.readOnly)
      say(`disk ${disk.name}: read-only`, 'yes', alone);
  },
  limits(disk, { say }) {
    if (disk.device === 'disk') sayEach(`disk ${disk.name}: limits`, disk.limits, limited, say);
  },
  // It is about the volume here, which the export leaves where it is.
  deleteOnTermination: nothing,
} as const satisfies Record<keyof VolumeDisk | keyof CdromDisk, (disk: Disk, telling: Telling) => void>;

function card({ name }: Nic, what?: string): string {
  return what === undefined ? `NIC ${name}` : `NIC ${name}: ${what}`;
}

function sayAddress(nic: Nic, address: string | undefined, { say }: Telling): void {
  if (address === undefined) return;
  say(card(nic, 'address'), address, 'It came from the network here; the guest asks for one there.');
}

/** One note for each part: together they would be longer than a note. */
function sayEach(setting: string, parts: object | undefined, reason: string, say: Telling['say']): void {
  for (const [name, part] of Object.entries(parts ?? {}))
    if (part !== undefined) say(`${setting}: ${name}`, listed(part), reason);
}

/** `rate 100, burst.rate 3`. */
function listed(value: unknown): string {
  return leavesOf(value, []).join(', ');
}

function leavesOf(value: unknown, path: readonly string[]): string[] {
  if (value === undefined) return [];
  if (typeof value !== 'object' || value === null) {
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    return [[path.join('.'), text].join(' ').trim()];
  }
  return Object.entries(value).flatMap(([key, inner]) => leavesOf(inner, [...path, key]));
}
