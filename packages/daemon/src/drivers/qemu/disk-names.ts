// QEMU's names for a guest's disks, and the way back from them: a daemon that takes a guest up knows its disks by nothing
// else. Devices, iothreads and jobs carry the name of the disk. Block nodes, which may have 31 characters, carry the layer's
// id and a number that no other disk of the guest has, since two disks may share a layer; the throttle above them the number alone.

const device = 'disk-';
const iothread = 'io-';
/** Of a further thread of a disk; no name of a disk has a point. */
const furtherIothread = /^([^.]+)\.[1-9]\d*$/;
const job = 'pull-';
/** A QOM path of a device, or of a part of it. */
const qomPath = /^\/machine\/peripheral\/([^/]+)(?:\/|$)/;
const node = /^([df])(\d{1,3})-([0-9A-Za-z-]{1,26})$/;
const throttle = /^t(\d{1,3})$/;

/** More disks than any guest has. */
export const maxDiskNumber = 999;

export const deviceOf = (disk: string): string => device + disk;
/** As many as are wanted; the first has the name of the disk alone. */
export const iothreadsOf = (disk: string, count: number): string[] =>
  Array.from({ length: count }, (_thread, at) => `${iothread}${disk}${at === 0 ? '' : `.${at}`}`);
export const jobOf = (disk: string, layer: string): string => `${job}${disk}-${layer}`;

/** The disk whose device this is; undefined for what is no disk. Takes ids and QOM paths, as QEMU gives both. */
export function diskOfDevice(idOrPath: string): string | undefined {
  return without(device, qomPath.exec(idOrPath)?.[1] ?? idOrPath);
}

export function diskOfIothread(id: string): string | undefined {
  const name = without(iothread, id);
  return name === undefined ? undefined : (furtherIothread.exec(name)?.[1] ?? name);
}

/** Whether this is a job on the chain of the disk. */
export function isJobOf(disk: string, id: string): boolean {
  const layer = without(`${job}${disk}-`, id);
  return layer !== undefined && !layer.includes('-');
}

function without(prefix: string, text: string): string | undefined {
  return text.startsWith(prefix) ? text.slice(prefix.length) : undefined;
}

export interface LayerNodeName {
  /** `format` is what a throttle, a device or an overlay lies on, `file` the node below it that has the file open. */
  readonly kind: 'format' | 'file';
  readonly number: number;
  readonly layer: string;
}

/** The filter between a disk's device and its uppermost layer, whichever that is. */
export interface ThrottleNodeName {
  readonly kind: 'throttle';
  readonly number: number;
}

export function nodeName({ kind, number, layer }: LayerNodeName): string {
  return `${kind === 'format' ? 'd' : 'f'}${number}-${layer}`;
}

export const throttleName = (number: number): string => `t${number}`;

/** Undefined for a node that is none of a disk's. */
export function parseNodeName(name: string): LayerNodeName | ThrottleNodeName | undefined {
  const [, ofThrottle] = throttle.exec(name) ?? [];
  if (ofThrottle !== undefined) return { kind: 'throttle', number: Number(ofThrottle) };
  const [, kind, number, layer] = node.exec(name) ?? [];
  if (kind === undefined || layer === undefined) return undefined;
  return { kind: kind === 'd' ? 'format' : 'file', number: Number(number), layer };
}
