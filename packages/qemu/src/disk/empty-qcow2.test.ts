import { describe, expect, test } from 'vitest';
import { builtQcow2, MIB, readerOf } from './built-disks.ts';
import { emptyQcow2 } from './empty-qcow2.ts';
import { inspectDisk } from './inspect.ts';

const TIB = 2 ** 40;

describe('an empty qcow2', () => {
  test.each([
    { sizeBytes: 512 },
    { sizeBytes: 10 * 2 ** 30 + 512 },
    { sizeBytes: 64 * TIB, clusterBits: 16 },
    { sizeBytes: 2 ** 32, clusterBits: 9 },
    { sizeBytes: 2 ** 30, clusterBits: 21 },
    { sizeBytes: 4 * TIB, clusterBits: 17, extendedL2: true },
  ])('of %o is one that our inspection accepts, of that size', async (options) => {
    expect(await inspectDisk(readerOf(builtQcow2(undefined, options)))).toMatchObject({
      format: 'qcow2',
      virtualSizeBytes: options.sizeBytes,
      tables: 'checked',
    });
  });

  test('takes few bytes to write, however large the disk', () => {
    const { chunks, fileSizeBytes } = emptyQcow2({ sizeBytes: 64 * TIB });
    expect(chunks.reduce((sum, { bytes }) => sum + bytes.length, 0)).toBeLessThan(1024);
    expect(fileSizeBytes).toBe(19 * 65536);
  });

  test('names its backing image where it is told to, and nowhere else', () => {
    const backing = { path: '../image/disk.raw', format: 'raw' } as const;
    const [head] = emptyQcow2({ sizeBytes: MIB, backing }).chunks;
    const bytes = Buffer.from(head!.bytes);
    const at = Number(bytes.readBigUInt64BE(8));
    expect(bytes.subarray(at, at + bytes.readUInt32BE(16)).toString()).toBe('../image/disk.raw');
    const [plain] = emptyQcow2({ sizeBytes: MIB }).chunks;
    expect(Buffer.from(plain!.bytes).readBigUInt64BE(8)).toBe(0n);
  });

  const over = (path: string) => ({ backing: { path, format: 'raw' as const } });
  test.each([
    ['of no size', { sizeBytes: 0 }, 'whole sectors'],
    ['of a size in no whole sectors', { sizeBytes: 1000 }, 'whole sectors'],
    ['with clusters of 256 bytes', { clusterBits: 8 }, 'clusters of 2^8'],
    ['with clusters of 4 MiB', { clusterBits: 22 }, 'clusters of 2^22'],
    ['with subclusters in clusters of 8 KiB', { clusterBits: 13, extendedL2: true }, 'clusters of 2^13'],
    ['with an L1 table over 32 MiB', { sizeBytes: 2 ** 38, clusterBits: 9 }, 'too many for clusters of 512'],
    ['over a protocol', over('nbd:x'), 'for a protocol'],
    ['over a name of the json: kind', over('json:{}'), 'for a protocol'],
    ['over a name without characters', over(''), '1 to 1023 bytes'],
    ['over a name with NUL', over('a\0b'), '1 to 1023 bytes'],
    ['over a name of 1024 bytes', over('x'.repeat(1024)), '1 to 1023 bytes'],
    [
      'over a name longer than its cluster',
      { clusterBits: 9, ...over('x'.repeat(600)) },
      'too long for the cluster',
    ],
  ])('is not written %s', (_, options, message) => {
    expect(() => emptyQcow2({ sizeBytes: MIB, ...options })).toThrow(message);
  });
});
