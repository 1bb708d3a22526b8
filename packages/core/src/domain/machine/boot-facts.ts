/**
 * Which firmware can boot a disk, by its first sectors: MBR and GPT (UEFI 2.10, 5.2 and 5.3), with sectors of 512 bytes. Pure; whatever the
 * bytes are, nothing is believed of them beyond a hint.
 */
import { type ImportNote, note } from './notes.ts';

/** The MBR, the header of a GPT and its 128 entries. */
export const bootHeadBytes = 64 * 1024;

const sector = 512;
const bootCodeBytes = 440;
const maxEntries = 128;
const espGuid = 'c12a7328-f81f-11d2-ba4b-00a0c93ec93b';

export interface BootFacts {
  readonly table: 'gpt' | 'mbr' | 'none';
  /** There is code where a BIOS begins. */
  readonly bios: boolean;
  /** There is a partition where UEFI looks for a loader. */
  readonly esp: boolean;
}

export function bootFactsOf(head: Uint8Array): BootFacts {
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  if (head.length < 2 * sector || view.getUint16(510, true) !== 0xaa55)
    return { table: 'none', bios: false, esp: false };
  const bios = head.subarray(0, bootCodeBytes).some((byte) => byte !== 0);
  const types = [0, 1, 2, 3].map((at) => view.getUint8(446 + 16 * at + 4));
  if (ascii(head, sector, 8) === 'EFI PART')
    return { table: 'gpt', bios, esp: gptTypes(view).includes(espGuid) };
  // A file system without a table around it has the same mark, and no entries that can be.
  const isTable = [0, 1, 2, 3].every((at) => [0x00, 0x80].includes(view.getUint8(446 + 16 * at)));
  if (!isTable || types.every((type) => type === 0)) return { table: 'none', bios, esp: false };
  return { table: 'mbr', bios, esp: types.includes(0xef) };
}

function gptTypes(view: DataView): string[] {
  const first = Number(view.getBigUint64(sector + 72, true)) * sector;
  const count = Math.min(view.getUint32(sector + 80, true), maxEntries);
  const bytes = view.getUint32(sector + 84, true);
  if (bytes < 128) return [];
  const places = Array.from({ length: count }, (_, at) => first + at * bytes);
  return places.filter((at) => at + 16 <= view.byteLength).map((at) => guidAt(view, at));
}

/** The first three fields are little-endian. */
function guidAt(view: DataView, at: number): string {
  const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0');
  const tail = Array.from({ length: 8 }, (_, index) => hex(view.getUint8(at + 8 + index), 2)).join('');
  const head = [
    hex(view.getUint32(at, true), 8),
    hex(view.getUint16(at + 4, true), 4),
    hex(view.getUint16(at + 6, true), 4),
  ];
  return [...head, tail.slice(0, 4), tail.slice(4)].join('-');
}

function ascii(bytes: Uint8Array, at: number, length: number): string {
  return String.fromCharCode(...bytes.subarray(at, at + length));
}

/** What to know when the firmware that was chosen will most likely not boot this disk. */
export function bootNotes(
  disk: string,
  { table, bios, esp }: BootFacts,
  firmware: 'bios' | 'uefi',
): ImportNote[] {
  const hint = (value: string, reason: string): ImportNote[] => [
    note(`firmware for ${disk}`, value, reason, 'hint'),
  ];
  if (table === 'none' && !bios)
    return hint(
      firmware,
      'The disk has neither a partition table nor boot code: no firmware boots from it. A bare file system (Xen) has to be copied into a partition, with a boot loader.',
    );
  if (firmware === 'bios' && esp && !bios)
    return hint(
      firmware,
      'The disk has an EFI system partition and no boot code for a BIOS: use --firmware uefi.',
    );
  if (firmware === 'bios' && !bios)
    return hint(firmware, 'The disk has no boot code for a BIOS: it will most likely not boot.');
  if (firmware === 'uefi' && !esp)
    return hint(
      firmware,
      'The disk has no EFI system partition, and was most likely booted by a BIOS: use --firmware bios.',
    );
  return [];
}
