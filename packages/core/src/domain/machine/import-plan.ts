/** From a description that was read to what will be made of it, with what the person asked for instead; and back from an instance. Pure. */
import {
  type DiskFileFormat,
  type ImportCreate,
  type ImportPlan,
  type Instance,
  type Volume,
  WirtError,
} from '@wirt/api';
import { type BootFacts, bootNotes } from './boot-facts.ts';
import { grownNotes, volumeBytesOf } from './disk-size.ts';
import { type DraftDisk, dnsLabel, finishDraft, type MachineDraft } from './draft.ts';
import { readLibvirt } from './libvirt-read.ts';
import { type ImportNote, note } from './notes.ts';
import { readOvf } from './ovf-read.ts';
import { readXl } from './xl-read.ts';

export type MachineKind = 'ovf' | 'libvirt' | 'xl' | 'disk';

/** Reads a description. `path` names a bare disk, which has none. */
export function readMachine(
  kind: MachineKind,
  text: string,
  bare: { readonly path: string; readonly format: DiskFileFormat | undefined },
): MachineDraft {
  switch (kind) {
    case 'ovf':
      return readOvf(text);
    case 'libvirt':
      return readLibvirt(text);
    case 'xl':
      return readXl(text);
    case 'disk':
      return bareDisk(bare.path, bare.format);
  }
}

const bareMemoryBytes = 2048 * 1_048_576;

/** A disk alone says nothing of its machine: what is assumed is said in notes. */
function bareDisk(path: string, format: DiskFileFormat | undefined): MachineDraft {
  if (format === 'iso')
    throw new WirtError('import.unsupported', `${path} is a medium and no disk of a machine.`, {
      hint: `Import it as an image: \`wirt image import ${path} --format iso\`.`,
    });
  const file = path.slice(path.lastIndexOf('/') + 1);
  const value = file.replace(/(\.(qcow2|raw|img|vmdk|vhd|vhdx|vdi|gz|xz|zst))+$/i, '');
  const notes = [
    note(
      'cpus',
      '1',
      'A disk does not say how many processors its machine had; give it others with --cpus.',
      'hint',
    ),
    note(
      'memory',
      '2048 MiB',
      'A disk does not say how much memory its machine had; give it another with --memory.',
      'hint',
    ),
    note(
      'firmware',
      'bios',
      'A disk does not say whether it boots by UEFI; if it does, use --firmware uefi.',
      'hint',
    ),
  ];
  return finishDraft(
    {
      name: { setting: 'file name', value: dnsLabel(value) },
      cpus: 1,
      memoryBytes: bareMemoryBytes,
      firmware: 'bios',
      disks: [
        {
          device: 'disk',
          source: { kind: 'file', name: path },
          ...(format === undefined ? {} : { format }),
          bus: 'virtio',
          readOnly: false,
          bootOrder: 1,
        },
      ],
      nics: [{ model: 'virtio' }],
    },
    notes,
  );
}

/** The draft with what was asked for in its place. */
export function withWishes(
  draft: MachineDraft,
  { name, cpus, memoryMib, firmware }: ImportCreate,
): MachineDraft {
  return {
    ...draft,
    name: name ?? draft.name,
    cpus: cpus ?? draft.cpus,
    memoryMib: memoryMib ?? draft.memoryMib,
    firmware: firmware ?? draft.firmware,
    notes: draft.notes.filter(
      ({ setting, effect }) =>
        effect !== 'hint' ||
        !(
          (setting === 'cpus' && cpus !== undefined) ||
          (setting === 'memory' && memoryMib !== undefined) ||
          (setting === 'firmware' && firmware !== undefined)
        ),
    ),
  };
}

/** What was found of a disk's file. */
export type DiskLook =
  | {
      readonly state: 'found';
      readonly format: DiskFileFormat;
      readonly virtualSizeBytes: number;
      readonly fileBytes: number;
      /** The block device of the host that it is. */
      readonly device?: string;
      /** Files that the guest gets as they are, and that nothing in them says to be a disk's. */
      readonly unmarked: readonly string[];
      /** Of the disk that is booted, where it could be read. */
      readonly boot?: BootFacts;
    }
  | { readonly state: 'packed'; readonly compression: string }
  | { readonly state: 'missing' };

/** `looks`: by the keys of the disks; those that are new or drives have none. */
export function planOf(
  kind: string,
  draft: MachineDraft,
  looks: ReadonlyMap<string, DiskLook>,
): Omit<ImportPlan, 'pool' | 'neededBytes'> {
  const { name, cpus, memoryMib, firmware } = draft;
  return {
    source: kind,
    name,
    cpus,
    memoryMib,
    firmware,
    disks: draft.disks.map((disk) => {
      const { source } = disk;
      const look = looks.get(disk.key);
      const format = look?.state === 'found' ? look.format : disk.format;
      const sizeBytes =
        look?.state === 'found'
          ? volumeBytesOf(disk, look.virtualSizeBytes)
          : (disk.sizeBytes ?? (source.kind === 'empty' ? source.sizeBytes : undefined));
      return {
        name: disk.key,
        device: disk.device,
        bus: disk.bus,
        ...(source.kind === 'file' ? { file: source.name } : {}),
        ...(format === undefined ? {} : { format }),
        ...(sizeBytes === undefined ? {} : { sizeBytes }),
        ...(disk.bootOrder === undefined ? {} : { bootOrder: disk.bootOrder }),
      };
    }),
    nics: draft.nics.map(({ mac, model }) => ({ model, ...(mac === undefined ? {} : { mac }) })),
    notes: [
      ...mediaNotes(draft),
      ...draft.disks.flatMap((disk) => lookNotes(disk, looks.get(disk.key), firmware)),
      ...unkeptNotes(draft),
      ...answered(draft.notes, looks),
    ],
  };
}

