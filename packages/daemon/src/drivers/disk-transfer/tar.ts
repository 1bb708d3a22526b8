/**
 * Reads the headers of a tar (ustar, with the long names and sizes of GNU and pax) by their places, so that a large one is listed in a
 * moment. Strict, as an OVA is flat: plain files with plain names, each once; anything else is refused. Pure but for its reader.
 */
import { WirtError } from '@wirt/api';
import type { DiskReader } from '@wirt/qemu';

export interface TarMember {
  readonly name: string;
  /** Where its bytes are in the archive. */
  readonly offset: number;
  readonly sizeBytes: number;
}

export interface TarLimits {
  readonly maxHeaders: number;
  /** Of all members together. */
  readonly maxBytes: number;
}

const BLOCK = 512;
const MAX_EXTENSION_BYTES = 64 * 1024;
const MAX_NAME_BYTES = 255;

interface Header {
  readonly name: string;
  readonly sizeBytes: number;
  readonly type: string;
}

/** Said in a header of its own, for the member that comes next. */
interface Extension {
  readonly name?: string;
  readonly sizeBytes?: number;
}

const malformed = (message: string): WirtError =>
  new WirtError('import.malformed', message, {
    hint: 'Look into it: tar tvf FILE. Export the machine again, or unpack it by hand and import the .ovf.',
  });

export function isTar(head: Uint8Array): boolean {
  return Buffer.from(head.subarray(257, 262)).toString('latin1') === 'ustar';
}

/** In the order of the archive. Throws `import.malformed`, `disk.too_large`. */
export async function listTar(reader: DiskReader, limits: TarLimits): Promise<TarMember[]> {
  const members = new Map<string, TarMember>();
  let extension: Extension = {};
  let totalBytes = 0;
  let headers = 0;
  for (let at = 0; at < reader.sizeBytes; ) {
    const block = await reader.read(at, BLOCK);
    if (block.length < BLOCK) throw malformed('The archive ends within a header.');
    if (block.every((byte) => byte === 0)) break;
    if ((headers += 1) > limits.maxHeaders)
      throw malformed(`The archive has more than ${limits.maxHeaders} members.`);
    const header = readHeader(block);
    const said = extension.sizeBytes;
    const sizeBytes = said !== undefined && isFile(header.type) ? said : header.sizeBytes;
    const offset = at + BLOCK;
    if (offset + sizeBytes > reader.sizeBytes)
      throw malformed(`The archive ends before its member ${quote(header.name)} does.`);
    at = offset + Math.ceil(sizeBytes / BLOCK) * BLOCK;
    if (isExtension(header.type)) {
      extension = { ...extension, ...(await readExtension(reader, header, offset)) };
      continue;
    }
    const name = plainName(extension.name ?? header.name);
    extension = {};
    if (header.type === '5' && name === '') continue;
    if (!isFile(header.type)) throw malformed(`The member ${quote(name)} is ${kindOf(header.type)}.`);
    requirePlain(name);
    const key = name.normalize('NFC');
    if (members.has(key)) throw malformed(`The archive has the member ${quote(name)} twice.`);
    members.set(key, { name, offset, sizeBytes });
    totalBytes += sizeBytes;
    if (totalBytes > limits.maxBytes) throw tooLarge(totalBytes, limits.maxBytes);
  }
  return [...members.values()];
}

function readHeader(block: Uint8Array): Header {
  let sum = 0;
  for (const [at, byte] of block.entries()) sum += at >= 148 && at < 156 ? 0x20 : byte;
  if (!isTar(block) || number(block, 148, 8) !== sum)
    throw malformed('The archive is damaged, or is no tar: a header is not right.');
  const prefix = isPosix(block) ? text(block, 345, 155) : '';
  const name = text(block, 0, 100);
  return {
    name: prefix === '' ? name : `${prefix}/${name}`,
    sizeBytes: number(block, 124, 12),
    type: String.fromCharCode(block[156] ?? 0),
  };
}

/** GNU's own format has other things where POSIX has the rest of a long name. */
const isPosix = (block: Uint8Array): boolean => block[262] === 0;
const isFile = (type: string): boolean => type === '0' || type === '\0';
const isExtension = (type: string): boolean => ['x', 'g', 'L'].includes(type);

function kindOf(type: string): string {
  switch (type) {
    case '1':
      return 'a hard link';
    case '2':
      return 'a symbolic link';
    case '3':
    case '4':
      return 'a device';
    case '5':
      return 'a folder';
    case '6':
      return 'a pipe';
    case 'S':
      return 'a sparse file';
    default:
      return `of the unknown type ${JSON.stringify(type)}`;
  }
}

