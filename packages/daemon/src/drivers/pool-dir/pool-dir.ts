/**
 * A pool of volumes in a directory: `volumes/<volume>/<layer>.<format>`, one file a layer. A moment is kept by a new layer on
 * top. Knows no records: what is there is what the directory holds. Calls for one volume come one after the other.
 */
import { constants } from 'node:fs';
import { chmod, type FileHandle, mkdir, open, realpath, rm, stat, statfs } from 'node:fs/promises';
import { dirname, isAbsolute, join } from 'node:path';
import { WirtError } from '@wirt/api';
import type { CopyWork, DiskSource, Logger, PoolDriver, StoredLayer, VolumePool } from '@wirt/core';
import type { EmptyQcow2Options } from '@wirt/qemu';
import { syncDirectory } from '../../platform/atomic-file.ts';
import { dropInheritedLists } from '../../platform/file-access.ts';
import { fsError, hasErrno } from '../../platform/fs-error.ts';
import type { Loans } from '../../platform/lend.ts';
import { type Claim, claimPool, releaseClaim, requireClaim } from './claim.ts';
import { copyInto, headerName, lastOf, pullInto, type Tools } from './copying.ts';
import { fileFailure } from './failure.ts';
import { requireUnlocked } from './image-locks.ts';
import {
  allocatedBytes,
  DIRECTORY_MODE,
  grantLayer,
  listLayers,
  makeLayer,
  removeLayer,
  withLayer,
} from './layer-files.ts';
import { layerPath, type PoolPaths, poolPaths } from './layout.ts';
import { growQcow2, newQcow2, readQcow2Header } from './qcow2-layer.ts';
import { requirePassable } from './reach.ts';

/** The group's, and all others'. */
const OTHERS_WRITE = 0o022;

export interface DirPoolDriverOptions {
  /** Tag of this wirtd, in the marker of each of its pools. */
  readonly owner: string;
  /** Of the whole daemon. */
  readonly loans: Loans;
  readonly logger: Logger;
  readonly qemuImg?: string;
  readonly qemuStorageDaemon?: string;
}

interface Place {
  readonly paths: PoolPaths;
  readonly claim: Claim;
  /** Whether the file system takes direct I/O. */
  readonly direct: boolean;
  readonly fileSystem: string;
  readonly tools: Tools;
}

export function createDirPoolDriver(options: DirPoolDriverOptions): PoolDriver {
  const { owner, loans, qemuImg = 'qemu-img', qemuStorageDaemon = 'qemu-storage-daemon' } = options;
  /** Ids of pools by directory, so that no other pool of this wirtd takes over what one has just begun. */
  const taken = new Map<string, string>();
  return {
    driver: 'dir',
    async open({ id, path }) {
      try {
        const paths = poolPaths(await makeRoot(path));
        const claim = { pool: id, owner };
        await claimOnce(taken, paths, claim);
        await makeDirectory(paths.volumes);
        await requireOwn(paths.volumes);
        // Else whom they name could read every layer that is made.
        if (process.geteuid?.() === 0) await dropInheritedLists(paths.volumes);
        const tools = { qemuImg, qemuStorageDaemon, loans };
        const { dev } = await stat(paths.root);
        const direct = await takesDirect(paths);
        const pool = poolAt({ paths, claim, direct, fileSystem: String(dev), tools });
        return { ...pool, release: () => pool.release().then(() => void taken.delete(paths.root)) };
      } catch (error) {
        throw unusable(path, error);
      }
    },
  };
}

/** Two pools of this wirtd may want the directory at once, and both would find its own marker. */
async function claimOnce(taken: Map<string, string>, paths: PoolPaths, claim: Claim): Promise<void> {
  const holder = taken.get(paths.root);
  if (holder !== undefined && holder !== claim.pool)
    throw new WirtError('pool.owned', `The directory ${paths.root} is another pool of this wirtd.`, {
      hint: 'See which: wirt pool ls',
      details: { path: paths.root },
    });
  taken.set(paths.root, claim.pool);
  try {
    await claimPool(paths, claim);
  } catch (error) {
    if (holder === undefined) taken.delete(paths.root);
    throw error;
  }
}

