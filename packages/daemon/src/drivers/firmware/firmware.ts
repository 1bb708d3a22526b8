/**
 * UEFI for guests: the host's code, and for each instance its own variables, `<stateDirectory>/firmware/<id>/vars.fd`, with
 * those of snapshots beside them. Variables stay with code of their layout: an upgrade of the host's firmware that has none of
 * that layout any more is an error, and not a guest that starts without its boot entries.
 */
import { chmod, lstat, mkdir, readdir, readFile, realpath, rm, stat } from 'node:fs/promises';
import { machine } from 'node:os';
import { join } from 'node:path';
import { WirtError } from '@wirt/api';
import type { Firmware, FirmwareImages } from '@wirt/core';
import { syncDirectory } from '../../platform/atomic-file.ts';
import { giveFile } from '../../platform/file-owner.ts';
import { fsError, hasErrno } from '../../platform/fs-error.ts';
import { findUefiImages, type UefiImages, type UefiLookup, uefiPackage } from '../../platform/uefi-images.ts';
import { copyImage } from './copy.ts';

export interface FirmwareOptions {
  readonly stateDirectory: string;
  /** As of os.machine(); another one in tests. */
  readonly architecture?: string;
  /** Where the machine's files are; another place in tests. */
  readonly files?: UefiLookup;
}

export function createFirmware(options: FirmwareOptions): Firmware {
  const { architecture = machine(), files = hostFiles } = options;
  const root = join(options.stateDirectory, 'firmware');
  const folder = (id: string): string => join(root, checkId(id));
  const vars = (id: string): string => join(folder(id), 'vars.fd');
  const saved = (id: string, snapshotId: string): string =>
    join(folder(id), `snapshot-${checkId(snapshotId)}.fd`);

  return {
    async prepare(id) {
      const path = vars(id);
      const found = await findUefiImages(architecture, files);
      const bytes = await sizeOf(path);
      if (bytes !== undefined) return { code: await codeFor(bytes, found, architecture, path), vars: path };
      const [images] = found;
      if (images === undefined)
        throw missing(`No UEFI firmware for ${architecture} guests was found.`, architecture);
      await makeFolder(root, folder(id));
      // Some distributions have it as a link.
      await copyImage(await realpath(images.varsTemplate), path);
      return { code: images.code, vars: path } satisfies FirmwareImages;
    },

    grant: (id, identity) => giveFile(vars(id), identity, 0o600),

    async save(id, snapshotId) {
      await unlessMissing(copyImage(vars(id), saved(id, snapshotId)));
    },

    async restore(id, snapshotId) {
      await unlessMissing(copyImage(saved(id, snapshotId), vars(id)));
    },

    async forget(id, snapshotId) {
      await removeDurably(saved(id, snapshotId), folder(id));
    },

    async remove(id) {
      await removeDurably(folder(id), root);
    },

    async list() {
      try {
        return (await readdir(root)).sort();
      } catch (error) {
        if (hasErrno(error, 'ENOENT')) return [];
        throw fsError(error, 'list', root);
      }
    },

    async variables(id) {
      return (await sizeOf(vars(id))) === undefined ? undefined : vars(id);
    },
  };
}

const hostFiles: UefiLookup = {
  list: (path) => readdir(path).catch(() => []),
  text: (path) => readFile(path, 'utf8').catch(() => undefined),
  exists: async (path) => (await stat(path).catch(() => undefined)) !== undefined,
};

/** The layout of variables is told by their size: a template of that size was theirs. */
async function codeFor(
  bytes: number,
  found: readonly UefiImages[],
  architecture: string,
  path: string,
): Promise<string> {
  for (const { code, varsTemplate } of found) if ((await sizeOf(varsTemplate)) === bytes) return code;
  throw missing(
    `No UEFI firmware was found that the variables in ${path} (${bytes} bytes) fit.`,
    architecture,
  );
}

function missing(message: string, architecture: string): WirtError {
  return new WirtError('host.firmware_missing', message, {
    hint: `Install it on a Debian host: apt install ${uefiPackage(architecture)}`,
    details: { architecture },
  });
}

/** Undefined when there is no such file. */
async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return undefined;
    throw fsError(error, 'look at', path);
  }
}

/** A copy of what is not there is none. */
async function unlessMissing(copy: Promise<void>): Promise<void> {
  try {
    await copy;
  } catch (error) {
    if (!hasErrno(error, 'ENOENT')) throw error;
  }
}

async function removeDurably(path: string, directory: string): Promise<void> {
  try {
    await lstat(path);
    await rm(path, { recursive: true });
    await syncDirectory(directory);
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return;
    throw fsError(error, 'remove', path);
  }
}

/** Guests' users may open variables that are theirs, and list nothing. */
async function makeFolder(root: string, folder: string): Promise<void> {
  try {
    if ((await mkdir(folder, { recursive: true, mode: 0o711 })) === undefined) return;
    for (const path of [root, folder]) await chmod(path, 0o711);
    await syncDirectory(join(root, '..'));
    await syncDirectory(root);
  } catch (error) {
    throw fsError(error, 'make the directory', folder);
  }
}

/** Ids are ours, but a name that leads elsewhere must never become a path. */
function checkId(id: string): string {
  if (/^[A-Za-z0-9_][A-Za-z0-9_-]{0,127}$/.test(id)) return id;
  throw new WirtError('internal', `The name ${JSON.stringify(id)} cannot be of UEFI variables.`);
}
