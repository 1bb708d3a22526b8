import { describe, expect, test } from 'vitest';
import {
  builtVhdx,
  MIB,
  readerOf,
  type Spoil,
  VHDX_AT,
  VHDX_ITEMS,
  type VhdxSpoils,
  verdict,
} from './built-disks.ts';
import { crc32c } from './crc32c.ts';
import { inspectDisk } from './inspect.ts';
import { littleEndian } from './spoil.fixture.ts';

const { u16, u32, u64 } = littleEndian;
const guid =
  (at: number, text: string): Spoil =>
  (bytes) =>
    bytes.write(text, at, 'hex');

const spoilt = (spoils: VhdxSpoils): Promise<string> => verdict(builtVhdx(spoils), { format: 'vhdx' });

test('CRC-32C of the usual nine digits is as published', () => {
  expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283);
});

describe('a VHDX file', () => {
  test('without tricks is accepted with its size', async () => {
    expect(await inspectDisk(readerOf(builtVhdx()))).toEqual({
      format: 'vhdx',
      virtualSizeBytes: 2 * MIB,
      tables: 'checked',
      details: { subformat: 'dynamic', blockSizeBytes: MIB },
    });
    const fixed = builtVhdx({ metadata: u32(VHDX_ITEMS.fileParameters.at + 4, 1) });
    expect(await inspectDisk(readerOf(fixed))).toMatchObject({ details: { subformat: 'fixed' } });
  });

  test('of which one header is broken is read by the other', async () => {
    expect(await spoilt({ all: u32(VHDX_AT.header + 100, 1) })).toBe('accepted');
    expect(await spoilt({ all: u32(2 * VHDX_AT.header + 100, 1) })).toBe('accepted');
  });
});

describe('a VHDX file is refused that', () => {
  test('is a differencing disk, by any of its three signs', async () => {
    expect(await spoilt({ metadata: u32(VHDX_ITEMS.fileParameters.at + 4, 2) })).toMatch(/^differencing/);
    const locator = (region: Buffer): void => {
      u16(10, 6)(region);
      guid(32 + 5 * 32, '2d5fd3a80bb34d45abf7d3d84834ab0c')(region);
    };
    expect(await spoilt({ metadata: locator })).toMatch(/^differencing: .*names a parent/);
    expect(await spoilt({ all: u32(VHDX_AT.bat, 7) })).toMatch(/^differencing: .*partly/);
  });

  test('has a log to be replayed', async () => {
    expect(await spoilt({ header: u32(48, 1) })).toMatch(/^unsupported-feature: .*log must be replayed/);
  });

  test('has its log beyond its end', async () => {
    expect(await spoilt({ header: u64(72, 100 * MIB) })).toMatch(/^truncated: .*log/);
  });

  test('has two broken headers, or two of another version', async () => {
    const broken = (bytes: Buffer): void => {
      u32(VHDX_AT.header + 100, 1)(bytes);
      u32(2 * VHDX_AT.header + 100, 1)(bytes);
    };
    expect(await spoilt({ all: broken })).toMatch(/^malformed: .*headers/);
    expect(await spoilt({ header: u16(66, 2) })).toMatch(/^malformed: .*headers/);
  });

  test('has a broken region table, or an absurd one', async () => {
    expect(await spoilt({ all: u32(VHDX_AT.regions + 100, 1) })).toMatch(/^malformed: .*region table/);
    expect(await spoilt({ regions: u32(8, 2048) })).toMatch(/^absurd-geometry: .*region table/);
  });

  test('has a region twice, one too few, or one that nobody knows', async () => {
    expect(await spoilt({ regions: guid(48, '6677c22d23f600429d64115e9bfd4a08') })).toMatch(
      /^malformed: .*twice/,
    );
    expect(await spoilt({ regions: u32(8, 1) })).toMatch(/^malformed: .*no metadata/);
    expect(await spoilt({ regions: u32(16, 1) })).toMatch(/^unsupported-feature: .*region/);
  });

  test('has a region beyond its end, or in its headers', async () => {
    expect(await spoilt({ regions: u64(32, 2 ** 50) })).toMatch(/^truncated: .*block table/);
    expect(await spoilt({ regions: u64(64, 2n ** 63n) })).toMatch(/^absurd-geometry: .*region offset/);
    expect(await spoilt({ regions: u64(64, 0) })).toMatch(/^malformed: .*region/);
  });

  test('has metadata that are not valid, missing, unknown, twice, or outside of their region', async () => {
    expect(await spoilt({ metadata: (region) => region.fill('x', 0, 8) })).toMatch(/^malformed/);
    expect(await spoilt({ metadata: u16(10, 4) })).toMatch(/^malformed: .*missing/);
    expect(await spoilt({ metadata: u16(10, 2048) })).toMatch(/^absurd-geometry/);
    expect(await spoilt({ metadata: u32(64, 1) })).toMatch(/^unsupported-feature: .*metadata/);
    expect(await spoilt({ metadata: guid(64, VHDX_ITEMS.fileParameters.guid) })).toMatch(
      /^malformed: .*twice/,
    );
    expect(await spoilt({ metadata: u32(48, MIB - 4) })).toMatch(/^malformed: .*outside/);
    expect(await spoilt({ metadata: u32(52, 4) })).toMatch(/^malformed: .*too short/);
  });

  test.each([0, 65536, 3 * MIB, 512 * MIB])('has blocks of %d bytes', async (blockBytes) => {
    const metadata = u32(VHDX_ITEMS.fileParameters.at, blockBytes);
    expect(await spoilt({ metadata })).toMatch(/^absurd-geometry: .*blocks/);
  });

  test('has sectors of 4096 bytes, which QEMU does not read, or absurd ones', async () => {
    expect(await spoilt({ metadata: u32(VHDX_ITEMS.logicalSectorSize.at, 4096) })).toMatch(
      /^unsupported-feature/,
    );
    expect(await spoilt({ metadata: u32(VHDX_ITEMS.logicalSectorSize.at, 0) })).toMatch(/^absurd-geometry/);
  });

  test('has no size, an absurd one, or one that is not in sectors', async () => {
    const size = (bytes: bigint | number) => ({ metadata: u64(VHDX_ITEMS.virtualDiskSize.at, bytes) });
    expect(await spoilt(size(0))).toMatch(/^absurd-geometry/);
    expect(await spoilt(size(2 ** 46 + 512))).toMatch(/^absurd-geometry/);
    expect(await spoilt(size(2n ** 64n - 1n))).toMatch(/^absurd-geometry/);
    expect(await spoilt(size(MIB + 1))).toMatch(/^malformed/);
  });

  test('says it is larger than its block table holds', async () => {
    const lie = await spoilt({ metadata: u64(VHDX_ITEMS.virtualDiskSize.at, 2 ** 38) });
    expect(lie).toMatch(/^size-lie: .*block table holds 131072/);
  });

  test('counts on a block beyond its end, or in its headers', async () => {
    expect(await spoilt({ all: u32(VHDX_AT.bat, 5 * MIB + 6) })).toMatch(/^truncated: .*block 0/);
    expect(await spoilt({ all: u32(VHDX_AT.bat, 6) })).toMatch(/^malformed: .*block 0/);
  });

  test('ends within its headers', async () => {
    for (const length of [8, 65540, 200_000, VHDX_AT.metadata]) {
      expect(await verdict(builtVhdx().subarray(0, length))).toMatch(/^truncated/);
    }
  });
});
