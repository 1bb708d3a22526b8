/**
 * Building, importing, pulling and exporting images. An image is seen by starts only when it is whole; its files are stored under the
 * digest of the disk, so that what comes twice is stored once. What fails or is cancelled leaves no record and no file.
 */
import { type Image, imageImportSchema, WirtError } from '@wirt/api';
import { Undo } from '../domain/undo.ts';
import type { OpenedDisk } from '../ports/disk-transfer.ts';
import type { DownloadRequest } from '../ports/downloader.ts';
import type { ImageBuilder } from '../ports/image-builder.ts';
import { confined } from './confined.ts';
import { requireDisk } from './image-use.ts';
import { isStopping, type Progress, type Work } from './operation-runner.ts';
import type { Shared } from './parts.ts';
import { imageKey } from './volume-layers.ts';

/** A build downloads some hundred MB; past this it hangs. */
const buildDeadlineMs = 3_600_000;
/** A file that unpacks to more is a bomb. */
const maxDiskBytes = 16 * 1024 ** 4;
const maxDownloadBytes = 1024 ** 4;

/** Of ids of staged downloads, which belong to no image. */
export const downloadPrefix = 'download-';
/** How long what is not whole is kept. */
export const downloadKeptMs = 24 * 3_600_000;

/** Runs the steps of making an image; what they throw takes everything back, but the end of the daemon, after which it goes on. */
async function making(
  shared: Shared,
  id: string,
  progress: Progress,
  steps: () => Promise<Image>,
): Promise<void> {
  const { images, imageFiles, transfer, logger, faults, lanes } = shared;
  await using undo = new Undo((error) => logger.error('image.undo_failed', { image: id, error }));
  undo.add(async () => {
    await imageFiles.remove(id);
    if (isStopping(progress)) return;
    await transfer.clean(id);
    const image = images.get(id);
    if (image !== undefined) await progress.record([images.remove(image)]);
  });
  const image = await steps();
  const key = imageKey(image);
  // Nobody removes the files of this content between their coming and the record that owns them.
  await lanes.run(filesLane(key), async () => {
    await faults.at('image.make/publish');
    undo.add(() => removeUnowned(shared, key));
    await imageFiles.publish(id, key);
    await faults.at('image.make/record');
    await progress.complete([images.put(image)]);
    undo.release();
  });
  await transfer.clean(id);
}

/** Images of the same content share it, and come and go one after the other. */
function filesLane(key: string): string {
  return `files/${key}`;
}

/** Removes the files of a content that no image has any more. */
export function removeUnowned({ images, imageFiles, lanes }: Shared, key: string): Promise<void> {
  return lanes.run(filesLane(key), async () => {
    if (![...images.after()].some((image) => imageKey(image) === key)) await imageFiles.remove(key);
  });
}

export function buildImage(shared: Shared, builder: ImageBuilder, id: string): Work {
  const { images, imageFiles, transfer, faults } = shared;
  return (progress) =>
    making(shared, id, progress, async () => {
      const signal = AbortSignal.any([progress.signal, AbortSignal.timeout(buildDeadlineMs)]);
      await faults.at('image.build/stage');
      const directory = await imageFiles.stage(id);
      await faults.at('image.build/build');
      const built = await builder.build(directory, {
        signal,
        onProgress: (step) => progress.stage(step.stage, step),
      });
      const image = images.require(id);
      if (built.kind === 'kernel') {
        const { kind: _, ...kernel } = built;
        return { ...image, status: { state: 'ready', ...kernel } };
      }
      const { kind: _, format, firmware, ...disk } = built;
      const onProgress = (done: number, total: number): void =>
        progress.stage('digest', { done, total, unit: 'bytes' });
      const sha256 = await transfer.digest(`${directory}/${disk.file}`, { signal, onProgress });
      return {
        ...image,
        spec: { ...image.spec, format },
        status: { state: 'ready', ...disk, firmware: [...firmware], sha256 },
      };
    });
}

/** A file of the host or of an address, in any format and compression that is known. */
export function importImage(shared: Shared, id: string): Work {
  const { images, faults } = shared;
  return (progress) =>
    making(shared, id, progress, async () => {
      const {
        name: _,
        labels: __,
        ...said
      } = imageImportSchema.parse({ ...progress.input, name: images.require(id).name });
      if (said.url !== undefined) {
        await faults.at('image.import/download');
        const { url, sha256 } = said;
        const request = {
          url,
          maxBytes: maxDownloadBytes,
          signal: progress.signal,
          onProgress: downloading(progress),
          ...(sha256 === undefined ? {} : { sha256 }),
        };
        return withDownload(shared, id, request, (path) => {
          const file = { path, format: said.format, compression: said.compression };
          return storeDisk(shared, id, file, progress);
        });
      }
      if (said.sha256 !== undefined && said.path !== undefined) {
        await requireDigest(shared, said.path, said.sha256, progress);
      }
      const file = { path: said.path ?? '', format: said.format, compression: said.compression };
      return storeDisk(shared, id, file, progress);
    });
}

