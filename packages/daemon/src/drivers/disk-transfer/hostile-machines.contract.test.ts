// Descriptions and packages of machines made to do harm, and files of the host that they must not reach.
import { createHash } from 'node:crypto';
import { access, mkdir, open, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { DiskTransfer, OpenedMachine } from '@wirt/core';
import { pack } from 'tar-stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createHarness, type Harness, toolMissing, workOf } from './harness.fixture.ts';
import { paxRecord, type TarEntry, tarOf } from './tar.fixture.ts';

const MIB = 1024 * 1024;
const id = '01J9ZK3W8Y7Q5T2R4M6N8P0001';
const envelope = '<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1"/>';
const ovf = { name: 'web.ovf', content: envelope };
const disk = { name: 'web.vmdk', content: Buffer.alloc(5000, 7) };
const sha256 = (content: Buffer | string): string => createHash('sha256').update(content).digest('hex');
const manifest = (...lines: string[]) => ({
  name: 'web.mf',
  content: lines.map((line) => `${line}\n`).join(''),
});

describe.skipIf(toolMissing)(`hostile machines${toolMissing ? ` (skipped: ${toolMissing})` : ''}`, () => {
  let under: Harness;
  const machines: OpenedMachine[] = [];
  const at = (file: string): string => join(under.folder, file);

  beforeEach(async () => {
    under = await createHarness();
  });
  afterEach(async () => {
    for (const machine of machines.splice(0)) await machine[Symbol.asyncDispose]();
    const [runs, staged] = [await under.runs(), await under.transfer.list()];
    await under[Symbol.asyncDispose]();
    expect({ runs, staged }).toEqual({ runs: [], staged: [] });
  });

  type Options = Partial<Parameters<DiskTransfer['openMachine']>[0]>;
  async function openMachine(file: string, options: Options = {}): Promise<OpenedMachine> {
    const machine = await under.transfer.openMachine({
      path: at(file),
      format: 'auto',
      id,
      unpack: true,
      maxBytes: 16 * MIB,
      work: workOf(),
      ...options,
    });
    machines.push(machine);
    return machine;
  }
  async function ova(entries: readonly TarEntry[], options: Options = {}): Promise<OpenedMachine> {
    await writeFile(at('web.ova'), tarOf(entries));
    return await openMachine('web.ova', options);
  }
  const malformed = (words: string) => ({
    code: 'import.malformed',
    message: expect.stringContaining(words),
  });

  describe('an OVA', () => {
    it('is unpacked with its files under their own names, also when another program wrote it', async () => {
      const written = pack();
      written.entry({ name: 'web.ovf' }, envelope);
      written.entry({ name: `${'w'.repeat(120)}.vmdk` }, 'disk');
      written.finalize();
      await writeFile(at('web.ova'), written as AsyncIterable<Buffer>);
      const machine = await openMachine('web.ova');
      expect(machine).toMatchObject({ kind: 'ovf', text: envelope });
      await access(machine.resolve(`${'w'.repeat(120)}.vmdk`));
      expect(() => machine.resolve('other.vmdk')).toThrow(
        expect.objectContaining({ code: 'disk.not_found' }),
      );
      expect(() => machine.resolve('/etc/passwd')).toThrow(
        expect.objectContaining({ code: 'import.malformed' }),
      );
    });

    it.each([
      ['a symbolic link', { name: 'web.vmdk', type: '2', linkTo: '/etc/shadow' }],
      ['a hard link', { name: 'web.vmdk', type: '1', linkTo: '/etc/shadow' }],
      ['a device', { name: 'web.vmdk', type: '3' }],
      ['a device', { name: 'web.vmdk', type: '4' }],
      ['a pipe', { name: 'web.vmdk', type: '6' }],
      ['no plain name', { name: '/etc/cron.d/web', content: 'x' }],
      ['no plain name', { name: '../web.vmdk', content: 'x' }],
      ['twice', { name: 'web.ovf', content: 'x' }],
    ] as const)('with %s is refused before anything is unpacked', async (words, entry) => {
      for (const unpack of [true, false])
        await expect(ova([ovf, disk, entry], { unpack })).rejects.toMatchObject(malformed(words));
    });

    it('with a plain name that an extended header replaces is refused', async () => {
      const pax = { name: 'h', type: 'x', content: paxRecord('path', '../../web.vmdk') };
      await expect(ova([ovf, pax, disk])).rejects.toMatchObject(malformed('no plain name'));
    });

    it('without a description, or with two, is refused', async () => {
      await expect(ova([disk])).rejects.toMatchObject(malformed('without a description'));
      await expect(ova([ovf, { name: 'b.ovf', content: envelope }])).rejects.toMatchObject(
        malformed('2 files'),
      );
    });

    it('that is cut off is refused', async () => {
      await expect(ova([ovf, { ...disk, saysBytes: 900_000 }])).rejects.toMatchObject(
        malformed('ends before'),
      );
    });

    it('with more bytes than allowed is refused before they are unpacked', async () => {
      await using file = await open(at('bomb.ova'), 'w');
      await file.write(tarOf([ovf, { name: 'web.vmdk', saysBytes: 1024 ** 4 }], { end: false }));
      await file.truncate(1024 ** 4 + MIB);
      await expect(openMachine('bomb.ova')).rejects.toMatchObject({ code: 'disk.too_large' });
    });

    it('of 20 GiB is described in a moment when it is not unpacked', async () => {
      await using file = await open(at('large.ova'), 'w');
      const start = tarOf([ovf, { name: 'web.vmdk', saysBytes: 20 * 1024 ** 3 }], { end: false });
      await file.write(start);
      await file.write(tarOf([{ name: 'last', content: 'x' }]), 0, undefined, start.length + 20 * 1024 ** 3);
      const machine = await openMachine('large.ova', {
        unpack: false,
        maxBytes: 1024 ** 4,
        work: workOf({ signal: AbortSignal.timeout(5000) }),
      });
      expect([...machine.files]).toEqual([
        ['web.vmdk', 20 * 1024 ** 3],
        ['last', 1],
      ]);
      expect(machine.text).toBe(envelope);
    });

    it('is checked against its manifest, wherever that is', async () => {
      const lines = [`SHA256(web.ovf)= ${sha256(envelope)}`, `SHA256(web.vmdk)= ${sha256(disk.content)}`];
      await ova([ovf, manifest(...lines), disk]);
      await ova([disk, ovf, { name: 'web.cert', content: 'not looked at' }, manifest(...lines)]);
      const sha1 = createHash('sha1').update(disk.content).digest('hex');
      await ova([ovf, disk, manifest(`SHA1(web.vmdk)= ${sha1}`)]);
    });

    it('with a wrong digest of the description or a disk is refused, and nothing of it stays', async () => {
      const wrong = sha256('other');
      await expect(ova([ovf, manifest(`SHA256(web.ovf)= ${wrong}`), disk])).rejects.toMatchObject({
        code: 'import.digest_mismatch',
        details: { file: 'web.ovf', algorithm: 'sha256', expected: wrong, found: sha256(envelope) },
      });
      await expect(ova([ovf, manifest(`SHA256(web.vmdk)= ${wrong}`), disk])).rejects.toMatchObject({
        code: 'import.digest_mismatch',
        details: expect.objectContaining({ file: 'web.vmdk' }),
      });
      expect(await under.transfer.list()).toEqual([]);
    });

    it('without a member of its manifest is refused, and so is one with a manifest that cannot be read', async () => {
      const line = `SHA256(missing.vmdk)= ${sha256('x')}`;
      await expect(ova([ovf, disk, manifest(line)])).rejects.toMatchObject(malformed('missing'));
      await expect(ova([ovf, disk, manifest('nonsense')])).rejects.toMatchObject(malformed('no digest'));
    });

    it('is given up when the work is cancelled, and nothing of it stays', async () => {
      const cancel = new AbortController();
      const work = workOf({ signal: cancel.signal, onProgress: () => cancel.abort(new Error('enough')) });
      const big = { name: 'web.vmdk', content: Buffer.alloc(4 * MIB, 1) };
      await expect(ova([ovf, big], { work })).rejects.toThrow('enough');
      expect(await under.transfer.list()).toEqual([]);
    });

    it('that is a tar of something else is refused', async () => {
      await expect(ova([{ name: 'README', content: 'x' }])).rejects.toMatchObject(
        malformed('without a description'),
      );
    });
  });

  describe('an OVF in a folder', () => {
    beforeEach(async () => {
      await writeFile(at('web.ovf'), envelope);
    });

    it('is checked against the manifest beside it', async () => {
      await writeFile(at('web.vmdk'), disk.content);
      await writeFile(at('web.mf'), `SHA256(web.vmdk)= ${sha256(disk.content)}\n`);
      expect((await openMachine('web.ovf')).resolve('web.vmdk')).toBe(at('web.vmdk'));
      await writeFile(at('web.mf'), `SHA256(web.vmdk)= ${sha256('other')}\n`);
      await expect(openMachine('web.ovf')).rejects.toMatchObject({ code: 'import.digest_mismatch' });
      await rm(at('web.vmdk'));
      await expect(openMachine('web.ovf')).rejects.toMatchObject(malformed('missing'));
    });

    it('has no link for a disk', async () => {
      await symlink('/etc/shadow', at('web.vmdk'));
      const machine = await openMachine('web.ovf');
      expect(() => machine.resolve('web.vmdk')).toThrow(expect.objectContaining({ code: 'disk.not_found' }));
    });
  });

  it('a description of more than 4 MiB is refused', async () => {
    await writeFile(at('web.xml'), `<domain>${' '.repeat(5 * MIB)}</domain>`);
    await expect(openMachine('web.xml')).rejects.toMatchObject(malformed('larger than 4 MiB'));
  });

  it('XML of another kind, or in no encoding, is refused', async () => {
    await writeFile(at('web.xml'), '<html/>');
    await expect(openMachine('web.xml')).rejects.toMatchObject(malformed('<html>'));
    await writeFile(at('bytes.xml'), Buffer.from('<domain>\xff</domain>', 'latin1'));
    await expect(openMachine('bytes.xml', { format: 'libvirt' })).rejects.toMatchObject(malformed('UTF-8'));
  });

  describe.each([
    ['a libvirt description', 'web.xml', "<domain type='kvm'/>"],
    ['an xl.cfg', 'web.cfg', 'name = "web"\n'],
  ])('%s that somebody else wrote', (_what, file, text) => {
    let elsewhere: string;

    beforeEach(async () => {
      elsewhere = join(under.stateDirectory, '..', 'elsewhere');
      await mkdir(elsewhere);
      await mkdir(at('described'));
      await writeFile(at(join('described', file)), text);
    });
    async function outcome(path: string, format?: 'raw', poolDirectories: string[] = []): Promise<unknown> {
      const machine = await openMachine(join('described', file));
      const opening = under.transfer.openDisk({
        path: machine.resolve(path),
        format,
        poolDirectories,
        id,
        maxVirtualBytes: 64 * MIB,
        work: workOf(),
      });
      return await opening.then(
        async (opened) => {
          await opened[Symbol.asyncDispose]();
          return 'opened';
        },
        (error: unknown) => error,
      );
    }
    const refusedFor = (reason: string) => ({
      code: 'disk.refused',
      details: expect.objectContaining({ reason }),
    });

    it('cannot make a disk of a file that is none', async () => {
      expect(await outcome('/etc/passwd', 'raw')).toMatchObject(refusedFor('not-a-disk'));
      const large = join(elsewhere, 'database');
      await writeFile(large, Buffer.alloc(2 * MIB, 's'));
      expect(await outcome(large, 'raw')).toMatchObject(refusedFor('not-a-disk'));
      const odd = Buffer.alloc(2 * MIB + 1);
      odd.write('\x55\xaa', 510, 'latin1');
      await writeFile(large, odd);
      expect(await outcome(large, 'raw')).toMatchObject(refusedFor('not-a-disk'));
    });

    it('cannot lead to files of Wirt’s own, on whatever way', async () => {
      const own = join(under.stateDirectory, 'disk.qcow2');
      await under.make(own, 'qcow2', Buffer.alloc(MIB));
      expect(await outcome(own)).toMatchObject(refusedFor('wirts-own'));
      await symlink(under.stateDirectory, join(elsewhere, 'way'));
      expect(await outcome(join(elsewhere, 'way', 'disk.qcow2'))).toMatchObject(refusedFor('wirts-own'));
    });

    it('cannot make a disk of a file that is none when another import that names it has ended', async () => {
      const [first, second] = [
        await openMachine(join('described', file)),
        await openMachine(join('described', file)),
      ];
      first.resolve('/etc/passwd');
      second.resolve('/etc/passwd');
      await second[Symbol.asyncDispose]();
      await second[Symbol.asyncDispose]();
      const opening = under.transfer.openDisk({
        ...{ path: '/etc/passwd', format: 'raw', id, maxVirtualBytes: 64 * MIB, work: workOf() },
      });
      await expect(opening).rejects.toMatchObject(refusedFor('not-a-disk'));
      await first[Symbol.asyncDispose]();
    });

    it('cannot lead to files in pools, wherever they are', async () => {
      const path = join(elsewhere, 'disk');
      await under.make(path, 'qcow2', Buffer.alloc(MIB));
      expect(await outcome(path, undefined, [elsewhere])).toMatchObject(refusedFor('wirts-own'));
    });

    it('names disks anywhere that have a header, a partition table or a file system', async () => {
      const path = join(elsewhere, 'disk');
      await under.make(path, 'qcow2', Buffer.alloc(MIB));
      expect(await outcome(path)).toBe('opened');
      const withTable = Buffer.alloc(2 * MIB);
      withTable.write('\x55\xaa', 510, 'latin1');
      await writeFile(path, withTable);
      expect(await outcome(path, 'raw')).toBe('opened');
      const ext4 = Buffer.alloc(2 * MIB);
      ext4.writeUInt16LE(0xef53, 1080);
      await writeFile(path, ext4);
      expect(await outcome(path, 'raw')).toBe('opened');
    });

    it('means the file beside it where there is one, whatever that is', async () => {
      await writeFile(at('described/disk.img'), Buffer.alloc(MIB));
      const machine = await openMachine(join('described', file));
      expect(machine.resolve('/var/lib/libvirt/images/disk.img')).toBe(at('described/disk.img'));
      expect(await outcome('/var/lib/libvirt/images/disk.img', 'raw')).toBe('opened');
      expect(await readdir(at('described'))).toContain('disk.img');
    });

    it('is not given hidden files beside it, as those of a home folder', async () => {
      await writeFile(at('described/.history'), Buffer.alloc(2 * MIB, 's'));
      const machine = await openMachine(join('described', file));
      for (const named of ['.history', '/root/.history'])
        expect(() => machine.resolve(named)).toThrow(expect.objectContaining({ code: 'import.malformed' }));
    });

    it('is told from a disk by its marks, so that who imports it can say no', async () => {
      const path = at('described/disk.img');
      const unmarked = async (bytes: Buffer): Promise<readonly string[]> => {
        await writeFile(path, bytes);
        const machine = await openMachine(join('described', file));
        const asked = { path: machine.resolve('disk.img'), format: 'raw', id } as const;
        await using opened = await under.transfer.openDisk({
          ...asked,
          maxVirtualBytes: 64 * MIB,
          work: workOf(),
        });
        return opened.unmarked;
      };
      expect(await unmarked(Buffer.alloc(2 * MIB, 's'))).toEqual([path]);
      const withTable = Buffer.alloc(2 * MIB);
      withTable.write('\x55\xaa', 510, 'latin1');
      expect(await unmarked(withTable)).toEqual([]);
    });

    it('cannot go up', async () => {
      const machine = await openMachine(join('described', file));
      for (const bad of ['/var/../etc/shadow', '../secret', 'other', '/a\nb'])
        expect(() => machine.resolve(bad), bad).toThrow(
          expect.objectContaining({ code: expect.stringMatching(/^(import.malformed|disk.not_found)$/) }),
        );
    });
  });
});
