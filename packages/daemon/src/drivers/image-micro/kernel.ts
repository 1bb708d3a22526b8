// What is taken from an unpacked kernel package: the kernel as it is, and the modules that the guest loads, uncompressed.
import { readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { gunzip, zstdDecompress } from 'node:zlib';
import { runToSuccess } from '../../platform/subprocess.ts';
import type { ArchiveEntry } from './archive.ts';
import {
  loadOrder,
  MissingModuleError,
  type ModuleTree,
  moduleName,
  readDependencies,
  renderModulesDep,
  type WantedModules,
} from './modules.ts';

export interface Kernel {
  /** As `uname -r` says it. */
  readonly release: string;
  readonly file: string;
}

const decompressTimeoutMs = 60_000;
const maxModuleBytes = 64 * 1024 * 1024;

/** The one kernel below `root`; undefined when there is none. */
export async function findKernel(root: string): Promise<Kernel | undefined> {
  const names = await readdir(join(root, 'boot')).catch(() => []);
  const name = names.find((candidate) => candidate.startsWith('vmlinuz-'));
  return name === undefined
    ? undefined
    : { release: name.slice('vmlinuz-'.length), file: join(root, 'boot', name) };
}

/** The modules for modprobe, with its index; `names` are those to load at boot. Throws `MissingModuleError`. */
export async function collectModules(
  root: string,
  release: string,
  wanted: WantedModules,
  signal: AbortSignal,
): Promise<{ readonly names: readonly string[]; readonly entries: readonly ArchiveEntry[] }> {
  const folder = await moduleFolder(root, release);
  const files = (await readdir(folder, { recursive: true })).filter((path) =>
    /\.ko(\.(xz|zst|gz))?$/.test(path),
  );
  const pathByName = new Map(files.map((path) => [moduleName(path), join(folder, path)]));
  const builtIn = new Set(
    (await readFile(join(folder, 'modules.builtin'), 'utf8')).split('\n').map((path) => moduleName(path)),
  );

  // Reading is asynchronous and the walk is not: read what is reached, level by level.
  const contents = new Map<string, Buffer>();
  const dependencies = new Map<string, readonly string[]>();
  let level = [...wanted.always, ...wanted.whenThere, ...wanted.onDemand].map((name) => moduleName(name));
  while (level.length > 0) {
    const next: string[] = [];
    for (const name of level) {
      const path = pathByName.get(name);
      if (path === undefined || contents.has(name)) continue;
      const bytes = await readModule(path, signal);
      contents.set(name, bytes);
      dependencies.set(name, readDependencies(bytes));
      next.push(...readDependencies(bytes));
    }
    level = next;
  }

  const tree: ModuleTree = {
    isBuiltIn: (name) => builtIn.has(name),
    dependenciesOf: (name) => dependencies.get(name),
  };
  const { always, whenThere, onDemand } = wanted;
  const kept = loadOrder({ always, whenThere: [...whenThere, ...onDemand] }, tree);
  const target = `lib/modules/${release}`;
  return {
    names: loadOrder(wanted, tree),
    entries: [
      ...kept.map((name): ArchiveEntry => {
        const data = contents.get(name);
        if (data === undefined) throw new MissingModuleError(name, undefined);
        return { kind: 'file', path: `${target}/${name}.ko`, data };
      }),
      { kind: 'file', path: `${target}/modules.dep`, data: renderModulesDep(kept, tree) },
    ],
  };
}

async function moduleFolder(root: string, release: string): Promise<string> {
  const merged = join(root, 'usr/lib/modules', release);
  const found = await readdir(merged).catch(() => undefined);
  return found === undefined ? join(root, 'lib/modules', release) : merged;
}

async function readModule(path: string, signal: AbortSignal): Promise<Buffer> {
  signal.throwIfAborted();
  const suffix = basename(path).split('.').at(-1);
  switch (suffix) {
    case 'xz': {
      const options = { timeoutMs: decompressTimeoutMs, maxStdoutBytes: maxModuleBytes, signal };
      return (await runToSuccess('xz', ['--decompress', '--stdout', path], options)).stdoutBytes;
    }
    case 'zst':
      return await promisify(zstdDecompress)(await readFile(path), { maxOutputLength: maxModuleBytes });
    case 'gz':
      return await promisify(gunzip)(await readFile(path), { maxOutputLength: maxModuleBytes });
    default:
      return await readFile(path);
  }
}
