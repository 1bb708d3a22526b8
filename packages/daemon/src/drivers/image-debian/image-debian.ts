// The recipe `debian-12`: Debian from its packages, as a disk that boots by itself under BIOS and UEFI and is set up by
// cloud-init. Nothing of the host changes but this driver's own folder. What a failed or cancelled build had written is
// removed; downloads are kept for the next one.
import { randomBytes, randomUUID } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { WirtError } from '@wirt/api';
import type { BuildProgress, BuiltImage, ImageBuilder } from '@wirt/core';
import { runProgram, runToSuccess, SubprocessError } from '../../platform/subprocess.ts';
import { diskBytes, writeDisk } from './disk.ts';
import { imageFiles } from './files.ts';
import { earlyConfig, grubConfig } from './grub.ts';
import { bootstrap } from './mmdebstrap.ts';

const diskFile = 'disk.qcow2';
const scratchPrefix = 'debian-12-build-';

export interface DebianImageBuilderOptions {
  /** The driver's own folder: downloads and scratch. Made when it is not there. Some 2 GiB while building. */
  readonly workDirectory: string;
}

interface BuildOptions extends DebianImageBuilderOptions {
  readonly directory: string;
  readonly signal: AbortSignal;
  onProgress(progress: BuildProgress): void;
}

/** One build at a time: the second finds what the first has fetched. */
export function createDebianImageBuilder(options: DebianImageBuilderOptions): ImageBuilder {
  let previous: Promise<unknown> = Promise.resolve();
  return {
    recipe: 'debian-12',
    async build(directory, { signal, onProgress }) {
      const turn = previous.then(async () => {
        signal.throwIfAborted();
        return await buildDebian({ ...options, directory, signal, onProgress });
      });
      previous = turn.catch(() => undefined);
      return await turn;
    },
  };
}

/** Throws `image.build_failed`, `host.tool_missing`, or the signal's reason when it was aborted. */
async function buildDebian(options: BuildOptions): Promise<BuiltImage> {
  let scratch: string | undefined;
  try {
    refuseWhereImpossible();
    const env = toolEnvironment();
    await findTools(env, options.signal);
    await mkdir(options.workDirectory, { recursive: true });
    await removeLeftOvers(options.workDirectory);
    scratch = await mkdtemp(join(options.workDirectory, scratchPrefix));
    // apt's own user passes through; it cannot list.
    await chmod(scratch, 0o711);
    return await buildIn(scratch, env, options);
  } catch (error) {
    for (const file of [diskFile, `${diskFile}.partial`])
      await rm(join(options.directory, file), { force: true });
    throw toWirtError(error, options.signal);
  } finally {
    if (scratch !== undefined) await rm(scratch, { recursive: true, force: true });
  }
}

async function buildIn(
  scratch: string,
  env: Readonly<Record<string, string>>,
  options: BuildOptions,
): Promise<BuiltImage> {
  const { directory, signal, onProgress } = options;
  const rootUuid = randomUUID();
  const espSerial = randomBytes(4).toString('hex').toUpperCase();
  const cache = join(options.workDirectory, 'debian-12-packages');
  const [root, overlay, boot] = [join(scratch, 'root'), join(scratch, 'overlay'), join(scratch, 'boot')];
  for (const folder of [cache, root, overlay, boot]) await mkdir(folder, { recursive: true });
  for (const file of imageFiles({ rootUuid, espSerial })) {
    await mkdir(dirname(join(overlay, file.path)), { recursive: true });
    await writeFile(join(overlay, file.path), file.data, { mode: file.mode ?? 0o644 });
  }
  await writeFile(join(boot, 'early.cfg'), earlyConfig(rootUuid));

  const environment = { WIRT_CACHE: cache, WIRT_OVERLAY: overlay, WIRT_BOOT: boot };
  await bootstrap({ scratch, root, environment, env, signal, onProgress });
  const installed = await installedPackages(root, env, signal);
  const release = await kernelRelease(root);
  await writeFile(join(root, 'boot/grub/grub.cfg'), grubConfig({ rootUuid, release }), { mode: 0o644 });

  const target = join(directory, diskFile);
  const onStep = (stage: string, done: number, total: number): void =>
    onProgress({ stage, done, total, unit: 'steps' });
  await writeDisk(target, { root, boot, scratch, rootUuid, espSerial, env, signal, onStep });
  await prune(cache, installed);
  const versionOf = (name: string): string => installed.get(name)?.version ?? 'unknown';
  return {
    kind: 'disk',
    file: diskFile,
    format: 'qcow2',
    virtualSizeBytes: diskBytes,
    sizeBytes: (await stat(target)).size,
    description: `Debian ${await debianVersion(root)}, Linux ${release}, cloud-init ${versionOf('cloud-init')}, qemu-guest-agent ${versionOf('qemu-guest-agent')}`,
    firmware: ['bios', 'uefi'],
    cloudInit: true,
  };
}

interface InstalledPackage {
  readonly version: string;
  /** The name that apt keeps the package under. */
  readonly fileName: string;
}

