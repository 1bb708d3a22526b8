import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, open, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { qemuImgCheck, qemuImgConvert, qemuImgCreate, qemuImgInfo, qemuImgResize } from './qemu-img.ts';

const binary = 'qemu-img';
const missing = spawnSync(binary, ['--version']).error;
const MIB = 1024 * 1024;
const timeoutMs = 30_000;

describe.skipIf(missing)(`qemu-img${missing ? ' (skipped: it is not installed)' : ''}`, () => {
  let directory: string;
  const at = (name: string): string => join(directory, name);

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'qemu-img-'));
  });

  afterAll(async () => {
    await rm(directory, { recursive: true, force: true });
  });

  test('creates an image with options and a backing image, and tells of both', async () => {
    const base = { path: at('base.qcow2'), format: 'qcow2' };
    await qemuImgCreate({ ...base, sizeBytes: 8 * MIB, formatOptions: { cluster_size: 131072 }, timeoutMs });
    expect(await qemuImgInfo({ ...base, timeoutMs })).toMatchObject({
      filename: base.path,
      format: 'qcow2',
      'virtual-size': 8 * MIB,
      'cluster-size': 131072,
    });
    const overlay = { path: at('overlay.qcow2'), format: 'qcow2' };
    await qemuImgCreate({ ...overlay, backing: { path: 'base.qcow2', format: 'qcow2' }, timeoutMs });
    expect(await qemuImgInfo({ ...overlay, timeoutMs })).toMatchObject({
      'virtual-size': 8 * MIB,
      'backing-filename': 'base.qcow2',
      'full-backing-filename': base.path,
      'backing-filename-format': 'qcow2',
    });
  });

  test('writes names with commas, colons and spaces as they are', async () => {
    const odd = { path: at('odd, name: with=all.qcow2'), format: 'qcow2' };
    await qemuImgCreate({ ...odd, sizeBytes: MIB, timeoutMs });
    expect((await stat(odd.path)).size).toBeGreaterThan(0);
    const overlay = { path: at('over.qcow2'), format: 'qcow2' };
    await qemuImgCreate({
      ...overlay,
      backing: { path: 'odd, name: with=all.qcow2', format: 'qcow2' },
      timeoutMs,
    });
    expect((await qemuImgInfo({ ...overlay, timeoutMs }))['full-backing-filename']).toContain(
      'odd, name: with=all',
    );
  });

  test('converts there and back to the same bytes, with growing progress', async () => {
    const content = randomBytes(8 * MIB);
    await writeFile(at('source.raw'), content);
    const seen: number[] = [];
    const [raw, qcow2] = [
      { path: at('source.raw'), format: 'raw' },
      { path: at('copy.qcow2'), format: 'qcow2' },
    ];
    await qemuImgConvert({
      source: raw,
      target: qcow2,
      timeoutMs,
      onProgress: (percent) => seen.push(percent),
    });
    expect(seen.length).toBeGreaterThan(2);
    expect(seen).toEqual([...new Set(seen)].sort((a, b) => a - b));
    expect(seen.at(-1)).toBe(100);
    const back = { path: at('back.raw'), format: 'raw' };
    await qemuImgConvert({ source: qcow2, target: back, timeoutMs });
    expect((await readFile(back.path)).equals(content)).toBe(true);
  });

  test('is cancelled in the middle of a conversion, and no process stays', async () => {
    await writeFile(at('big.raw'), randomBytes(64 * MIB));
    const controller = new AbortController();
    const target = { path: at('cancelled.qcow2'), format: 'qcow2' };
    const converting = qemuImgConvert({
      source: { path: at('big.raw'), format: 'raw' },
      target,
      compress: true,
      timeoutMs,
      signal: controller.signal,
      onProgress: () => controller.abort(new Error('cancelled')),
    });
    await expect(converting).rejects.toThrow('cancelled');
    // Its lock would refuse a second writer if it still ran.
    await qemuImgCreate({ ...target, sizeBytes: MIB, timeoutMs });
  });

  test('keeps to its deadline', async () => {
    const source = { path: at('big.raw'), format: 'raw' };
    const target = { path: at('late.qcow2'), format: 'qcow2' };
    await expect(qemuImgConvert({ source, target, compress: true, timeoutMs: 50 })).rejects.toMatchObject({
      code: 'qemu_img_timeout',
    });
  });

  test('finds an image clean, leaking, corrupt, and of a format without checks', async () => {
    const image = { path: at('check.qcow2'), format: 'qcow2' };
    await writeFile(at('c.raw'), randomBytes(MIB));
    await qemuImgConvert({ source: { path: at('c.raw'), format: 'raw' }, target: image, timeoutMs });
    expect(await qemuImgCheck({ ...image, timeoutMs })).toMatchObject({
      result: 'clean',
      report: { 'check-errors': 0 },
    });
    // The first entry of the refcount block: one more reference than there is, then none at all.
    await overwriteRefcount(image.path, 2);
    expect(await qemuImgCheck({ ...image, timeoutMs })).toMatchObject({
      result: 'leaks',
      report: { leaks: 1 },
    });
    expect(await qemuImgCheck({ ...image, repair: 'leaks', timeoutMs })).toMatchObject({
      report: { 'leaks-fixed': 1 },
    });
    expect((await qemuImgCheck({ ...image, timeoutMs })).result).toBe('clean');
    await overwriteRefcount(image.path, 0);
    expect((await qemuImgCheck({ ...image, timeoutMs })).result).toBe('corrupt');
    const raw = { path: at('c.raw'), format: 'raw' };
    expect(await qemuImgCheck({ ...raw, timeoutMs })).toEqual({ result: 'unsupported', report: {} });
  });

  test('grows an image, and shrinks it only when told so', async () => {
    const image = { path: at('resize.qcow2'), format: 'qcow2' };
    await qemuImgCreate({ ...image, sizeBytes: 4 * MIB, timeoutMs });
    await qemuImgResize({ ...image, sizeBytes: 8 * MIB, timeoutMs });
    expect((await qemuImgInfo({ ...image, timeoutMs }))['virtual-size']).toBe(8 * MIB);
    await expect(qemuImgResize({ ...image, sizeBytes: MIB, timeoutMs })).rejects.toThrow('--shrink');
    await qemuImgResize({ ...image, sizeBytes: MIB, shrink: true, timeoutMs });
    expect((await qemuImgInfo({ ...image, timeoutMs }))['virtual-size']).toBe(MIB);
  });

  test('reads a chain as the caller gives it, whatever the headers say', async () => {
    const content = randomBytes(MIB);
    await writeFile(at('below.raw'), content);
    const backing = { path: 'below.raw', format: 'raw' };
    await qemuImgCreate({ path: at('above.qcow2'), format: 'qcow2', backing, timeoutMs });
    const file = { driver: 'file', filename: at('above.qcow2') };
    const alone = { blockdev: { driver: 'qcow2', file, backing: null } };
    const below = { driver: 'raw', file: { driver: 'file', filename: at('below.raw') } };
    const whole = { blockdev: { driver: 'qcow2', file, backing: below } };
    expect(await qemuImgInfo({ ...alone, timeoutMs })).toMatchObject({
      format: 'qcow2',
      'virtual-size': MIB,
    });
    const options = { parallel: 2, outOfOrder: true, sparseSizeBytes: 65536, timeoutMs };
    await qemuImgConvert({ source: alone, target: { path: at('alone.raw'), format: 'raw' }, ...options });
    expect((await readFile(at('alone.raw'))).equals(Buffer.alloc(MIB))).toBe(true);
    await qemuImgConvert({ source: whole, target: { path: at('whole.raw'), format: 'raw' }, ...options });
    expect((await readFile(at('whole.raw'))).equals(content)).toBe(true);
  });

  test('fails in its own words', async () => {
    await expect(qemuImgInfo({ path: at('none'), format: 'raw', timeoutMs })).rejects.toMatchObject({
      code: 'qemu_img_error',
      exitCode: 1,
      message: expect.stringContaining('No such file or directory'),
    });
    await expect(qemuImgInfo({ path: at('c.raw'), format: 'qcow2', timeoutMs })).rejects.toThrow(
      'not in qcow2 format',
    );
  });
});

/** Sets the refcount (16 bits) of the image's first cluster, its header. */
async function overwriteRefcount(path: string, count: number): Promise<void> {
  const file = await open(path, 'r+');
  try {
    const { buffer: header } = await file.read(Buffer.alloc(56), 0, 56, 0);
    const table = header.readBigUInt64BE(48); // refcount_table_offset
    const { buffer: entry } = await file.read(Buffer.alloc(8), 0, 8, Number(table));
    const refcount = Buffer.alloc(2);
    refcount.writeUInt16BE(count);
    await file.write(refcount, 0, 2, Number(entry.readBigUInt64BE(0)));
  } finally {
    await file.close();
  }
}
