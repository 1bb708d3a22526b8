// QEMU's names for a guest's disks, and the way back from them: a daemon that takes a guest up knows its disks by nothing
// else. Devices, iothreads and jobs carry the name of the disk. Block nodes, which may have 31 characters, carry the layer's
// id and a number that no other disk of the guest has, since two disks may share a layer.

const device = 'disk-';
const iothread = 'io-';
const job = 'pull-';
/** A QOM path of a device, or of a part of it. */
const qomPath = /^\/machine\/peripheral\/([^/]+)(?:\/|$)/;
const node = /^([df])(\d{1,3})-([0-9A-Za-z-]{1,26})$/;

/** More disks than any guest has. */
export const maxDiskNumber = 999;

export const deviceOf = (disk: string): string => device + disk;
export const iothreadOf = (disk: string): string => iothread + disk;
export const jobOf = (disk: string, layer: string): string => `${job}${disk}-${layer}`;

/** The disk whose device this is; undefined for what is no disk. Takes ids and QOM paths, as QEMU gives both. */
export function diskOfDevice(idOrPath: string): string | undefined {
  return without(device, qomPath.exec(idOrPath)?.[1] ?? idOrPath);
}

export function diskOfIothread(id: string): string | undefined {
  return without(iothread, id);
}

/** Whether this is a job on the chain of the disk. */
export function isJobOf(disk: string, id: string): boolean {
  const layer = without(`${job}${disk}-`, id);
  return layer !== undefined && !layer.includes('-');
}

function without(prefix: string, text: string): string | undefined {
  return text.startsWith(prefix) ? text.slice(prefix.length) : undefined;
}

export interface NodeName {
  /** `format` is what a device or an overlay lies on, `file` the node below it that has the file open. */
  readonly kind: 'format' | 'file';
  readonly number: number;
  readonly layer: string;
}

export function nodeName({ kind, number, layer }: NodeName): string {
  return `${kind === 'format' ? 'd' : 'f'}${number}-${layer}`;
}

/** Undefined for a node that is none of a disk's. */
export function parseNodeName(name: string): NodeName | undefined {
  const [, kind, number, layer] = node.exec(name) ?? [];
  if (kind === undefined || layer === undefined) return undefined;
  return { kind: kind === 'd' ? 'format' : 'file', number: Number(number), layer };
}