async function readExtension(reader: DiskReader, header: Header, offset: number): Promise<Extension> {
  if (header.sizeBytes > MAX_EXTENSION_BYTES)
    throw malformed(`The archive has an extended header of ${header.sizeBytes} bytes.`);
  const bytes = await reader.read(offset, header.sizeBytes);
  if (header.type === 'L') return { name: utf8(bytes.subarray(0, ending(bytes))) };
  const records = paxRecords(bytes);
  const sparse = [...records.keys()].find((key) => key.startsWith('GNU.sparse.'));
  if (sparse !== undefined) throw malformed('The archive has a sparse file.');
  const [name, size] = [records.get('path'), records.get('size')];
  if (header.type === 'g' && (name !== undefined || size !== undefined))
    throw malformed('The archive says one name or size for all its members.');
  if (size !== undefined && !/^\d{1,15}$/.test(size))
    throw malformed(`The archive has a member of the size ${quote(size)}.`);
  return {
    ...(name === undefined ? {} : { name }),
    ...(size === undefined ? {} : { sizeBytes: Number(size) }),
  };
}

/** `LENGTH KEY=VALUE\n`, the length in bytes and of the whole. */
function paxRecords(bytes: Uint8Array): ReadonlyMap<string, string> {
  const records = new Map<string, string>();
  for (let at = 0; at < bytes.length; ) {
    const wrong = malformed('The archive has an extended header that cannot be read.');
    const space = bytes.indexOf(0x20, at);
    const digits = space < 0 ? '' : utf8(bytes.subarray(at, space));
    const length = /^[1-9]\d{0,5}$/.test(digits) ? Number(digits) : 0;
    if (length === 0 || at + length > bytes.length || bytes[at + length - 1] !== 0x0a) throw wrong;
    const record = bytes.subarray(space + 1, at + length - 1);
    const equals = record.indexOf(0x3d);
    if (equals <= 0) throw wrong;
    // Values of other keys may be any bytes.
    const key = Buffer.from(record.subarray(0, equals)).toString('latin1');
    const value = record.subarray(equals + 1);
    if (records.has(key)) throw wrong;
    records.set(key, key === 'path' || key === 'size' ? utf8(value) : '');
    at += length;
  }
  return records;
}

/** Octal, or with the highest bit set a big-endian number; negative ones and those over 2^53 are no sizes. */
function number(block: Uint8Array, at: number, length: number): number {
  const field = block.subarray(at, at + length);
  if (field[0] === 0x80) {
    const value = field.subarray(1).reduce((sum, byte) => sum * 256 + byte, 0);
    if (Number.isSafeInteger(value)) return value;
    throw malformed('The archive has a member of a size that cannot be.');
  }
  const digits = Buffer.from(field)
    .toString('latin1')
    .replaceAll(/^[ ]+|[ \0]+$/g, '');
  if (!/^[0-7]*$/.test(digits)) throw malformed('The archive has a header with a number that is none.');
  return digits === '' ? 0 : Number.parseInt(digits, 8);
}

function ending(bytes: Uint8Array): number {
  const end = bytes.indexOf(0);
  return end < 0 ? bytes.length : end;
}

function text(block: Uint8Array, at: number, length: number): string {
  const field = block.subarray(at, at + length);
  return utf8(field.subarray(0, ending(field)));
}

function utf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new WirtError('import.malformed', 'The archive has a name that is not in UTF-8.', { cause });
  }
}

/** `tar -C FOLDER .` puts `./` before every name, and a member for the folder. */
const plainName = (name: string): string => name.replace(/^\.\//, '');

function requirePlain(name: string): void {
  const bytes = Buffer.byteLength(name);
  const isPlain = name !== '' && name !== '.' && name !== '..' && !/[/\\\p{C}]/u.test(name);
  if (!isPlain || bytes > MAX_NAME_BYTES)
    throw malformed(`The archive has a member with the name ${quote(name)}, which is no plain name.`);
}

/** Of a stranger: short, on one line, without what terminals act on. */
function quote(name: string): string {
  return JSON.stringify(name.slice(0, 100).replaceAll(/\p{C}/gu, '\u{fffd}'));
}

function tooLarge(bytes: number, maxBytes: number): WirtError {
  const message = `The members of the archive have ${bytes} bytes or more, ${maxBytes} are allowed.`;
  return new WirtError('disk.too_large', message, { details: { bytes, maxBytes } });
}
