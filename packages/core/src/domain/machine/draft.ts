/**
 * A machine as foreign descriptions and Wirt can both say it: what an import proposes and an export writes. Readers build
 * a loose draft and pass it through `finishDraft`, which holds it to the limits of an instance. No file is opened here.
 */
import { WirtError } from '@wirt/api';
import { fewNotes, type ImportNote, note, printable } from './notes.ts';

export type DiskFormat = 'qcow2' | 'raw' | 'vmdk' | 'vpc' | 'vhdx' | 'vdi';
/** `lsi` is the LSI Logic family (parallel or SAS), of which QEMU's `mptsas1068` is the member that guests today know. */
export type DriveBus = 'virtio' | 'virtio-scsi' | 'sata' | 'nvme' | 'pvscsi' | 'lsi';
export type NicModel = 'virtio' | 'e1000e' | 'e1000' | 'vmxnet3' | 'rtl8139';
export type Firmware = 'bios' | 'uefi';

export type DiskSource =
  /** As written. OVF: a file of the package, relative; libvirt and xl: an absolute path of the foreign host. */
  | { readonly kind: 'file'; readonly name: string }
  /** A new disk without contents. */
  | { readonly kind: 'empty'; readonly sizeBytes: number }
  /** A CD drive with an empty tray. */
  | { readonly kind: 'none' };

export interface DraftDisk {
  /** Unique in the machine; a DNS label of at most 20 characters. */
  readonly key: string;
  readonly device: 'disk' | 'cdrom';
  readonly source: DiskSource;
  /** Undefined where the description does not say it: then the file's own header has to. */
  readonly format?: DiskFormat;
  readonly compression?: 'gzip';
  /** The capacity that is stated, which the file may contradict. */
  readonly sizeBytes?: number;
  readonly bus: DriveBus;
  readonly readOnly: boolean;
  /** From 1, without gaps, over disks and NICs together; what has none is not booted from. */
  readonly bootOrder?: number;
  readonly serial?: string;
}

export interface DraftNic {
  /** Lower case, colons. */
  readonly mac?: string;
  readonly model: NicModel;
  /** The network's name where the machine comes from. */
  readonly network?: string;
  readonly bootOrder?: number;
}

export interface MachineDraft {
  /** A DNS label. */
  readonly name: string;
  readonly description?: string;
  readonly cpus: number;
  readonly memoryMib: number;
  readonly firmware: Firmware;
  readonly machine: 'q35';
  readonly disks: readonly DraftDisk[];
  readonly nics: readonly DraftNic[];
  readonly notes: readonly ImportNote[];
}

/** A drive or NIC before `finishDraft`: keys may be missing, unfit or doubled, orders any numbers. */
export type LooseDisk = Omit<DraftDisk, 'key'> & { readonly key?: string | undefined };

export interface LooseDraft {
  readonly name: { readonly setting: string; readonly value: string | undefined };
  readonly description?: string | undefined;
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly firmware: Firmware;
  readonly disks: readonly LooseDisk[];
  readonly nics: readonly DraftNic[];
}

/** Those of an instance, see the API's instance schema. */
export const draftLimits = {
  cpus: 4096,
  minMemoryMib: 32,
  memoryMib: 67_108_864,
  disks: 24,
  nics: 8,
} as const;
const maxDevices = 1_000;
const maxDescriptionLength = 4_096;
const mib = 1_048_576;

/** The draft within the limits, with the notes about what that changed after those given. */
export function finishDraft(loose: LooseDraft, notes: readonly ImportNote[]): MachineDraft {
  const more: ImportNote[] = [];
  const name = fitName(loose.name, more);
  if (loose.disks.length > draftLimits.disks) {
    const message = `Machine "${name}" has ${loose.disks.length} drives; an instance has at most ${draftLimits.disks}.`;
    throw new WirtError('import.unsupported', message);
  }
  const memoryMib = fitMemory(loose.memoryBytes, more);
  const cpus = fitCpus(loose.cpus, more);
  const ordered = fitBootOrder(fitKeys(loose.disks), fitNics(loose.nics, more));
  const description = fitDescription(loose.description, more);
  return {
    name,
    ...(description === undefined ? {} : { description }),
    cpus,
    memoryMib,
    firmware: loose.firmware,
    machine: 'q35',
    ...ordered,
    notes: fewNotes([...more, ...notes]),
  };
}

/** Before devices are looked at one by one: `import.unsupported` for numbers that no machine has. */
export function refuseTooMany(count: number): void {
  if (count <= maxDevices) return;
  const message = `The machine has ${count} drives or NICs, more than ${maxDevices}.`;
  throw new WirtError('import.unsupported', message);
}

/** The name as a DNS label; '' when nothing of it is left. */
export function dnsLabel(name: string, maxLength = 63): string {
  if (name.length <= maxLength && /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/.test(name)) return name;
  const label = name
    .slice(0, 4_096)
    .toLowerCase()
    .normalize('NFKD')
    .replaceAll(/[^a-z0-9]+/g, '-');
  return label
    .slice(0, maxLength + 1)
    .replace(/^-/, '')
    .slice(0, maxLength)
    .replace(/-+$/, '');
}

function fitName({ setting, value }: LooseDraft['name'], notes: ImportNote[]): string {
  const label = dnsLabel(value ?? '') || 'imported';
  if (label !== value) {
    const reason = `Names are DNS labels here, so that a guest can have its own as host name; this one became "${label}".`;
    notes.push(note(setting, value ?? '', reason, 'changed'));
  }
  return label;
}