function poolAt(place: Place): VolumePool {
  const { paths, claim, direct, fileSystem, tools } = place;
  const pathOf = (layer: StoredLayer): string => layerPath(paths, layer, layer.format);
  const create = (layer: StoredLayer, backing?: EmptyQcow2Options['backing']): Promise<void> =>
    makeLayer(paths, layer, (file) => writeEmpty(file, layer, backing));
  return {
    snapshots: 'layered',
    fileSystem,
    capacity: () => capacity(place),
    create: (layer) => create(layer),
    createOverlay: async (layer, backing) => {
      await requireOverlayable(layer, backing);
      await create(layer, headerBacking(backing));
    },
    async copy(layer, source, work) {
      work.signal.throwIfAborted();
      await create(layer);
      try {
        await copyInto({ path: pathOf(layer), layer }, source, work, tools);
      } catch (error) {
        await removeLayer(paths, layer);
        throw error;
      }
    },
    freeze: () => Promise.reject(new WirtError('internal', 'A pool of files freezes a layer by an overlay.')),
    grow: (layer, sizeBytes) => grow(pathOf(layer), layer, sizeBytes),
    pull: (chain, base, work) => pull(chain, base, work, tools),
    remove: (ref) => removeLayer(paths, ref),
    locate: (layer) => ({
      layer: layer.layer,
      format: layer.format,
      location: { driver: 'file', path: pathOf(layer) },
      direct,
    }),
    allocatedBytes: (refs) => allocatedBytes(paths, refs),
    grant: (ref, to) => grantLayer(paths, ref, to, tools.loans),
    list: () => listLayers(paths),
    async release() {
      try {
        await releaseClaim(paths, claim);
      } catch (error) {
        throw fileFailure(error, 'give up', paths.marker);
      }
    },
  };
}

async function makeRoot(path: string): Promise<string> {
  if (!isAbsolute(path)) throw new WirtError('pool.unusable', `The path ${path} is not absolute.`);
  await makeDirectory(path);
  // Guests come along the directories that there are, not along a link that may lead elsewhere tomorrow.
  const root = await realpath(path);
  await requireOwn(root);
  if (process.geteuid?.() === 0) await requirePassable(root);
  return root;
}

/** Who else may write there could put files of theirs in the place of layers. */
async function requireOwn(directory: string): Promise<void> {
  const { uid, mode } = await stat(directory);
  const user = process.geteuid?.() ?? 0;
  const refuse = (why: string, hint: string): WirtError =>
    new WirtError('pool.unusable', `${directory} ${why}.`, { hint, details: { directory } });
  if (uid !== user)
    throw refuse(
      `belongs to the user ${uid}, not to wirtd's`,
      `Make it wirtd's own: chown ${user} ${directory}`,
    );
  if ((mode & OTHERS_WRITE) !== 0)
    throw refuse('can be written by others than wirtd', `Take that from them: chmod go-w ${directory}`);
}

/** One that is there is left as it is. */
async function makeDirectory(path: string): Promise<void> {
  const first = await mkdir(path, { recursive: true, mode: DIRECTORY_MODE });
  // The mode given to mkdir is narrowed by the umask.
  for (let made = first; made !== undefined; made = made === path ? undefined : below(made, path)) {
    await chmod(made, DIRECTORY_MODE);
    await syncDirectory(dirname(made));
  }
}

/** The directory after `directory` on the way to `path`. */
function below(directory: string, path: string): string {
  const [next = ''] = path.slice(directory.length).replace(/^\/+/, '').split('/');
  return join(directory, next);
}

async function takesDirect({ root }: PoolPaths): Promise<boolean> {
  const probe = join(root, '.wirt-direct-probe');
  const { O_RDWR, O_CREAT, O_DIRECT, O_NOFOLLOW } = constants;
  try {
    const file = await open(probe, O_RDWR | O_CREAT | O_DIRECT | O_NOFOLLOW, 0o600);
    await file.close();
    return true;
  } catch (error) {
    // open(2): what a file system without direct I/O answers.
    if (hasErrno(error, 'EINVAL')) return false;
    throw error;
  } finally {
    await rm(probe, { force: true });
  }
}

