// Disk files made to do harm: each is refused by Wirt itself, before any program of QEMU's has opened it.
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, open, readFile, stat, symlink, truncate, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { constants, gzipSync, zstdCompressSync } from 'node:zlib';
import type { OpenDiskOptions } from '@wirt/core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createHarness, type Harness, isRoot, toolMissing, workOf } from './harness.fixture.ts';

const run = promisify(execFile);
const MIB = 1024 * 1024;
const id = '01J9ZK3W8Y7Q5T2R4M6N8P0001';

describe.skipIf(toolMissing)(`hostile disks${toolMissing ? ` (skipped: ${toolMissing})` : ''}`, () => {
  let under: Harness;
  const at = (file: string): string => join(under.folder, file);

  beforeEach(async () => {
    under = await createHarness();
  });
  afterEach(async () => {
    // No test of this file opens a disk that is sound: qemu-img has never been called, and nothing is left.
    const [runs, staged] = [await under.runs(), await under.transfer.list()];
    await under[Symbol.asyncDispose]();
    expect({ runs, staged }).toEqual({ runs: [], staged: [] });
  });

  async function refusal(file: string, options: Partial<OpenDiskOptions> = {}): Promise<unknown> {
    const opening = under.transfer.openDisk({
      path: at(file),
      id,
      maxVirtualBytes: 64 * MIB,
      work: workOf(),
      ...options,
    });
    return await opening.then(
      () => 'opened',
      (error: unknown) => error,
    );
  }
  const refusedFor = (reason: string) => ({
    code: 'disk.refused',
    details: expect.objectContaining({ reason }),
    hint: expect.any(String),
  });
  async function qcow2(spoil: (header: Buffer) => void, options: string[] = []): Promise<void> {
    await run('qemu-img', ['create', '-q', '-f', 'qcow2', ...options, at('disk'), '8M']);
    await using file = await open(at('disk'), 'r+');
    const header = Buffer.alloc(512);
    await file.read(header, 0, 512, 0);
    spoil(header);
    await file.write(header, 0, 512, 0);
  }

  describe('a qcow2', () => {
    it.each([
      ['of the host', '/etc/shadow'],
      ['by json:', 'json:{"driver":"file","filename":"/etc/shadow"}'],
      ['by a protocol', 'nbd://192.0.2.1/disk'],
      ['beside it', 'base.qcow2'],
    ])('with a backing file %s is refused', async (_what, name) => {
      await qcow2((header) => {
        header.writeBigUInt64BE(400n, 8);
        header.writeUInt32BE(name.length, 16);
        header.write(name, 400);
      });
      expect(await refusal('disk')).toMatchObject(refusedFor('backing-file'));
    });

    it('with an external data file is refused', async () => {
      await qcow2(() => {}, ['-o', `data_file=${at('data')}`]);
      expect(await refusal('disk')).toMatchObject(refusedFor('data-file'));
    });

    it.each([
      ['AES', 1],
      ['LUKS', 2],
    ])('that is encrypted with %s is refused', async (_what, method) => {
      await qcow2((header) => header.writeUInt32BE(method, 32));
      expect(await refusal('disk')).toMatchObject(refusedFor('encrypted'));
    });

    it('with absurd clusters, or an absurd table, is refused', async () => {
      await qcow2((header) => header.writeUInt32BE(40, 20));
      expect(await refusal('disk')).toMatchObject(refusedFor('absurd-geometry'));
      await qcow2((header) => header.writeUInt32BE(0x7fff_ffff, 36));
      expect(await refusal('disk')).toMatchObject(refusedFor('absurd-geometry'));
    });

    it('that lies about its size is refused', async () => {
      await qcow2((header) => header.writeBigUInt64BE(60n * 1024n ** 4n, 24));
      expect(await refusal('disk')).toMatchObject(refusedFor('size-lie'));
    });

    it('that is cut off is refused', async () => {
      await qcow2(() => {});
      await truncate(at('disk'), 70_000);
      expect(await refusal('disk')).toMatchObject(refusedFor('truncated'));
    });

    it('is refused as raw, though every file is one', async () => {
      await qcow2(() => {});
      expect(await refusal('disk', { format: 'raw' })).toMatchObject({
        code: 'disk.format_mismatch',
        details: expect.objectContaining({ reason: 'format-mismatch' }),
      });
    });
  });

  describe('a VMDK', () => {
    const descriptor = (extent: string): string =>
      `# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\ncreateType="monolithicFlat"\n${extent}\n`;

    it.each(['/etc/shadow', '../secret', 'a/b', 'nbd:192.0.2.1', '..'])(
      'with the extent %s is refused',
      async (name) => {
        await writeFile(at('disk'), descriptor(`RW 2048 FLAT "${name}" 0`));
        expect(await refusal('disk')).toMatchObject(refusedFor('external-extent'));
      },
    );

    it('with a hidden file for an extent is refused', async () => {
      await writeFile(at('disk'), descriptor('RW 1 FLAT ".history" 0'));
      await writeFile(at('.history'), Buffer.alloc(512, 's'));
      expect(await refusal('disk')).toMatchObject(refusedFor('not-a-disk'));
    });

    it('with an extent that is a link, or missing, or short, is refused', async () => {
      await writeFile(at('disk'), descriptor('RW 2048 FLAT "flat" 0'));
      expect(await refusal('disk')).toMatchObject({ code: 'disk.not_found' });
      await writeFile(at('flat'), 'short');
      expect(await refusal('disk')).toMatchObject(refusedFor('truncated'));
      await writeFile(at('disk'), descriptor('RW 1 FLAT "link" 0'));
      await symlink('/etc/passwd', at('link'));
      expect(await refusal('disk')).toMatchObject(refusedFor('link'));
    });
  });

  describe('a file', () => {
    it('that is not there is named', async () => {
      expect(await refusal('nothing')).toMatchObject({
        code: 'disk.not_found',
        message: expect.stringContaining(at('nothing')),
      });
    });

    it('that is no plain file is refused, and not waited for', async () => {
      await mkdir(at('folder'));
      await run('mkfifo', [at('pipe')]);
      await using server = createServer().listen(at('socket'));
      await once(server, 'listening');
      for (const path of ['folder', 'pipe', 'socket'])
        expect(await refusal(path), path).toMatchObject(refusedFor('not-a-file'));
      expect(await refusal('', { path: '/dev/zero' })).toMatchObject(refusedFor('not-a-file'));
    });

    it('that is a link is refused, with the word on how to find what it leads to', async () => {
      await symlink('/etc/passwd', at('link'));
      const error = await refusal('link');
      expect(error).toMatchObject({ ...refusedFor('link'), hint: expect.stringContaining('readlink -f') });
    });

    // Skipped without root, who alone makes devices.
    it.skipIf(!isRoot)('that is a block device is refused, and not opened', async () => {
      // Device numbers of no driver: opening it would fail in another way.
      await run('mknod', [at('device'), 'b', '240', '0']);
      expect(await refusal('device')).toMatchObject(refusedFor('not-a-file'));
    });

    it('of another format than was said is refused, whichever two they are', async () => {
      const raw = Buffer.alloc(MIB);
      for (const format of ['qcow2', 'vmdk', 'vpc', 'vhdx', 'vdi']) await under.make(at(format), format, raw);
      for (const found of ['qcow2', 'vmdk', 'vpc', 'vhdx', 'vdi'])
        for (const format of ['qcow2', 'raw', 'vmdk', 'vpc', 'vhdx', 'vdi', 'iso'] as const)
          if (found !== format)
            expect(await refusal(found, { format }), `${found} as ${format}`).toMatchObject({
              code: 'disk.format_mismatch',
            });
    });

    it('larger than allowed is refused', async () => {
      await under.make(at('disk'), 'qcow2', Buffer.alloc(8 * MIB));
      expect(await refusal('disk', { maxVirtualBytes: 4 * MIB })).toMatchObject({
        code: 'disk.too_large',
        details: expect.objectContaining({ virtualSizeBytes: 8 * MIB }),
      });
    });

    it('that is compressed is a disk only when it may be unpacked', async () => {
      await writeFile(at('disk'), gzipSync(Buffer.alloc(MIB)));
      expect(await refusal('disk', { compression: 'none' })).toMatchObject(refusedFor('unsupported-feature'));
      expect(await refusal('disk', { compression: 'xz' })).toMatchObject({ code: 'disk.format_mismatch' });
      await writeFile(at('twice'), gzipSync(gzipSync(Buffer.alloc(MIB))));
      expect(await refusal('twice')).toMatchObject(refusedFor('unsupported-feature'));
    });
  });

  const compressors = {
    gzip: async (bytes: Buffer) => gzipSync(bytes),
    zstd: async (bytes: Buffer) =>
      zstdCompressSync(bytes, { params: { [constants.ZSTD_c_checksumFlag]: 1 } }),
    xz: async (bytes: Buffer) => {
      await writeFile(at('plain'), bytes);
      await run('xz', ['-0', '-f', at('plain')]);
      return await readFile(at('plain.xz'));
    },
  };

  describe.each(['gzip', 'xz', 'zstd'] as const)('a file compressed with %s', (compression) => {
    it('is stopped when it inflates past its quota', async () => {
      await writeFile(at('bomb'), await compressors[compression](Buffer.alloc(64 * MIB)));
      expect((await stat(at('bomb'))).size).toBeLessThan(MIB);
      expect(await refusal('bomb', { maxVirtualBytes: MIB })).toMatchObject({ code: 'disk.too_large' });
    });

    it('is refused when it is damaged', async () => {
      const bytes = await compressors[compression](
        Buffer.from(Array.from({ length: 99_999 }, (_no, at) => at % 251)),
      );
      await writeFile(at('cut'), bytes.subarray(0, bytes.length - 20));
      expect(await refusal('cut')).toMatchObject(refusedFor('malformed'));
      const middle = Math.floor(bytes.length / 2);
      bytes.fill(0xff, middle, middle + 40);
      await writeFile(at('changed'), bytes);
      expect(await refusal('changed')).toMatchObject(refusedFor('malformed'));
    });

    it('is given up when the work is cancelled', async () => {
      await writeFile(at('packed'), await compressors[compression](Buffer.alloc(MIB)));
      const cancel = new AbortController();
      cancel.abort(new Error('enough'));
      expect(await refusal('packed', { work: workOf({ signal: cancel.signal }) })).toEqual(
        new Error('enough'),
      );
    });
  });
});
