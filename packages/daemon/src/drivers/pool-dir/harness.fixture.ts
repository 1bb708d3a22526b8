// For tests: a pool in a directory of its own, written and read by qemu-io, on request on a small tmpfs, and a daemon that dies.
import { execFile, type SpawnSyncReturns, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, open, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Confinement, DiskSource, Identity, StoredLayer } from '@wirt/core';
import { hasErrno } from '../../platform/fs-error.ts';
import { createLoans } from '../../platform/lend.ts';
import { requireUnlocked } from './image-locks.ts';
import { layerPath, poolPaths } from './layout.ts';
import { nestedNode } from './nodes.ts';
import { createDirPoolDriver } from './pool-dir.ts';
import { silentLogger } from './silent-logger.fixture.ts';

const run = promisify(execFile);
const isRoot = process.geteuid?.() === 0;
const MIB = 1024 ** 2;

/** Why the suite cannot run here, or nothing. */
export const toolMissing = ['qemu-img', 'qemu-io', 'qemu-storage-daemon', 'setpriv']
  .filter((program) => spawnSync(program, ['--version']).error)
  .map((program) => `${program} is not installed`)
  .at(0);

interface Pattern {
  readonly offset: number;
  readonly length: number;
  readonly byte: number;
}

const uids = { copies: 1_873_000_001, guests: [1_873_000_002, 1_873_000_003] } as const;

function identityOf(uid: number): Identity {
  return { uid, gid: uid, groups: [], own: true };
}

export const testConfinement: Confinement = {
  identity: isRoot
    ? identityOf(uids.copies)
    : { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0, groups: [], own: false },
  controlGroup: { joinFiles: [] },
};

/** What the suite of VolumePool wants lent; its own types are a test's, which a fixture may not import. */
export async function createHarness() {
  const directory = await realpath(await mkdtemp(join(tmpdir(), 'wirt-pool-')));
  await chmod(directory, 0o711);
  const mounts: string[] = [];
  const lent = join(directory, 'lent');
  const loans = createLoans({ directory: lent, logger: silentLogger });
  return {
    loans,
    lent,
    driver: (owner: string) => createDirPoolDriver({ owner, loans, logger: silentLogger }),
    path: join(directory, 'pool'),
    smallStorage: async () => (isRoot ? await mountSmall(join(directory, 'small'), mounts) : undefined),
    confinement: testConfinement,
    write: async (disk: DiskSource, { offset, length, byte }: Pattern) => {
      await qemuIo(disk, [`write -q -P ${byte} ${offset} ${length}`, 'flush']);
    },
    reads,
    sizeBytes: async (disk: DiskSource): Promise<number> => {
      // It opens no backing image, and takes none.
      const { stdout } = await run('qemu-img', ['info', '--output=json', imageName(topOf(disk))]);
      return JSON.parse(stdout)['virtual-size'];
    },
    isSound: async (disk: DiskSource) => {
      const { status } = checkImage(disk);
      return status === 0 || status === 63;
    },
    dieDuring: async (owner: string, pool: DoomedWork['pool'], work: DoomedWork['work']) => {
      await dieDuring(owner, pool, work, lent);
      // As the next daemon does, before anything else.
      await loans.recover();
    },
    guests: isRoot ? ([identityOf(uids.guests[0]), identityOf(uids.guests[1])] as const) : undefined,
    canOpen,
    [Symbol.asyncDispose]: async () => {
      for (const mount of mounts) await run('umount', ['-l', mount]);
      await rm(directory, { recursive: true, force: true });
    },
  };
}

function imageName(disk: DiskSource): string {
  return `json:${JSON.stringify(nestedNode(disk))}`;
}

async function qemuIo(
  disk: DiskSource,
  commands: readonly string[],
  options: string[] = [],
): Promise<string> {
  const { stdout } = await run('qemu-io', [
    ...options,
    ...commands.flatMap((one) => ['-c', one]),
    imageName(disk),
  ]);
  return stdout;
}

