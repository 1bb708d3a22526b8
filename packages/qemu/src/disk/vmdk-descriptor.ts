/**
 * Reads the text that describes a VMDK disk. QEMU takes it loosely (an extent may go over several lines, a name is
 * found in the middle of a comment), so that here only lines of known shape pass: what QEMU would see is what was seen.
 * Source: VMware "Virtual Disk Format 5.0"; behaviour of QEMU's vmdk driver, observed.
 */

import type { OpenDisk } from './open-disk.ts';
import { quoteBytes } from './refused.ts';

export interface VmdkExtent {
  /** A plain file name: the file is to be found beside the descriptor. */
  file: string;
  sizeSectors: number;
  type: 'FLAT' | 'VMFS' | 'SPARSE';
  /** Where in a FLAT extent's file the data begin. */
  offsetSectors: number;
}

export interface VmdkDescriptor {
  createType: string | undefined;
  extents: VmdkExtent[];
  sizeSectors: number;
}

export const MAX_DESCRIPTOR_BYTES = 1024 * 1024 - 1;
const MAX_EXTENTS = 256;
const MAX_NAME_BYTES = 255;
const SINGLE_KEYS = ['version', 'cid', 'parentcid', 'createtype'];

const SETTING = /^([A-Za-z][\w.:-]*)\s*=\s*(.*)$/;
const EXTENT = /^(RW|RDONLY|NOACCESS)\s+(\d+)\s+([A-Z]+)(?:\s+"([^"]*)"(?:\s+(\d+)(?:\s.*)?)?)?$/;

/**
 * `whole`: the descriptor is the file, and QEMU opens its extents; else it is embedded in the one extent there is.
 * Throws DiskRefused.
 */
export function parseVmdkDescriptor(disk: OpenDisk, bytes: Uint8Array, whole: boolean): VmdkDescriptor {
  refuseParent(disk, bytes);
  const end = bytes.indexOf(0);
  const text = latin1(end < 0 ? bytes : bytes.subarray(0, end));
  const settings = new Map<string, string>();
  const extents: VmdkExtent[] = [];
  let blankBefore = false;
  for (const line of text.split('\n').map((each) => each.trim())) {
    if (line === '') {
      blankBefore = true;
      continue;
    }
    const extent = EXTENT.exec(line);
    if (extent) {
      if (whole && blankBefore) {
        throw disk.refuse('malformed', 'a blank line stands before an extent, which QEMU then counts twice');
      }
      extents.push(readExtent(disk, extent, whole));
      if (extents.length > MAX_EXTENTS) throw disk.refuse('absurd-geometry', `over ${MAX_EXTENTS} extents`);
    } else if (!line.startsWith('#')) {
      readSetting(disk, line, settings);
    }
    blankBefore = false;
  }
  const sizeSectors = extents.reduce((sum, extent) => sum + extent.sizeSectors, 0);
  return { createType: unquoted(settings.get('createtype')), extents, sizeSectors };
}

/** QEMU looks for these words anywhere, comments included, and follows them. */
export function refuseParent(disk: OpenDisk, bytes: Uint8Array): void {
  const text = latin1(bytes);
  const hint = /parentFileNameHint[^\n\0]{0,300}/i.exec(text);
  if (hint) {
    throw disk.refuse(
      'differencing',
      `it needs a parent disk: ${quoteBytes(Buffer.from(hint[0], 'latin1'))}`,
    );
  }
  for (const [, parent] of text.matchAll(/parentCID\s*=?\s*([0-9A-Za-z]*)/gi)) {
    if (!/^f{8}$/i.test(parent ?? '')) {
      throw disk.refuse('differencing', `it needs a parent disk: its parentCID is "${parent}", not ffffffff`);
    }
  }
}

function readSetting(disk: OpenDisk, line: string, settings: Map<string, string>): void {
  const [, name, value] = SETTING.exec(line) ?? [];
  if (name === undefined || value === undefined) {
    throw disk.refuse('malformed', `its descriptor has the line ${quoteText(line)}`);
  }
  const key = name.toLowerCase();
  if (SINGLE_KEYS.includes(key) && settings.has(key)) {
    throw disk.refuse('malformed', `its descriptor says ${name} twice`);
  }
  settings.set(key, value);
}

function readExtent(disk: OpenDisk, match: RegExpExecArray, whole: boolean): VmdkExtent {
  const [line, access, sectors, type, name, offset] = match;
  const refuse = (reason: 'malformed' | 'unsupported-feature' | 'absurd-geometry' | 'external-extent') =>
    disk.refuse(reason, `its descriptor has the extent ${quoteText(line)}`);
  const sizeSectors = Number(sectors);
  const offsetSectors = Number(offset ?? 0);
  const last = (sizeSectors + offsetSectors) * 512;
  if (sizeSectors === 0 || !Number.isSafeInteger(last)) throw refuse('absurd-geometry');
  if (name !== undefined && !isPlainName(name)) throw refuse('external-extent');
  if (type === 'VMFSRDM' || type === 'VMFSRAW') throw refuse('external-extent');
  // What is not to be written, or of no such type, QEMU leaves out of the disk without a word.
  if (type !== 'FLAT' && type !== 'VMFS' && type !== 'SPARSE') throw refuse('unsupported-feature');
  if (whole && access !== 'RW') throw refuse('unsupported-feature');
  if (name === undefined || (whole && (type === 'FLAT') !== (offset !== undefined)))
    throw refuse('malformed');
  const file = utf8(name);
  if (file === undefined) throw refuse('external-extent');
  return { file, sizeSectors, type, offsetSectors };
}

/** Not a path in any system's notation, and nothing that QEMU takes for a protocol. */
function isPlainName(name: string): boolean {
  if (name === '' || name.length > MAX_NAME_BYTES || name === '.' || name.includes('..')) return false;
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  return !/[/\\:\u0000-\u001f\u007f]/.test(name);
}

const unquoted = (value: string | undefined): string | undefined => value?.replace(/^"(.*)"$/, '$1');

const latin1 = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');

const quoteText = (text: string): string => quoteBytes(Buffer.from(text, 'latin1'));

function utf8(text: string): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(text, 'latin1'));
  } catch {
    return undefined;
  }
}
