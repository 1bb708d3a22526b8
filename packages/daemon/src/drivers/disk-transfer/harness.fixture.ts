// For tests: a state directory, a folder of foreign files, a pool of plain files, and a qemu-img that tells how it was run.
import { execFile, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmod, chown, mkdir, mkdtemp, readdir, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { WirtError } from '@wirt/api';
import type { Confinement, CopyWork, DiskTransfer, Logger, StoredLayer, VolumePool } from '@wirt/core';
import type { DiskTransferUnderTest } from '@wirt/core/contract/disk-transfer';
import { createLoans, type Loans } from '../../platform/lend.ts';
import { createDiskTransfer } from './disk-transfer.ts';

const run = promisify(execFile);
export const isRoot = process.geteuid?.() === 0;
export const testUid = 1_873_000_101;
export const testWorkId = '01J9ZK3W8Y7Q5T2R4M6N8P0001';
/** What a disk of 4 MiB is converted into. */
export const testLayer = {
  volume: '01J9ZK3W8Y7Q5T2R4M6N8P0002',
  layer: '01J9ZK3W8Y7Q5T2R4M6N8P0003',
  format: 'qcow2',
  sizeBytes: 4 * 1024 * 1024,
} as const;
const quiet = (): void => {};
export const silentLogger: Logger = { debug: quiet, info: quiet, warn: quiet, error: quiet };

/** Why the suites cannot run here, or nothing. */
export const toolMissing = ['qemu-img', 'xz', 'setpriv']
  .filter((program) => spawnSync(program, ['--version']).error)
  .map((program) => `${program} is not installed`)
  .at(0);

export const testConfinement: Confinement = {
  identity: isRoot
    ? { uid: testUid, gid: testUid, groups: [], own: true }
    : { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0, groups: [], own: false },
  controlGroup: { joinFiles: [] },
};

export function workOf(options: Partial<Pick<CopyWork, 'signal' | 'onProgress'>> = {}): CopyWork {
  return {
    confinement: testConfinement,
    signal: new AbortController().signal,
    onProgress: () => {},
    ...options,
  };
}

export interface Harness extends DiskTransferUnderTest {
  readonly stateDirectory: string;
  readonly loans: Loans;
  readonly transfer: DiskTransfer;
  /** How qemu-img was run: for each time the confinement (lines of /proc/self/status), then its arguments. */
  runs(): Promise<string[]>;
}

export interface HarnessOptions {
  /** State directory and pool are here. */
  readonly storage?: string;
}

export async function createHarness({ storage }: HarnessOptions = {}): Promise<Harness> {
  const directory = await realpath(await mkdtemp(join(tmpdir(), 'wirt-transfer-')));
  await chmod(directory, 0o711);
  const stateDirectory = join(storage ?? directory, 'state');
  const folder = join(directory, 'foreign');
  const log = join(directory, 'runs');
  for (const path of [stateDirectory, folder, log]) await mkdir(path);
  await chmod(log, 0o777);
  const qemuImg = join(directory, 'qemu-img');
  const tell = `{ cat /proc/$$/status; printf '%s\\n' "$@"; } > ${log}/$$`;
  await writeFile(qemuImg, `#!/bin/sh\n${tell}\nexec qemu-img "$@"\n`);
  await chmod(qemuImg, 0o755);
  const loans = createLoans({ directory: join(stateDirectory, 'lent'), logger: silentLogger });
  const open = (): DiskTransfer =>
    createDiskTransfer({ stateDirectory, loans, logger: silentLogger, qemuImg });
  return {
    folder,
    stateDirectory,
    loans,
    open,
    transfer: open(),
    pool: await createPool(join(storage ?? directory, 'pool')),
    work: workOf,
    runs: async () =>
      await Promise.all((await readdir(log)).map((name) => readFile(join(log, name), 'utf8'))),
    make: (path, format, bytes) => makeDisk(path, format, bytes, directory),
    contents: (path, format) => contentsOf(path, format, directory),
    chain: async (bytes, above) => {
      const [base, top] = [join(directory, 'base.qcow2'), join(directory, 'top.qcow2')];
      await rm(top, { force: true });
      await makeDisk(base, 'qcow2', bytes, directory);
      await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', base, '-F', 'qcow2', top]);
      await writeFile(join(directory, 'above'), above);
      await run('qemu-io', ['-c', `write -q -s ${join(directory, 'above')} 0 ${above.length}`, top]);
      const node = (path: string) =>
        ({ layer: path, format: 'qcow2', location: { driver: 'file', path }, direct: true }) as const;
      return { layers: [node(base), node(top)] };
    },
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }),
  };
}

async function makeDisk(path: string, format: string, bytes: Buffer, directory: string): Promise<void> {
  const raw = join(directory, `${randomBytes(4).toString('hex')}.raw`);
  await writeFile(raw, bytes);
  const options = format === 'vpc' ? ['-o', 'force_size=on'] : [];
  await run('qemu-img', ['convert', '-f', 'raw', '-O', format, ...options, raw, path]);
  await rm(raw);
}

async function contentsOf(path: string, format: string, directory: string): Promise<Buffer> {
  const raw = join(directory, `${randomBytes(4).toString('hex')}.raw`);
  await run('qemu-img', ['convert', '-f', format, '-O', 'raw', path, raw]);
  const bytes = await readFile(raw);
  await rm(raw);
  return bytes;
}

/** As much of a pool as conversions use. */
async function createPool(root: string): Promise<VolumePool> {
  await mkdir(root, { mode: 0o711 });
  await chmod(root, 0o711);
  const unused = (): Promise<never> => Promise.reject(new Error('not in this pool'));
  const path = ({ volume, layer }: Pick<StoredLayer, 'volume' | 'layer'>): string =>
    join(root, `${volume}-${layer}`);
  return {
    snapshots: 'layered',
    fileSystem: '',
    capacity: unused,
    async create(layer) {
      const size = String(layer.sizeBytes);
      await run('qemu-img', ['create', '-q', '-f', layer.format, path(layer), size]).catch(
        (cause: unknown) => {
          throw new WirtError('host.storage_full', 'The pool is full.', { cause });
        },
      );
      await chmod(path(layer), 0o600);
    },
    createOverlay: unused,
    copy: unused,
    freeze: unused,
    grow: unused,
    pull: unused,
    remove: (ref) => rm(path(ref), { force: true }),
    locate: (layer) => ({
      layer: layer.layer,
      format: layer.format,
      location: { driver: 'file', path: path(layer) },
      direct: true,
    }),
    allocatedBytes: unused,
    async grant(ref, to) {
      if (!isRoot) return;
      const owner = to === undefined || to === 'shared' ? 0 : to.identity.uid;
      await chown(path(ref), owner, owner);
    },
    async list() {
      const names = await readdir(root);
      return names.map((name) => name.split('-')).map(([volume = '', layer = '']) => ({ volume, layer }));
    },
    release: () => Promise.resolve(),
  };
}
