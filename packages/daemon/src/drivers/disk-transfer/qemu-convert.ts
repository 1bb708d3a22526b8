/**
 * Runs qemu-img to convert one image into another, confined, with progress in bytes, a deadline and limits that follow from the
 * size. Out of order and through the page cache: on files that is the fastest by far; the caller makes it durable.
 */
import type { ErrorCode } from '@wirt/api';
import type { CopyWork } from '@wirt/core';
import { type ImageFormatOptions, qemuImgConvert } from '@wirt/qemu';
import { confinedEnvironment, confinedLauncher, endConfined, fewHeaps } from '../../platform/confined.ts';
import { requireFreeSpace } from '../../platform/free-space.ts';
import { deadlineMs } from './deadline.ts';
import { toolFailure } from './failure.ts';

/** Where images of every size were converted in 1.2 GiB, libraries and stacks of 64 threads included. */
const ADDRESS_SPACE_BYTES = 4 * 1024 ** 3;
const PARALLEL = 8;
const LOOK_EVERY_MS = 500;

export interface Conversion {
  readonly source: {
    readonly blockdev: Readonly<Record<string, unknown>>;
    readonly descriptors: readonly number[];
  };
  readonly virtualSizeBytes: number;
  readonly target: {
    /** As qemu-img opens it. */
    readonly path: string;
    readonly format: string;
    readonly formatOptions?: ImageFormatOptions;
    /** It is there, of this format, and reads as zeros. */
    readonly isReady?: boolean;
    /** Inherited after those of the source. */
    readonly descriptor?: number;
  };
  /** The same contents give the same file, byte by byte: clusters are written in their order, which takes longer. */
  readonly isOrdered?: boolean;
  /** The target's file system is not to be filled: it is given up with `host.storage_full` before. Pools keep a reserve of their own. */
  readonly keepsReserve?: boolean;
  readonly failure: { readonly code: ErrorCode; readonly message: string; readonly path: string };
  readonly work: CopyWork;
  onProgress(doneBytes: number): void;
}

export type QemuConvert = (conversion: Conversion) => Promise<void>;

export function createQemuConvert(binary: string | undefined): QemuConvert {
  return async (conversion) => {
    const { source, target, virtualSizeBytes, isOrdered = false, failure, onProgress } = conversion;
    const { confinement } = conversion.work;
    await using room = await watchRoom(conversion);
    const { signal } = room;
    const timeoutMs = deadlineMs(virtualSizeBytes);
    const limits = {
      addressSpaceBytes: ADDRESS_SPACE_BYTES,
      cpuSeconds: timeoutMs / 1000,
      // Metadata come on top of the guest's bytes.
      fileBytes: virtualSizeBytes + Math.ceil(virtualSizeBytes / 32) + 64 * 1024 ** 2,
    };
    try {
      await qemuImgConvert({
        binary,
        env: confinedEnvironment(confinement),
        launcher: [...confinedLauncher(confinement, limits), ...fewHeaps],
        descriptors: [...source.descriptors, ...(target.descriptor === undefined ? [] : [target.descriptor])],
        source: { blockdev: source.blockdev },
        target: { path: target.path, format: target.format, formatOptions: target.formatOptions },
        keepTarget: target.isReady,
        targetIsZero: target.isReady,
        outOfOrder: !isOrdered,
        parallel: PARALLEL,
        timeoutMs,
        signal,
        onProgress: (percent) => onProgress(Math.floor((virtualSizeBytes * percent) / 100)),
      });
      // Who still had the file open could change it after it was found good.
      await endConfined(confinement);
    } catch (error) {
      throw toolFailure(error, { ...failure, signal });
    }
  };
}

/** The work's signal, and that of the room that is left. */
async function watchRoom({ target: { descriptor }, keepsReserve = false, failure, work }: Conversion) {
  if (!keepsReserve || descriptor === undefined)
    return { signal: work.signal, [Symbol.asyncDispose]: () => Promise.resolve() };
  const path = `/proc/self/fd/${descriptor}`;
  const look = (): Promise<void> => requireFreeSpace(path, 0, { shownAs: failure.path });
  await look();
  const full = new AbortController();
  const timer = setInterval(() => {
    look().catch((error: unknown) => full.abort(error));
  }, LOOK_EVERY_MS);
  return {
    signal: AbortSignal.any([work.signal, full.signal]),
    [Symbol.asyncDispose]: async () => clearInterval(timer),
  };
}
