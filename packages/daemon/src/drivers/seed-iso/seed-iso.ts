/**
 * User-data as it was given, `<stateDirectory>/seeds/<id>.user-data`, and NoCloud seeds as ISO 9660 images with the label `cidata`, `<stateDirectory>/seeds/<id>.iso`, made by genisoimage with Joliet
 * and Rock Ridge names. The files go through a directory that only the daemon can enter, removed at once; nothing of them is in
 * arguments. Source: cloud-init's datasources/nocloud.
 */
import { chmod, type FileHandle, mkdir, open, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { WirtError } from '@wirt/api';
import { type SeedContent, type SeedFiles, seedLimitsBytes } from '@wirt/core';
import { syncDirectory, writeFileAtomically } from '../../platform/atomic-file.ts';
import { giveFile } from '../../platform/file-owner.ts';
import { fsError, hasErrno } from '../../platform/fs-error.ts';
import { runToSuccess, SubprocessError } from '../../platform/subprocess.ts';

export interface SeedIsoOptions {
  readonly stateDirectory: string;
  /** A path, or a name to look for in PATH. */
  readonly genisoimage?: string;
}

const timeoutMs = 30_000;
/** The files at their limits, and the tables of the file system around them. */
const maxIsoBytes = Object.values(seedLimitsBytes).reduce<number>((sum, limit) => sum + limit, 1_048_576);
const ownFile = /^([A-Za-z0-9_-]+)\.(?:iso|user-data)$/;
/** What a death of the daemon leaves: a scratch directory, or an image before it got its name. */
const leftover = /^\.(?:build-([A-Za-z0-9_-]+)|([A-Za-z0-9_-]+)\.(?:iso|user-data)\.[0-9a-f]+\.tmp)$/;

export function createSeedIso(options: SeedIsoOptions): SeedFiles {
  const { stateDirectory, genisoimage = 'genisoimage' } = options;
  const root = join(stateDirectory, 'seeds');
  const pathOf = (id: string): string => join(root, `${checkId(id)}.iso`);
  const userDataOf = (id: string): string => join(root, `${checkId(id)}.user-data`);

  return {
    path: pathOf,

    async write(id, files) {
      const path = pathOf(id);
      const entries = checkedEntries(files);
      await makeRoot(root);
      const scratch = join(root, `.build-${id}`);
      try {
        await rm(scratch, { recursive: true, force: true });
        await mkdir(scratch, { mode: 0o700 });
        for (const [name, content] of entries) await writeFile(join(scratch, name), content, { mode: 0o600 });
        await writeFileAtomically(path, await makeIso(genisoimage, scratch), { mode: 0o600 });
      } catch (error) {
        throw fsError(error, 'write the cloud-init seed', path);
      } finally {
        await rm(scratch, { recursive: true, force: true });
      }
      return path;
    },

    async keepUserData(id, userData) {
      const path = userDataOf(id);
      const content = checkedContent('user-data', userData);
      await makeRoot(root);
      try {
        await writeFileAtomically(path, content, { mode: 0o600 });
      } catch (error) {
        throw fsError(error, 'write the user-data', path);
      }
    },

    async userData(id) {
      const path = userDataOf(id);
      try {
        await using file = await open(path);
        return await firstBytes(file, seedLimitsBytes['user-data']);
      } catch (error) {
        if (hasErrno(error, 'ENOENT')) return undefined;
        throw fsError(error, 'read the user-data', path);
      }
    },

    grant: (id, identity) => giveFile(pathOf(id), identity, 0o400),

    async remove(id) {
      const path = pathOf(id);
      try {
        const names = await readdir(root);
        const own = names.filter((name) => idOf(name) === id);
        for (const name of own) await rm(join(root, name), { recursive: true, force: true });
        if (own.length > 0) await syncDirectory(root);
      } catch (error) {
        // No seed was ever written.
        if (hasErrno(error, 'ENOENT')) return;
        throw fsError(error, 'remove the cloud-init seed', path);
      }
    },

    async list() {
      try {
        const ids = (await readdir(root)).map(idOf).filter((id) => id !== undefined);
        return [...new Set(ids)].sort();
      } catch (error) {
        if (hasErrno(error, 'ENOENT')) return [];
        throw fsError(error, 'list', root);
      }
    },
  };
}

function idOf(name: string): string | undefined {
  const left = leftover.exec(name);
  return ownFile.exec(name)?.[1] ?? left?.[1] ?? left?.[2];
}

/** Ids are ours, but a name that leads elsewhere must never become a path. */
function checkId(id: string): string {
  if (/^[A-Za-z0-9_][A-Za-z0-9_-]{0,127}$/.test(id)) return id;
  throw new WirtError('internal', `The name ${JSON.stringify(id)} cannot be a cloud-init seed.`);
}

/** Guests' users may open a seed that is theirs, and list nothing. */
async function makeRoot(root: string): Promise<void> {
  try {
    const first = await mkdir(root, { recursive: true, mode: 0o711 });
    if (first === undefined) return;
    await chmod(root, 0o711);
    await syncDirectory(join(root, '..'));
  } catch (error) {
    throw fsError(error, 'make the directory', root);
  }
}

/** Exactly the files that a seed has, of sizes that are agreed. */
function checkedEntries(files: SeedContent): [name: string, content: Buffer][] {
  const entries: [string, Buffer][] = [];
  for (const name of Object.keys(seedLimitsBytes)) {
    const text = files[name as keyof SeedContent];
    if (text === undefined) continue;
    entries.push([name, checkedContent(name as keyof SeedContent, text)]);
  }
  return entries;
}

function checkedContent(name: keyof SeedContent, text: string): Buffer {
  const limit = seedLimitsBytes[name];
  const content = Buffer.from(text, 'utf8');
  if (content.length <= limit) return content;
  throw new WirtError('request.invalid', `The ${name} is larger than ${limit / 1024} KiB.`);
}

async function firstBytes(file: FileHandle, limit: number): Promise<Buffer> {
  const { size } = await file.stat();
  const content = Buffer.alloc(Math.min(size, limit));
  const { bytesRead } = await file.read(content, 0, content.length, 0);
  return content.subarray(0, bytesRead);
}

async function makeIso(genisoimage: string, directory: string): Promise<Buffer> {
  try {
    // -rational-rock: every file root's and readable, whatever it is here. The image comes on standard output.
    const args = ['-quiet', '-volid', 'cidata', '-joliet', '-rational-rock', '-input-charset', 'utf-8'];
    const made = await runToSuccess(genisoimage, [...args, directory], {
      timeoutMs,
      maxStdoutBytes: maxIsoBytes,
    });
    if (made.truncated) throw new Error(`${genisoimage} wrote more than ${maxIsoBytes} bytes.`);
    return made.stdoutBytes;
  } catch (error) {
    if (error instanceof SubprocessError && error.isMissing) {
      throw new WirtError(
        'host.tool_missing',
        `A guest cannot be given cloud-init data without ${genisoimage}.`,
        {
          cause: error,
          hint: 'Install it on a Debian host: apt-get install genisoimage',
          details: { program: genisoimage },
        },
      );
    }
    throw new WirtError('internal', 'The cloud-init seed could not be made.', { cause: error });
  }
}
