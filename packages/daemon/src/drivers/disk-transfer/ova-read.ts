/**
 * Opens an OVA: every header is looked at before a byte is written, and every digest of the manifest while it is. Members are unpacked into
 * the staging folder under their own, plain, names.
 */
import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { WirtError } from '@wirt/api';
import type { CopyWork } from '@wirt/core';
import { fsError } from '../../platform/fs-error.ts';
import { readRange, sparseWriter } from './bytes.ts';
import { type Digests, digestOfBytes, expectedDigests, requireDigest } from './package-digests.ts';
import type { OpenedFile } from './regular-file.ts';
import { letRead } from './staging.ts';
import { listTar, type TarMember } from './tar.ts';

const MAX_HEADERS = 1024;
const MAX_TEXT_BYTES = 4 * 1024 ** 2;

export interface OvaContents {
  readonly descriptor: Uint8Array;
  readonly members: readonly TarMember[];
  readonly digests: Digests;
}

/** Throws `import.malformed`, `import.digest_mismatch` (of the descriptor), `disk.too_large`. */
export async function readOva(file: OpenedFile, maxBytes: number): Promise<OvaContents> {
  const members = await listTar(file.reader, { maxHeaders: MAX_HEADERS, maxBytes });
  const descriptor = only(members, '.ovf');
  if (descriptor === undefined)
    throw new WirtError('import.malformed', `${file.path} is an archive without a description (.ovf).`, {
      hint: 'If it has disks, unpack it and import them: tar xf FILE',
    });
  const manifest = only(members, '.mf');
  const names = new Set(members.map(({ name }) => name));
  const digests: Digests =
    manifest === undefined
      ? new Map()
      : expectedDigests(await readText(file, manifest), (name) => names.has(name));
  const text = await readText(file, descriptor);
  const expected = digests.get(descriptor.name);
  if (expected !== undefined) requireDigest(descriptor.name, expected, digestOfBytes(text, expected));
  return { descriptor: text, members: members.filter(isContent), digests };
}

/** Throws `import.digest_mismatch`, `host.storage_full`, the signal's reason. */
export async function unpackOva(
  file: OpenedFile,
  { members, digests }: OvaContents,
  folder: string,
  work: CopyWork,
): Promise<void> {
  const totalBytes = members.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  let doneBytes = 0;
  for (const member of members) {
    const path = join(folder, member.name);
    const expected = digests.get(member.name);
    const hash = createHash(expected?.algorithm ?? 'sha256');
    try {
      await using target = await open(path, 'wx', 0o600);
      const writer = sparseWriter(target);
      const range = { offset: member.offset, length: member.sizeBytes };
      for await (const piece of readRange(file.handle, range, work.signal)) {
        if (expected !== undefined) hash.update(piece);
        await writer.append(piece);
        doneBytes += piece.length;
        work.onProgress(doneBytes, totalBytes);
      }
      if (writer.sizeBytes !== member.sizeBytes)
        throw new WirtError('import.malformed', `${file.path} became shorter while it was read.`);
      await writer.end();
      await letRead(path, work.confinement.identity);
    } catch (error) {
      if (work.signal.aborted) throw work.signal.reason;
      throw fsError(error, 'write', path);
    }
    if (expected !== undefined) requireDigest(member.name, expected, hash.digest('hex'));
  }
}

/** Certificates are not looked at: who signed says nothing of what is in it. */
const isContent = ({ name }: TarMember): boolean => !/\.(?:ovf|mf|cert)$/i.test(name);

function only(members: readonly TarMember[], extension: string): TarMember | undefined {
  const found = members.filter(({ name }) => name.toLowerCase().endsWith(extension));
  if (found.length < 2) return found[0];
  throw new WirtError('import.malformed', `The archive has ${found.length} files of the kind ${extension}.`, {
    hint: 'Unpack it and import the .ovf that is meant: tar xf FILE',
  });
}

async function readText(file: OpenedFile, { name, offset, sizeBytes }: TarMember): Promise<Uint8Array> {
  if (sizeBytes > MAX_TEXT_BYTES)
    throw new WirtError('import.malformed', `${JSON.stringify(name)} is larger than 4 MiB.`);
  return await file.reader.read(offset, sizeBytes);
}
