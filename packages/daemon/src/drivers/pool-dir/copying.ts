/**
 * Copying between layers by QEMU's own tools, confined: they read what guests have written. Every layer of a chain is named to
 * them with its format; a header that leads to another file is refused before.
 */
import { constants } from 'node:fs';
import { basename } from 'node:path';
import { WirtError } from '@wirt/api';
import type { Confinement, CopyWork, DiskSource, StoredLayer } from '@wirt/core';
import { qemuImgConvert } from '@wirt/qemu';
import { confinedEnvironment, confinedLauncher, endConfined, fewHeaps } from '../../platform/confined.ts';
import type { Loans } from '../../platform/lend.ts';
import { toolFailure } from './failure.ts';
import { withLayer } from './layer-files.ts';
import { nestedNode } from './nodes.ts';
import { readQcow2Header } from './qcow2-layer.ts';
import { runStreamJob } from './stream-job.ts';

export interface Tools {
  readonly qemuImg: string;
  readonly qemuStorageDaemon: string;
  readonly loans: Loans;
}

type DiskLayerNode = DiskSource['layers'][number];

const MIB = 1024 ** 2;
const GIB = 1024 ** 3;
const LONGEST_TIMER_MS = 2 ** 31 - 1;
/** QEMU takes no longer name of a backing file. */
const MAX_NAME_BYTES = 1023;

/** Fills an empty layer. Durable when it returns; after an error the layer is to be removed. */
export async function copyInto(
  { path, layer }: { readonly path: string; readonly layer: StoredLayer },
  source: DiskSource,
  work: CopyWork,
  { qemuImg, loans }: Tools,
): Promise<void> {
  const { signal } = work;
  const total = layer.sizeBytes;
  await guarded('copy into', path, signal, async () => {
    await requireHarmless(source.layers);
    {
      await using _loan = await lendFor(work, source.layers, path, loans);
      await qemuImgConvert({
        binary: qemuImg,
        env: confinedEnvironment(work.confinement),
        launcher: launcherFor(work.confinement, source, total),
        source: { blockdev: nestedNode(source) },
        target: { path, format: layer.format },
        keepTarget: true,
        targetIsZero: true,
        signal,
        timeoutMs: deadlineFor(total),
        onProgress: (percent) => work.onProgress(Math.round((total * percent) / 100), total),
      });
      await endConfined(work.confinement);
    }
    await syncFile(path);
  });
}

/** Copies into the last layer what it needs to lie on the first `baseLayers` of the chain. Durable when it returns. */
export async function pullInto(
  chain: DiskSource,
  baseLayers: number,
  work: CopyWork,
  { qemuStorageDaemon, loans }: Tools,
): Promise<void> {
  const top = lastOf(chain);
  const path = top.location.path;
  await guarded('pull into', path, work.signal, async () => {
    await requireHarmless(chain.layers);
    const { sizeBytes } = await withLayer(path, constants.O_RDONLY, (file) => readQcow2Header(file, path));
    {
      await using _loan = await lendFor(work, chain.layers.slice(0, -1), path, loans);
      await runStreamJob({
        binary: qemuStorageDaemon,
        env: confinedEnvironment(work.confinement),
        launcher: launcherFor(work.confinement, chain, sizeBytes),
        chain,
        baseLayers,
        backingFile: headerName(chain.layers[baseLayers - 1]),
        timeoutMs: deadlineFor(sizeBytes),
        signal: work.signal,
        onProgress: (done, total) => work.onProgress(done, total),
      });
      await endConfined(work.confinement);
    }
    await syncFile(path);
  });
}

function lendFor(
  { confinement }: CopyWork,
  layers: readonly DiskLayerNode[],
  write: string,
  loans: Loans,
): Promise<AsyncDisposable> {
  const read = layers.map(({ location }) => location.path);
  return loans.lend(confinement.identity, { read, write }, 'volume.failed');
}

/** What a header names as its backing file. Wirt never follows it; people who open an image by hand do. */
export function headerName(layer: DiskLayerNode | undefined): string | undefined {
  if (layer === undefined) return undefined;
  const { path } = layer.location;
  return Buffer.byteLength(path) <= MAX_NAME_BYTES ? path : basename(path);
}

export function lastOf({ layers }: DiskSource): DiskLayerNode {
  const last = layers.at(-1);
  if (last === undefined) throw new WirtError('internal', 'A disk has no layers.');
  return last;
}

async function guarded(
  operation: string,
  path: string,
  signal: AbortSignal,
  work: () => Promise<void>,
): Promise<void> {
  signal.throwIfAborted();
  try {
    await work();
  } catch (error) {
    signal.throwIfAborted();
    throw toolFailure(error, operation, path);
  }
}

/** Throws `volume.failed` for a layer in whose header a guest has left more than data. */
async function requireHarmless(layers: readonly DiskLayerNode[]): Promise<void> {
  for (const { format, location } of layers)
    if (format === 'qcow2')
      await withLayer(location.path, constants.O_RDONLY, (file) => readQcow2Header(file, location.path));
}

async function syncFile(path: string): Promise<void> {
  await withLayer(path, constants.O_RDWR, (file) => file.sync());
}

/** Tables of 32 MiB each are held for every layer; the file may have all of the disk, and what describes it. */
function launcherFor(confinement: Confinement, { layers }: DiskSource, sizeBytes: number): string[] {
  const limits = {
    addressSpaceBytes: 4 * GIB + layers.length * 64 * MIB,
    cpuSeconds: 600 + Math.ceil(sizeBytes / (16 * MIB)),
    fileBytes: Math.ceil(sizeBytes * 1.01) + 256 * MIB,
  };
  return [...confinedLauncher(confinement, limits), ...fewHeaps];
}

/** Against a program that hangs; storage that does 2 MiB a second is slow but works. */
function deadlineFor(sizeBytes: number): number {
  return Math.min(LONGEST_TIMER_MS, 600_000 + Math.ceil((sizeBytes / (2 * MIB)) * 1000));
}
