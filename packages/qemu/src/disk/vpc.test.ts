import { describe, expect, test } from 'vitest';
import { builtDynamicVpc, builtFixedVpc, MIB, readerOf, type Spoil, verdict } from './built-disks.ts';
import { inspectDisk } from './inspect.ts';
import { bigEndian } from './spoil.fixture.ts';

const SIZE = 1740 * 512;

const { u32, u64 } = bigEndian;

const spoiltFooter = (footer: Spoil): Promise<string> =>
  verdict(builtDynamicVpc({ footer }), { format: 'vpc' });
const spoiltHeader = (header: Spoil): Promise<string> =>
  verdict(builtDynamicVpc({ header }), { format: 'vpc' });
const spoilt = (all: Spoil): Promise<string> => verdict(builtDynamicVpc({ all }), { format: 'vpc' });

describe('a VHD file', () => {
  test('that is fixed or dynamic is accepted with its size', async () => {
    const details = { geometrySizeBytes: SIZE, creator: 'qemu' };
    const facts = { format: 'vpc', virtualSizeBytes: SIZE, tables: 'checked' };
    expect(await inspectDisk(readerOf(builtFixedVpc()))).toEqual({
      ...facts,
      details: { ...details, subformat: 'fixed' },
    });
    expect(await inspectDisk(readerOf(builtDynamicVpc()))).toEqual({
      ...facts,
      details: { ...details, subformat: 'dynamic' },
    });
  });

  test('whose geometry is smaller than its size is accepted, and says so', async () => {
    const bytes = builtFixedVpc({ footer: (footer) => footer.writeUInt16BE(20, 56) });
    expect(await inspectDisk(readerOf(bytes))).toMatchObject({
      virtualSizeBytes: SIZE,
      details: { geometrySizeBytes: 20 * 4 * 15 * 512 },
    });
  });
});

test('the largest geometry of a VHD file says nothing about its size', async () => {
  const footer: Spoil = (bytes) => bytes.write('ffff10ff', 56, 'hex');
  expect(await inspectDisk(readerOf(builtFixedVpc({ footer })))).toMatchObject({
    virtualSizeBytes: SIZE,
    details: { geometrySizeBytes: SIZE },
  });
});

describe('a VHD file is refused that', () => {
  test('is a differencing disk', async () => {
    expect(await spoiltFooter(u32(60, 4))).toMatch(/^differencing/);
    expect(await verdict(builtFixedVpc({ footer: u32(60, 4) }))).toMatch(/^differencing/);
  });

  test('has a wrong checksum in its footer or its header', async () => {
    expect(await spoilt((bytes) => bytes.writeUInt8(1, 100))).toMatch(/^malformed: .*checksum of its footer/);
    expect(await spoilt((bytes) => bytes.writeUInt8(1, 612))).toMatch(
      /^malformed: .*checksum of its dynamic/,
    );
  });

  test('says another type than it has', async () => {
    expect(await spoiltFooter(u32(60, 2))).toMatch(/^malformed: .*type is 2/);
    expect(await verdict(builtFixedVpc({ footer: u32(60, 3) }))).toMatch(/^malformed: .*type is 3/);
  });

  test('is shorter than its size, or longer', async () => {
    expect(await verdict(builtFixedVpc({ footer: u64(48, SIZE + 512) }))).toMatch(/^truncated/);
    expect(await verdict(builtFixedVpc({ footer: u64(48, SIZE - 512) }))).toMatch(/^size-lie/);
  });

  test('has a geometry larger than its size', async () => {
    const lie: Spoil = (footer) => footer.writeUInt16BE(65535, 56);
    expect(await spoiltFooter(lie)).toMatch(/^size-lie: .*cylinders/);
  });

  test('has two footers that differ', async () => {
    const other = builtDynamicVpc({ footer: u64(48, SIZE - 512) });
    const bytes = Buffer.concat([builtDynamicVpc().subarray(0, -512), other.subarray(-512)]);
    expect(await verdict(bytes)).toMatch(/^size-lie: .*copy/);
  });

  test('has no size, or over the 2040 GiB that the format allows', async () => {
    expect(await spoiltFooter(u64(48, 0))).toMatch(/^absurd-geometry/);
    expect(await spoiltFooter(u64(48, 2041 * 2 ** 30))).toMatch(/^absurd-geometry/);
    expect(await spoiltFooter(u64(48, 2n ** 63n))).toMatch(/^absurd-geometry/);
  });

  test.each([0, 3, 256, 2 * MIB + 512, 512 * MIB])('has blocks of %d bytes', async (blockBytes) => {
    expect(await spoiltHeader(u32(32, blockBytes))).toMatch(/^absurd-geometry: .*blocks/);
  });

  test('has a block table that does not cover its size, is absurd, or beyond its end', async () => {
    expect(await spoiltHeader(u32(28, 0))).toMatch(/^size-lie: .*block table/);
    expect(await spoiltHeader(u32(28, 0xffff_ffff))).toMatch(/^absurd-geometry: .*block table/);
    expect(await spoiltHeader(u32(28, 1000))).toMatch(/^truncated: .*block table/);
    expect(await spoiltHeader(u64(16, 2 ** 50))).toMatch(/^truncated: .*block table/);
  });

  test('has its header beyond its end, or none', async () => {
    expect(await spoiltFooter(u64(16, 2 ** 40))).toMatch(/^truncated: .*dynamic header/);
    expect(await spoiltHeader((header) => header.write('cxsparsX'))).toMatch(/^malformed: .*dynamic header/);
  });

  test('counts on a block beyond its end', async () => {
    expect(await spoilt(u32(1536, 4))).toMatch(/^truncated: .*block 0/);
  });

  test('is a footer and nothing else, or not even that', async () => {
    expect(await verdict(builtFixedVpc().subarray(-512))).toMatch(/^malformed/);
    expect(await verdict(builtDynamicVpc().subarray(0, 100))).toMatch(/^truncated/);
  });
});