async function installedPackages(
  root: string,
  env: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, InstalledPackage>> {
  const args = [
    '-W',
    '-f',
    '${Package}\\t${Version}\\t${Architecture}\\n',
    `--admindir=${join(root, 'var/lib/dpkg')}`,
  ];
  const { stdout } = await runToSuccess('dpkg-query', args, { timeoutMs: 60_000, env, signal });
  return new Map(
    stdout.split('\n').flatMap((line) => {
      const [name, version, architecture] = line.split('\t');
      if (!name || !version || !architecture) return [];
      return [[name, { version, fileName: `${name}_${version.replaceAll(':', '%3a')}_${architecture}.deb` }]];
    }),
  );
}

async function debianVersion(root: string): Promise<string> {
  return (await readFile(join(root, 'etc/debian_version'), 'utf8')).trim();
}

async function kernelRelease(root: string): Promise<string> {
  const name = (await readdir(join(root, 'boot'))).find((file) => file.startsWith('vmlinuz-'));
  if (name === undefined) throw new Error('The package linux-image-cloud-amd64 brought no kernel.');
  return name.slice('vmlinuz-'.length);
}

/** Of a daemon that was killed while it built; its processes were killed with it. */
async function removeLeftOvers(workDirectory: string): Promise<void> {
  const names = (await readdir(workDirectory)).filter((name) => name.startsWith(scratchPrefix));
  for (const name of names) await rm(join(workDirectory, name), { recursive: true, force: true });
}

/** Removes downloads of older builds. */
async function prune(cache: string, installed: ReadonlyMap<string, InstalledPackage>): Promise<void> {
  const used = new Set([...installed.values()].map(({ fileName }) => fileName));
  const old = (await readdir(cache)).filter((file) => !used.has(file));
  await Promise.all(old.map(async (file) => await rm(join(cache, file), { recursive: true, force: true })));
}

function refuseWhereImpossible(): void {
  if (process.arch !== 'x64') {
    throw new WirtError(
      'image.build_failed',
      `The recipe debian-12 has no boot loader for this host (${process.arch}).`,
      {
        hint: 'Build on an amd64 host, or import an image: wirt image import FILE',
      },
    );
  }
  if (process.getuid?.() !== 0) {
    throw new WirtError(
      'image.build_failed',
      'The image debian-12 can only be built by a wirtd that runs as root.',
      {
        hint: 'Installing packages needs mounts and device files. Start wirtd as root, or import an image: wirt image import FILE',
      },
    );
  }
}

/** Programs, how to see that they are there, and their packages on Debian. */
const tools = [
  { program: 'setpriv', args: ['--version'], package: 'util-linux' },
  { program: 'unshare', args: ['--version'], package: 'util-linux' },
  { program: 'mmdebstrap', args: ['--version'], package: 'mmdebstrap' },
  { program: 'apt-get', args: ['--version'], package: 'apt' },
  { program: 'apt-config', args: ['--version'], package: 'apt' },
  { program: 'dpkg-query', args: ['--version'], package: 'dpkg' },
  { program: 'mke2fs', args: ['-V'], package: 'e2fsprogs' },
  { program: 'mformat', args: ['--version'], package: 'mtools' },
  { program: 'qemu-img', args: ['--version'], package: 'qemu-utils' },
] as const;

/** Throws `host.tool_missing` that names all that is missing, before minutes are spent. */
async function findTools(env: Readonly<Record<string, string>>, signal: AbortSignal): Promise<void> {
  const missing: (typeof tools)[number][] = [];
  for (const tool of tools) {
    await runProgram(tool.program, tool.args, { timeoutMs: 10_000, env, signal }).catch((error: unknown) => {
      if (!(error instanceof SubprocessError) || !error.isMissing) throw error;
      missing.push(tool);
    });
  }
  if (missing.length === 0) return;
  const names = missing.map(({ program }) => program);
  throw new WirtError(
    'host.tool_missing',
    `The image debian-12 cannot be built without ${names.join(', ')}.`,
    {
      hint: `Install on a Debian host: apt install ${[...new Set(missing.map((tool) => tool.package))].join(' ')}`,
      details: { program: names[0], programs: names },
    },
  );
}

/** An ordinary login's path lacks the folders that mke2fs and chroot are in. */
function toolEnvironment(): Record<string, string> {
  const defined = Object.entries(process.env).filter(
    (entry): entry is [string, string] => entry[1] !== undefined,
  );
  const path = process.env['PATH'] ?? '/usr/local/bin:/usr/bin:/bin';
  return { ...Object.fromEntries(defined), PATH: `${path}:/usr/sbin:/sbin`, LC_ALL: 'C.UTF-8' };
}

function toWirtError(error: unknown, signal: AbortSignal): unknown {
  if (signal.aborted) return signal.reason;
  if (error instanceof WirtError) return error;
  return new WirtError('image.build_failed', 'The image debian-12 could not be built.', {
    cause: error,
    hint: 'See whether `apt-get update` works on this host and its file systems have room (2 GiB), then try again.',
  });
}
