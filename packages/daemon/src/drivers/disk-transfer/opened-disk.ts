/**
 * Opens a disk file: found, unpacked, looked into by Wirt's own parsers and refused if it is not harmless. No program has
 * seen a byte of it until here, but what unpacks it. What was looked into stays open, and is what is converted.
 */
import { dirname, join } from 'node:path';
import { type Compression, type DiskFileFormat, WirtError } from '@wirt/api';
import type { CopyWork, OpenDiskOptions, OpenedDisk } from '@wirt/core';
import { type DiskFacts, inspectDisk, inspectDiskExtent } from '@wirt/qemu';
import { openFileOrDevice } from './block-device.ts';
import { inspectionFailure, refused } from './failure.ts';
import { copyFor } from './file-copy.ts';
import { type ForeignPaths, looksLikeDisk, requireLikeDisk } from './foreign-path.ts';
import { openMember, type PackageMembers } from './package-members.ts';
import { closeAll, type OpenedFile, openBeside } from './regular-file.ts';
import type { Staging, StagingFolder } from './staging.ts';
import { compressionOf, unpack } from './unpack.ts';

/** What stands behind an `OpenedDisk`. */
export interface DiskFiles {
  readonly format: DiskFileFormat;
  readonly virtualSizeBytes: number;
  readonly file: OpenedFile;
  /** Of a VMDK in several files: the others, by their names in its descriptor. */
  readonly extents: ReadonlyMap<string, OpenedFile>;
  /** For what has to be copied before it can be read. */
  folder(): Promise<string>;
}

export interface DiskOpenerOptions {
  readonly staging: Staging;
  /** Paths that a description of a machine named, and the administrator did not. */
  readonly foreignPaths: Pick<ForeignPaths, 'has'>;
  /** Paths that are inside of packages. */
  readonly members: Pick<PackageMembers, 'get'>;
  readonly stateDirectory: string;
}

export interface DiskOpener {
  compressionOf(asked: Pick<OpenDiskOptions, 'path' | 'compression'>): Promise<Compression>;
  open(options: OpenDiskOptions): Promise<OpenedDisk>;
  /** Of a disk that this opened. */
  filesOf(disk: OpenedDisk): DiskFiles;
}

/** Of stat(2)'s count. */
const BLOCK = 512;

/** Metadata, beside the guest's bytes. */
const fileOverheadBytes = (virtualBytes: number): number => 64 * 1024 ** 2 + Math.ceil(virtualBytes / 50);

export function createDiskOpener(options: DiskOpenerOptions): DiskOpener {
  const opened = new WeakMap<OpenedDisk, DiskFiles>();
  return {
    async compressionOf({ path, compression }) {
      await using file = await openPlace(path, options);
      return file.device === undefined ? await compressionOf(file, compression) : 'none';
    },
    async open(asked) {
      const { files, disk } = await openDisk(asked, options);
      opened.set(disk, files);
      return disk;
    },
    filesOf(disk) {
      const files = opened.get(disk);
      if (files === undefined) throw new WirtError('internal', 'The disk was not opened here.');
      return files;
    },
  };
}

async function openDisk(
  asked: OpenDiskOptions,
  options: DiskOpenerOptions,
): Promise<{ files: DiskFiles; disk: OpenedDisk }> {
  const { path, work, maxVirtualBytes } = asked;
  const { staging, foreignPaths, stateDirectory } = options;
  work.signal.throwIfAborted();
  // Now: the machine that names it may be closed while this waits.
  const isForeign = foreignPaths.has(path);
  const held: AsyncDisposable[] = [];
  const close = () => closeAll(held.splice(0).reverse());
  let staged: Promise<StagingFolder> | undefined;
  const folder = async (): Promise<string> => {
    staged ??= staging.folder(asked.id).then((made) => {
      // It goes last.
      held.unshift(made);
      return made;
    });
    return (await staged).path;
  };
  try {
    const packedFile = await openPlace(path, options);
    held.push(packedFile);
    const said = packedFile.device === undefined ? asked.compression : 'none';
    const compression: Compression = await compressionOf(packedFile, said);
    let file = packedFile;
    if (compression !== 'none') {
      const maxBytes = maxVirtualBytes + fileOverheadBytes(maxVirtualBytes);
      const packed =
        packedFile.offset === undefined ? packedFile : await takenOut(packedFile, await folder(), work);
      if (packed !== packedFile) held.push(packed);
      file = await unpack(packed, compression, { folder: await folder(), maxBytes, work });
      held.push(file);
    }
    const facts = await inspect(file, asked);
    const own = [stateDirectory, ...(asked.poolDirectories ?? [])];
    if (isForeign) await requireLikeDisk(packedFile, file, facts.format, own);
    const extents = await openExtents(facts, asked, options);
    held.push(...extents.values());
    const { format, virtualSizeBytes } = facts;
    const told = await described(facts, file, extents);
    return {
      files: { format, virtualSizeBytes, file, extents, folder },
      disk: { ...told, [Symbol.asyncDispose]: close },
    };
  } catch (error) {
    await close();
    throw error;
  }
}

