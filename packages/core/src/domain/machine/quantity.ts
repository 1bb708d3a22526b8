/** Sizes as OVF (DMTF DSP0004 programmatic units, and the words used before) and libvirt write them. Pure. */
import { WirtError } from '@wirt/api';
import { printable } from './notes.ts';

const words: Readonly<Record<string, number>> = {
  byte: 1,
  bytes: 1,
  kilobytes: 2 ** 10,
  kb: 2 ** 10,
  kib: 2 ** 10,
  megabytes: 2 ** 20,
  mb: 2 ** 20,
  mib: 2 ** 20,
  gigabytes: 2 ** 30,
  gb: 2 ** 30,
  gib: 2 ** 30,
  terabytes: 2 ** 40,
  tb: 2 ** 40,
  tib: 2 ** 40,
};

/** Bytes of one unit: `byte * 2^20`, `MegaBytes`; undefined when it is none of bytes. */
export function ovfUnitBytes(units: string): number | undefined {
  const compact = units.toLowerCase().replaceAll(/\s+/g, '');
  const power = /^bytes?\*(2|10)\^(\d{1,2})$/.exec(compact);
  if (power !== null) return Number(power[1]) ** Number(power[2]);
  const factor = /^bytes?\*(\d{1,9})$/.exec(compact);
  if (factor !== null) return Number(factor[1]);
  return Object.hasOwn(words, compact) ? words[compact] : undefined;
}

const prefixes = ['b', 'k', 'm', 'g', 't', 'p', 'e'];

/** Bytes of one unit of libvirt: `KiB` and `k` are 1024, `KB` is 1000; undefined when it is none. */
export function libvirtUnitBytes(unit: string): number | undefined {
  const lower = unit.toLowerCase();
  if (lower === 'b' || lower === 'byte' || lower === 'bytes') return 1;
  const power = prefixes.indexOf(lower.slice(0, 1));
  if (power < 1) return undefined;
  const rest = lower.slice(1);
  if (rest === 'b') return 1000 ** power;
  return rest === '' || rest === 'ib' ? 1024 ** power : undefined;
}

/** A whole number that fits; `import.malformed` with what it is of. */
export function wholeNumber(text: string | undefined, what: string): number {
  const number = text !== undefined && /^\d{1,16}$/.test(text.trim()) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(number)) return number;
  throw new WirtError(
    'import.malformed',
    `${what} is "${printable(text ?? '', 40)}", which is no whole number.`,
  );
}

/** `number` units of `unitBytes`; `import.malformed` when that is more than can be counted. */
export function bytesOf(number: number, unitBytes: number, what: string): number {
  const bytes = number * unitBytes;
  if (Number.isSafeInteger(bytes)) return bytes;
  throw new WirtError('import.malformed', `${what} is ${number} times ${unitBytes} bytes, which cannot be.`);
}
