import { mkdtemp, open, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WirtError } from '@wirt/api';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { growQcow2, newQcow2, parseQcow2Header } from './qcow2-layer.ts';

const GIB = 1024 ** 3;
const TIB = 1024 * GIB;

function headerOf(sizeBytes: number): Buffer {
  const [first] = newQcow2(sizeBytes, { path: '/pool/base.raw', format: 'raw' }).chunks;
  return Buffer.from(first?.bytes ?? []);
}

function changed(change: (header: Buffer) => void): Buffer {
  const header = headerOf(GIB);
  change(header);
  return header;
}

describe('a new layer', () => {
  it.each([512, GIB, 2 * TIB])('of %s bytes has room to grow to 4 TiB in the smallest file', (sizeBytes) => {
    expect(parseQcow2Header(headerOf(sizeBytes), 'x')).toEqual({
      sizeBytes,
      roomBytes: 4 * TIB,
      sizeBound: false,
    });
    expect(newQcow2(sizeBytes, undefined).fileSizeBytes).toBe(4 * 65_536);
  });

  it('that is larger has room for twice its size, and never for more than a volume may have', () => {
    expect(parseQcow2Header(headerOf(5 * TIB), 'x').roomBytes).toBe(10 * TIB);
    expect(parseQcow2Header(headerOf(64 * TIB), 'x').roomBytes).toBe(64 * TIB);
  });
});

describe('a header that a guest has changed', () => {
  it.each<[string, (header: Buffer) => void, RegExp]>([
    ['of another format', (header) => header.write('KDMV'), /is no qcow2 image/],
    ['of an unknown version', (header) => header.writeUInt32BE(9, 4), /version 9/],
    ['with absurd clusters', (header) => header.writeUInt32BE(40, 20), /clusters are of 2\^40/],
    ['with encryption', (header) => header.writeUInt32BE(2, 32), /encrypted/],
    ['with a data file', (header) => header.writeBigUInt64BE(4n, 72), /data are in another file/],
    ['marked corrupt', (header) => header.writeBigUInt64BE(2n, 72), /features 0x2/],
    ['with an unknown feature', (header) => header.writeBigUInt64BE(1n << 63n, 72), /features 0x8/],
    [
      'with an absurd size',
      (header) => header.writeBigUInt64BE(1n << 62n, 24),
      /a disk of 4611686018427387904/,
    ],
  ])('%s is refused', (_, change, words) => {
    const parsing = (): unknown => parseQcow2Header(changed(change), '/pool/x.qcow2');
    expect(parsing).toThrow(words);
    expect(parsing).toThrow('/pool/x.qcow2');
  });

  it('is refused or read, whatever it holds and however short it is', () => {
    const mutations = fc.array(fc.tuple(fc.nat({ max: 111 }), fc.nat({ max: 255 })), { maxLength: 8 });
    fc.assert(
      fc.property(mutations, fc.nat({ max: 112 }), (bytes, length) => {
        const header = headerOf(GIB);
        for (const [at, value] of bytes) header[at] = value;
        try {
          const { sizeBytes, roomBytes } = parseQcow2Header(header.subarray(0, length), 'x');
          expect(sizeBytes).toBeLessThanOrEqual(64 * TIB);
          expect(roomBytes).toBeGreaterThanOrEqual(0);
        } catch (error) {
          expect(error).toBeInstanceOf(WirtError);
        }
      }),
    );
  });
});

describe('growing', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'wirt-qcow2-'));
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  async function grown(header: Buffer, sizeBytes: number): Promise<number> {
    const path = join(directory, 'layer');
    await using file = await open(path, 'w+');
    await file.write(header);
    await growQcow2(file, path, sizeBytes);
    const { buffer } = await file.read(Buffer.alloc(header.length), 0, header.length, 0);
    expect((await stat(path)).size).toBe(header.length);
    return parseQcow2Header(buffer, path).sizeBytes;
  }

  it('changes the size alone', async () => {
    expect(await grown(headerOf(GIB), 3 * TIB)).toBe(3 * TIB);
  });

  it.each<[string, (header: Buffer) => void, RegExp]>([
    ['a table without room', (header) => header.writeUInt32BE(2, 36), /its table has room for 1073741824/],
    ['internal snapshots', (header) => header.writeUInt32BE(1, 60), /internal snapshots or bitmaps/],
    ['bitmaps', (header) => header.writeBigUInt64BE(1n, 88), /internal snapshots or bitmaps/],
  ])('is refused with %s', async (_, change, words) => {
    await expect(grown(changed(change), 2 * GIB)).rejects.toThrow(words);
  });
});
