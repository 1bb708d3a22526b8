/**
 * Unpacks a compressed disk file into the staging folder, holes kept, up to a quota: what inflates past it is stopped there.
 * The programs that read it are confined.
 */
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type Compression, WirtError } from '@wirt/api';
import type { CopyWork } from '@wirt/core';
import { fsError } from '../../platform/fs-error.ts';
import { sparseWriter } from './bytes.ts';
import { type InflateOptions, inflate } from './inflate.ts';
import { type OpenedFile, openRegularFile } from './regular-file.ts';
import { letRead } from './staging.ts';

export type Packed = Exclude<Compression, 'none'>;

const marks = {
  gzip: [0x1f, 0x8b, 0x08],
  xz: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00],
  zstd: [0x28, 0xb5, 0x2f, 0xfd],
} as const satisfies Record<Packed, readonly number[]>;

/** How the file is compressed, by its first bytes; what was said must be so. Throws `disk.format_mismatch`. */
export async function compressionOf(
  { reader, path }: OpenedFile,
  said: Compression | undefined,
): Promise<Compression> {
  if (said === 'none') return 'none';
  const head = await reader.read(0, 6);
  const found = Object.entries(marks).find(([, mark]) => mark.every((byte, at) => head[at] === byte));
  // Object.entries has lost the type of the keys.
  const compression = isSkippable(head) ? 'zstd' : ((found?.[0] ?? 'none') as Compression);
  if (said === undefined || said === compression) return compression;
  throw new WirtError('disk.format_mismatch', `${path} is not compressed with ${said}.`, {
    details: { path, said, found: compression },
    hint: 'Leave the compression out: it is found out from the file.',
  });
}

/** A frame of zstd that says nothing of the contents, and that some programs begin with (RFC 8878, 3.1.2). */
function isSkippable([first = 0, ...rest]: Uint8Array): boolean {
  return (first & 0xf0) === 0x50 && [0x2a, 0x4d, 0x18].every((byte, at) => rest[at] === byte);
}

export interface Unpacking extends InflateOptions {
  readonly folder: string;
  readonly maxBytes: number;
  readonly work: CopyWork;
}

/** Throws `disk.too_large`, `disk.refused` (damaged), `disk.convert_failed` (deadline), `host.storage_full`, `host.tool_missing`. */
export async function unpack(file: OpenedFile, packed: Packed, options: Unpacking): Promise<OpenedFile> {
  const { signal, confinement } = options.work;
  const path = join(options.folder, 'unpacked');
  try {
    await using target = await open(path, 'wx', 0o600);
    const writer = sparseWriter(target, path);
    for await (const piece of inflate(file, packed, options.work, options)) {
      signal.throwIfAborted();
      if (writer.sizeBytes + piece.length > options.maxBytes) throw tooLarge(file.path, options.maxBytes);
      await writer.append(piece).catch((error: unknown) => {
        throw fsError(error, 'write', path);
      });
    }
    await writer.end();
    await letRead(path, confinement.identity);
    return await openRegularFile(path, file.path);
  } catch (error) {
    await rm(path, { force: true });
    if (signal.aborted) throw signal.reason;
    if (error instanceof WirtError) throw error;
    throw new WirtError('disk.refused', `${file.path} is damaged: it cannot be unpacked as ${packed}.`, {
      cause: error,
      details: { path: file.path, reason: 'malformed' },
      hint: 'Copy it again from where it comes from, and compare the checksums.',
    });
  }
}

function tooLarge(path: string, maxBytes: number): WirtError {
  return new WirtError('disk.too_large', `${path} unpacks to more than ${maxBytes} bytes.`, {
    details: { path, maxBytes },
    hint: 'Look at how large it says it is: xz -l FILE, zstd -l FILE; and unpack it by hand if it is right.',
  });
}
