/** Digests of the files of an OVF package against its manifest. */
import { createHash } from 'node:crypto';
import { WirtError } from '@wirt/api';
import { decodeText, type ManifestEntry, memberNames, readManifest } from '@wirt/core';

export type Digests = ReadonlyMap<string, ManifestEntry>;

/** By the names of files that are there. Throws `import.malformed`, also when a file is missing. */
export function expectedDigests(manifest: Uint8Array, hasFile: (name: string) => boolean): Digests {
  const digests = new Map<string, ManifestEntry>();
  for (const entry of readManifest(decodeText(manifest, 'The manifest'))) {
    const name = memberNames(entry.file).find(hasFile);
    if (name === undefined)
      throw new WirtError(
        'import.malformed',
        `The manifest names ${JSON.stringify(entry.file)}, which is missing.`,
        {
          hint: 'Copy the whole export again; the files lie together, under the names that they were exported with.',
          details: { file: entry.file },
        },
      );
    digests.set(name, entry);
  }
  return digests;
}

/** Throws `import.digest_mismatch`. */
export function requireDigest(name: string, expected: ManifestEntry, digest: string): void {
  if (digest === expected.digest) return;
  throw new WirtError(
    'import.digest_mismatch',
    `${JSON.stringify(name)} is not the file that the manifest was made for.`,
    {
      details: { file: name, algorithm: expected.algorithm, expected: expected.digest, found: digest },
      hint: 'Copy the export again. If the file was changed on purpose, remove the manifest (.mf).',
    },
  );
}

export function digestOfBytes(bytes: Uint8Array, { algorithm }: ManifestEntry): string {
  return createHash(algorithm).update(bytes).digest('hex');
}
