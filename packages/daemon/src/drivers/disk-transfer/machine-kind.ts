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
const DOCTYPE = '<!doctype';
/** Words that an xl.cfg begins a line with; one of them it must have. */
const XL_SETTING = /^[ \t]*(?:name|builder|type|kernel|bootloader|memory|disk|vcpus|firmware)[ \t]*=/m;

const hint = 'Say what it is: wirt import FILE --format ova|ovf|libvirt|xl|disk';

/** Throws `import.malformed`. */
export async function findKind(file: OpenedFile): Promise<MachineKind> {
  const head = await file.reader.read(0, HEAD_BYTES);
  if (isTar(head)) return 'ova';
  const text = textOf(head);
  const root = text === undefined ? undefined : rootOf(text);
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

/** The name of the first element, its prefix left out, in small letters. Looks at every character once: what is read is a stranger's. */
function rootOf(text: string): string | undefined {
  let at = skipSpace(text, text.startsWith('\u{feff}') ? 1 : 0);
  for (let next = afterPart(text, at); next !== at; next = afterPart(text, at)) {
    if (next === undefined) return undefined;
    at = skipSpace(text, next);
  }
  const root = /<(?:[\w.-]+:)?([\w.-]+)/y;
  root.lastIndex = at;
  return root.exec(text)?.[1]?.toLowerCase();
}

/** Where an instruction, comment or document type that begins here ends; undefined when it does not, `at` when none begins. */
function afterPart(text: string, at: number): number | undefined {
  if (text.startsWith('<?', at)) return after(text, '?>', at + 2);
  if (text.startsWith('<!--', at)) return after(text, '-->', at + 4);
  if (text.slice(at, at + DOCTYPE.length).toLowerCase() !== DOCTYPE) return at;
  const end = after(text, '>', at);
  const subset = text.indexOf('[', at);
  if (subset === -1 || end === undefined || end <= subset) return end;
  for (let closed = after(text, ']', subset); closed !== undefined; closed = after(text, ']', closed)) {
    const last = skipSpace(text, closed);
    if (text[last] === '>') return last + 1;
  }
  return undefined;
}

function after(text: string, mark: string, from: number): number | undefined {
  const found = text.indexOf(mark, from);
  return found === -1 ? undefined : found + mark.length;
}

function skipSpace(text: string, from: number): number {
  const space = /\s*/y;
  space.lastIndex = from;
  return from + (space.exec(text)?.[0].length ?? 0);
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
