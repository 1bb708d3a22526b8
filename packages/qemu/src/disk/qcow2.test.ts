import { describe, expect, test } from 'vitest';
import { builtQcow2, MIB, readerOf, type Spoil, verdict } from './built-disks.ts';
import { inspectDisk } from './inspect.ts';
import { bigEndian } from './spoil.fixture.ts';

const CLUSTER = 4096;
const L1_AT = 40;

const { u32, u64 } = bigEndian;
const both =
  (...spoils: Spoil[]): Spoil =>
  (bytes) =>
    spoils.forEach((spoil) => spoil(bytes));
/** A header extension as the first one. */
const extension =
  (type: number, length: number, data = ''): Spoil =>
  (bytes) => {
    bytes.writeUInt32BE(type, 112);
    bytes.writeUInt32BE(length, 116);
    bytes.write(data, 120);
  };

const spoilt = (spoil: Spoil): Promise<string> => verdict(builtQcow2(spoil), { format: 'qcow2' });

/** With an L2 table and one cluster behind what there is; `entry` goes into the L2 table. */
function withL2(entry: bigint, l2At = 4 * CLUSTER): Buffer {
  const bytes = Buffer.concat([builtQcow2(), Buffer.alloc(2 * CLUSTER)]);
  bytes.writeBigUInt64BE((1n << 63n) | BigInt(l2At), Number(bytes.readBigUInt64BE(L1_AT)));
  bytes.writeBigUInt64BE(entry, 4 * CLUSTER);
  return bytes;
}

describe('a qcow2 file', () => {
  test('without tricks is accepted, with its size and features', async () => {
    expect(await inspectDisk(readerOf(builtQcow2()))).toEqual({
      format: 'qcow2',
      virtualSizeBytes: MIB,
      tables: 'checked',
      details: {
        version: 3,
        clusterSizeBytes: CLUSTER,
        compression: 'zlib',
        extendedL2: false,
        dirty: false,
        internalSnapshots: 0,
      },
    });
  });

  test('with the place of a backing name, but no name, as QEMU leaves it after a merge, is accepted', async () => {
    expect(await spoilt(both(u64(8, 512), u32(16, 0)))).not.toContain('backing-file');
  });

  test('of version 2 is accepted', async () => {
    const bytes = builtQcow2(both(u32(4, 2), (all) => all.fill(0, 72, 120)));
    expect(await inspectDisk(readerOf(bytes))).toMatchObject({ details: { version: 2 } });
  });

  test('with subclusters, zstd or a dirty mark is accepted and says so', async () => {
    const extended = builtQcow2(undefined, { clusterBits: 16, extendedL2: true });
    expect(await inspectDisk(readerOf(extended))).toMatchObject({ details: { extendedL2: true } });
    const zstd = builtQcow2(both(u64(72, 8 + 1), (all) => all.writeUInt8(1, 104)));
    expect(await inspectDisk(readerOf(zstd))).toMatchObject({
      details: { compression: 'zstd', dirty: true },
    });
  });

  test('with internal snapshots is accepted, because a conversion drops them', async () => {
    const bytes = builtQcow2(both(u32(60, 1), u64(64, 3 * CLUSTER)));
    expect(await inspectDisk(readerOf(bytes))).toMatchObject({ details: { internalSnapshots: 1 } });
  });

  test('whose clusters, plain and compressed, are all within it is accepted', async () => {
    expect(await verdict(withL2((1n << 63n) | BigInt(5 * CLUSTER)))).toBe('accepted');
    expect(await verdict(withL2((1n << 62n) | BigInt(5 * CLUSTER + 17)))).toBe('accepted');
    expect(await verdict(withL2(1n))).toBe('accepted');
  });
});

