import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { type FileHandle, mkdtemp, open, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  type ImageFormatOptions,
  qemuImgCheck,
  qemuImgConvert,
  qemuImgCreate,
  qemuImgInfo,
} from '../img/qemu-img.ts';
import {
  builtDynamicVpc,
  builtFixedVpc,
  builtIso,
  builtQcow2,
  builtVdi,
  builtVhdx,
  builtVmdk,
  builtVmdkStream,
  MIB,
} from './built-disks.ts';
import { type EmptyQcow2Options, emptyQcow2 } from './empty-qcow2.ts';
import { type DiskFacts, inspectDisk, inspectDiskExtent } from './inspect.ts';
import type { DiskReader } from './open-disk.ts';
import { DiskRefused } from './refused.ts';
import type { DiskFormat } from './sniff.ts';

const binary = 'qemu-img';
const missing = spawnSync(binary, ['--version']).error;
const timeoutMs = 30_000;
const SIZE = 10 * MIB;

const KINDS: [DiskFormat, ImageFormatOptions][] = [
  ['qcow2', {}],
  ['qcow2', { compat: '0.10' }],
  ['qcow2', { cluster_size: 512 }],
  ['qcow2', { cluster_size: '2M', preallocation: 'metadata' }],
  ['qcow2', { extended_l2: true, lazy_refcounts: true, compression_type: 'zstd' }],
  ['qcow2', { refcount_bits: 1 }],
  ['qcow2', { preallocation: 'full' }],
  ['vmdk', { subformat: 'monolithicSparse' }],
  ['vmdk', { subformat: 'monolithicSparse', zeroed_grain: true }],
  ['vmdk', { subformat: 'streamOptimized' }],
  ['vmdk', { subformat: 'twoGbMaxExtentSparse' }],
  ['vmdk', { subformat: 'twoGbMaxExtentFlat' }],
  ['vmdk', { subformat: 'monolithicFlat' }],
  ['vpc', { subformat: 'dynamic' }],
  ['vpc', { subformat: 'fixed' }],
  ['vpc', { subformat: 'dynamic', force_size: true }],
  ['vhdx', { subformat: 'dynamic' }],
  ['vhdx', { subformat: 'fixed' }],
  ['vdi', {}],
  ['vdi', { static: true }],
  ['raw', {}],
];

/** Reads an open file, as wirtd does. */
async function withReader<T>(path: string, use: (reader: DiskReader) => Promise<T>): Promise<T> {
  const file: FileHandle = await open(path);
  try {
    const { size: sizeBytes } = await file.stat();
    return await use({
      sizeBytes,
      async read(offset, length) {
        const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, offset);
        return buffer.subarray(0, bytesRead);
      },
    });
  } finally {
    await file.close();
  }
}

const inspect = (path: string, format?: DiskFormat): Promise<DiskFacts> =>
  withReader(path, (reader) => inspectDisk(reader, { format }));

async function reasonOf(path: string): Promise<string> {
  try {
    await inspect(path);
    return 'accepted';
  } catch (error) {
    if (error instanceof DiskRefused) return error.reason;
    throw error;
  }
}

async function writeEmpty(path: string, options: EmptyQcow2Options): Promise<void> {
  const { chunks, fileSizeBytes } = emptyQcow2(options);
  const file = await open(path, 'wx');
  try {
    for (const { bytes, offset } of chunks) await file.write(bytes, 0, bytes.length, offset);
    await file.truncate(fileSizeBytes);
  } finally {
    await file.close();
  }
}

