// The recipe `micro`: Debian's cloud kernel, and a first root with busybox and QEMU's guest agent. Packages are
// downloaded and unpacked, never installed; nothing of the host changes but this driver's own folder. What a failed or
// cancelled build had written is removed; downloads are kept for the next one.
import { chmod, copyFile, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { WirtError } from '@wirt/api';
import type { BuildProgress, ImageBuilder, KernelImage } from '@wirt/core';
import { SubprocessError } from '../../platform/subprocess.ts';
import { collectAgent } from './agent.ts';
import { openApt } from './apt.ts';
import type { Architecture, PackageRecord } from './apt-config.ts';
import { type ArchiveEntry, parentDirectories, writeCpio } from './archive.ts';
import { kernelArgs, systemFiles } from './init-script.ts';
import { collectModules, findKernel, type Kernel } from './kernel.ts';
import { dependencyNames } from './libraries.ts';
import { wantedModules } from './modules.ts';
import { createPackageStore, type PackageStore } from './packages.ts';

const kernelFile = 'vmlinuz';
/** Not compressed: the kernel would take longer to unpack it than QEMU takes to load it. */
const initrdFile = 'initrd.cpio';

export interface MicroImageBuilderOptions {
  /** The driver's own folder: downloads, package lists, scratch. Made when it is not there. */
  readonly workDirectory: string;
  /** The guest's architecture. Default: this host's. */
  readonly arch?: Architecture;
}

export interface BuildMicroOptions {
  readonly workDirectory: string;
  /** Where the files go. */
  readonly directory: string;
  readonly arch: Architecture;
  readonly signal: AbortSignal;
  onProgress(progress: BuildProgress): void;
}

/** Its images are kernels. */
export interface MicroImageBuilder extends ImageBuilder {
  build(...args: Parameters<ImageBuilder['build']>): Promise<KernelImage>;
}

/** One build at a time: they share the lists and the downloads, and the second finds what the first has fetched. */
export function createMicroImageBuilder(options: MicroImageBuilderOptions): MicroImageBuilder {
  let previous: Promise<unknown> = Promise.resolve();
  return {
    recipe: 'micro',
    async build(directory, { signal, onProgress }) {
      const arch = options.arch ?? hostArchitecture();
      const turn = previous.then(async () => {
        signal.throwIfAborted();
        const { workDirectory } = options;
        return await buildMicro({ workDirectory, directory, arch, signal, onProgress });
      });
      previous = turn.catch(() => undefined);
      return await turn;
    },
  };
}

/** Throws `image.build_failed`, `host.tool_missing`, or the signal's reason when it was aborted. */
export async function buildMicro(options: BuildMicroOptions): Promise<KernelImage> {
  let scratch: string | undefined;
  try {
    options.signal.throwIfAborted();
    await mkdir(options.workDirectory, { recursive: true });
    scratch = await mkdtemp(join(options.workDirectory, 'build-'));
    // apt's own user passes through; it cannot list.
    await chmod(scratch, 0o711);
    return await buildIn(scratch, options);
  } catch (error) {
    for (const file of [kernelFile, initrdFile]) await rm(join(options.directory, file), { force: true });
    throw toWirtError(error, options.signal);
  } finally {
    if (scratch !== undefined) await rm(scratch, { recursive: true, force: true });
  }
}

async function buildIn(scratch: string, options: BuildMicroOptions): Promise<KernelImage> {
  const { workDirectory, directory, arch, signal, onProgress } = options;
  const root = join(scratch, 'root');
  const onBytes = (done: number, total: number): void =>
    onProgress({ stage: 'downloading packages', done, total, unit: 'bytes' });

  const apt = await openApt(join(workDirectory, `apt-${arch}`), arch, signal);
  const updateFailure = await updateLists(apt, options);
  const store = createPackageStore({
    apt,
    cache: join(workDirectory, `packages-${arch}`),
    scratch,
    signal,
    updateFailure,
  });
  const records = await findPackages(store, arch);
  await store.unpack([...records.kernel, records.busybox, records.agent], root, onBytes);
  const kernel = await kernelOf(root, records.kernel);
  const agent = await collectAgent({ root, arch, agentPackage: records.agent, store, onBytes });

  const step = (stage: string, done: number): void => onProgress({ stage, done, total: 2, unit: 'steps' });
  step('choosing kernel modules', 0);
  const modules = await collectModules(root, kernel.release, wantedModules[arch], signal);
  step('writing the image', 1);
  const archive = writeCpio(await archiveEntries(root, [...agent, ...modules.entries], modules.names));
  signal.throwIfAborted();
  await copyFile(kernel.file, join(directory, kernelFile));
  // Debian's kernel file is for root alone; this copy is for QEMU, whoever it runs as.
  await chmod(join(directory, kernelFile), 0o644);
  await writeFile(join(directory, initrdFile), archive, { mode: 0o644, signal });
  await store.prune();
  step('writing the image', 2);

  const { busybox, agent: agentPackage } = records;
  return {
    kind: 'kernel',
    kernel: kernelFile,
    initrd: initrdFile,
    kernelArgs: kernelArgs[arch],
    sizeBytes: (await stat(join(directory, kernelFile))).size + archive.length,
    description: `Linux ${kernel.release}, busybox ${busybox.version}, qemu-guest-agent ${agentPackage.version}`,
  };
}

/** Undefined, or why the lists could not be fetched; lists of an earlier build then serve. */
async function updateLists(
  apt: Awaited<ReturnType<typeof openApt>>,
  options: BuildMicroOptions,
): Promise<unknown> {
  const report = (stage: string, percent: number): void =>
    options.onProgress({ stage, done: Math.round(percent), total: 100, unit: 'steps' });
  report('fetching package lists', 0);
  try {
    await apt.update((percent) => report('fetching package lists', percent));
    return undefined;
  } catch (error) {
    if (!(error instanceof SubprocessError) || error.failure !== 'failed' || !(await apt.hasLists()))
      throw error;
    report('using the package lists of an earlier build, because they could not be fetched', 100);
    return error;
  }
}

async function findPackages(store: PackageStore, arch: Architecture) {
  const meta = await store.find(`linux-image-cloud-${arch}`);
  const image = dependencyNames(meta.depends).find((name) => /^linux-image-\d/.test(name)) ?? meta.name;
  const kernel = [await store.find(image)];
  // Later Debian releases have the kernel and its modules in packages of their own.
  const parts = dependencyNames(kernel[0]?.depends ?? '').filter((name) =>
    /^linux-(binary|modules)-\d/.test(name),
  );
  if (parts.length > 0) kernel.push(...(await store.findSome(parts)));
  return {
    kernel,
    busybox: await store.find('busybox-static'),
    agent: await store.find('qemu-guest-agent'),
  };
}

async function kernelOf(root: string, records: readonly PackageRecord[]): Promise<Kernel> {
  const kernel = await findKernel(root);
  if (kernel !== undefined) return kernel;
  const names = records.map(({ name }) => name).join(', ');
  throw new WirtError('image.build_failed', `There is no kernel in ${names}.`, {
    hint: 'Report this with the name of the distribution: its kernel packages are laid out in an unknown way.',
  });
}

async function archiveEntries(
  root: string,
  collected: readonly ArchiveEntry[],
  modules: readonly string[],
): Promise<readonly ArchiveEntry[]> {
  const busybox = await readFile(join(root, 'bin/busybox')).catch(
    async () => await readFile(join(root, 'usr/bin/busybox')),
  );
  const entries: readonly ArchiveEntry[] = [
    ...systemFiles(modules),
    { kind: 'file', path: 'bin/busybox', data: busybox, mode: 0o755 },
    { kind: 'symlink', path: 'bin/sh', target: 'busybox' },
    ...collected,
  ];
  const given = new Set(entries.map(({ path }) => path));
  // Folders that busybox puts its links in.
  const paths = [...given, 'usr/bin/', 'usr/sbin/', 'sbin/'];
  return [...parentDirectories(paths).filter(({ path }) => !given.has(path)), ...entries];
}

function hostArchitecture(): Architecture {
  switch (process.arch) {
    case 'x64':
      return 'amd64';
    case 'arm64':
      return 'arm64';
    default:
      throw new WirtError(
        'image.build_failed',
        `The recipe micro has no kernel for this host (${process.arch}).`,
        {
          hint: 'Build on an amd64 or arm64 host.',
        },
      );
  }
}

function toWirtError(error: unknown, signal: AbortSignal): unknown {
  if (signal.aborted) return signal.reason;
  if (error instanceof WirtError) return error;
  if (error instanceof SubprocessError && error.isMissing) {
    return new WirtError('host.tool_missing', `The image micro cannot be built without ${error.program}.`, {
      cause: error,
      hint: `Install it on a Debian host: apt-get install ${toolPackages[error.program] ?? error.program}`,
      details: { program: error.program },
    });
  }
  return new WirtError('image.build_failed', 'The image micro could not be built.', {
    cause: error,
    hint: 'See whether `apt-get update` works on this host and its file systems have room, then try again.',
  });
}

const toolPackages: Readonly<Record<string, string>> = {
  'apt-get': 'apt',
  'apt-cache': 'apt',
  'apt-config': 'apt',
  'dpkg-deb': 'dpkg',
  xz: 'xz-utils',
};