async function capacity({ paths, claim }: Place): ReturnType<VolumePool['capacity']> {
  try {
    await requireClaim(paths, claim);
    const { blocks, bavail, bsize } = await statfs(paths.root);
    return { capacityBytes: blocks * bsize, availableBytes: bavail * bsize };
  } catch (error) {
    throw unusable(paths.root, error);
  }
}

async function writeEmpty(
  file: FileHandle,
  { format, sizeBytes }: StoredLayer,
  backing: EmptyQcow2Options['backing'],
): Promise<void> {
  if (format === 'raw') {
    await file.truncate(sizeBytes);
    return;
  }
  const { fileSizeBytes, chunks } = newQcow2(sizeBytes, backing);
  await file.truncate(fileSizeBytes);
  await Promise.all(chunks.map(({ offset, bytes }) => file.write(bytes, 0, bytes.length, offset)));
}

function headerBacking(source: DiskSource): EmptyQcow2Options['backing'] {
  const below = lastOf(source);
  const path = headerName(below);
  return path === undefined ? undefined : { path, format: below.format };
}

/** An overlay that is smaller would hide what lies beyond its end, and show it again when it grows. */
async function requireOverlayable(layer: StoredLayer, backing: DiskSource): Promise<void> {
  const { format, location } = lastOf(backing);
  const refuse = (why: string): WirtError =>
    new WirtError('volume.failed', `Could not lay layer ${layer.layer} on ${location.path}: ${why}.`);
  if (layer.format !== 'qcow2') throw refuse(`${layer.format} has no way to lie on another layer`);
  let sizeBytes: number;
  try {
    sizeBytes = await withLayer(location.path, constants.O_RDONLY, async (file) =>
      format === 'qcow2' ? (await readQcow2Header(file, location.path)).sizeBytes : (await file.stat()).size,
    );
  } catch (error) {
    throw fileFailure(error, 'read', location.path);
  }
  if (layer.sizeBytes < sizeBytes)
    throw refuse(`that has ${sizeBytes} bytes, it would have ${layer.sizeBytes}`);
}

async function grow(path: string, { format }: StoredLayer, sizeBytes: number): Promise<void> {
  try {
    await requireUnlocked(path);
    await withLayer(path, constants.O_RDWR, async (file) => {
      if (format === 'qcow2') await growQcow2(file, path, sizeBytes);
      else await growRaw(file, path, sizeBytes);
      await file.sync();
    });
  } catch (error) {
    throw fileFailure(error, 'grow', path);
  }
}

async function growRaw(file: FileHandle, path: string, sizeBytes: number): Promise<void> {
  const { size } = await file.stat();
  if (sizeBytes < size)
    throw new WirtError('volume.failed', `Could not grow ${path} to ${sizeBytes} bytes: it has ${size}.`);
  await file.truncate(sizeBytes);
}

async function pull(
  chain: DiskSource,
  base: DiskSource | undefined,
  work: CopyWork,
  tools: Tools,
): Promise<void> {
  const baseLayers = base?.layers.length ?? 0;
  const isBase = (base?.layers ?? []).every(
    ({ location }, index) => chain.layers[index]?.location.path === location.path,
  );
  if (!isBase || baseLayers >= chain.layers.length)
    throw new WirtError('internal', `The base to pull onto is not under ${lastOf(chain).layer}.`);
  work.signal.throwIfAborted();
  if (baseLayers === chain.layers.length - 1) return;
  await pullInto(chain, baseLayers, work, tools);
}

function unusable(path: string, error: unknown): WirtError {
  if (error instanceof WirtError && (error.code === 'pool.owned' || error.code === 'pool.unusable'))
    return error;
  const { message, cause, hint, details } = fsError(error, 'use', path, 'pool.unusable');
  return new WirtError('pool.unusable', message, {
    cause,
    hint: hint ?? `See what is there: namei -l ${path}`,
    details: details ?? { path },
  });
}
