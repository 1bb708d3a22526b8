// Debian packages, downloaded and unpacked, never installed. Kept in a cache, by the file names that apt gives them; a
// file counts only with the size and SHA-256 that the signed lists say, whether it was just downloaded or kept.
import { createHash } from 'node:crypto';
import { chown, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { WirtError } from '@wirt/api';
import { runToSuccess } from '../../platform/subprocess.ts';
import type { Apt } from './apt.ts';
import type { PackageRecord } from './apt-config.ts';

export interface PackageStore {
  /** The candidate of `name`. Throws `image.build_failed` when no source has it. */
  find(name: string): Promise<PackageRecord>;
  /** As `find`, without those that no source has. */
  findSome(names: readonly string[]): Promise<readonly PackageRecord[]>;
  /** Downloads what is not kept yet, and unpacks all into the folder `root`. */
  unpack(
    records: readonly PackageRecord[],
    root: string,
    onBytes: (done: number, total: number) => void,
  ): Promise<void>;
  /** Removes what is kept of packages that this store did not unpack. */
  prune(): Promise<void>;
}

const unpackTimeoutMs = 5 * 60_000;

/** `cache` is kept between builds; `scratch` is the caller's, and removed by it. */
export function createPackageStore(options: {
  readonly apt: Apt;
  readonly cache: string;
  readonly scratch: string;
  readonly signal: AbortSignal;
  /** Why the lists may be old, for the message about a package that is not there. */
  readonly updateFailure: unknown;
}): PackageStore {
  const { apt, cache, scratch, signal } = options;
  const used = new Set<string>();

  const fetchMissing = async (
    records: readonly PackageRecord[],
    onBytes: (done: number, total: number) => void,
  ): Promise<void> => {
    const total = records.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    if (records.length === 0) return;
    const landing = await mkdtemp(join(scratch, 'download-'));
    await giveToAptUser(landing);
    const names = records.map(({ name, version }) => `${name}=${version}`);
    await apt.download(names, landing, (percent) => onBytes(Math.round((total * percent) / 100), total));
    for (const record of records) {
      const bytes = await readFile(join(landing, record.fileName));
      if (!isAsListed(bytes, record)) throw damaged(record);
      // Written anew, so that what was checked is what is kept, whoever owned the downloaded file.
      const partial = join(cache, `${record.fileName}.partial`);
      await writeFile(partial, bytes);
      await rename(partial, join(cache, record.fileName));
    }
  };

  return {
    async find(name) {
      const [record] = await apt.show([name]);
      if (record === undefined) throw unknownPackage(name, options.updateFailure);
      return record;
    },
    findSome: async (names) => await apt.show(names),
    async unpack(records, root, onBytes) {
      await mkdir(cache, { recursive: true });
      const kept = await Promise.all(records.map(async (record) => await isKept(cache, record)));
      await fetchMissing(
        records.filter((_, index) => kept[index] === false),
        onBytes,
      );
      await mkdir(root, { recursive: true });
      for (const record of records) {
        used.add(record.fileName);
        const file = join(cache, record.fileName);
        await runToSuccess('dpkg-deb', ['--extract', file, root], { timeoutMs: unpackTimeoutMs, signal });
      }
    },
    async prune() {
      const files = await readdir(cache);
      await Promise.all(
        files
          .filter((file) => !used.has(file))
          .map(async (file) => await rm(join(cache, file), { force: true })),
      );
    },
  };
}

async function isKept(cache: string, record: PackageRecord): Promise<boolean> {
  try {
    return isAsListed(await readFile(join(cache, record.fileName)), record);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

function isAsListed(bytes: Buffer, record: PackageRecord): boolean {
  return (
    bytes.length === record.sizeBytes && createHash('sha256').update(bytes).digest('hex') === record.sha256
  );
}

/** As root, apt's network code runs as the user `_apt`, which has to be able to write there. */
async function giveToAptUser(directory: string): Promise<void> {
  if (process.getuid?.() !== 0) return;
  const passwd = await readFile('/etc/passwd', 'utf8').catch(() => '');
  const uid = /^_apt:[^:]*:(\d+):/m.exec(passwd)?.[1];
  if (uid !== undefined) await chown(directory, Number(uid), 0);
}

function unknownPackage(name: string, updateFailure: unknown): WirtError {
  const message = `None of the host's package sources has the package ${name}, which the image micro is built from.`;
  return new WirtError('image.build_failed', message, {
    ...(updateFailure === undefined ? {} : { cause: updateFailure }),
    hint:
      updateFailure === undefined
        ? 'micro is built from Debian’s packages: add a Debian source under /etc/apt/sources.list.d, then try again.'
        : 'See whether `apt-get update` works on this host, then try again.',
    details: { package: name },
  });
}

function damaged(record: PackageRecord): WirtError {
  return new WirtError(
    'image.build_failed',
    `The downloaded package ${record.name} is not what the lists say.`,
    {
      hint: 'The mirror may be in the middle of an update: try again in some minutes.',
      details: { package: record.name, version: record.version },
    },
  );
}
