import { describe, expect, test } from 'vitest';
import { builtVdi, MIB, readerOf, type Spoil, verdict } from './built-disks.ts';
import { inspectDisk } from './inspect.ts';
import { littleEndian } from './spoil.fixture.ts';

const { u32, u64 } = littleEndian;

const spoilt = (spoil: Spoil): Promise<string> => verdict(builtVdi(spoil), { format: 'vdi' });

describe('a VDI file', () => {
  test('without tricks is accepted with its size', async () => {
    expect(await inspectDisk(readerOf(builtVdi()))).toEqual({
      format: 'vdi',
      virtualSizeBytes: 2 * MIB,
      tables: 'checked',
      details: { subformat: 'dynamic' },
    });
    expect(await inspectDisk(readerOf(builtVdi(u32(0x4c, 2))))).toMatchObject({
      details: { subformat: 'fixed' },
    });
  });
});

describe('a VDI file is refused that', () => {
  test('is a differencing disk, by its type or by its parent', async () => {
    expect(await spoilt(u32(0x4c, 4))).toMatch(/^differencing/);
    expect(await spoilt(u32(0x1a8, 1))).toMatch(/^differencing/);
    expect(await spoilt(u32(0x1b8, 1))).toMatch(/^differencing/);
  });

  test('is of another version, or of a type that nobody knows', async () => {
    expect(await spoilt(u32(0x44, 1))).toBe('unsupported-feature: vdi: its version is 0x1');
    expect(await spoilt(u32(0x4c, 3))).toBe('unsupported-feature: vdi: its type is 3');
  });

  test.each([0, 4096, 2 * MIB, 0xffff_ffff])('has blocks of %d bytes', async (blockBytes) => {
    expect(await spoilt(u32(0x178, blockBytes))).toMatch(/^absurd-geometry: .*blocks/);
  });

  test('has sectors of other than 512 bytes', async () => {
    expect(await spoilt(u32(0x168, 4096))).toMatch(/^absurd-geometry: .*sectors of 4096/);
  });

  test('says it is larger than its block map covers', async () => {
    expect(await spoilt(u64(0x170, 2 * MIB + 512))).toMatch(/^size-lie: .*covers 2097152/);
  });

  test('stores more blocks than it has', async () => {
    expect(await spoilt(u32(0x184, 3))).toMatch(/^size-lie: .*stored/);
  });

  test('has no size, or an absurd one', async () => {
    expect(await spoilt(u64(0x170, 0))).toMatch(/^absurd-geometry/);
    expect(await spoilt(u64(0x170, 2n ** 46n + 512n))).toMatch(/^absurd-geometry/);
    expect(await spoilt(u64(0x170, 2n ** 64n - 1n))).toMatch(/^absurd-geometry/);
    expect(await spoilt(u32(0x180, 0xffff_ffff))).toMatch(/^absurd-geometry: .*4294967295 blocks/);
  });

  test('has its block map beyond its end, in its header, or beside a sector', async () => {
    expect(await spoilt(u32(0x180, 0x3fff_ffff))).toMatch(/^truncated: .*block map/);
    expect(await spoilt(u32(0x154, 0))).toMatch(/^malformed: .*block map/);
    expect(await spoilt(u32(0x154, 513))).toMatch(/^malformed: .*block map/);
    expect(await spoilt(u32(0x158, 1))).toMatch(/^malformed: .*data are/);
  });

  test('counts on a block beyond its end, which QEMU would read as zeros', async () => {
    expect(await spoilt(u32(516, 1))).toMatch(/^truncated: .*block 1/);
    expect(await verdict(builtVdi().subarray(0, -1))).toMatch(/^truncated: .*block 1/);
  });
});
