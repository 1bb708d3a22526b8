// How conversions run: confined as guests are, ended when they are cancelled, and with nothing left when storage is full.
import { execFile } from 'node:child_process';
import {
  chmod,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  rm,
  stat,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import type { CopyWork, OpenedDisk } from '@wirt/core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createLoans } from '../../platform/lend.ts';
import { createDiskTransfer } from './disk-transfer.ts';
import {
  createHarness,
  type Harness,
  testWorkId as id,
  isRoot,
  testLayer as layer,
  silentLogger,
  testUid,
  toolMissing,
  workOf,
} from './harness.fixture.ts';

const run = promisify(execFile);
const MIB = 1024 * 1024;

function disk(): Buffer {
  const bytes = Buffer.alloc(4 * MIB);
  for (let at = 0; at < MIB; at += 4) bytes.writeUInt32LE(at, at);
  return bytes;
}

describe.skipIf(toolMissing)(`conversions${toolMissing ? ` (skipped: ${toolMissing})` : ''}`, () => {
  let under: Harness;
  const held: AsyncDisposable[] = [];
  const at = (file: string): string => join(under.folder, file);

  beforeEach(async () => {
    under = await createHarness();
  });
  afterEach(async () => {
    for (const one of held.splice(0)) await one[Symbol.asyncDispose]();
    await under[Symbol.asyncDispose]();
  });

  async function openDisk(path: string, transfer = under.transfer, work = workOf()): Promise<OpenedDisk> {
    const opened = await transfer.openDisk({ path, id, maxVirtualBytes: 64 * MIB, work });
    held.push(opened);
    return opened;
  }
  const layerBytes = (): Promise<Buffer> => under.contents(under.pool.locate(layer).location.path, 'qcow2');

  it('fill a layer that is larger than the disk with zeros', async () => {
    await under.make(at('disk'), 'vmdk', disk());
    const larger = { ...layer, sizeBytes: 6 * MIB } as const;
    await under.transfer.toLayer(await openDisk(at('disk')), under.pool, larger, workOf());
    const bytes = await under.contents(under.pool.locate(larger).location.path, 'qcow2');
    expect(bytes.equals(Buffer.concat([disk(), Buffer.alloc(2 * MIB)]))).toBe(true);
  });

  describe.skipIf(!isRoot)(`for the guests of others${isRoot ? '' : ' (skipped: needs root)'}`, () => {
    it('run as a user of their own, without capabilities, the network, and more memory than they need', async () => {
      await under.make(at('disk'), 'vmdk', disk());
      await under.transfer.toLayer(await openDisk(at('disk')), under.pool, layer, workOf());
      const source = await under.chain(disk(), Buffer.alloc(512, 1));
      for (const { location } of source.layers) await chmod(location.path, 0o600);
      await under.transfer.fromSource(source, { path: at('out'), format: 'vmdk' }, workOf());
      for (const { location } of source.layers)
        expect(await stat(location.path)).toMatchObject({ uid: 0, gid: 0, mode: 0o100600 });
      const runs = await under.runs();
      expect(runs).toHaveLength(2);
      for (const told of runs) {
        expect(told).toMatch(new RegExp(`^Uid:\\t${testUid}\\t${testUid}\\t${testUid}\\t${testUid}$`, 'm'));
        for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'])
          expect(told).toMatch(new RegExp(`^${set}:\\t0{16}$`, 'm'));
        expect(told).toMatch(/^NoNewPrivs:\t1$/m);
        expect(told).toContain('json:{"driver":');
      }
    });

    it('name every format, follow no header, and open nothing by the name that it has', async () => {
      await under.make(at('disk'), 'qcow2', disk());
      await under.transfer.toLayer(await openDisk(at('disk')), under.pool, layer, workOf());
      const [told = ''] = await under.runs();
      const node = { driver: 'qcow2', file: { driver: 'file', filename: '/proc/self/fd/3' }, backing: null };
      expect(told.slice(told.indexOf('\nconvert\n') + 1).split('\n')).toEqual([
        ...[
          'convert',
          '-p',
          '-n',
          '--target-is-zero',
          '-W',
          '-m',
          '8',
          '-O',
          'qcow2',
          `json:${JSON.stringify(node)}`,
        ],
        under.pool.locate(layer).location.path,
        '',
      ]);
    });

    it('read a copy of a file that only root may read, which goes with the disk', async () => {
      await under.make(at('disk'), 'vdi', disk());
      await chmod(at('disk'), 0o600);
      await chmod(under.folder, 0o700);
      const opened = await under.transfer.openDisk({
        path: at('disk'),
        id,
        maxVirtualBytes: 64 * MIB,
        work: workOf(),
      });
      const seen: [number, number][] = [];
      const work = workOf({ onProgress: (done, total) => seen.push([done, total]) });
      await under.transfer.toLayer(opened, under.pool, layer, work);
      expect((await layerBytes()).equals(disk())).toBe(true);
      const total = layer.sizeBytes + (await stat(at('disk'))).size;
      expect(seen.at(-1)).toEqual([total, total]);
      expect(await under.transfer.list()).toEqual([id]);
      await opened[Symbol.asyncDispose]();
      expect(await under.transfer.list()).toEqual([]);
      expect((await stat(at('disk'))).uid).toBe(0);
    });

    it('have the file that they write on loan, on record, so that the next daemon takes it back', async () => {
      const hanging = join(under.stateDirectory, 'hanging');
      await writeFile(hanging, "#!/bin/sh\nprintf '(1.00/100%%)'\nexec sleep 600\n");
      await chmod(hanging, 0o755);
      const { stateDirectory, loans } = under;
      const transfer = createDiskTransfer({ stateDirectory, loans, logger: silentLogger, qemuImg: hanging });
      await under.make(at('disk'), 'vmdk', disk());
      const opened = await openDisk(at('disk'), transfer);
      const path = join(stateDirectory, 'image');
      const control = new AbortController();
      const begun = Promise.withResolvers<void>();
      const work = workOf({ signal: control.signal, onProgress: () => begun.resolve() });
      const converted = transfer.toFile(opened, { path, format: 'qcow2' }, work);
      await begun.promise;
      try {
        expect(await stat(path)).toMatchObject({ uid: 0, gid: testUid, mode: 0o100660 });
        expect(loans.isLentTo(testUid)).toBe(true);
        const next = createLoans({ directory: join(stateDirectory, 'lent'), logger: silentLogger });
        await next.recover();
        expect(await stat(path)).toMatchObject({ uid: 0, gid: 0, mode: 0o100640 });
        expect(next.isLentTo(testUid)).toBe(false);
      } finally {
        control.abort(new Error('enough'));
        await expect(converted).rejects.toThrow('enough');
      }
      expect(await readdir(stateDirectory)).not.toContain('image');
    });

    it('write into folders that are closed to others, and leave their files to whom the folder belongs', async () => {
      await under.make(at('disk'), 'vmdk', disk());
      const closed = join(under.stateDirectory, 'closed');
      await mkdir(closed, { mode: 0o700 });
      const made = { path: join(closed, 'image'), format: 'qcow2' } as const;
      await under.transfer.toFile(await openDisk(at('disk')), made, workOf());
      expect(await stat(made.path)).toMatchObject({ uid: 0, gid: 0 });
      const source = await under.chain(disk(), Buffer.alloc(512, 1));
      const home = join(under.stateDirectory, 'home');
      await mkdir(home, { mode: 0o700 });
      await run('chown', ['1234:1235', home]);
      await under.transfer.fromSource(source, { path: join(home, 'out'), format: 'raw' }, workOf());
      expect(await stat(join(home, 'out'))).toMatchObject({ uid: 1234, gid: 1235 });
    });
  });

  it.each([0o644, 0o600])('take a VMDK together from its extents, which have the mode %o', async (mode) => {
    for (const subformat of ['monolithicFlat', 'twoGbMaxExtentSparse']) {
      const name = join(under.folder, `${subformat}.vmdk`);
      await writeFile(at('raw'), disk());
      await run('qemu-img', [
        'convert',
        '-f',
        'raw',
        '-O',
        'vmdk',
        '-o',
        `subformat=${subformat}`,
        at('raw'),
        name,
      ]);
      for (const file of await readdir(under.folder)) await chmod(at(file), mode);
      const opened = await openDisk(name);
      expect(opened.virtualSizeBytes).toBe(4 * MIB);
      await under.transfer.toLayer(opened, under.pool, layer, workOf());
      expect((await layerBytes()).equals(disk()), subformat).toBe(true);
      await under.pool.remove(layer);
    }
  });

  it('keep the end of a VHD whose geometry says less than its size', async () => {
    const bytes = disk();
    bytes.fill(7, bytes.length - 1024);
    const footer = Buffer.alloc(512);
    {
      await under.make(at('disk'), 'vpc', bytes);
      await run('qemu-img', [
        ...['convert', '-f', 'vpc', '-O', 'vpc', '-o', 'subformat=fixed,force_size=on'],
        ...[at('disk'), at('disk.vhd')],
      ]);
      await using file = await open(at('disk.vhd'), 'r+');
      await file.read(footer, 0, 512, bytes.length);
      // VirtualBox, with 100 cylinders of 4 heads and 17 sectors.
      footer.write('vbox', 28);
      footer.write('00640411', 56, 'hex');
      footer.writeUInt32BE(0, 64);
      footer.writeUInt32BE(~footer.reduce((sum, byte) => sum + byte, 0) >>> 0, 64);
      await file.write(footer, 0, 512, bytes.length);
    }
    const opened = await openDisk(at('disk.vhd'));
    expect(opened.virtualSizeBytes).toBe(bytes.length);
    await under.transfer.toLayer(opened, under.pool, layer, workOf());
    expect((await layerBytes()).equals(bytes)).toBe(true);
  });

  it('read what xz unpacks, of one stream or several', async () => {
    await under.make(at('disk'), 'qcow2', disk());
    const whole = await readFile(at('disk'));
    for (const [part, bytes] of [whole.subarray(0, MIB), whole.subarray(MIB)].entries()) {
      await writeFile(at(`part${part}`), bytes);
      await run('xz', [at(`part${part}`)]);
    }
    const parts = [await readFile(at('part0.xz')), await readFile(at('part1.xz'))];
    await writeFile(at('disk.xz'), Buffer.concat(parts));
    const opened = await openDisk(at('disk.xz'));
    expect(opened).toMatchObject({ format: 'qcow2', virtualSizeBytes: disk().length });
    await under.transfer.toLayer(opened, under.pool, layer, workOf());
    expect((await layerBytes()).equals(disk())).toBe(true);
  });

  it('need no room for the holes that they have', async () => {
    await writeFile(at('sparse.raw'), Buffer.alloc(MIB, 1));
    await truncate(at('sparse.raw'), 32 * MIB);
    const { fileBytes, virtualSizeBytes } = await openDisk(at('sparse.raw'));
    expect(virtualSizeBytes).toBe(32 * MIB);
    expect(fileBytes).toBeGreaterThan(0);
    expect(fileBytes).toBeLessThan(8 * MIB);
  });

  it('keep the holes of what they unpack', async () => {
    const sparse = Buffer.alloc(32 * MIB);
    sparse.fill(1, 16 * MIB, 16 * MIB + 512);
    await writeFile(at('disk.gz'), gzipSync(sparse));
    const opened = await openDisk(at('disk.gz'));
    expect(opened).toMatchObject({ format: 'raw', virtualSizeBytes: sparse.length });
    const { stdout } = await run('du', ['-s', '--block-size=1', under.stateDirectory]);
    expect(Number.parseInt(stdout, 10)).toBeLessThan(MIB);
  });

  it('write an OVA that other programs read: description, manifest, disks', async () => {
    const source = await under.chain(disk(), Buffer.alloc(512, 1));
    const disks = [{ name: 'web-sda.vmdk', source }];
    const text = (sizes: ReadonlyMap<string, number>): string => `sizes: ${[...sizes].join(' ')}`;
    await under.transfer.writeOva(at('web.ova'), { name: 'web.ovf', text }, disks, { ...workOf(), id });
    const { stdout } = await run('tar', ['-xvf', at('web.ova'), '-C', under.folder]);
    expect(stdout.trim().split('\n')).toEqual(['web.ovf', 'web.mf', 'web-sda.vmdk']);
    const { size } = await stat(at('web-sda.vmdk'));
    expect(await readFile(at('web.ovf'), 'utf8')).toBe(`sizes: web-sda.vmdk,${size}`);
    const sums = await run('sha256sum', ['web.ovf', 'web-sda.vmdk'], { cwd: under.folder });
    const manifest = sums.stdout.replaceAll(/^(\w+) {2}(.+)$/gm, 'SHA256($2)= $1');
    expect(await readFile(at('web.mf'), 'utf8')).toBe(manifest);
    const { stdout: info } = await run('qemu-img', [
      'info',
      '-f',
      'vmdk',
      '--output=json',
      at('web-sda.vmdk'),
    ]);
    expect(JSON.parse(info)).toMatchObject({
      'virtual-size': 4 * MIB,
      'format-specific': { data: { 'create-type': 'streamOptimized' } },
    });
  });

  it('are ended when they are cancelled, and no process and no file of theirs is left', async () => {
    const pidFile = join(under.stateDirectory, 'pid');
    await writeFile(pidFile, '');
    await chmod(pidFile, 0o666);
    const hanging = join(under.stateDirectory, 'hanging');
    await writeFile(hanging, `#!/bin/sh\necho $$ > ${pidFile}\nprintf '(1.00/100%%)'\nexec sleep 600\n`);
    await chmod(hanging, 0o755);
    const { stateDirectory } = under;
    const transfer = createDiskTransfer({
      stateDirectory,
      loans: under.loans,
      logger: silentLogger,
      qemuImg: hanging,
    });
    await under.make(at('disk'), 'vmdk', disk());
    const opened = await openDisk(at('disk'), transfer);
    const source = await under.chain(disk(), Buffer.alloc(512, 1));
    const cancelled: ((work: CopyWork) => Promise<unknown>)[] = [
      (work) => transfer.toLayer(opened, under.pool, layer, work),
      (work) => transfer.toFile(opened, { path: at('ours'), format: 'qcow2' }, work),
      (work) => transfer.fromSource(source, { path: at('out'), format: 'vmdk' }, work),
      (work) =>
        transfer.writeOva(at('out.ova'), { name: 'a.ovf', text: () => '' }, [{ name: 'a.vmdk', source }], {
          ...work,
          id,
        }),
    ];
    for (const cancel of cancelled) {
      const control = new AbortController();
      const work = workOf({ signal: control.signal, onProgress: () => control.abort(new Error('enough')) });
      await expect(cancel(work)).rejects.toThrow('enough');
      const pid = Number(await readFile(pidFile, 'utf8'));
      expect(() => process.kill(pid, 0)).toThrow('ESRCH');
    }
    expect(await readdir(under.folder)).toEqual(['disk']);
    expect(await under.pool.list()).toEqual([]);
    expect(await transfer.list()).toEqual([]);
  });

  it('do not run on a layer in which a guest has left the name of another file', async () => {
    const source = await under.chain(disk(), Buffer.alloc(512, 1));
    const [base = ''] = source.layers.map(({ location }) => location.path);
    await using file = await open(base, 'r+');
    // Incompatible feature 2: an external data file.
    await file.write(Buffer.from([4]), 0, 1, 79);
    const out = under.transfer.fromSource(source, { path: at('out'), format: 'raw' }, workOf());
    await expect(out).rejects.toMatchObject({
      code: 'export.failed',
      message: expect.stringContaining('data are in another file'),
    });
    expect([await under.runs(), await readdir(under.folder)]).toEqual([[], []]);
  });

  it('say what QEMU said when it cannot read on', async () => {
    await under.make(at('disk'), 'vmdk', disk());
    const opened = await openDisk(at('disk'));
    // Behind the back of the one who looked into it.
    await using file = await open(at('disk'), 'r+');
    await file.write(Buffer.alloc(512, 0xff), 0, 512, 0);
    await expect(under.transfer.toLayer(opened, under.pool, layer, workOf())).rejects.toMatchObject({
      code: 'disk.convert_failed',
      cause: expect.objectContaining({ message: expect.stringMatching(/vmdk/i) }),
    });
    expect(await under.pool.list()).toEqual([]);
  });

  it('without qemu-img name what to install', async () => {
    const { stateDirectory } = under;
    const transfer = createDiskTransfer({
      stateDirectory,
      loans: under.loans,
      logger: silentLogger,
      qemuImg: '/nowhere/qemu-img',
    });
    await under.make(at('disk'), 'vmdk', disk());
    const opened = await openDisk(at('disk'), transfer);
    await expect(transfer.toLayer(opened, under.pool, layer, workOf())).rejects.toMatchObject({
      code: 'host.tool_missing',
      hint: expect.stringContaining('qemu-utils'),
    });
  });

  describe.skipIf(!isRoot)(`on storage that is full${isRoot ? '' : ' (skipped: needs root)'}`, () => {
    let small: string;
    let full: Harness;

    beforeEach(async () => {
      small = await mkdtemp(join(tmpdir(), 'wirt-small-'));
      await run('mount', ['-t', 'tmpfs', '-o', 'size=2m,mode=0711', 'tmpfs', small]);
      full = await createHarness({ storage: small });
    });
    afterEach(async () => {
      for (const one of held.splice(0)) await one[Symbol.asyncDispose]();
      await full[Symbol.asyncDispose]();
      await run('umount', [small]);
      await rm(small, { recursive: true });
    });
    const bytes = Buffer.alloc(4 * MIB, 'no zeros');
    const noRoom = { code: 'host.storage_full', hint: expect.stringContaining('df -h') };
    async function usedBytes(): Promise<number> {
      const { stdout } = await run('du', ['-s', '--block-size=1', small]);
      return Number.parseInt(stdout, 10);
    }

    it('say so, and take back what they had written', async () => {
      const { transfer, pool } = full;
      await writeFile(at('disk.raw'), bytes);
      const before = await usedBytes();
      const opened = await transfer.openDisk({
        path: at('disk.raw'),
        format: 'raw',
        id,
        maxVirtualBytes: 64 * MIB,
        work: workOf(),
      });
      held.push(opened);
      await expect(transfer.toLayer(opened, pool, layer, workOf())).rejects.toMatchObject(noRoom);
      expect(await pool.list()).toEqual([]);
      const ours = join(small, 'ours');
      await expect(transfer.toFile(opened, { path: ours, format: 'raw' }, workOf())).rejects.toMatchObject(
        noRoom,
      );
      const source = await under.chain(bytes, Buffer.alloc(512, 1));
      for (const format of ['qcow2', 'vdi'] as const)
        await expect(
          transfer.fromSource(source, { path: join(small, 'out'), format }, workOf()),
        ).rejects.toMatchObject(noRoom);
      await expect(transfer.writeText(join(small, 'text'), bytes.toString())).rejects.toMatchObject(noRoom);
      await rm(join(small, 'state', 'exports'), { recursive: true, force: true });
      expect(await usedBytes()).toBe(before);
    });

    it('say so while they unpack', async () => {
      await writeFile(at('disk.gz'), gzipSync(Buffer.alloc(8 * MIB, 'no zeros')));
      const opening = full.transfer.openDisk({
        path: at('disk.gz'),
        id,
        maxVirtualBytes: 64 * MIB,
        work: workOf(),
      });
      await expect(opening).rejects.toMatchObject(noRoom);
      expect(await full.transfer.list()).toEqual([]);
    });
  });
});
