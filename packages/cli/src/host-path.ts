/** Files as people name them on a command line: paths made absolute for wirtd, formats and names taken from file names. */
import { realpathSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { DiskExport, DiskFileFormat } from '@wirt/api';
import { BadValue, quote } from './units.ts';

/** A file to write. wirtd is on the same machine, but in another directory. */
export function hostPath(path: string): string {
  return resolve(path);
}

/**
 * A file to read: where links lead, since wirtd follows none at the end of a path but those of devices, whose own names say less. What is
 * not there is wirtd's to refuse.
 */
export function sourcePath(path: string): string {
  const absolute = resolve(path);
  try {
    const real = realpathSync(absolute);
    return isDevice(absolute) && isDevice(real) ? absolute : real;
  } catch {
    return absolute;
  }
}

function isDevice(path: string): boolean {
  return path.startsWith('/dev/');
}

export type Source = { readonly path: string } | { readonly url: string };

/** What has a scheme is an address; `file:` is a path after all. Throws BadValue for schemes that nobody fetches. */
export function sourceOf(text: string): Source {
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(text)?.[1]?.toLowerCase();
  switch (scheme) {
    case undefined:
      return { path: hostPath(text) };
    case 'http':
    case 'https':
      return { url: text };
    case 'file':
      return { path: fileURLToPath(text) };
    default:
      throw new BadValue(`is a file or an http or https address, and not ${quote(text)}`);
  }
}

const packed = /\.(gz|gzip|xz|zst|zstd)$/i;
const diskEndings = /\.(qcow2?|img|raw|vmdk|vhd|vpc|vhdx|vdi|iso|ova|ovf|xml|cfg)$/i;

/** A name for what is in the file: its own, as a DNS label. Undefined when nothing of it is left. */
export function nameFromFile(source: Source): string | undefined {
  const path = 'url' in source ? decoded(URL.parse(source.url)?.pathname ?? '') : source.path;
  const bare = basename(path).replace(packed, '').replace(diskEndings, '');
  const label = bare
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 63)
    .replace(/^-+|-+$/g, '');
  return label === '' ? undefined : label;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** `vhd` is what people call QEMU's `vpc`. */
export const diskFormatChoices = ['qcow2', 'raw', 'vmdk', 'vhd', 'vpc', 'vhdx', 'vdi', 'iso'] as const;
export const exportFormatChoices = ['qcow2', 'raw', 'vmdk', 'vhd', 'vpc', 'vhdx', 'vdi'] as const;

export function diskFormat(given: (typeof diskFormatChoices)[number]): DiskFileFormat {
  return given === 'vhd' ? 'vpc' : given;
}

/** As asked; else by the ending of the file to write; else qcow2. */
export function exportFormat(
  given: (typeof exportFormatChoices)[number] | undefined,
  file: string,
): NonNullable<DiskExport['format']> {
  const ending = /\.([a-z0-9]+)$/i.exec(file)?.[1]?.toLowerCase();
  const meant = ending === 'img' ? 'raw' : ending;
  const format = given ?? exportFormatChoices.find((choice) => choice === meant) ?? 'qcow2';
  return format === 'vhd' ? 'vpc' : format;
}
