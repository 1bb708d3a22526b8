/** The manifest of an OVF package (`.mf`, DSP0243 §5.1): which digest each file has. Read strictly, written as VMware does. */
import { WirtError } from '@wirt/api';
import { printable } from './notes.ts';
import { packageFile } from './ovf-envelope.ts';

export type DigestAlgorithm = 'sha1' | 'sha256' | 'sha512';

export interface ManifestEntry {
  readonly file: string;
  readonly algorithm: DigestAlgorithm;
  /** Lower-case hexadecimal. */
  readonly digest: string;
}

const hexLength = { sha1: 40, sha256: 64, sha512: 128 } as const satisfies Record<DigestAlgorithm, number>;
const maxManifestLength = 1_048_576;
const maxLineLength = 2_048;

/**
 * `SHA256(name)= hex` and `SHA256 (name) = hex`, in either case. `import.malformed` with the line for anything else, for a
 * file that is named twice, and for a digest of a wrong length.
 */
export function readManifest(text: string): ManifestEntry[] {
  if (text.length > maxManifestLength)
    throw new WirtError('import.malformed', 'The manifest is larger than 1 MiB.');
  const entries = new Map<string, ManifestEntry>();
  for (const [index, line] of text
    .replace(/^\u{feff}/u, '')
    .split(/\r?\n/)
    .entries()) {
    if (line.trim() === '') continue;
    const fail = (sentence: string): never => {
      throw new WirtError('import.malformed', `The manifest, line ${index + 1}: ${sentence}.`);
    };
    if (line.length > maxLineLength) fail('it is too long');
    const [, name = '', file = '', digest = ''] =
      /^\s*([a-z]+-?\d+)\s*\((.+)\)\s*=\s*([0-9a-f]+)\s*$/i.exec(line) ??
      fail(`"${printable(line, 80)}" is no digest`);
    const algorithm =
      algorithmOf(name) ??
      fail(`the algorithm ${printable(name, 20)} is not known, only SHA1, SHA256 and SHA512`);
    if (digest.length !== hexLength[algorithm])
      fail(`the digest of "${printable(file, 80)}" has a wrong length`);
    if (entries.has(file)) fail(`the file "${printable(file, 80)}" is named twice`);
    entries.set(packageFile(file), { file, algorithm, digest: digest.toLowerCase() });
  }
  return [...entries.values()];
}

function algorithmOf(name: string): DigestAlgorithm | undefined {
  const plain = name.toLowerCase().replace('-', '');
  return plain === 'sha1' || plain === 'sha256' || plain === 'sha512' ? plain : undefined;
}

export function writeManifest(entries: readonly ManifestEntry[]): string {
  return entries
    .map(({ file, algorithm, digest }) => `${algorithm.toUpperCase()}(${file})= ${digest}\n`)
    .join('');
}
