/** The first bytes that a guest would see of a disk that was looked into: of a raw one as they are, of others by a confined qemu-img. */
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { CopyWork } from '@wirt/core';
import { confineSource, inheritedPath, isReadableBy } from './confined-source.ts';
import type { DiskFiles } from './opened-disk.ts';
import type { QemuConvert } from './qemu-convert.ts';

const quiet = (): void => {};

/** Undefined where the confined user could only read it by a copy. `bytes`: whole sectors. */
export async function headOf(
  disk: DiskFiles,
  bytes: number,
  { work, convert }: { readonly work: CopyWork; readonly convert: QemuConvert },
): Promise<Uint8Array | undefined> {
  const length = Math.min(bytes, disk.virtualSizeBytes);
  const { identity } = work.confinement;
  if (disk.format === 'raw' || disk.format === 'iso') return await disk.file.reader.read(0, length);
  if (length === 0 || !(await isReadableBy(disk, identity))) return undefined;
  await using source = await confineSource(disk, work, quiet);
  const path = join(await disk.folder(), 'head');
  await using target = await open(path, 'wx+', 0o600);
  if (identity.own) await target.chown(identity.uid, identity.gid);
  await convert({
    source: { ...source, blockdev: { driver: 'raw', size: length, file: source.blockdev } },
    virtualSizeBytes: length,
    target: {
      path: inheritedPath(source.descriptors.length),
      format: 'raw',
      descriptor: target.fd,
    },
    failure: { code: 'disk.convert_failed', message: `${disk.file.path} could not be read.`, path },
    work,
    onProgress: quiet,
  });
  const { buffer, bytesRead } = await target.read(Buffer.alloc(length), 0, length, 0);
  return buffer.subarray(0, bytesRead);
}