/**
 * Downloads into a place that the next one for the same file finds again, whatever image that is for: what was cancelled or has failed on
 * the way goes on there within a day. While one is under way, another of the same file has a place of its own.
 */
async function withDownload<T>(
  { transfer, downloader, lanes }: Shared,
  id: string,
  request: Omit<DownloadRequest, 'target'>,
  use: (path: string) => Promise<T>,
): Promise<T> {
  const name = downloadPrefix + (request.sha256?.toLowerCase() ?? (await sha256Of(request.url)));
  const isTaken = lanes.busy(name);
  const stage = isTaken ? id : name;
  const work = async (): Promise<T> => {
    const path = await transfer.stagePath(stage, 'download');
    try {
      await downloader.fetch({ ...request, target: path });
    } catch (error) {
      const goesOn =
        request.signal.aborted || (error instanceof WirtError && error.code === 'download.failed');
      if (stage !== id) await transfer.clean(stage, goesOn ? { olderThanMs: downloadKeptMs } : {});
      throw error;
    }
    try {
      return await use(path);
    } finally {
      if (stage !== id) await transfer.clean(stage);
    }
  };
  return isTaken ? work() : lanes.run(name, work);
}

/** Addresses may have a key in them, which no name of a file is to show. */
async function sha256Of(text: string): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text));
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

function downloading(progress: Progress): (done: number, total?: number) => void {
  return (done, total) => progress.stage('download', { done, total: total ?? 0, unit: 'bytes' });
}

async function requireDigest(
  { transfer }: Shared,
  path: string,
  sha256: string,
  progress: Progress,
): Promise<void> {
  const found = await transfer.digest(path, {
    signal: progress.signal,
    onProgress: (done, total) => progress.stage('digest', { done, total, unit: 'bytes' }),
  });
  if (found === sha256) return;
  throw new WirtError('download.checksum_mismatch', `${path} has another SHA-256 than was said.`, {
    details: { expected: sha256, found },
  });
}

/** An entry of a catalogue, whose digest was checked while it was fetched. */
export function pullImage(shared: Shared, id: string): Work {
  const { catalogue, faults } = shared;
  return (progress) =>
    making(shared, id, progress, async () => {
      progress.stage('catalogue');
      const { source, entry } = progress.input as { source: string; entry: string };
      const found = await catalogue.resolve(source, entry, progress.signal);
      await faults.at('image.pull/download');
      const request = {
        url: found.url,
        expectedBytes: found.sizeBytes,
        sha256: found.sha256,
        maxBytes: found.sizeBytes,
        signal: progress.signal,
        onProgress: downloading(progress),
      };
      const image = await withDownload(shared, id, request, (path) =>
        storeDisk(shared, id, { path, format: found.format, compression: 'none' }, progress),
      );
      const { firmware, cloudInit, title, version } = found;
      const status = {
        ...image.status,
        firmware: [...firmware],
        cloudInit,
        description: `${title}, ${version}`,
      };
      return { ...image, status };
    });
}

interface DiskFile {
  readonly path: string;
  readonly format: Parameters<Shared['transfer']['openDisk']>[0]['format'];
  readonly compression: Parameters<Shared['transfer']['openDisk']>[0]['compression'];
}

/** Looked into, converted under confinement into the staging directory, and described. */
async function storeDisk(shared: Shared, id: string, file: DiskFile, progress: Progress): Promise<Image> {
  const { images, imageFiles, transfer, faults } = shared;
  return confined(shared, progress, 'convert', async (work) => {
    await faults.at('image.import/open');
    await using disk = await transfer.openDisk({ ...file, id, maxVirtualBytes: maxDiskBytes, work });
    const directory = await imageFiles.stage(id);
    await faults.at('image.import/convert');
    const { fileName, format, stored } = storedAs(disk);
    const { sha256, sizeBytes } = await transfer.toFile(
      disk,
      { path: `${directory}/${fileName}`, format: stored },
      work,
    );
    const image = images.require(id);
    const status: Image['status'] = {
      state: 'ready',
      sha256,
      sizeBytes,
      file: fileName,
      virtualSizeBytes: disk.virtualSizeBytes,
    };
    return { ...image, spec: { ...image.spec, format }, status };
  });
}

function storedAs({ format }: OpenedDisk): {
  fileName: string;
  format: 'iso' | 'qcow2';
  stored: 'raw' | 'qcow2';
} {
  return format === 'iso'
    ? { fileName: 'medium.iso', format: 'iso', stored: 'raw' }
    : { fileName: 'disk.qcow2', format: 'qcow2', stored: 'qcow2' };
}

export function exportImage(shared: Shared, id: string): Work {
  const { images, layers, transfer } = shared;
  return async (progress) => {
    const { format, path } = progress.input as { format: 'qcow2'; path: string };
    const image = images.require(id);
    const source = layers.imageSource(image.spec.format === 'iso' ? image : requireDisk(image));
    // What an earlier daemon had begun, and nobody else's file of that name.
    if (progress.recovering) await transfer.removeOutput(path);
    await confined(shared, progress, 'export', (work) => transfer.fromSource(source, { path, format }, work));
    await progress.complete([], { files: [path] });
  };
}
