import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  builtDynamicVpc,
  builtFixedVpc,
  builtIso,
  builtQcow2,
  builtVdi,
  builtVhdx,
  builtVmdk,
  builtVmdkStream,
  builtVmdkText,
  MIB,
  readerOf,
  verdict,
} from './built-disks.ts';
import { inspectDisk } from './inspect.ts';
import { type DiskReader, MAX_TABLE_BYTES } from './open-disk.ts';
import { DiskRefused } from './refused.ts';
import { type DiskFormat, sniffDisk } from './sniff.ts';

const BUILT: Record<string, Buffer> = {
  qcow2: builtQcow2(),
  'qcow2 with subclusters': builtQcow2(undefined, { clusterBits: 16, extendedL2: true }),
  vmdk: builtVmdk(),
  'vmdk stream': builtVmdkStream(),
  'vmdk text': builtVmdkText('RW 2048 FLAT "a.vmdk" 0'),
  'fixed vpc': builtFixedVpc(),
  'dynamic vpc': builtDynamicVpc(),
  vdi: builtVdi(),
  vhdx: builtVhdx(),
  iso: builtIso(),
};

/** The beginning, padded, so that no mark at the end of a short file is missed for its shortness. */
const starting = (bytes: string, at = 0): Buffer => {
  const file = Buffer.alloc(4096);
  file.write(bytes, at, 'latin1');
  return file;
};

describe('a file is recognised', () => {
  test.each<[DiskFormat, Buffer]>([
    ['qcow2', builtQcow2()],
    ['qcow', starting('QFI\xfb\0\0\0\x01')],
    ['vmdk', builtVmdk()],
    ['vmdk', builtVmdkText('RW 2048 FLAT "a.vmdk" 0')],
    ['vmdk', starting('# no usual comment\n\nversion=1\n'.replace('\n\n', '\n \n'))],
    ['vpc', builtDynamicVpc()],
    ['vpc', builtFixedVpc()],
    ['vhdx', builtVhdx()],
    ['vdi', builtVdi()],
    ['luks', starting('LUKS\xba\xbe\0\x01')],
    ['qed', starting('QED\0')],
    ['parallels', starting('WithoutFreeSpace')],
    ['parallels', starting('WithouFreSpacExt')],
    ['bochs', starting('Bochs Virtual HD Image')],
    ['cloop', starting('#!/bin/sh\n#V2.0 Format\n')],
    ['dmg', starting('koly', 4096 - 512)],
    ['gzip', starting('\x1f\x8b\x08')],
    ['bzip2', starting('BZh9')],
    ['xz', starting('\xfd7zXZ\0')],
    ['zstd', starting('\x28\xb5\x2f\xfd')],
    ['lz4', starting('\x04\x22\x4d\x18')],
    ['zip', starting('PK\x03\x04')],
    ['7z', starting('7z\xbc\xaf\x27\x1c')],
    ['tar', starting('ustar', 257)],
    ['iso', builtIso()],
    ['raw', Buffer.alloc(4096)],
    ['raw', starting('\xeb\x63\x90')],
    ['raw', Buffer.alloc(0)],
  ])('as %s', async (format, bytes) => {
    expect(await sniffDisk(readerOf(bytes))).toBe(format);
  });

  test('and one that is of no disk format, or not to be read, is refused', async () => {
    expect(await verdict(starting('LUKS\xba\xbe'))).toBe('encrypted: luks: it is a LUKS volume');
    expect(await verdict(starting('QED\0'))).toMatch(/^unsupported-feature: qed/);
    expect(await verdict(starting('\x1f\x8b\x08'))).toMatch(/^unsupported-feature: gzip: it is an archive/);
  });
});

describe('a file of another format than was said is refused', () => {
  test.each(Object.entries(BUILT).filter(([name]) => !name.startsWith('qcow2')))(
    '%s for qcow2',
    async (_, bytes) => {
      expect(await verdict(bytes, { format: 'qcow2' })).toMatch(/^format-mismatch: qcow2: the file is /);
    },
  );

  test.each(Object.entries(BUILT))('%s for raw', async (_, bytes) => {
    expect(await verdict(bytes, { format: 'raw' })).toMatch(/^format-mismatch: raw: the file is /);
  });

  test('a raw disk that begins with a qcow2 magic, for raw', async () => {
    expect(await verdict(starting('QFI\xfb\0\0\0\x03'), { format: 'raw' })).toBe(
      'format-mismatch: raw: the file is qcow2',
    );
  });

  test('a disc image whose unused start is a qcow2 header, for iso', async () => {
    const bytes = Buffer.concat([builtQcow2(), Buffer.alloc(32768)]);
    bytes.write('\x01CD001', 32768, 'latin1');
    expect(await verdict(bytes, { format: 'iso' })).toBe('format-mismatch: iso: the file is qcow2');
  });

  test('zeros, for anything but raw', async () => {
    expect(await verdict(Buffer.alloc(4096), { format: 'vmdk' })).toBe(
      'format-mismatch: vmdk: it has no mark of that format',
    );
  });
});

