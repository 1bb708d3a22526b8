/**
 * Opens what a machine is imported from, and says which file each name in it means: of a package (OVA, OVF) a file of the package and no
 * other; of a description of a host (libvirt, xl) one beside it, or else the path as it is, which is then on the list of foreign paths.
 */
import { opendir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { type ErrorCode, WirtError } from '@wirt/api';
import { type DiskTransfer, decodeText, memberNames, type OpenedMachine } from '@wirt/core';
import { fsError } from '../../platform/fs-error.ts';
import { openFileOrDevice } from './block-device.ts';
import { digestOf } from './bytes.ts';
import type { ForeignPaths } from './foreign-path.ts';
import { findKind } from './machine-kind.ts';
import { readOva, unpackOva } from './ova-read.ts';
import { expectedDigests, requireDigest } from './package-digests.ts';
import type { PackageMembers } from './package-members.ts';
import { type OpenedFile, openRegularFile } from './regular-file.ts';
import type { Staging } from './staging.ts';

export type OpenMachineOptions = Parameters<DiskTransfer['openMachine']>[0];

export interface MachineOpenerOptions {
  readonly staging: Staging;
  /** Gets the paths that a description names, for as long as the machine is open. */
  readonly foreignPaths: Pick<ForeignPaths, 'add' | 'delete'>;
  /** Gets what is in a package that is not unpacked, likewise. */
  readonly members: Pick<PackageMembers, 'add' | 'delete'>;
}

const MAX_TEXT_BYTES = 4 * 1024 ** 2;
/** More than this is no folder of one machine's files; those beyond are not found. */
const MAX_BESIDE = 4096;

const doNothing = async (): Promise<void> => {};

export async function openMachine(
  options: OpenMachineOptions,
  tools: MachineOpenerOptions,
): Promise<OpenedMachine> {
  await using file = await openFileOrDevice(options.path);
  const found = file.device === undefined ? undefined : 'disk';
  const kind = options.format === 'auto' ? (found ?? (await findKind(file))) : options.format;
  switch (kind) {
    case 'ova':
      return await openOva(file, options, tools);
    case 'ovf':
      return await openOvf(file, options);
    case 'libvirt':
    case 'xl':
      return await openHostDescription(kind, file, tools);
    case 'disk':
      return {
        kind,
        text: '',
        files: new Map([[basename(file.path), file.sizeBytes]]),
        resolve: () => file.path,
        [Symbol.asyncDispose]: doNothing,
      };
  }
}

async function openOva(
  file: OpenedFile,
  { id, unpack, maxBytes, work }: OpenMachineOptions,
  { staging, members }: MachineOpenerOptions,
): Promise<OpenedMachine> {
  const contents = await readOva(file, maxBytes);
  const text = decodeText(contents.descriptor, 'The description in the OVA');
  const files = new Map(contents.members.map(({ name, sizeBytes }) => [name, sizeBytes]));
  const shared = { kind: 'ovf', text, files } as const;
  if (!unpack) {
    const archive = file.path;
    const paths = contents.members.map(({ name, offset, sizeBytes }) => {
      const path = join(archive, name);
      members.add(path, { archive, offset, sizeBytes });
      return path;
    });
    return {
      ...shared,
      resolve: packageResolver(files, archive),
      async [Symbol.asyncDispose]() {
        for (const path of paths.splice(0)) members.delete(path);
      },
    };
  }
  const folder = await staging.folder(id);
  try {
    await unpackOva(file, contents, folder.path, work);
    return {
      ...shared,
      resolve: packageResolver(files, folder.path),
      [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
    };
  } catch (error) {
    await folder[Symbol.asyncDispose]();
    throw error;
  }
}

async function openOvf(file: OpenedFile, { unpack, work }: OpenMachineOptions): Promise<OpenedMachine> {
  const text = await readText(file);
  const folder = dirname(file.path);
  const files = await filesBeside(file.path);
  if (unpack) await verifyBeside(file.path, files, work);
  return {
    kind: 'ovf',
    text,
    files,
    resolve: packageResolver(files, folder),
    [Symbol.asyncDispose]: doNothing,
  };
}

async function openHostDescription(
  kind: 'libvirt' | 'xl',
  file: OpenedFile,
  { foreignPaths }: MachineOpenerOptions,
): Promise<OpenedMachine> {
  const text = await readText(file);
  const files = await filesBeside(file.path);
  const folder = dirname(file.path);
  const mine = new Set<string>();
  return {
    kind,
    text,
    files,
    resolve(named) {
      requirePlainPath(named);
      const name = basename(named);
      if (files.has(name)) return join(folder, name);
      if (!named.startsWith('/')) throw notThere(named, 'disk.not_found', `${named} is not in ${folder}`);
      if (!mine.has(named)) foreignPaths.add(named);
      mine.add(named);
      return named;
    },
    async [Symbol.asyncDispose]() {
      for (const path of mine) foreignPaths.delete(path);
      mine.clear();
    },
  };
}

function packageResolver(files: ReadonlyMap<string, number>, folder: string): OpenedMachine['resolve'] {
  return (named) => {
    for (const name of memberNames(named)) {
      requirePlainPath(name);
      if (name.includes('/'))
        throw notThere(
          named,
          'import.malformed',
          `${JSON.stringify(named)} is no plain name of a file beside it`,
        );
    }
    const name = memberNames(named).find((each) => files.has(each));
    if (name === undefined)
      throw notThere(named, 'disk.not_found', `${JSON.stringify(named)} is missing in ${folder}`);
    return join(folder, name);
  };
}

function requirePlainPath(named: string): void {
  const isPlain = named !== '' && !/[\\\p{C}]/u.test(named) && !named.split('/').includes('..');
  if (!isPlain || named === '.')
    throw notThere(named, 'import.malformed', `${JSON.stringify(named)} is no plain name of a file`);
  // Beside a description in a home folder there are secrets, and disks are not named so.
  if (basename(named).startsWith('.'))
    throw notThere(named, 'import.malformed', `${JSON.stringify(named)} is a hidden file`);
}

function notThere(file: string, code: ErrorCode, why: string): WirtError {
  return new WirtError(code, `The description names a file that cannot be opened: ${why}.`, {
    details: { file },
    hint: 'Put the files of the machine beside its description, under the names that it gives them.',
  });
}

async function readText(file: OpenedFile): Promise<string> {
  if (file.sizeBytes > MAX_TEXT_BYTES)
    throw new WirtError(
      'import.malformed',
      `${file.path} is larger than 4 MiB: it is no description of a machine.`,
    );
  return decodeText(await file.reader.read(0, file.sizeBytes), file.path);
}

/** Plain files only: a link beside a description would lead to anywhere. */
async function filesBeside(path: string): Promise<Map<string, number>> {
  const folder = dirname(path);
  const files = new Map<string, number>();
  try {
    let seen = 0;
    for await (const entry of await opendir(folder)) {
      if ((seen += 1) > MAX_BESIDE) break;
      if (!entry.isFile() || entry.name === basename(path)) continue;
      const file = await openRegularFile(join(folder, entry.name)).catch(() => undefined);
      if (file === undefined) continue;
      files.set(entry.name, file.sizeBytes);
      await file[Symbol.asyncDispose]();
    }
    return files;
  } catch (error) {
    throw fsError(error, 'list', folder);
  }
}

async function verifyBeside(
  path: string,
  files: ReadonlyMap<string, number>,
  { signal, onProgress }: OpenMachineOptions['work'],
): Promise<void> {
  const folder = dirname(path);
  const manifestName = basename(path).replace(/\.[^.]*$/, '.mf');
  if (!files.has(manifestName)) return;
  await using manifest = await openRegularFile(join(folder, manifestName));
  if (manifest.sizeBytes > MAX_TEXT_BYTES)
    throw new WirtError('import.malformed', `${manifest.path} is larger than 4 MiB.`);
  const isThere = (name: string): boolean => name === basename(path) || files.has(name);
  const digests = expectedDigests(await manifest.reader.read(0, manifest.sizeBytes), isThere);
  const total = [...digests.keys()].reduce((sum, name) => sum + (files.get(name) ?? 0), 0);
  let done = 0;
  for (const [name, expected] of digests) {
    await using file = await openRegularFile(join(folder, name));
    const { algorithm } = expected;
    const report = (bytes: number): void => onProgress(Math.min(done + bytes, total), total);
    requireDigest(name, expected, await digestOf(file.handle, { algorithm, signal, onProgress: report }));
    done += file.sizeBytes;
  }
}
