import { describe, expect, test } from 'vitest';
import {
  builtVmdk,
  builtVmdkStream,
  builtVmdkText,
  MIB,
  readerOf,
  type Spoil,
  VMDK_DESCRIPTOR,
  verdict,
} from './built-disks.ts';
import { inspectDisk, inspectDiskExtent } from './inspect.ts';
import { DiskRefused } from './refused.ts';
import { littleEndian } from './spoil.fixture.ts';
import type { VmdkExtent } from './vmdk-descriptor.ts';

const { u32, u64 } = littleEndian;

const spoilt = (spoil: Spoil): Promise<string> => verdict(builtVmdk(spoil), { format: 'vmdk' });
const described = (descriptor: string): Promise<string> => verdict(builtVmdk(undefined, descriptor));
const text = (extents: string, head?: string): Promise<string> =>
  verdict(builtVmdkText(extents, head), { format: 'vmdk' });

describe('a vmdk file', () => {
  test('that is sparse and whole is accepted with its size', async () => {
    expect(await inspectDisk(readerOf(builtVmdk()))).toEqual({
      format: 'vmdk',
      virtualSizeBytes: MIB,
      tables: 'checked',
      details: { createType: 'monolithicSparse', extents: [] },
    });
  });

  test('that was written as a stream is read by its footer', async () => {
    expect(await verdict(builtVmdkStream())).toBe('accepted');
  });

  test('of text gives the files that it is made of', async () => {
    const bytes = builtVmdkText('RW 4192256 FLAT "disk 1-f001.vmdk" 0\nRW 2048 FLAT "disk 1-f002.vmdk" 128');
    expect(await inspectDisk(readerOf(bytes))).toEqual({
      format: 'vmdk',
      virtualSizeBytes: (4192256 + 2048) * 512,
      tables: 'checked',
      details: {
        createType: 'monolithicFlat',
        extents: [
          { file: 'disk 1-f001.vmdk', sizeSectors: 4192256, type: 'FLAT', offsetSectors: 0 },
          { file: 'disk 1-f002.vmdk', sizeSectors: 2048, type: 'FLAT', offsetSectors: 128 },
        ],
      },
    });
  });

  test('of text may have Windows line ends, and names in UTF-8', async () => {
    const bytes = Buffer.from(
      builtVmdkText('RW 8 VMFS "Größe-flat.vmdk"').toString().replaceAll('\n', '\r\n'),
    );
    expect(await inspectDisk(readerOf(bytes))).toMatchObject({
      details: { extents: [{ file: 'Größe-flat.vmdk', type: 'VMFS' }] },
    });
  });
});

describe('a vmdk descriptor is refused whose extent', () => {
  test.each([
    ['is an absolute path', '/etc/shadow'],
    ['leaves its folder', '../../etc/shadow'],
    ['goes through a folder', 'a/b.vmdk'],
    ['is a path of Windows', 'C:\\disk.vmdk'],
    ['goes through a folder of Windows', 'a\\b.vmdk'],
    ['is a device of Windows', '\\\\.\\PhysicalDrive0'],
    ['is a protocol of QEMU', 'nbd:unix:sock'],
    ['is the folder above', '..'],
    ['is its folder', '.'],
    ['has no name', ''],
    ['has a control character in its name', 'a\x1bb'],
    ['has an overlong name', 'x'.repeat(256)],
  ])('%s', async (_, name) => {
    expect(await text(`RW 2048 FLAT "${name}" 0`)).toMatch(
      /^external-extent: vmdk: its descriptor has the extent/,
    );
    expect(await described(VMDK_DESCRIPTOR.replace('disk.vmdk', name))).toMatch(/^external-extent/);
  });

  test('has a name cut by NUL', async () => {
    expect(await text('RW 2048 FLAT "a\0b" 0')).toMatch(/^malformed/);
  });

  test('has a name that is no UTF-8', async () => {
    const bytes = builtVmdkText('RW 2048 FLAT "disk@.vmdk" 0');
    bytes[bytes.indexOf('@')] = 0xff;
    expect(await verdict(bytes)).toMatch(/^external-extent/);
  });

  test('is a device of a host', async () => {
    expect(await text('RW 2048 FLAT "disk.vmdk" 0', 'createType="fullDevice"')).toMatch(/^external-extent/);
    expect(await text('RW 2048 VMFSRDM "disk-rdm.vmdk"')).toMatch(/^external-extent/);
  });

  test.each(['ZERO', 'VMFSSPARSE "a.vmdk"', 'SESPARSE "a.vmdk"'])(
    'is of a type that QEMU leaves out or that is not read: %s',
    async (type) => {
      expect(await text(`RW 2048 ${type}`)).toMatch(/^unsupported-feature/);
    },
  );

  test.each(['RDONLY', 'NOACCESS'])('QEMU leaves out because its access is %s', async (access) => {
    expect(await text(`${access} 2048 FLAT "a.vmdk" 0`)).toMatch(/^unsupported-feature/);
  });

  test('is of no size, or of one beyond all numbers', async () => {
    expect(await text('RW 0 FLAT "a.vmdk" 0')).toMatch(/^absurd-geometry/);
    expect(await text('RW 99999999999999999999 FLAT "a.vmdk" 0')).toMatch(/^absurd-geometry/);
    expect(await text('RW 2048 FLAT "a.vmdk" 99999999999999999999')).toMatch(/^absurd-geometry/);
  });

  test('makes the disk larger than 64 TiB', async () => {
    const half = 'RW 68719476736 FLAT "a.vmdk" 0';
    expect(await text(`${half}\n${half}\n${half}`)).toMatch(/^absurd-geometry: .*over the limit/);
  });

  test('goes over several lines, which QEMU reads and others do not', async () => {
    expect(await text('RW\n2048\nFLAT\n"/etc/shadow"\n0')).toBe(
      'malformed: vmdk: its descriptor has the line "RW"',
    );
  });

  test('stands behind a blank line, which makes QEMU count it twice', async () => {
    expect(await text('\nRW 2048 FLAT "a.vmdk" 0')).toMatch(/^malformed: .*blank line/);
    expect(await text(' \t\nRW 2048 FLAT "a.vmdk" 0')).toMatch(/^malformed: .*blank line/);
  });

  test('has no offset where it needs one, or one where QEMU takes none', async () => {
    expect(await text('RW 2048 FLAT "a.vmdk"')).toMatch(/^malformed/);
    expect(await text('RW 2048 VMFS "a.vmdk" 0')).toMatch(/^malformed/);
  });
});