function fitDescription(text: string | undefined, notes: ImportNote[]): string | undefined {
  // Line ends as XML has them; what no line of text has is left out.
  const clean = (text ?? '')
    .replaceAll(/\r\n?/g, '\n')
    .replaceAll(/[^\P{C}\n\t]/gu, '')
    .trim();
  if (clean === '') return undefined;
  if (clean.length <= maxDescriptionLength) return clean;
  const reason = `The description was cut to ${maxDescriptionLength} characters.`;
  notes.push(note('description', clean, reason, 'changed'));
  return clean
    .slice(0, maxDescriptionLength)
    .replace(/[\ud800-\udbff]$/, '')
    .trimEnd();
}

function fitMemory(bytes: number, notes: ImportNote[]): number {
  if (!Number.isFinite(bytes) || bytes <= 0 || bytes > draftLimits.memoryMib * mib) {
    throw new WirtError('import.malformed', `The machine has ${bytes} bytes of memory, which cannot be.`);
  }
  const memoryMib = Math.max(Math.ceil(bytes / mib), draftLimits.minMemoryMib);
  if (memoryMib * mib !== bytes) {
    const reason = `Memory is in whole MiB, and at least ${draftLimits.minMemoryMib}: the guest gets ${memoryMib} MiB.`;
    notes.push(note('memory', `${bytes} bytes`, reason, 'changed'));
  }
  return memoryMib;
}

function fitCpus(cpus: number, notes: ImportNote[]): number {
  if (!Number.isSafeInteger(cpus) || cpus < 1) {
    throw new WirtError('import.malformed', `The machine has ${cpus} virtual CPUs, which cannot be.`);
  }
  if (cpus <= draftLimits.cpus) return cpus;
  const reason = `An instance has at most ${draftLimits.cpus} virtual CPUs.`;
  notes.push(note('virtual CPUs', String(cpus), reason, 'changed'));
  return draftLimits.cpus;
}

function fitNics(nics: readonly DraftNic[], notes: ImportNote[]): readonly DraftNic[] {
  for (const [index, { model, mac = '' }] of nics.slice(draftLimits.nics).entries()) {
    const reason = `An instance has at most ${draftLimits.nics} NICs.`;
    notes.push(note(`NIC ${draftLimits.nics + index + 1}`, `${model} ${mac}`, reason, 'dropped'));
  }
  return nics.slice(0, draftLimits.nics);
}

function fitKeys(disks: readonly LooseDisk[]): DraftDisk[] {
  const taken = new Set<string>();
  const wanted = disks.map(({ key }) => {
    const usable = key !== undefined && key !== '' && dnsLabel(key, 20) === key && !taken.has(key);
    if (usable) taken.add(key);
    return usable ? key : undefined;
  });
  return disks.map((disk, index) => {
    let key = wanted[index];
    for (let number = 1; key === undefined; number += 1) {
      const candidate = `${disk.device}${number}`;
      if (!taken.has(candidate)) key = candidate;
    }
    taken.add(key);
    return { ...disk, key };
  });
}

/** Numbers the boot order from 1. Where nothing has a place, firmware's usual one: the first disk, then media. */
function fitBootOrder(
  disks: readonly DraftDisk[],
  nics: readonly DraftNic[],
): Pick<MachineDraft, 'disks' | 'nics'> {
  const said = [...disks, ...nics].filter(({ bootOrder }) => bootOrder !== undefined);
  const usual = [
    ...disks.filter(({ device }) => device === 'disk').slice(0, 1),
    ...disks.filter(({ device, source }) => device === 'cdrom' && source.kind === 'file'),
  ];
  const order: readonly (DraftDisk | DraftNic)[] =
    said.length > 0 ? said.toSorted((a, b) => (a.bootOrder ?? 0) - (b.bootOrder ?? 0)) : usual;
  const numbered = <T extends DraftDisk | DraftNic>(each: T): T => {
    const { bootOrder: _said, ...rest } = each;
    const place = order.indexOf(each);
    // The cast: T without its optional bootOrder, with or without the same again, is T.
    return (place === -1 ? rest : { ...rest, bootOrder: place + 1 }) as T;
  };
  return { disks: disks.map(numbered), nics: nics.map(numbered) };
}

/** A MAC address of one station in lower case with colons; undefined for anything else, addresses of groups included. */
export function macOf(text: string): string | undefined {
  const digits = text.trim().toLowerCase().replaceAll(/[:-]/g, '');
  if (!/^[0-9a-f]{12}$/.test(digits) || !/^[0-9a-f][02468ace]/.test(digits)) return undefined;
  return digits === '000000000000' ? undefined : digits.replaceAll(/(..)(?=.)/g, '$1:');
}

/** An absolute path as a foreign host has it. `import.malformed` for anything that is not plainly one. */
export function foreignPath(path: string, what: string): string {
  const plain = path.startsWith('/') && path.length <= 4_096 && !/\p{C}/u.test(path);
  if (plain && !path.split('/').includes('..')) return path;
  const shown = printable(path);
  throw new WirtError('import.malformed', `The file of ${what}, "${shown}", is not a plain absolute path.`, {
    hint: 'Write the whole path of the file as it is on the machine of wirtd.',
  });
}