async function described(
  facts: DiskFacts,
  file: OpenedFile,
  extents: DiskFiles['extents'],
): Promise<Omit<OpenedDisk, keyof AsyncDisposable>> {
  const { format, virtualSizeBytes } = facts;
  const taken = await Promise.all([file, ...extents.values()].map(takenBytes));
  return {
    format,
    virtualSizeBytes,
    fileBytes: taken.reduce((sum, bytes) => sum + bytes, 0),
    ...(file.device === undefined ? {} : { device: file.device.node }),
    unmarked: await unmarkedOf(facts, file, extents),
  };
}

/** The holes of a file take no room where it is, and none where it is copied to. */
async function takenBytes({ handle, sizeBytes, offset, device }: OpenedFile): Promise<number> {
  if (offset !== undefined || device !== undefined) return sizeBytes;
  return Math.min(sizeBytes, (await handle.stat()).blocks * BLOCK);
}

/** The files that a guest gets as they are. */
async function unmarkedOf(
  facts: DiskFacts,
  file: OpenedFile,
  extents: DiskFiles['extents'],
): Promise<string[]> {
  const flat = new Set(
    facts.format === 'vmdk'
      ? facts.details.extents.flatMap(({ file: name, type }) => (type === 'SPARSE' ? [] : [name]))
      : [],
  );
  const asTheyAre = facts.format === 'raw' ? [file] : [...flat].map((name) => extents.get(name));
  const unmarked: string[] = [];
  for (const one of asTheyAre) if (one !== undefined && !(await looksLikeDisk(one))) unmarked.push(one.path);
  return unmarked;
}

function openPlace(path: string, { members }: Pick<DiskOpenerOptions, 'members'>): Promise<OpenedFile> {
  const member = members.get(path);
  return member === undefined ? openFileOrDevice(path) : openMember(member, path);
}

/** What unpacks it reads a file from its start. */
function takenOut(file: OpenedFile, folder: string, work: CopyWork): Promise<OpenedFile> {
  return copyFor(file, join(folder, 'packed'), work, () => {});
}

async function openInPackage(
  path: string,
  names: readonly string[],
  options: DiskOpenerOptions,
): Promise<OpenedFile[]> {
  const files: OpenedFile[] = [];
  try {
    for (const name of names) files.push(await openPlace(join(dirname(path), name), options));
    return files;
  } catch (error) {
    await closeAll(files);
    throw error;
  }
}

async function inspect(
  file: OpenedFile,
  { path, format, maxVirtualBytes, work }: OpenDiskOptions,
): Promise<DiskFacts> {
  const { signal } = work;
  const isDevice = file.device !== undefined;
  if (isDevice && format !== undefined && format !== 'raw') throw notRaw(path, format);
  // What a device holds is its bytes, and never guessed.
  const said = isDevice ? 'raw' : format;
  const facts = await inspectDisk(file.reader, { format: said, signal }).catch((error: unknown) => {
    throw inspectionFailure(error, path, signal);
  });
  if (facts.virtualSizeBytes <= maxVirtualBytes) return facts;
  const what = `${path} is a disk of ${facts.virtualSizeBytes} bytes`;
  throw new WirtError('disk.too_large', `${what}, more than the ${maxVirtualBytes} that are allowed.`, {
    details: { path, virtualSizeBytes: facts.virtualSizeBytes, maxVirtualBytes },
  });
}

function notRaw(path: string, format: DiskFileFormat): WirtError {
  return new WirtError('disk.format_mismatch', `${path} is a block device, and is read raw only.`, {
    details: { path, said: format },
    hint: `Convert it into a file: qemu-img convert -f ${format} -O qcow2 ${path} FILE.qcow2`,
  });
}

/** They are beside the file that the administrator named, also when that one had to be unpacked. */
async function openExtents(
  facts: DiskFacts,
  { path, work: { signal } }: OpenDiskOptions,
  options: DiskOpenerOptions,
): Promise<ReadonlyMap<string, OpenedFile>> {
  if (facts.format !== 'vmdk' || facts.details.extents.length === 0) return new Map();
  const names = [...new Set(facts.details.extents.map(({ file }) => file))];
  const hidden = names.find((name) => name.startsWith('.'));
  if (hidden !== undefined)
    throw refused(
      path,
      'not-a-disk',
      `its extent ${hidden} is a hidden file`,
      'If it is a disk’s, rename it, and its name in the descriptor.',
    );
  const isPacked = options.members.get(path) !== undefined;
  const files = isPacked ? await openInPackage(path, names, options) : await openBeside(path, names);
  const byName = new Map(names.flatMap((name, at) => (files[at] === undefined ? [] : [[name, files[at]]])));
  try {
    for (const extent of facts.details.extents) {
      const file = byName.get(extent.file);
      if (file !== undefined) await inspectDiskExtent(file.reader, extent, { signal });
    }
    return byName;
  } catch (error) {
    await closeAll(files);
    throw inspectionFailure(error, path, signal);
  }
}
