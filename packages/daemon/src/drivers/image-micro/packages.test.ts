import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runToSuccess } from '../../platform/subprocess.ts';
import type { Apt } from './apt.ts';
import type { PackageRecord } from './apt-config.ts';
import { createPackageStore, type PackageStore } from './packages.ts';

const signal = new AbortController().signal;
let folder: string;
let record: PackageRecord;
let package_: Buffer;
/** What the mirror serves; a test may damage it. */
let served: Buffer;
let downloads: number;

const apt: Apt = {
  update: async () => undefined,
  hasLists: async () => true,
  show: async (names) => (names.includes(record.name) ? [record] : []),
  async download(_names, directory, onPercent) {
    downloads += 1;
    onPercent(50);
    await writeFile(join(directory, record.fileName), served);
    onPercent(100);
  },
};

function open(updateFailure?: unknown): PackageStore {
  return createPackageStore({ apt, cache: join(folder, 'cache'), scratch: folder, signal, updateFailure });
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'wirt-packages-'));
  downloads = 0;
  const content = join(folder, 'content');
  await mkdir(join(content, 'DEBIAN'), { recursive: true });
  await writeFile(
    join(content, 'DEBIAN/control'),
    'Package: tiny\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\nDescription: none\n',
  );
  await writeFile(join(content, 'hello'), 'hello');
  const file = join(folder, 'tiny.deb');
  await runToSuccess('dpkg-deb', ['--build', '--root-owner-group', content, file], { timeoutMs: 8_000 });
  package_ = await readFile(file);
  served = package_;
  const sha256 = createHash('sha256').update(package_).digest('hex');
  record = {
    name: 'tiny',
    version: '1',
    depends: '',
    sizeBytes: package_.length,
    sha256,
    fileName: 'tiny_1_all.deb',
  };
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

// dpkg-deb is there on the hosts that can build this image.
describe.skipIf(!existsSync('/usr/bin/dpkg-deb'))('the package store', () => {
  it('downloads and unpacks, with progress in bytes', async () => {
    const progress: [number, number][] = [];
    await open().unpack([record], join(folder, 'root'), (done, total) => progress.push([done, total]));
    expect(await readFile(join(folder, 'root/hello'), 'utf8')).toBe('hello');
    expect(progress.at(-1)).toEqual([record.sizeBytes, record.sizeBytes]);
  });

  it('does not download again what it has kept', async () => {
    for (const root of ['one', 'two']) await open().unpack([record], join(folder, root), () => undefined);
    expect(downloads).toBe(1);
  });

  it('downloads again what was damaged on the disk', async () => {
    await open().unpack([record], join(folder, 'one'), () => undefined);
    await writeFile(join(folder, 'cache', record.fileName), 'damaged');
    await open().unpack([record], join(folder, 'two'), () => undefined);
    expect(downloads).toBe(2);
    expect(await readFile(join(folder, 'two/hello'), 'utf8')).toBe('hello');
  });

  it('refuses a download that is not what the lists say, and keeps nothing of it', async () => {
    served = Buffer.from(package_);
    served.writeUInt8(served.readUInt8(100) ^ 1, 100);
    const unpacking = open().unpack([record], join(folder, 'root'), () => undefined);
    await expect(unpacking).rejects.toMatchObject({
      code: 'image.build_failed',
      details: { package: 'tiny' },
    });
    expect(await readdir(join(folder, 'cache'))).toEqual([]);
  });

  it('names a package that no source has, and why the lists may be old', async () => {
    await expect(open().find('other')).rejects.toMatchObject({
      code: 'image.build_failed',
      message: expect.stringContaining('other'),
      hint: expect.stringContaining('Debian source'),
    });
    const failure = new Error('mirror not reachable');
    await expect(open(failure).find('other')).rejects.toMatchObject({ cause: failure });
  });

  it('removes what is kept of packages not used any more', async () => {
    const store = open();
    await store.unpack([record], join(folder, 'root'), () => undefined);
    await writeFile(join(folder, 'cache/tiny_0_all.deb'), 'old');
    await store.prune();
    expect(await readdir(join(folder, 'cache'))).toEqual([record.fileName]);
  });
});
