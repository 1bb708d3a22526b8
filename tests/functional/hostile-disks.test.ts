// Hostile files, each refused with a clear error before any program of QEMU has been called, and with nothing left of it.
import { mkdtemp, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { startDaemon, type TestDaemon } from './harness/daemon.ts';
import { smallDisk } from './harness/disk.ts';
import { manifest, ovf, type TarEntry, writeTar } from './harness/ova.ts';
import { done, mib, run, type Storage, storageOf } from './harness/storage.ts';
import { spyOnTools, type ToolSpy } from './harness/tool-spy.ts';

let daemon: TestDaemon;
let storage: Storage;
let spy: ToolSpy;
let folder: string;
/** A sound disk, in a form that VMware writes. */
let vmdk: Buffer;

beforeAll(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'wirt-hostile-')));
  spy = await spyOnTools();
  daemon = await startDaemon({ env: spy.env });
  storage = storageOf(daemon);
  const options = ['-o', 'subformat=streamOptimized'];
  await run('qemu-img', ['create', '-f', 'raw', at('sound.raw'), '4M']);
  await run('qemu-img', [
    'convert',
    '-O',
    'vmdk',
    '-f',
    'raw',
    ...options,
    at('sound.raw'),
    at('sound.vmdk'),
  ]);
  vmdk = await readFile(at('sound.vmdk'));
});

afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
  await spy[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

afterEach(async () => {
  expect(await spy.calls()).toEqual([]);
  expect((await daemon.client.call('GET /v1/images', {})).items.map(({ name }) => name)).toEqual(['micro']);
  for (const route of ['GET /v1/instances', 'GET /v1/volumes'] as const)
    expect((await daemon.client.call(route, {})).items).toEqual([]);
  expect(await storage.strays()).toEqual([]);
  expect(await daemon.remains()).toEqual([]);
});

const at = (name: string) => join(folder, name);

interface Refusal {
  readonly code: string;
  readonly message: string;
  readonly hint: string | undefined;
  readonly details?: { readonly reason?: string };
}

const refusalOf = (work: Promise<unknown>): Promise<Refusal> =>
  work.then(
    () => Promise.reject(new Error('It was taken.')),
    (error: Refusal) => error,
  );

type Said = 'qcow2' | 'raw' | 'vmdk';
const importImage = (path: string, format?: Said) =>
  daemon.client.call('POST /v1/images/import', {
    body: { name: 'evil', path, ...(format === undefined ? {} : { format }) },
    ...done,
  });
const importMachine = (path: string) =>
  daemon.client.call('POST /v1/imports', { body: { path, name: 'evil' }, ...done });

const planOf = (path: string) =>
  daemon.client.call('POST /v1/imports/plan', { body: { path, dryRun: true } });

const create = (...options: string[]) =>
  run('qemu-img', ['create', '-q', '-f', 'qcow2', ...options]).then(() => undefined);
/** An empty qcow2 with these bytes in its header. */
async function patched(path: string, offset: number, hex: string): Promise<void> {
  await create(path, '1M');
  const bytes = await readFile(path);
  bytes.write(hex, offset, 'hex');
  await writeFile(path, bytes);
}
const descriptor = (extent: string): string =>
  [
    '# Disk DescriptorFile',
    'version=1',
    'CID=12345678',
    'parentCID=ffffffff',
    'createType="monolithicFlat"',
    '# Extent description',
    `RW 2048 FLAT "${extent}" 0`,
    '',
  ].join('\n');

describe('a disk file', () => {
  const overlay = (path: string, backing: string) => create('-u', '-b', backing, '-F', 'raw', path, '1M');
  it.each<[string, (path: string) => Promise<unknown>, string]>([
    ['with a backing file', (path) => overlay(path, '/etc/passwd'), 'backing-file'],
    ['with a json: name behind it', (path) => overlay(path, 'json:{"driver":"null-co"}'), 'backing-file'],
    ['with a server behind it', (path) => overlay(path, 'nbd://localhost/x'), 'backing-file'],
    ['with its data elsewhere', (path) => create('-o', `data_file=${at('data')}`, path, '1M'), 'data-file'],
    ['that is encrypted', (path) => patched(path, 32, '00000002'), 'encrypted'],
    ['with absurd clusters', (path) => patched(path, 20, '00000028'), 'absurd-geometry'],
    ['with an absurd first table', (path) => patched(path, 36, '7fffffff'), 'absurd-geometry'],
    ['that lies about its size', (path) => patched(path, 24, '0000400000000000'), 'size-lie'],
  ])('of qcow2 %s is refused', async (_, make, reason) => {
    await make(at('evil.qcow2'));
    const refusal = await refusalOf(importImage(at('evil.qcow2')));
    expect(refusal).toMatchObject({ code: 'disk.refused', hint: expect.any(String), details: { reason } });
    expect(refusal.message).toContain(at('evil.qcow2'));
    for (const asked of [importMachine, planOf])
      expect(await refusalOf(asked(at('evil.qcow2')))).toMatchObject({
        code: 'disk.refused',
        details: { reason },
      });
    await rm(at('evil.qcow2'));
  });

  it.each(['/etc/shadow', '../../../etc/shadow', 'sub/disk', 'json:{}'])(
    'of vmdk with the extent %s is refused',
    async (extent) => {
      await writeFile(at('evil.vmdk'), descriptor(extent));
      const refusal = await refusalOf(importImage(at('evil.vmdk'), 'vmdk'));
      expect(refusal).toMatchObject({
        code: 'disk.refused',
        hint: expect.any(String),
        details: { reason: 'external-extent' },
      });
    },
  );

  it('of another format than was said is refused, also when a raw one begins as a qcow2', async () => {
    await create(at('evil.img'), '1M');
    for (const said of ['raw', 'vmdk'] as const) {
      const refusal = await refusalOf(importImage(at('evil.img'), said));
      expect(refusal).toMatchObject({ code: 'disk.format_mismatch', hint: expect.any(String) });
    }
    await writeFile(at('magic.raw'), Buffer.concat([Buffer.from('QFI\xfb', 'latin1'), Buffer.alloc(mib)]));
    expect((await refusalOf(importImage(at('magic.raw'), 'raw'))).code).toBe('disk.format_mismatch');
  });

  it('that is no file, or leads to another, is refused', async () => {
    await run('ln', ['-sf', '/etc/passwd', at('link.raw')]);
    await run('mkfifo', [at('pipe.raw')]);
    for (const name of ['link.raw', 'pipe.raw', '.'])
      expect((await refusalOf(importImage(at(name), 'raw'))).code, name).toMatch(/^disk\./);
    await rm(at('pipe.raw'));
  });
});

describe('a bomb', () => {
  it('that unpacks to more than there is room for is stopped, and takes nothing with it', async () => {
    await using small = await smallDisk(64);
    await using other = await startDaemon({ directory: small.directory, empty: true, env: spy.env });
    await run('sh', ['-c', `yes | head -c 300M | gzip -1 >${at('bomb.gz')}`]);
    const body = { name: 'bomb', path: at('bomb.gz'), format: 'raw' } as const;
    const refusal = await refusalOf(other.client.call('POST /v1/images/import', { body, ...done }));
    expect(refusal.code).toMatch(/^(host\.storage_full|disk\.too_large)$/);
    expect(refusal.hint).toEqual(expect.any(String));
    expect((await other.client.call('GET /v1/images', {})).items).toEqual([]);
    expect(await storageOf(other).strays()).toEqual([]);
    expect(await other.remains()).toEqual([]);
  });
});

describe('an OVA', () => {
  const description = () => ovf({ name: 'evil', disk: 'disk.vmdk', diskBytes: 4 * mib });
  const sound = (): [TarEntry, TarEntry] => [
    { name: 'evil.ovf', content: description() },
    { name: 'disk.vmdk', content: vmdk },
  ];
  const [head, body] = [() => sound()[0], () => sound()[1]];
  it.each<[string, () => TarEntry[], string]>([
    ['a symbolic link', () => [head(), { name: 'disk.vmdk', type: '2', link: '/etc/shadow' }], 'malformed'],
    ['a hard link', () => [...sound(), { name: 'b.vmdk', type: '1', link: 'disk.vmdk' }], 'malformed'],
    ['a device', () => [head(), { name: 'disk.vmdk', type: '3' }], 'malformed'],
    ['an absolute path', () => [head(), { ...body(), name: '/tmp/disk.vmdk' }], 'malformed'],
    ['a path that climbs', () => [head(), { ...body(), name: '../disk.vmdk' }], 'malformed'],
    ['a member twice', () => [...sound(), body()], 'malformed'],
    ['no description', () => [body()], 'malformed'],
    [
      'a wrong digest of its disk',
      () => [
        head(),
        {
          name: 'evil.mf',
          content: manifest({ 'evil.ovf': description(), 'disk.vmdk': Buffer.from('other') }),
        },
        body(),
      ],
      'digest_mismatch',
    ],
    [
      'a digest of what is not there',
      () => [head(), { name: 'evil.mf', content: manifest({ 'other.vmdk': vmdk }) }, body()],
      '(malformed|digest_mismatch)',
    ],
  ])('with %s is refused', async (_, entries, code) => {
    await writeTar(at('evil.ova'), entries());
    const refusal = await refusalOf(importMachine(at('evil.ova')));
    expect(refusal.code).toMatch(new RegExp(`^import\\.${code}$`));
    expect(refusal.message.length).toBeGreaterThan(20);
  });

  it('without the disk that it speaks of is refused', async () => {
    await writeTar(at('evil.ova'), [head()]);
    expect(await refusalOf(importMachine(at('evil.ova')))).toMatchObject({
      code: 'disk.not_found',
      hint: expect.any(String),
    });
  });

  it('whose disk is larger than it says is refused', async () => {
    const content = ovf({ name: 'evil', disk: 'disk.vmdk', diskBytes: mib });
    await writeTar(at('evil.ova'), [{ name: 'evil.ovf', content }, body()]);
    expect(await refusalOf(importMachine(at('evil.ova')))).toMatchObject({
      code: 'disk.refused',
      details: { reason: 'size-lie' },
    });
    expect((await refusalOf(planOf(at('evil.ova')))).code).toBe('disk.refused');
  });

  it('with a hostile disk in it is refused, also by a plan, which unpacks nothing', async () => {
    await patched(at('inner.qcow2'), 20, '00000028');
    const disk = { name: 'disk.vmdk', content: await readFile(at('inner.qcow2')) };
    await writeTar(at('evil.ova'), [head(), disk]);
    for (const asked of [importMachine, planOf])
      expect((await refusalOf(asked(at('evil.ova')))).code).toMatch(/^disk\.(refused|format_mismatch)$/);
  });
});

describe('an XML description', () => {
  const laughs = Array.from(
    { length: 9 },
    (_, index) => `<!ENTITY l${index + 1} "${`&l${index};`.repeat(10)}">`,
  ).join('');
  it.each([
    ['an entity of a file', '<!DOCTYPE domain [<!ENTITY x SYSTEM "file:///etc/passwd">]>', '&x;'],
    ['an entity of a server', '<!DOCTYPE domain [<!ENTITY x SYSTEM "http://127.0.0.1:9/">]>', '&x;'],
    ['billions of laughs', `<!DOCTYPE domain [<!ENTITY l0 "ha">${laughs}]>`, '&l9;'],
  ])('with %s is refused in a moment', async (_, type, name) => {
    const text = `${type}<domain type="kvm"><name>${name}</name><memory>65536</memory></domain>`;
    await writeFile(at('evil.xml'), text);
    const startedMs = performance.now();
    const refusal = await refusalOf(importMachine(at('evil.xml')));
    expect(refusal.code).toBe('import.malformed');
    expect(refusal.message).not.toContain('root:');
    expect(performance.now() - startedMs).toBeLessThan(5_000);
  });
});