/** qemu-io takes 2 GiB at a time. */
async function reads(disk: DiskSource, { offset, length, byte }: Pattern): Promise<boolean> {
  try {
    return !/failed/i.test(await qemuIo(disk, [`read -q -P ${byte} ${offset} ${length}`], ['-r']));
  } catch (error) {
    if (
      error instanceof Error &&
      /Pattern verification failed/.test(`${error.message}${Reflect.get(error, 'stdout')}`)
    )
      return false;
    throw error;
  }
}

function topOf({ layers }: DiskSource): DiskSource {
  return { layers: layers.slice(-1) };
}

/** Leaks are allowed: a daemon that was killed leaves some. */
function checkImage(disk: DiskSource): SpawnSyncReturns<string> {
  const checked = spawnSync('qemu-img', ['check', '-q', imageName(topOf(disk))], { encoding: 'utf8' });
  return checked.status === 3 ? { ...checked, status: 0 } : checked;
}

async function mountSmall(path: string, mounts: string[]) {
  await mkdir(path);
  await run('mount', ['-t', 'tmpfs', '-o', 'size=20m,mode=0711', 'tmpfs', path]);
  mounts.push(path);
  const filler = join(path, 'filler');
  return {
    path,
    fill: async () => {
      await using file = await open(filler, 'w');
      const block = Buffer.alloc(MIB, 1);
      for (let size = block.length; size >= 4096; ) {
        try {
          const { bytesWritten } = await file.write(block, 0, size);
          if (bytesWritten < size) size /= 2;
        } catch (error) {
          if (!hasErrno(error, 'ENOSPC')) throw error;
          size /= 2;
        }
      }
    },
    makeRoom: () => rm(filler),
  };
}

export interface DoomedWork {
  readonly owner: string;
  /** Where loans are on record. */
  readonly lent: string;
  readonly pool: { readonly id: string; readonly path: string };
  readonly work:
    | { readonly kind: 'copy'; readonly layer: StoredLayer; readonly source: DiskSource }
    | { readonly kind: 'pull'; readonly chain: DiskSource; readonly base: DiskSource | undefined };
  readonly target: string;
}

async function dieDuring(
  owner: string,
  pool: DoomedWork['pool'],
  work: DoomedWork['work'],
  lent: string,
): Promise<void> {
  const doomed: DoomedWork = { owner, lent, pool, work, target: targetOf(pool, work) };
  const script = fileURLToPath(new URL('./doomed.fixture.ts', import.meta.url));
  const child = spawn(process.execPath, [script, JSON.stringify(doomed)], { stdio: 'inherit' });
  const [, signal] = await once(child, 'exit', { signal: AbortSignal.timeout(50_000) });
  if (signal !== 'SIGKILL') throw new Error('The work was done before its daemon died.');
  // The kernel ends the confined program when its daemon is gone: after it, not with it.
  const deadline = performance.now() + 10_000;
  while (await isOpen(doomed.target))
    if (performance.now() > deadline)
      throw new Error(`A program outlives its daemon with ${doomed.target} open.`);
}

/** By QEMU, which locks what it opens. */
export async function isOpen(path: string): Promise<boolean> {
  return await requireUnlocked(path).then(
    () => false,
    () => true,
  );
}

/** The file that the work writes. */
function targetOf(pool: DoomedWork['pool'], work: DoomedWork['work']): string {
  if (work.kind === 'copy') return layerPath(poolPaths(pool.path), work.layer, work.layer.format);
  return work.chain.layers.at(-1)?.location.path ?? '';
}

const script = { read: 'exec 3< "$1"', write: 'exec 3<> "$1"' } as const;

async function canOpen(
  { uid, gid }: Identity,
  { location }: DiskSource['layers'][number],
  how: 'read' | 'write',
): Promise<boolean> {
  const become = [
    `--reuid=${uid}`,
    `--regid=${gid}`,
    '--clear-groups',
    '--inh-caps=-all',
    '--bounding-set=-all',
  ];
  const words = ['sh', '-c', script[how], 'sh', location.path];
  const { status, stderr } = spawnSync('setpriv', [...become, ...words], { encoding: 'utf8' });
  if (status === 0) return true;
  if (/Permission denied/.test(stderr)) return false;
  throw new Error(stderr);
}