describe('a raw disk', () => {
  test('is as large as its file, in whole sectors', async () => {
    expect(await inspectDisk(readerOf(Buffer.alloc(1000)), { format: 'raw' })).toEqual({
      format: 'raw',
      virtualSizeBytes: 1024,
      tables: 'checked',
      details: {},
    });
  });

  test('is refused when empty, or larger than the limit', async () => {
    expect(await verdict(Buffer.alloc(0), { format: 'raw' })).toMatch(/^absurd-geometry/);
    expect(await verdict(Buffer.alloc(4096), { maxVirtualSizeBytes: 2048 })).toMatch(/^absurd-geometry/);
  });
});

test('a file that became shorter while it was read is refused as truncated', async () => {
  const bytes = builtQcow2();
  const reader: DiskReader = {
    sizeBytes: bytes.length,
    read: async (offset, length) => bytes.subarray(0, 100).subarray(offset, offset + length),
  };
  await expect(inspectDisk(reader)).rejects.toMatchObject({ code: 'disk_refused', reason: 'truncated' });
});

test('an error of the reader, or an abort, is passed on as it is', async () => {
  const failing = { sizeBytes: 4096, read: () => Promise.reject(new Error('EIO')) };
  await expect(inspectDisk(failing)).rejects.toThrow('EIO');
  const controller = new AbortController();
  const aborting: DiskReader = {
    sizeBytes: 4096,
    async read(offset, length) {
      controller.abort(new Error('enough'));
      return builtQcow2().subarray(offset, offset + length);
    },
  };
  await expect(inspectDisk(aborting, { signal: controller.signal })).rejects.toThrow('enough');
});

describe('whatever the bytes', () => {
  /** What is read besides tables: marks, headers, extensions, the text of a descriptor. */
  const OTHER_BYTES = 2 * MIB;

  async function survives(reader: DiskReader & { bytesRead(): number }): Promise<void> {
    try {
      await inspectDisk(reader);
    } catch (error) {
      if (!(error instanceof DiskRefused)) throw error;
    }
    expect(reader.bytesRead()).toBeLessThanOrEqual(MAX_TABLE_BYTES + OTHER_BYTES);
  }

  /** The bytes with others over them, without a copy of the whole. */
  function overlaid(bytes: Buffer, patches: { at: number; with: Uint8Array }[]): ReturnType<typeof readerOf> {
    const under = readerOf(bytes);
    return {
      ...under,
      async read(offset, length) {
        const piece = Uint8Array.from(await under.read(offset, length));
        for (const patch of patches) {
          patch.with.forEach((byte, i) => {
            const at = patch.at + i - offset;
            if (at >= 0 && at < length) piece[at] = byte;
          });
        }
        return piece;
      },
    };
  }

  const patch = (size: number) =>
    fc.record({
      at: fc.oneof(fc.nat({ max: 600 }), fc.nat({ max: size - 1 })),
      with: fc.oneof(
        fc.uint8Array({ minLength: 1, maxLength: 16 }),
        fc.constantFrom(new Uint8Array(8).fill(0xff), new Uint8Array(8), new Uint8Array(4).fill(0x7f)),
      ),
    });

  test.each(Object.entries(BUILT))('changed in a %s file, it is accepted or refused', async (_, bytes) => {
    const patches = fc.array(patch(bytes.length), { minLength: 1, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(patches, (some) => survives(overlaid(bytes, some))),
      { numRuns: bytes.length > MIB ? 60 : 200 },
    );
  });

  test('after a mark, they are accepted or refused', async () => {
    const marks = fc.constantFrom(
      'QFI\xfb\0\0\0\x02',
      'QFI\xfb\0\0\0\x03',
      'KDMV',
      'conectix',
      'vhdxfile',
      '',
    );
    const noise = fc.uint8Array({ maxLength: 2048 });
    await fc.assert(
      fc.asyncProperty(marks, noise, (mark, rest) =>
        survives(readerOf(Buffer.concat([Buffer.from(mark, 'latin1'), rest]))),
      ),
    );
  });

  test('as lines of a descriptor, they are accepted or refused', async () => {
    const words = fc.constantFrom(
      'RW',
      '2048',
      'FLAT',
      '"a"',
      '0',
      '\n',
      ' ',
      '=',
      'CID',
      '#',
      '\0',
      '"',
      '\r',
    );
    const lines = fc.array(fc.oneof(words, fc.string()), { maxLength: 30 }).map((each) => each.join(' '));
    await fc.assert(fc.asyncProperty(lines, (text) => survives(readerOf(builtVmdkText(text)))));
  });

  test('a file of a petabyte in which everything points at itself costs no more than the budget', async () => {
    for (const fill of [0, 0x01, 0xff]) {
      for (const bytes of Object.values(BUILT)) {
        let bytesRead = 0;
        const reader = {
          sizeBytes: 2 ** 50,
          bytesRead: () => bytesRead,
          async read(offset: number, length: number) {
            bytesRead += length;
            const piece = new Uint8Array(length).fill(fill);
            piece.set(bytes.subarray(offset, Math.min(offset + length, 4096)));
            return piece;
          },
        };
        await survives(reader);
      }
    }
  });
});