function mediaNotes({ disks }: MachineDraft): ImportNote[] {
  return disks.flatMap(({ device, source, key }) =>
    device === 'cdrom' && source.kind === 'file'
      ? [
          note(
            `medium of ${key}`,
            source.name,
            'The drive comes with an empty tray; import the medium with `wirt image import` and insert it.',
            'dropped',
          ),
        ]
      : [],
  );
}

/** What the draft has and an instance does not. */
function unkeptNotes({ description, disks }: MachineDraft): ImportNote[] {
  const said =
    description === undefined
      ? []
      : [note('description', description, 'An instance has no description; keep it in a label.', 'dropped')];
  const serials = disks.flatMap(({ key, serial }) =>
    serial === undefined || serial === key
      ? []
      : [note(`serial number of ${key}`, serial, 'The serial number of a disk is its name.', 'changed')],
  );
  return [...said, ...serials];
}

function lookNotes(disk: DraftDisk, look: DiskLook | undefined, firmware: 'bios' | 'uefi'): ImportNote[] {
  const { key, source, bus } = disk;
  if (look === undefined) return [];
  const file = source.kind === 'file' ? source.name : '';
  switch (look.state) {
    case 'missing':
      return [
        note(`file of ${key}`, file, 'The file is not there: the import will fail until it is.', 'dropped'),
      ];
    case 'packed':
      return [
        note(
          `file of ${key}`,
          file,
          `It is compressed (${look.compression}): what is in it is seen when it is unpacked.`,
          'hint',
        ),
      ];
    case 'found':
      return [
        ...(look.device === undefined ? [] : [note(`file of ${key}`, look.device, deviceReason, 'hint')]),
        ...look.unmarked.map((path) => note(`file of ${key}`, path, unmarkedReason, 'hint')),
        ...grownNotes(disk, look.virtualSizeBytes),
        ...(look.boot === undefined ? [] : bootNotes(key, look.boot, firmware)),
        ...(bus === 'nvme' ? [note(`bus of ${key}`, 'nvme', nvmeReason, 'hint')] : []),
      ];
  }
}

const deviceReason =
  'It is a block device of this host: the guest gets a copy of all that is on it. See that it is the one that you mean.';
const unmarkedReason =
  'It has no partition table or file system, and the guest gets its bytes as they are. See that it is a disk, if somebody else wrote the description.';

const nvmeReason =
  'QEMU cannot let a guest on NVMe wait for room: Wirt pauses it before its pool is full, as far as it sees that in time. On other buses no write fails for want of room.';

/** A disk by itself says which firmware it is for, once it is looked into. */
function answered(notes: readonly ImportNote[], looks: ReadonlyMap<string, DiskLook>): ImportNote[] {
  const seen = [...looks.values()].some((look) => look.state === 'found' && look.boot !== undefined);
  return notes.filter(({ setting, effect }) => !(seen && setting === 'firmware' && effect === 'hint'));
}

/** An instance at rest, as other hypervisors can be told of it. `fileOf` names a disk's file. */
export function draftOf(
  instance: Instance,
  firmware: 'bios' | 'uefi',
  volumes: ReadonlyMap<string, Volume>,
  file: { readonly format: 'vmdk' | 'qcow2' | 'raw'; name(disk: string): string },
): MachineDraft {
  const { spec, name } = instance;
  const disks: DraftDisk[] = spec.disks.map((disk) => {
    const place = {
      key: disk.name,
      bus: disk.bus,
      ...(disk.bootOrder === undefined ? {} : { bootOrder: disk.bootOrder }),
    };
    if (disk.device === 'cdrom')
      return { ...place, device: 'cdrom', source: { kind: 'none' }, readOnly: true };
    const volume = volumes.get(disk.name);
    return {
      ...place,
      device: 'disk',
      source: { kind: 'file', name: file.name(disk.name) },
      format: file.format,
      ...(volume === undefined ? {} : { sizeBytes: volume.spec.sizeBytes }),
      readOnly: disk.readOnly,
      // By which the guest may know it: see the API's disks.
      serial: disk.name,
    };
  });
  return {
    name,
    cpus: spec.cpus,
    memoryMib: spec.memoryMib,
    firmware,
    machine: 'q35',
    disks,
    nics: spec.nics.map(({ model, mac, bootOrder }) => ({
      model,
      mac,
      ...(bootOrder === undefined ? {} : { bootOrder }),
    })),
    notes: [],
  };
}