describe.skipIf(missing)(`disk files${missing ? ' (skipped: qemu-img is not installed)' : ''}`, () => {
  let directory: string;
  let source: string;
  let made = 0;
  const at = (name: string): string => join(directory, name);

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'disk-'));
    source = at('source.raw');
    await writeFile(source, randomBytes(3_000_000));
    await truncate(source, SIZE);
  });

  afterAll(async () => {
    await rm(directory, { recursive: true, force: true });
  });

  /** A disk with 3 MB of data at its beginning. */
  async function make(
    format: DiskFormat,
    formatOptions: ImageFormatOptions,
    compress = false,
  ): Promise<string> {
    made += 1;
    const path = at(`${made}.${format}`);
    const target = { path, format, formatOptions };
    await qemuImgConvert({ source: { path: source, format: 'raw' }, target, compress, timeoutMs });
    return path;
  }

  test.each(KINDS)(
    'made by qemu-img as %s with %o are accepted, with the size it tells',
    async (format, options) => {
      const path = await make(format, options);
      const facts = await inspect(path, format);
      const info = await qemuImgInfo({ path, format, timeoutMs });
      expect(facts).toMatchObject({ format, virtualSizeBytes: info['virtual-size'], tables: 'checked' });
      if (facts.format !== 'vmdk') return;
      const { subformat } = options;
      expect(facts.details.createType).toBe(subformat);
      expect(facts.details.extents).toHaveLength(/^monolithicSparse|^stream/.test(String(subformat)) ? 0 : 1);
      for (const extent of facts.details.extents) {
        await withReader(at(extent.file), (reader) => inspectDiskExtent(reader, extent));
      }
    },
  );

  test.each<[DiskFormat, ImageFormatOptions]>([
    ['qcow2', {}],
    ['qcow2', { compression_type: 'zstd', cluster_size: '2M' }],
    ['vmdk', { subformat: 'streamOptimized' }],
  ])('compressed by qemu-img as %s with %o are accepted', async (format, options) => {
    expect(await inspect(await make(format, options, true))).toMatchObject({ virtualSizeBytes: SIZE });
  });

  test.each<[DiskFormat, ImageFormatOptions]>([
    ['qcow2', {}],
    ['vmdk', { subformat: 'monolithicSparse' }],
    ['vmdk', { subformat: 'streamOptimized' }],
    ['vpc', { subformat: 'dynamic' }],
    ['vhdx', {}],
    ['vdi', {}],
    ['vdi', { static: true }],
  ])('of %s with %o that were copied by two thirds are refused as truncated', async (format, options) => {
    const path = await make(format, options);
    await truncate(path, 2_000_000);
    expect(await reasonOf(path)).toBe('truncated');
  });

  test('of qcow2 with a backing file, an external data file or encryption are refused', async () => {
    const backing = { path: source, format: 'raw' };
    await qemuImgCreate({ path: at('overlay.qcow2'), format: 'qcow2', backing, timeoutMs });
    expect(await reasonOf(at('overlay.qcow2'))).toBe('backing-file');
    const formatOptions = { data_file: at('data.raw') };
    await qemuImgCreate({
      path: at('outside.qcow2'),
      format: 'qcow2',
      sizeBytes: MIB,
      formatOptions,
      timeoutMs,
    });
    expect(await reasonOf(at('outside.qcow2'))).toBe('data-file');
    // Not LUKS: it times the processor for five seconds, and gives up on a busy one.
    const secret = ['--object', 'secret,id=key,data=test', '-o', 'encrypt.format=aes,encrypt.key-secret=key'];
    const create = ['create', '-q', '-f', 'qcow2', ...secret, at('secret.qcow2'), '1M'];
    expect(spawnSync(binary, create).status).toBe(0);
    expect(await reasonOf(at('secret.qcow2'))).toBe('encrypted');
  });

  test('of qcow2 with internal snapshots and bitmaps are accepted', async () => {
    const path = await make('qcow2', {});
    expect(spawnSync(binary, ['snapshot', '-c', 'one', path]).status).toBe(0);
    expect(spawnSync(binary, ['bitmap', '--add', path, 'two']).status).toBe(0);
    expect(await inspect(path)).toMatchObject({ details: { internalSnapshots: 1 } });
  });

  test.each(['qed', 'parallels', 'qcow'])('of %s are refused as unsupported', async (format) => {
    const path = at(`old.${format}`);
    await qemuImgCreate({ path, format, sizeBytes: MIB, timeoutMs });
    expect(await reasonOf(path)).toBe('unsupported-feature');
  });

  test.each<[string, DiskFormat, Buffer]>([
    ['qcow2', 'qcow2', builtQcow2()],
    ['vmdk', 'vmdk', builtVmdk()],
    ['vmdk stream', 'vmdk', builtVmdkStream()],
    ['fixed vpc', 'vpc', builtFixedVpc()],
    ['dynamic vpc', 'vpc', builtDynamicVpc()],
    ['vdi', 'vdi', builtVdi()],
    ['vhdx', 'vhdx', builtVhdx()],
    ['iso', 'raw', builtIso()],
  ])('that the unit tests spoil are sound for qemu-img before: %s', async (name, format, bytes) => {
    const path = at(`built ${name}`);
    await writeFile(path, bytes);
    const info = await qemuImgInfo({ path, format, timeoutMs });
    expect(await inspect(path)).toMatchObject({ virtualSizeBytes: info['virtual-size'] });
    const target = { path: at(`${name}.raw`), format: 'raw' };
    await qemuImgConvert({ source: { path, format }, target, timeoutMs });
  });

  test.each<EmptyQcow2Options>([
    { sizeBytes: 512 },
    { sizeBytes: 10 * 2 ** 30 },
    { sizeBytes: 64 * 2 ** 40 },
    { sizeBytes: 2 ** 37, clusterBits: 9 },
    { sizeBytes: 2 ** 34, clusterBits: 12 },
    { sizeBytes: 2 ** 40, clusterBits: 17 },
    { sizeBytes: 2 ** 40, clusterBits: 21 },
    { sizeBytes: 2 ** 40, clusterBits: 17, extendedL2: true },
  ])('of qcow2 that we write empty, %o, are clean and read as asked for', async (options) => {
    made += 1;
    const image = { path: at(`empty-${made}.qcow2`), format: 'qcow2' };
    await writeEmpty(image.path, options);
    expect(await qemuImgCheck({ ...image, timeoutMs })).toMatchObject({ result: 'clean' });
    expect(await qemuImgInfo({ ...image, timeoutMs })).toMatchObject({
      'virtual-size': options.sizeBytes,
      'cluster-size': 2 ** (options.clusterBits ?? 16),
      'dirty-flag': false,
      'format-specific': {
        data: {
          compat: '1.1',
          'lazy-refcounts': false,
          'refcount-bits': 16,
          corrupt: false,
          'extended-l2': options.extendedL2 ?? false,
        },
      },
    });
  });

  test('of qcow2 that we write empty take data like others', async () => {
    const target = { path: at('filled.qcow2'), format: 'qcow2' };
    await writeEmpty(target.path, { sizeBytes: SIZE });
    const from = { path: source, format: 'raw' };
    await qemuImgConvert({ source: from, target, keepTarget: true, targetIsZero: true, timeoutMs });
    expect(await qemuImgCheck({ ...target, timeoutMs })).toMatchObject({ result: 'clean' });
    const back = { path: at('filled.raw'), format: 'raw' };
    await qemuImgConvert({ source: target, target: back, timeoutMs });
    expect((await readFile(back.path)).equals(await readFile(source))).toBe(true);
  });

  test('of qcow2 that we write over a backing image name it, and read as it does', async () => {
    const image = { path: at('clone.qcow2'), format: 'qcow2' };
    await writeEmpty(image.path, { sizeBytes: SIZE, backing: { path: 'source.raw', format: 'raw' } });
    expect(await qemuImgInfo({ ...image, timeoutMs })).toMatchObject({
      'backing-filename': 'source.raw',
      'backing-filename-format': 'raw',
    });
    const copy = { path: at('clone.raw'), format: 'raw' };
    await qemuImgConvert({ source: image, target: copy, timeoutMs });
    expect((await readFile(copy.path)).equals(await readFile(source))).toBe(true);
  });

  test('of qcow2 that name no backing image read through the one that a node gives them', async () => {
    const path = at('nameless.qcow2');
    await writeEmpty(path, { sizeBytes: SIZE });
    const file = { driver: 'file', filename: path };
    const backing = { driver: 'raw', file: { driver: 'file', filename: source } };
    const copy = { path: at('nameless.raw'), format: 'raw' };
    const through = { blockdev: { driver: 'qcow2', file, backing } };
    await qemuImgConvert({ source: through, target: copy, timeoutMs });
    expect((await readFile(copy.path)).equals(await readFile(source))).toBe(true);
  });

  test('of vpc whose geometry is too small are cut by QEMU, unless its option says otherwise', async () => {
    const path = at('cut.vhd');
    await writeFile(
      path,
      builtFixedVpc({ footer: (footer) => (footer.write('vbox', 28), footer.writeUInt16BE(20, 56)) }),
    );
    const facts = await inspect(path);
    const file = { driver: 'file', filename: path };
    const blockdev = { driver: 'vpc', file, force_size_calc: 'current_size' };
    const info = await qemuImgInfo({ blockdev, timeoutMs });
    expect(info['virtual-size']).toBe(facts.virtualSizeBytes);
  });
});
