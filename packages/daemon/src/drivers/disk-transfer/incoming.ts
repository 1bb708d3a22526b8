/** Converts disks that were looked into, into layers of a pool and files of ours. On any failure nothing of them is left. */
import { open, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { WirtError } from '@wirt/api';
import type { CopyWork, DiskTransfer, StoredLayer, VolumePool } from '@wirt/core';
import { syncDirectory } from '../../platform/atomic-file.ts';
import type { Loans } from '../../platform/lend.ts';
import { digestOf, readRange, sparseWriter } from './bytes.ts';
import { confineSource, inheritedPath } from './confined-source.ts';
import { toolFailure } from './failure.ts';
import type { DiskFiles } from './opened-disk.ts';
import type { QemuConvert } from './qemu-convert.ts';
import { writeBehind } from './write-behind.ts';

interface LayerTools {
  readonly work: CopyWork;
  readonly convert: QemuConvert;
  readonly loans: Loans;
}

type FileTarget = Parameters<DiskTransfer['toFile']>[1];

export async function convertToLayer(
  disk: DiskFiles,
  pool: VolumePool,
  layer: StoredLayer,
  { work, convert, loans }: LayerTools,
): Promise<void> {
  const ref = { volume: layer.volume, layer: layer.layer };
  if (disk.virtualSizeBytes > layer.sizeBytes) {
    const sizes = `${disk.virtualSizeBytes} bytes into a layer of ${layer.sizeBytes}`;
    throw new WirtError('disk.convert_failed', `${disk.file.path} does not fit: ${sizes}.`);
  }
  work.signal.throwIfAborted();
  await pool.create(layer);
  const { path } = pool.locate(layer).location;
  try {
    const report = progressOf(disk, work);
    await using source = await confineSource(disk, work, report.copied);
    {
      const { identity } = work.confinement;
      await using _loan = await loans.lend(identity, { read: [], write: path }, 'disk.convert_failed');
      await using written = await writeBehind(path);
      await convert({
        source,
        virtualSizeBytes: layer.sizeBytes,
        target: { path, format: layer.format, isReady: true },
        failure: failureOf(disk, path),
        work,
        onProgress(doneBytes) {
          written.soFar();
          report.converted(doneBytes);
        },
      });
      await written.sync();
    }
  } catch (error) {
    await pool.remove(ref);
    throw toolFailure(error, { ...failureOf(disk, path), signal: work.signal });
  }
}

export async function convertToFile(
  disk: DiskFiles,
  { path, format }: FileTarget,
  { work, convert, loans }: LayerTools,
): Promise<{ readonly sha256: string; readonly sizeBytes: number }> {
  const { signal, confinement } = work;
  signal.throwIfAborted();
  try {
    // Our own file of an earlier try is replaced; what it was a link to is not.
    await rm(path, { force: true });
    await using target = await open(path, 'wx+', 0o600);
    if (disk.format === 'iso') {
      const writer = sparseWriter(target);
      const { file } = disk;
      for await (const piece of readRange(file.handle, { offset: 0, length: file.sizeBytes }, signal)) {
        await writer.append(piece);
        work.onProgress(writer.sizeBytes, 2 * file.sizeBytes);
      }
      await writer.end();
    } else {
      const report = progressOf(disk, work);
      await using source = await confineSource(disk, work, report.copied);
      // On record, so that a crash leaves no file of ours open to who has that uid next.
      await using _loan = await loans.lend(
        confinement.identity,
        { read: [], write: path },
        'disk.convert_failed',
      );
      await convert({
        source,
        virtualSizeBytes: disk.virtualSizeBytes,
        // By its descriptor: the folder may be closed to others.
        target: { path: inheritedPath(source.descriptors.length), format, descriptor: target.fd },
        // What comes twice is to have the same digest.
        isOrdered: true,
        keepsReserve: true,
        failure: failureOf(disk, path),
        work,
        onProgress: report.converted,
      });
    }
    await target.sync();
    await syncDirectory(dirname(path));
    const sizeBytes = (await target.stat()).size;
    const before = disk.format === 'iso' ? sizeBytes : disk.virtualSizeBytes;
    const onProgress = (done: number): void => work.onProgress(before + done, before + sizeBytes);
    return { sha256: await digestOf(target, { signal, onProgress }), sizeBytes };
  } catch (error) {
    await rm(path, { force: true });
    throw toolFailure(error, { ...failureOf(disk, path), signal });
  }
}

function failureOf(disk: DiskFiles, path: string) {
  return {
    code: 'disk.convert_failed',
    message: `${disk.file.path} could not be converted into ${path}.`,
    path,
  } as const;
}

/** Where files have to be copied first, their bytes count too. */
function progressOf(disk: DiskFiles, work: CopyWork) {
  let copiedBytes = 0;
  return {
    copied(doneBytes: number, totalBytes: number): void {
      copiedBytes = totalBytes;
      work.onProgress(doneBytes, totalBytes + disk.virtualSizeBytes);
    },
    converted(doneBytes: number): void {
      const done = Math.min(doneBytes, disk.virtualSizeBytes);
      work.onProgress(copiedBytes + done, copiedBytes + disk.virtualSizeBytes);
    },
  };
}
