// What every DiskTransfer must do with real files: what comes in, what goes out, what is refused, and what is left of what failed.
import { createHash } from 'node:crypto';
import { mkdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { DiskSource } from '../domain/disk-source.ts';
import type { DiskTransfer, OpenDiskOptions, OpenedDisk } from './disk-transfer.ts';
import type { CopyWork, LayerRef, VolumePool } from './volume-pool.ts';

export interface DiskTransferUnderTest extends AsyncDisposable {
  /** An empty folder for foreign files. */
  readonly folder: string;
  /** Another object on the same state, as after a restart. */
  open(): DiskTransfer;
  readonly pool: VolumePool;
  /** Work that reports to nobody and is not cancelled, but as said. */
  work(options?: Partial<Pick<CopyWork, 'signal' | 'onProgress'>>): CopyWork;
  /** Makes a disk file: `bytes` are what a guest sees. */
  make(path: string, format: string, bytes: Buffer): Promise<void>;
  /** What a guest sees. */
  contents(path: string, format: string): Promise<Buffer>;
  /** Makes a disk of ours of two layers, the lower one with the bytes, the upper one with `above` at its start. */
  chain(bytes: Buffer, above: Buffer): Promise<DiskSource>;
}

const MIB = 1024 * 1024;
const id = '01J9ZK3W8Y7Q5T2R4M6N8P0001';
const layer = { volume: '01J9ZK3W8Y7Q5T2R4M6N8P0002', layer: '01J9ZK3W8Y7Q5T2R4M6N8P0003' };
const foreignFormats = ['qcow2', 'raw', 'vmdk', 'vpc', 'vhdx', 'vdi'] as const;

/** Like a disk: some data, holes, and something at the very end. */
function diskBytes(sizeBytes = 4 * MIB): Buffer {
  const bytes = Buffer.alloc(sizeBytes);
  for (let at = 0; at < sizeBytes / 4; at += 4) bytes.writeUInt32LE((at * 2_654_435_761) % 2 ** 32, at);
  bytes.write('the end', sizeBytes - 512);
  return bytes;
}

export function diskTransferContract(name: string, make: () => Promise<DiskTransferUnderTest>): void {
  describe(`${name} as DiskTransfer`, () => {
    let under: DiskTransferUnderTest;
    let transfer: DiskTransfer;
    const opened: AsyncDisposable[] = [];
    const at = (file: string): string => join(under.folder, file);
    const bytes = diskBytes();

    beforeEach(async () => {
      under = await make();
      transfer = under.open();
    });
    afterEach(async () => {
      for (const one of opened.splice(0)) await one[Symbol.asyncDispose]();
      await under[Symbol.asyncDispose]();
    });

    async function openDisk(path: string, options: Partial<OpenDiskOptions> = {}): Promise<OpenedDisk> {
      const work = under.work();
      const disk = await transfer.openDisk({ path, id, maxVirtualBytes: 64 * MIB, work, ...options });
      opened.push(disk);
      return disk;
    }
    const stored = { ...layer, format: 'qcow2', sizeBytes: bytes.length } as const;
    const isThere = (path: string): Promise<boolean> =>
      stat(path).then(
        () => true,
        () => false,
      );
    async function layerBytes(): Promise<Buffer> {
      const { location, format } = under.pool.locate(stored);
      return await under.contents(location.path, format);
    }

    describe('a disk that comes in', () => {
      it.each(foreignFormats)('is opened and converted into a layer, from %s', async (format) => {
        await under.make(at('disk'), format, bytes);
        const disk = await openDisk(at('disk'), { format });
        expect(disk).toMatchObject({ format, virtualSizeBytes: bytes.length });
        expect(disk.fileBytes).toBeGreaterThan(0);
        expect(disk.fileBytes).toBeLessThanOrEqual((await stat(at('disk'))).size);
        await transfer.toLayer(disk, under.pool, stored, under.work());
        expect((await layerBytes()).equals(bytes)).toBe(true);
      });

      it('is of the format that it is found to be, when none is said', async () => {
        await under.make(at('disk'), 'vdi', bytes);
        expect((await openDisk(at('disk'))).format).toBe('vdi');
      });

      it('fits into a larger layer, and its end is zeros', async () => {
        await under.make(at('disk'), 'qcow2', bytes);
        const larger = { ...stored, sizeBytes: 2 * bytes.length };
        await transfer.toLayer(await openDisk(at('disk')), under.pool, larger, under.work());
        const expected = Buffer.concat([bytes, Buffer.alloc(bytes.length)]);
        expect((await layerBytes()).equals(expected)).toBe(true);
      });

      it('is rounded up to whole sectors when it is raw', async () => {
        await writeFile(at('disk'), bytes.subarray(0, 100_001));
        const disk = await openDisk(at('disk'), { format: 'raw' });
        expect(disk.virtualSizeBytes).toBe(100_352);
        const layerSize = { ...stored, sizeBytes: disk.virtualSizeBytes };
        await transfer.toLayer(disk, under.pool, layerSize, under.work());
        const found = await layerBytes();
        expect(found.subarray(0, 100_001).equals(bytes.subarray(0, 100_001))).toBe(true);
      });

      it.each([
        ['gzip', gzipSync],
        ['zstd', zstdCompressSync],
      ] as const)('is unpacked from %s, found or said', async (compression, compress) => {
        await under.make(at('disk'), 'qcow2', bytes);
        await writeFile(at('packed'), compress(await readFile(at('disk'))));
        const found = await openDisk(at('packed'));
        expect(found).toMatchObject({ format: 'qcow2', virtualSizeBytes: bytes.length });
        const said = await openDisk(at('packed'), { compression, format: 'qcow2' });
        await transfer.toLayer(said, under.pool, stored, under.work());
        expect((await layerBytes()).equals(bytes)).toBe(true);
      });

      it('tells its progress in bytes, growing to the whole', async () => {
        await under.make(at('disk'), 'vmdk', bytes);
        const seen: [number, number][] = [];
        const work = under.work({ onProgress: (done, total) => seen.push([done, total]) });
        await transfer.toLayer(await openDisk(at('disk')), under.pool, stored, work);
        expect(seen.map(([done]) => done)).toEqual(seen.map(([done]) => done).toSorted((a, b) => a - b));
        expect(seen.at(-1)?.[0]).toBe(seen.at(-1)?.[1]);
      });

      it('is what was looked into, though its name was given to another file meanwhile', async () => {
        await under.make(at('disk'), 'qcow2', bytes);
        const disk = await openDisk(at('disk'));
        const { rename } = await import('node:fs/promises');
        await writeFile(at('other'), 'no disk at all');
        await rename(at('other'), at('disk'));
        await transfer.toLayer(disk, under.pool, stored, under.work());
        expect((await layerBytes()).equals(bytes)).toBe(true);
      });

      it('leaves no layer when it does not fit, or is cancelled', async () => {
        await under.make(at('disk'), 'qcow2', bytes);
        const disk = await openDisk(at('disk'));
        const small = { ...stored, sizeBytes: MIB };
        await expect(transfer.toLayer(disk, under.pool, small, under.work())).rejects.toMatchObject({
          code: 'disk.convert_failed',
        });
        const cancel = new AbortController();
        const work = under.work({
          signal: cancel.signal,
          onProgress: () => cancel.abort(new Error('enough')),
        });
        await expect(transfer.toLayer(disk, under.pool, stored, work)).rejects.toThrow('enough');
        expect(await under.pool.list()).toEqual<LayerRef[]>([]);
      });
    });

    describe('a file of ours', () => {
      it.each(['qcow2', 'raw'] as const)('is made as %s, and its digest told', async (format) => {
        await under.make(at('disk'), 'vmdk', bytes);
        const made = await transfer.toFile(
          await openDisk(at('disk')),
          { path: at('ours'), format },
          under.work(),
        );
        const content = await readFile(at('ours'));
        const sha256 = createHash('sha256').update(content).digest('hex');
        expect(made).toEqual({ sha256, sizeBytes: content.length });
        expect((await under.contents(at('ours'), format)).equals(bytes)).toBe(true);
        expect(await transfer.digest(at('ours'), under.work())).toBe(sha256);
      });

      it('is a copy of an ISO', async () => {
        const iso = Buffer.alloc(200 * 2048);
        iso.write('\x01CD001\x01', 32_768);
        await writeFile(at('iso'), iso);
        const disk = await openDisk(at('iso'), { format: 'iso' });
        await transfer.toFile(disk, { path: at('ours'), format: 'raw' }, under.work());
        expect((await readFile(at('ours'))).equals(iso)).toBe(true);
      });

      it('is not left when it is cancelled', async () => {
        await under.make(at('disk'), 'vmdk', bytes);
        const cancel = new AbortController();
        const work = under.work({
          signal: cancel.signal,
          onProgress: () => cancel.abort(new Error('enough')),
        });
        const made = transfer.toFile(await openDisk(at('disk')), { path: at('ours'), format: 'raw' }, work);
        await expect(made).rejects.toThrow('enough');
        expect(await isThere(at('ours'))).toBe(false);
      });
    });

    describe('a disk that goes out', () => {
      const above = Buffer.alloc(128 * 1024, 7);
      const expected = Buffer.concat([above, bytes.subarray(above.length)]);

      it.each(foreignFormats)('is written as %s, all its layers in one', async (format) => {
        const source = await under.chain(bytes, above);
        const { sizeBytes } = await transfer.fromSource(source, { path: at('out'), format }, under.work());
        expect(sizeBytes).toBe((await stat(at('out'))).size);
        expect((await under.contents(at('out'), format)).equals(expected)).toBe(true);
        const disk = await openDisk(at('out'), { format });
        expect(disk.virtualSizeBytes).toBe(bytes.length);
      });

      it('never replaces a file, and leaves none when it is cancelled', async () => {
        const source = await under.chain(bytes, above);
        await writeFile(at('mine'), 'mine');
        await symlink(at('nowhere'), at('link'));
        for (const path of [at('mine'), at('link')])
          await expect(
            transfer.fromSource(source, { path, format: 'raw' }, under.work()),
          ).rejects.toMatchObject({
            code: 'export.target_exists',
          });
        await transfer.removeOutput(at('mine'));
        expect(await readFile(at('mine'), 'utf8')).toBe('mine');
        const cancel = new AbortController();
        const work = under.work({
          signal: cancel.signal,
          onProgress: () => cancel.abort(new Error('enough')),
        });
        const out = transfer.fromSource(source, { path: at('out'), format: 'qcow2' }, work);
        await expect(out).rejects.toThrow('enough');
        expect(await isThere(at('out'))).toBe(false);
      });

      it('says when the folder to write into is not there', async () => {
        const source = await under.chain(bytes, above);
        const path = at('no/where/disk');
        await expect(
          transfer.fromSource(source, { path, format: 'raw' }, under.work()),
        ).rejects.toMatchObject({
          code: 'export.failed',
          hint: expect.stringContaining('mkdir'),
        });
      });

      it('is written into an OVA that is opened again with what was written', async () => {
        const source = await under.chain(bytes, above);
        const described: ReadonlyMap<string, number>[] = [];
        const text = (sizes: ReadonlyMap<string, number>): string => {
          described.push(sizes);
          return '<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1"/>';
        };
        const disks = [
          { name: 'web-one.vmdk', source },
          { name: 'web-two.vmdk', source },
        ];
        const work = { ...under.work(), id };
        const { sizeBytes } = await transfer.writeOva(at('web.ova'), { name: 'web.ovf', text }, disks, work);
        expect(sizeBytes).toBe((await stat(at('web.ova'))).size);
        await transfer.clean(id);
        const machine = await openMachine('web.ova');
        expect(machine).toMatchObject({ kind: 'ovf', text: text(new Map()) });
        expect(machine.files).toEqual(described[0]);
        const disk = await openDisk(machine.resolve('web-two.vmdk'), { format: 'vmdk' });
        await transfer.toLayer(disk, under.pool, stored, under.work());
        expect((await layerBytes()).equals(expected)).toBe(true);
      });
    });

    async function openMachine(
      file: string,
      options: Partial<Parameters<DiskTransfer['openMachine']>[0]> = {},
    ) {
      const machine = await transfer.openMachine({
        path: at(file),
        format: 'auto',
        id,
        unpack: true,
        maxBytes: 256 * MIB,
        work: under.work(),
        ...options,
      });
      opened.push(machine);
      return machine;
    }

    describe('a machine that comes in', () => {
      it.each([
        ['ovf', '<?xml version="1.0"?>\n<!-- by hand --><ovf:Envelope xmlns:ovf="x"/>'],
        ['libvirt', "<domain type='kvm'><name>web</name></domain>"],
        ['xl', '# Xen\nname = "web"\nmemory = 512\n'],
      ] as const)('is taken for %s by its contents', async (kind, text) => {
        await writeFile(at('web'), text);
        expect(await openMachine('web')).toMatchObject({ kind, text });
      });

      it('is a bare disk when it has the header of one', async () => {
        await under.make(at('web'), 'vhdx', bytes);
        const machine = await openMachine('web');
        expect(machine).toMatchObject({ kind: 'disk', text: '' });
        expect(machine.resolve('web')).toBe(at('web'));
      });

      it('is asked for when it can be anything', async () => {
        await writeFile(at('web'), 'something else');
        await expect(openMachine('web')).rejects.toMatchObject({
          code: 'import.malformed',
          hint: expect.stringContaining('--format'),
        });
        await expect(openMachine('nothing')).rejects.toMatchObject({ code: 'disk.not_found' });
      });

      it('has its files beside it, and no other', async () => {
        await writeFile(at('web.ovf'), '<Envelope/>');
        await writeFile(at('web disk.vmdk'), 'x');
        const machine = await openMachine('web.ovf');
        expect(machine.files.get('web disk.vmdk')).toBe(1);
        expect(machine.resolve('web%20disk.vmdk')).toBe(at('web disk.vmdk'));
        expect(() => machine.resolve('other.vmdk')).toThrow(
          expect.objectContaining({ code: 'disk.not_found' }),
        );
        for (const bad of ['/etc/passwd', '../web.ovf', 'a/b', '..', '', 'a\\b', '%2e%2e%2fx'])
          expect(() => machine.resolve(bad), bad).toThrow(
            expect.objectContaining({ code: 'import.malformed' }),
          );
      });
    });

    describe('what is written outside', () => {
      it('is taken back when it was made here, and what is in it too', async () => {
        await transfer.makeDirectory(at('out'));
        await expect(transfer.makeDirectory(at('out'))).rejects.toMatchObject({
          code: 'export.target_exists',
        });
        await transfer.writeText(at('out/web.xml'), '<domain/>');
        expect(await readFile(at('out/web.xml'), 'utf8')).toBe('<domain/>');
        await expect(transfer.writeText(at('out/web.xml'), '')).rejects.toMatchObject({
          code: 'export.target_exists',
        });
        await under.open().removeOutput(at('out'));
        expect(await isThere(at('out'))).toBe(false);
        await transfer.removeOutput(at('out'));
      });

      it('stays when it is somebody else’s', async () => {
        await mkdir(at('folder'));
        await transfer.removeOutput(at('folder'));
        await transfer.makeDirectory(at('out'));
        await writeFile(at('out/mine'), 'mine');
        await transfer.removeOutput(at('out'));
        expect([await isThere(at('folder')), await isThere(at('out/mine'))]).toEqual([true, true]);
      });
    });

    describe('what is staged', () => {
      it('is kept over a restart, listed by its id, and goes with it', async () => {
        expect(await transfer.list()).toEqual([]);
        const path = await transfer.stagePath(id, 'download');
        await writeFile(path, 'half');
        const restarted = under.open();
        expect(await restarted.stagePath(id, 'download')).toBe(path);
        expect(await readFile(path, 'utf8')).toBe('half');
        expect(await restarted.list()).toEqual([id]);
        await restarted.clean(id);
        await restarted.clean(id);
        expect(await restarted.list()).toEqual([]);
      });

      it('is given back when the disk is closed', async () => {
        await writeFile(at('packed'), gzipSync(bytes));
        const disk = await transfer.openDisk({
          path: at('packed'),
          id,
          maxVirtualBytes: 64 * MIB,
          work: under.work(),
        });
        expect(await transfer.list()).toEqual([id]);
        await disk[Symbol.asyncDispose]();
        expect(await transfer.list()).toEqual([]);
      });

      it('has no name that leads elsewhere', async () => {
        for (const bad of ['..', '.', '', 'a/b', '/etc', '.outputs'])
          await expect(transfer.stagePath(bad, 'x'), bad).rejects.toMatchObject({ code: 'internal' });
        await expect(transfer.stagePath(id, '../x')).rejects.toMatchObject({ code: 'internal' });
      });
    });
  });
}
