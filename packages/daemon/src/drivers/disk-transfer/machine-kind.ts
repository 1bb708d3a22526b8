/**
 * What a file is that a machine, or a bare disk, is to be imported from: by its contents, and only then by its name. Pure.
 */
import { extname } from 'node:path';
import { WirtError } from '@wirt/api';
import { type DiskFormat, sniffDisk } from '@wirt/qemu';
import type { OpenedFile } from './regular-file.ts';
import { isTar } from './tar.ts';

export type MachineKind = 'ova' | 'ovf' | 'libvirt' | 'xl' | 'disk';

const HEAD_BYTES = 64 * 1024;
const PROLOGUE =
  /^\u{feff}?(?:\s|<\?[^]*?\?>|<!--[^]*?-->|<!DOCTYPE[^>[]*(?:\[[^]*?\]\s*)?>)*<(?:[\w.-]+:)?([\w.-]+)/iu;
/** Words that an xl.cfg begins a line with; one of them it must have. */
const XL_SETTING = /^[ \t]*(?:name|builder|type|kernel|bootloader|memory|disk|vcpus|firmware)[ \t]*=/m;

const hint = 'Say what it is: wirt import FILE --format ova|ovf|libvirt|xl|disk';

/** Throws `import.malformed`. */
export async function findKind(file: OpenedFile): Promise<MachineKind> {
  const head = await file.reader.read(0, HEAD_BYTES);
  if (isTar(head)) return 'ova';
  const text = textOf(head);
  const root = text === undefined ? undefined : PROLOGUE.exec(text)?.[1]?.toLowerCase();
  if (root === 'envelope') return 'ovf';
  if (root === 'domain') return 'libvirt';
  if (root !== undefined) throw unknown(file.path, `it is XML, and its root is <${root.slice(0, 40)}>`);
  if (isDisk(await sniffDisk(file.reader))) return 'disk';
  if (text !== undefined && XL_SETTING.test(text)) return 'xl';
  const extension = extname(file.path).toLowerCase();
  if (text !== undefined && ['.cfg', '.xl'].includes(extension)) return 'xl';
  if (['.raw', '.img'].includes(extension)) return 'disk';
  throw unknown(file.path, 'it is neither a description of a machine nor a disk with a header');
}

/** Also what is not read: then it says of the disk why. */
function isDisk(format: DiskFormat): boolean {
  return format !== 'raw' && format !== 'tar';
}

/** Undefined for what is not text; the last character may be cut. */
function textOf(head: Uint8Array): string | undefined {
  const isUtf16 = (head[0] === 0xff && head[1] === 0xfe) || (head[0] === 0xfe && head[1] === 0xff);
  const encoding = !isUtf16 ? 'utf-8' : head[0] === 0xff ? 'utf-16le' : 'utf-16be';
  const text = new TextDecoder(encoding).decode(head);
  return text.includes('\0') || text.slice(0, -4).includes('\u{fffd}') ? undefined : text;
}

function unknown(path: string, why: string): WirtError {
  return new WirtError('import.malformed', `What ${path} is cannot be found out: ${why}.`, { hint });
}