describe('a qcow2 file is refused that', () => {
  test.each(['/etc/shadow', 'json:{"driver":"nbd"}', 'nbd://host/export', 'base.qcow2'])(
    'names the backing file %s',
    async (path) => {
      const named = builtQcow2((bytes) => {
        bytes.write(path, 1024);
        bytes.writeBigUInt64BE(1024n, 8);
        bytes.writeUInt32BE(path.length, 16);
      });
      expect(await verdict(named)).toBe(
        `backing-file: qcow2: it names a backing file, ${JSON.stringify(path)}`,
      );
    },
  );

  test('names a backing file beyond its end, or with control characters', async () => {
    expect(await spoilt(both(u64(8, 2n ** 63n), u32(16, 0xffff_ffff)))).toMatch(/^backing-file: .*""$/);
    const named = both(u64(8, 1024), u32(16, 3), (bytes) => bytes.write('\x1b[2', 1024));
    expect(await spoilt(named)).toMatch(/"\\u001b\[2"$/);
  });

  test('keeps its data in an external file', async () => {
    expect(await spoilt(u64(72, 4))).toBe('data-file: qcow2: its data are in an external file');
  });

  test('names an external data file in a header extension only', async () => {
    expect(await spoilt(extension(0x44415441, 11, '/etc/shadow'))).toBe(
      'data-file: qcow2: it names an external data file, "/etc/shadow"',
    );
  });

  test.each([1, 2, 3])('is encrypted by method %d', async (method) => {
    expect(await spoilt(u32(32, method))).toBe(`encrypted: qcow2: it is encrypted (method ${method})`);
  });

  test('has an encryption header as an extension', async () => {
    expect(await spoilt(extension(0x0537be77, 16))).toBe('encrypted: qcow2: it has an encryption header');
  });

  test.each([0, 8, 22, 32, 0xffff_ffff])('has clusters of 2^%d bytes', async (bits) => {
    expect(await spoilt(u32(20, bits))).toMatch(/^absurd-geometry: .*clusters/);
  });

  test('is of version 4', async () => {
    expect(await spoilt(u32(4, 4))).toBe('unsupported-feature: qcow2: its version is 4');
  });

  test('needs a feature that nobody knows', async () => {
    expect(await spoilt(u64(72, 1n << 63n))).toBe(
      'unsupported-feature: qcow2: it needs unknown features (0x8000000000000000)',
    );
    expect(await spoilt(u64(72, 1 << 5))).toMatch(/^unsupported-feature/);
  });

  test('is marked as corrupt', async () => {
    expect(await spoilt(u64(72, 2))).toBe('malformed: qcow2: it is marked as corrupt');
  });

  test.each([0, 8, 96, 105, 4104, 0xffff_fff8])('says its header is %d bytes long', async (length) => {
    expect(await spoilt(u32(100, length))).toMatch(/^malformed: .*header/);
  });

  test('has refcounts of 128 bits', async () => {
    expect(await spoilt(u32(96, 7))).toMatch(/^absurd-geometry: .*refcounts/);
  });

  test('is compressed by a method that nobody knows', async () => {
    const unknown = both(u64(72, 8), (bytes) => bytes.writeUInt8(2, 104));
    expect(await spoilt(unknown)).toBe('unsupported-feature: qcow2: its compression type is 2');
  });

  test('says one compression in its features and another in its type', async () => {
    expect(await spoilt(u64(72, 8))).toMatch(/^malformed: .*compression/);
    expect(await spoilt((bytes) => bytes.writeUInt8(1, 104))).toMatch(/^malformed: .*compression/);
  });

  test('has subclusters in clusters that are too small for them', async () => {
    expect(await spoilt(u64(72, 16))).toMatch(/^absurd-geometry: .*extended L2/);
  });

  test('has no size at all', async () => {
    expect(await spoilt(u64(24, 0))).toBe('absurd-geometry: qcow2: its virtual size is 0');
  });

  test('says it is larger than 64 TiB, or than the limit given', async () => {
    expect(await spoilt(u64(24, 2 ** 46 + 512))).toMatch(/^absurd-geometry: .*over the limit/);
    expect(await spoilt(u64(24, 2n ** 63n))).toBe(
      'absurd-geometry: qcow2: its virtual size is 9223372036854775808',
    );
    const limited = await verdict(builtQcow2(), { maxVirtualSizeBytes: MIB - 1 });
    expect(limited).toMatch(/^absurd-geometry: .*1048576 bytes, over the limit of 1048575$/);
  });

  test('says it is larger than its L1 table covers', async () => {
    expect(await spoilt(u64(24, 2 * MIB + 512))).toMatch(/^size-lie: .*L1 table covers 2097152$/);
    expect(await spoilt(u32(36, 0))).toMatch(/^size-lie/);
  });

  test.each([16387, 4 * MIB + 1, 0xffff_ffff])('has an L1 table of %d entries for one', async (entries) => {
    expect(await spoilt(u32(36, entries))).toMatch(/^absurd-geometry: .*L1 table/);
  });

  test('has its L1 table beyond its end', async () => {
    expect(await spoilt(u32(36, 513))).toMatch(/^truncated: .*L1 table/);
    expect(await spoilt(u64(L1_AT, 4 * CLUSTER))).toMatch(/^truncated: .*L1 table/);
    expect(await spoilt(u64(L1_AT, 2n ** 60n))).toMatch(/^absurd-geometry: .*L1 table/);
  });

  test('has its L1 table over its header, or beside a cluster', async () => {
    expect(await spoilt(u64(L1_AT, 0))).toMatch(/^malformed: .*L1 table/);
    expect(await spoilt(u64(L1_AT, CLUSTER + 8))).toMatch(/^malformed: .*L1 table/);
  });

  test('has no refcount table, an absurd one, or one beyond its end', async () => {
    expect(await spoilt(u32(56, 0))).toMatch(/^malformed: .*refcount table/);
    expect(await spoilt(u32(56, 2049))).toMatch(/^absurd-geometry: .*refcount table/);
    expect(await spoilt(u32(56, 4))).toMatch(/^truncated: .*refcount table/);
    expect(await spoilt(u64(48, 0))).toMatch(/^malformed: .*refcount table/);
  });

  test('has absurdly many internal snapshots, or their table beyond its end', async () => {
    expect(await spoilt(u32(60, 65537))).toMatch(/^absurd-geometry: .*snapshots/);
    expect(await spoilt(both(u32(60, 200), u64(64, 3 * CLUSTER)))).toMatch(/^truncated: .*snapshot table/);
  });

  test('has a header extension longer than a cluster, or too many of them', async () => {
    expect(await spoilt(extension(0x1234, CLUSTER))).toMatch(/^malformed: .*extension/);
    expect(await spoilt(extension(0x1234, 0xffff_ffff))).toMatch(/^malformed: .*extension/);
    expect(await spoilt((bytes) => bytes.fill('\0\0\0\x01\0\0\0\0', 112, 1120, 'latin1'))).toMatch(
      /^malformed: .*over 64/,
    );
  });

  test('has bitmaps that are absurd or beyond its end', async () => {
    expect(await spoilt(extension(0x23852875, 8))).toMatch(/^malformed: .*bitmaps/);
    const bitmaps = (count: number, bytes: number) =>
      both(extension(0x23852875, 24), u32(120, count), u64(128, bytes), u64(136, CLUSTER));
    expect(await spoilt(bitmaps(65536, 32))).toMatch(/^absurd-geometry: .*bitmaps/);
    expect(await spoilt(bitmaps(1, 4 * CLUSTER))).toMatch(/^truncated: .*bitmap directory/);
  });

  test('counts on an L2 table beyond its end, as one does that was not copied whole', async () => {
    expect(await verdict(withL2(0n, 6 * CLUSTER))).toMatch(/^truncated: .*L2 table 0 ends at byte 28672/);
    expect(await verdict(withL2(0n, 4 * CLUSTER + 512))).toMatch(/^malformed: .*L2 table/);
  });

  test('counts on a cluster beyond its end', async () => {
    expect(await verdict(withL2((1n << 63n) | BigInt(6 * CLUSTER)))).toMatch(/^truncated: .*cluster/);
    expect(await verdict(withL2((1n << 62n) | BigInt(6 * CLUSTER)))).toMatch(/^truncated: .*cluster/);
    expect(await verdict(withL2(BigInt(5 * CLUSTER + 512)))).toMatch(/^malformed: .*cluster/);
  });

  test('ends within its header', async () => {
    for (const length of [8, 71, 100]) {
      expect(await verdict(builtQcow2().subarray(0, length))).toMatch(/^truncated: .*header/);
    }
  });
});

test('an L1 table whose every entry is the same L2 table is not followed without end', async () => {
  const bytes = builtQcow2(undefined, { sizeBytes: 2 ** 41, clusterBits: 16 });
  const l1 = Number(bytes.readBigUInt64BE(L1_AT));
  const whole = Buffer.concat([bytes, Buffer.alloc(65536)]);
  for (let i = 0; i < bytes.readUInt32BE(36); i++) whole.writeBigUInt64BE(BigInt(bytes.length), l1 + i * 8);
  const reader = readerOf(whole);
  expect(await inspectDisk(reader)).toMatchObject({ tables: 'partly' });
  expect(reader.bytesRead()).toBeLessThan(65 * MIB);
});
