/**
 * Writes an OVA: the description first, its manifest after it, then the disks as stream-optimized VMDKs. Sizes come before contents
 * in a tar, so that the disks are converted into the staging folder first.
 */
import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { WirtError } from '@wirt/api';
import { type CopyWork, type DiskTransfer, writeManifest } from '@wirt/core';
import { pack as createPack, type Pack } from 'tar-stream';
import { createSpaceGuard, requireFreeSpace } from '../../platform/free-space.ts';
import { digestOf, readRange, writeAt } from './bytes.ts';
import { toolFailure } from './failure.ts';
import { convertOut, type OutgoingTools } from './outgoing.ts';
import { inspectLayers } from './own-layers.ts';
import { closeAll } from './regular-file.ts';

type Arguments = Parameters<DiskTransfer['writeOva']>;

interface StagedDisk extends AsyncDisposable {
  readonly name: string;
  readonly handle: FileHandle;
  readonly sizeBytes: number;
  readonly sha256: string;
}

export interface OvaContents {
  readonly path: string;
  readonly handle: FileHandle;
  readonly description: Arguments[1];
  readonly disks: Arguments[2];
}

/** Fills the file, and no file system on the way. Throws `export.failed`, `host.storage_full`, the signal's reason. */
export async function writeOva(ova: OvaContents, tools: OutgoingTools, work: Arguments[3]): Promise<void> {
  const staged: StagedDisk[] = [];
  try {
    await using folder = await tools.staging.folder(work.id);
    await stageDisks(ova, folder.path, staged, { tools, work });
    await packAll(ova, staged, work);
  } catch (error) {
    const message = `The OVA could not be written to ${ova.path}.`;
    throw toolFailure(error, { code: 'export.failed', message, path: ova.path, signal: work.signal });
  } finally {
    await closeAll(staged);
  }
}

async function stageDisks(
  { disks }: OvaContents,
  folder: string,
  staged: StagedDisk[],
  { tools, work }: { readonly tools: OutgoingTools; readonly work: CopyWork },
): Promise<void> {
  const sizes: number[] = [];
  for (const { source } of disks) sizes.push(await inspectLayers(source));
  const total = sizes.reduce((sum, size) => sum + size, 0);
  let doneBytes = 0;
  for (const [at, { name, source }] of disks.entries()) {
    const path = join(folder, checkName(name));
    const handle = await open(path, 'wx+', 0o600);
    const target = { path, handle, format: 'vmdk', streamOptimized: true, code: 'export.failed' } as const;
    try {
      const onProgress = (done: number): void => work.onProgress(doneBytes + done, total);
      await convertOut(source, target, tools, { ...work, onProgress });
      const sha256 = await digestOf(handle, { signal: work.signal });
      const { size: sizeBytes } = await handle.stat();
      staged.push({ name, handle, sizeBytes, sha256, [Symbol.asyncDispose]: () => handle.close() });
    } catch (error) {
      await handle.close();
      throw error;
    }
    doneBytes += sizes[at] ?? 0;
  }
}

async function packAll(
  { path, handle, description }: OvaContents,
  disks: readonly StagedDisk[],
  { signal, onProgress }: CopyWork,
): Promise<void> {
  const text = Buffer.from(description.text(new Map(disks.map(({ name, sizeBytes }) => [name, sizeBytes]))));
  const sha256 = createHash('sha256').update(text).digest('hex');
  const entries = [{ name: checkName(description.name), sha256 }, ...disks];
  const manifest = writeManifest(
    entries.map(({ name, sha256: digest }) => ({ file: name, algorithm: 'sha256', digest })),
  );
  const total = disks.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  // How much it will be is known here; what others write meanwhile is seen on the way.
  await requireFreeSpace(ownPath(handle), total, { shownAs: path });
  const pack = createPack();
  const writing = writeOut(pack, { path, handle }, signal);
  // It is awaited at the end; until then its failure destroys the pack.
  writing.catch(() => {});
  let doneBytes = 0;
  try {
    await addText(pack, description.name, text);
    await addText(pack, description.name.replace(/(\.ovf)?$/i, '.mf'), Buffer.from(manifest));
    for (const disk of disks) {
      await addDisk(pack, disk, signal, (bytes) => onProgress((doneBytes += bytes), total));
    }
    pack.finalize();
  } catch (error) {
    pack.destroy(error instanceof Error ? error : new Error(String(error)));
    await writing;
    throw error;
  }
  await writing;
}

async function writeOut(
  pack: Pack,
  { path, handle }: Pick<OvaContents, 'path' | 'handle'>,
  signal: AbortSignal,
): Promise<void> {
  const guard = createSpaceGuard(ownPath(handle), { shownAs: path });
  let position = 0;
  for await (const piece of pack as AsyncIterable<Buffer>) {
    signal.throwIfAborted();
    await guard.before(piece.length);
    await writeAt(handle, piece, position);
    position += piece.length;
  }
}

/** Leads to the file system that the open file is on, wherever its name leads by now. */
const ownPath = ({ fd }: FileHandle): string => `/proc/self/fd/${fd}`;

const headerOf = (name: string, size: number) => ({ name, size, mode: 0o644, mtime: new Date() });

function addText(pack: Pack, name: string, text: Buffer): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  pack.entry(headerOf(name, text.length), text, (error) => (error == null ? resolve() : reject(error)));
  return promise;
}

async function addDisk(
  pack: Pack,
  { name, handle, sizeBytes }: StagedDisk,
  signal: AbortSignal,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const entry = pack.entry(headerOf(name, sizeBytes));
  async function* pieces(): AsyncGenerator<Buffer> {
    for await (const piece of readRange(handle, { offset: 0, length: sizeBytes }, signal)) {
      // The piece's memory is used again before what is written has left.
      yield Buffer.from(piece);
      onBytes(piece.length);
    }
  }
  await pipeline(pieces, entry, { signal });
}

/** The names are ours. */
function checkName(name: string): string {
  if (/^[A-Za-z0-9_][A-Za-z0-9._-]{0,90}$/.test(name)) return name;
  throw new WirtError('internal', `${JSON.stringify(name)} cannot be the name of a file in an OVA.`);
}