describe('a vmdk descriptor is refused that', () => {
  test('needs a parent by its parentCID', async () => {
    expect(await text('RW 8 FLAT "a.vmdk" 0', 'parentCID=12345678')).toMatch(/^differencing: .*12345678/);
    expect(await described(VMDK_DESCRIPTOR.replace('ffffffff', '0a0b0c0d'))).toMatch(/^differencing/);
  });

  test('needs a parent by a file name, be it in a comment', async () => {
    const hint = 'parentFileNameHint="/etc/shadow"';
    expect(await text('RW 8 FLAT "a.vmdk" 0', hint)).toMatch(/^differencing: .*shadow/);
    expect(await text('RW 8 FLAT "a.vmdk" 0', `# ${hint}`)).toMatch(/^differencing: .*shadow/);
    expect(await described(`${VMDK_DESCRIPTOR}${hint}`)).toMatch(/^differencing: .*shadow/);
  });

  test('names a parent where only QEMU looks for it', async () => {
    const hidden = (bytes: Buffer): void => {
      bytes.copy(bytes, 40 * 512, 512, 1024);
      bytes.writeBigUInt64LE(40n, 28);
      bytes.write('parentFileNameHint="/etc/shadow"', 512);
    };
    expect(await spoilt(hidden)).toMatch(/^differencing: .*shadow/);
  });

  test('names 257 extents, or none', async () => {
    expect(await text(Array(257).fill('RW 8 FLAT "a.vmdk" 0').join('\n'))).toMatch(
      /^absurd-geometry: .*extents/,
    );
    expect(await text('# nothing')).toMatch(/^malformed: .*names no extent/);
  });

  test('is longer than QEMU reads', async () => {
    expect(await text(`RW 8 FLAT "a.vmdk" 0\n#${'x'.repeat(MIB)}`)).toMatch(/^malformed: .*bytes long/);
    expect(await spoilt(u64(36, 2048))).toMatch(/^malformed: .*bytes long/);
  });

  test('says the same thing twice, or nothing that is known', async () => {
    expect(await text('RW 8 FLAT "a.vmdk" 0', 'CID=1')).toMatch(/^malformed: .*CID twice/);
    expect(await text('RW 8 FLAT "a.vmdk" 0\nRW 8')).toMatch(/^malformed: .*the line "RW 8"/);
  });

  test.each(['custom', 'vmfsSparse', 'seSparse', 'monolithicSparse'])('is of type %s', async (type) => {
    expect(await text('RW 8 FLAT "a.vmdk" 0', `createType="${type}"`)).toMatch(/^unsupported-feature/);
  });
});

