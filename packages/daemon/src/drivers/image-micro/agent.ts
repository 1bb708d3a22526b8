// The guest agent and exactly the shared libraries that it needs, from Debian's packages: fetches library packages
// until every library named is there.
import { readdir, readFile, realpath } from 'node:fs/promises';
import { basename, join, sep } from 'node:path';
import { WirtError } from '@wirt/api';
import type { Architecture, PackageRecord } from './apt-config.ts';
import type { ArchiveEntry } from './archive.ts';
import { type ElfLinkage, readLinkage } from './elf.ts';
import { dependencyNames, libraryClosure, likelyPackages } from './libraries.ts';
import type { PackageStore } from './packages.ts';

const triplets = { amd64: 'x86_64-linux-gnu', arm64: 'aarch64-linux-gnu' } as const satisfies Record<
  Architecture,
  string
>;
const programPath = 'usr/sbin/qemu-ga';

/** A chain of packages longer than this is none that the agent has. */
const maxRounds = 8;

/** `root` is where `agentPackage` is unpacked. Throws `image.build_failed`. */
export async function collectAgent(options: {
  readonly root: string;
  readonly arch: Architecture;
  readonly agentPackage: PackageRecord;
  readonly store: PackageStore;
  readonly onBytes: (done: number, total: number) => void;
}): Promise<readonly ArchiveEntry[]> {
  const { root, store } = options;
  const program = await readFile(join(root, programPath));
  const linkage = readLinkage(program);
  const seen = new Set<string>();
  let opened: readonly PackageRecord[] = [options.agentPackage];

  for (let round = 0; round < maxRounds; round += 1) {
    const libraries = await readLibraries(root, options.arch);
    const { found, missing } = libraryClosure(linkage, (soname) => libraries.get(soname)?.linkage);
    if (missing.length === 0) return entriesOf(program, linkage, found, libraries, options.arch);
    const dependencies = opened
      .flatMap(({ depends }) => dependencyNames(depends))
      .filter((name) => !seen.has(name));
    const names = likelyPackages(missing, [...new Set(dependencies)]);
    const records = names.length === 0 ? [] : await store.findSome(names);
    if (records.length === 0) throw missingLibraries(missing);
    for (const { name } of records) seen.add(name);
    await store.unpack(records, root, options.onBytes);
    opened = [...opened, ...records];
  }
  throw missingLibraries(linkage.needed);
}

interface Library {
  readonly linkage: ElfLinkage;
  readonly data: Buffer;
}

/** Every library unpacked so far, by the file names under which programs ask for it. */
async function readLibraries(root: string, arch: Architecture): Promise<ReadonlyMap<string, Library>> {
  const libraries = new Map<string, Library>();
  const realRoot = await realpath(root);
  for (const folder of [`usr/lib/${triplets[arch]}`, `lib/${triplets[arch]}`, 'usr/lib', 'lib']) {
    const names = await readdir(join(root, folder)).catch(() => []);
    for (const name of names.filter((candidate) => /\.so(\.|$)/.test(candidate))) {
      const path = await realpath(join(root, folder, name)).catch(() => undefined);
      // A link may lead out of what was unpacked; what is there is the host's.
      if (path === undefined || !path.startsWith(`${realRoot}${sep}`) || libraries.has(name)) continue;
      const data = await readFile(path);
      const linkage = linkageOrNone(data);
      if (linkage !== undefined) libraries.set(name, { linkage, data });
    }
  }
  return libraries;
}

function linkageOrNone(data: Buffer): ElfLinkage | undefined {
  try {
    return readLinkage(data);
  } catch {
    // A linker script, such as libc.so of a development package.
    return undefined;
  }
}

function entriesOf(
  program: Buffer,
  linkage: ElfLinkage,
  sonames: readonly string[],
  libraries: ReadonlyMap<string, Library>,
  arch: Architecture,
): readonly ArchiveEntry[] {
  const loader = linkage.interpreter;
  const entries = sonames.map((soname): ArchiveEntry => {
    const data = libraries.get(soname)?.data;
    if (data === undefined) throw missingLibraries([soname]);
    const isLoader = loader !== undefined && basename(loader) === soname;
    const path = isLoader ? loader.replace(/^\//, '') : `lib/${triplets[arch]}/${soname}`;
    return { kind: 'file', path, data, mode: isLoader ? 0o755 : 0o644 };
  });
  return [{ kind: 'file', path: programPath, data: program, mode: 0o755 }, ...entries];
}

function missingLibraries(sonames: readonly string[]): WirtError {
  const names = sonames.join(', ');
  return new WirtError(
    'image.build_failed',
    `No package has the libraries that qemu-guest-agent needs: ${names}.`,
    {
      hint: 'See whether the package sources are complete: `apt-get --simulate install qemu-guest-agent`.',
      details: { libraries: sonames },
    },
  );
}