describe('a sparse vmdk file is refused that', () => {
  test.each(['COWD', '\xbe\xba\xfe\xca'])('is of another kind, %j', async (magic) => {
    const bytes = Buffer.alloc(4096);
    bytes.write(magic, 'latin1');
    expect(await verdict(bytes, { format: 'vmdk' })).toMatch(/^unsupported-feature/);
  });

  test('has no capacity, by which QEMU would open what its descriptor names', async () => {
    expect(await spoilt(u64(12, 0))).toBe('absurd-geometry: vmdk: its capacity is 0');
  });

  test('says another size in its header than in its descriptor', async () => {
    expect(await spoilt(u64(12, 4096))).toMatch(/^size-lie: .*4096 sectors, its descriptor 2048/);
    expect(await described(VMDK_DESCRIPTOR.replace('RW 2048', 'RW 4096'))).toMatch(/^size-lie/);
  });

  test('names more extents in its descriptor than it is', async () => {
    const two = 'RW 2048 SPARSE "disk.vmdk"\nRW 2048 SPARSE "disk-2.vmdk"';
    expect(await described(VMDK_DESCRIPTOR.replace('RW 2048 SPARSE "disk.vmdk"', two))).toMatch(/^size-lie/);
  });

  test.each([0, 1, 127, 2 ** 20])('has grains of %d sectors', async (sectors) => {
    expect(await spoilt(u64(20, sectors))).toMatch(/^absurd-geometry: .*grains/);
  });

  test.each([0, 1, 511, 513, 0xffff_ffff])('has grain tables of %d entries', async (entries) => {
    expect(await spoilt(u32(44, entries))).toMatch(/^absurd-geometry: .*grain tables/);
  });

  test('says it is larger than 64 TiB', async () => {
    expect(await spoilt(u64(12, 2n ** 40n))).toMatch(/^absurd-geometry: .*over the limit/);
    expect(await spoilt(u64(12, 2n ** 63n))).toMatch(/^absurd-geometry: .*capacity/);
  });

  test('has tables or grains beyond its end', async () => {
    expect(await spoilt(u64(56, 256))).toMatch(/^truncated: .*grain directory/);
    expect(await spoilt((bytes) => (u32(8, 3)(bytes), u64(48, 256)(bytes)))).toMatch(/^truncated/);
    expect(await spoilt(u32(21 * 512, 253))).toMatch(/^truncated: .*grain table 0/);
    expect(await spoilt(u32(22 * 512, 256))).toMatch(/^truncated: .*a grain/);
    expect(await spoilt(u64(64, 257))).toMatch(/^truncated: .*before its grains/);
  });

  test('has no descriptor in it, or has it elsewhere', async () => {
    expect(await spoilt(u64(28, 0))).toMatch(/^malformed: .*another file describes/);
    expect(await spoilt((bytes) => bytes.fill(0, 512, 1024))).toMatch(/^malformed: .*another file describes/);
    expect(await spoilt(u64(28, 2))).toMatch(/^malformed: .*second sector/);
  });

  test('was copied as text', async () => {
    expect(await spoilt((bytes) => bytes.write('\n \n\n', 73))).toMatch(/^malformed: .*copied as text/);
  });

  test('is of a version, or compressed by a method, that nobody knows', async () => {
    expect(await spoilt(u32(4, 4))).toMatch(/^unsupported-feature: .*version/);
    expect(await spoilt((bytes) => bytes.writeUInt16LE(2, 77))).toMatch(
      /^unsupported-feature: .*compression/,
    );
  });

  test('was written as a stream and ends before its footer', async () => {
    const whole = builtVmdkStream();
    expect(await verdict(whole.subarray(0, whole.length - 512))).toMatch(/^truncated: .*footer/);
    expect(await verdict(whole.subarray(0, whole.length - 1))).toMatch(/^truncated: .*footer/);
    const endless = builtVmdkStream((bytes) =>
      bytes.writeBigUInt64LE(2n ** 64n - 1n, bytes.length - 1024 + 56),
    );
    expect(await verdict(endless)).toMatch(/^truncated: .*footer/);
  });

  test('says another size in its footer than in its header', async () => {
    const lie = builtVmdkStream((bytes) => bytes.writeBigUInt64LE(2n ** 30n, bytes.length - 1024 + 12));
    expect(await verdict(lie)).toMatch(/^size-lie: .*footer/);
  });
});

describe('the file of an extent', () => {
  const extent = (part: Partial<VmdkExtent>): VmdkExtent => ({
    file: 'a.vmdk',
    sizeSectors: 2048,
    type: 'SPARSE',
    offsetSectors: 0,
    ...part,
  });
  const refusal = (bytes: Buffer, part: Partial<VmdkExtent>): Promise<unknown> =>
    inspectDiskExtent(readerOf(bytes), extent(part)).then(
      () => 'accepted',
      (error: unknown) => (error instanceof DiskRefused ? error.reason : error),
    );

  test('is accepted when it holds what the descriptor says', async () => {
    expect(
      await refusal(
        builtVmdk((bytes) => bytes.fill(0, 512, 1024)),
        {},
      ),
    ).toBe('accepted');
    expect(await refusal(Buffer.alloc(MIB), { type: 'FLAT' })).toBe('accepted');
    expect(await refusal(Buffer.alloc(MIB + 512), { type: 'FLAT', offsetSectors: 1 })).toBe('accepted');
  });

  test('is refused when it is shorter, of another size, of another kind, or leads on', async () => {
    expect(await refusal(Buffer.alloc(MIB), { type: 'FLAT', offsetSectors: 1 })).toBe('truncated');
    expect(await refusal(Buffer.alloc(MIB - 1), { type: 'VMFS' })).toBe('truncated');
    expect(await refusal(builtVmdk(), { sizeSectors: 8192 })).toBe('size-lie');
    expect(await refusal(Buffer.alloc(MIB), {})).toBe('format-mismatch');
    expect(await refusal(builtVmdk(u64(12, 0)), {})).toBe('absurd-geometry');
    expect(await refusal(builtVmdk(u32(22 * 512, 256)), {})).toBe('truncated');
    expect(await refusal(Buffer.from('COWD'), {})).toBe('unsupported-feature');
  });
});
