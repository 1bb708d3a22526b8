// Images from everywhere: files of every format and compression, addresses, a catalogue, media; stored once, given out again.
import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, realpath, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CallInput } from '@wirt/api/client';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { consoleSays, writeBootDisk, writeBootIso } from './harness/boot-disk.ts';
import { startDaemon, type TestDaemon } from './harness/daemon.ts';
import { type ImageServer, startImageServer } from './harness/image-server.ts';
import { complaint, done, mib, run, type Storage, storageOf } from './harness/storage.ts';

let daemon: TestDaemon;
let storage: Storage;
let server: ImageServer;
let folder: string;
let raw: string;

beforeAll(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'wirt-images-')));
  server = await startImageServer();
  daemon = await startDaemon({ args: ['--catalogues', `local=${server.url}`] });
  storage = storageOf(daemon);
  raw = join(folder, 'disk.raw');
  await writeBootDisk(raw, 'booted', 4 * mib);
  await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, join(folder, 'disk.qcow2')]);
});

afterAll(async () => {
  try {
    expect(await daemon.remains()).toEqual([]);
  } finally {
    await daemon[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  }
});

/** Only the image that guests boot from is left, and nothing of the others. */
afterEach(async () => {
  server.throttle(undefined);
  for (const { name } of (await daemon.client.call('GET /v1/instances', {})).items)
    await daemon.client.call('DELETE /v1/instances/{instance}', {
      params: { instance: name },
      query: { force: 'true', wait: 'done' },
    });
  for (const { name } of await images()) if (name !== 'micro') await remove(name);
  expect(await readdir(join(daemon.stateDirectory, 'images'))).toHaveLength(1);
  expect(await storage.strays()).toEqual([]);
});

const images = async () => (await daemon.client.call('GET /v1/images', {})).items;
const image = (name: string) => daemon.client.call('GET /v1/images/{image}', { params: { image: name } });
const remove = (name: string) => daemon.client.call('DELETE /v1/images/{image}', { params: { image: name } });
const take = async (body: CallInput<'POST /v1/images/import'>['body']) => {
  await daemon.client.call('POST /v1/images/import', { body, ...done });
  return image(body.name);
};
const pull = async (name: string, as: string) => {
  await daemon.client.call('POST /v1/images/pull', { body: { image: name, name: as }, ...done });
  return image(as);
};
const give = (name: string, path: string, format: 'raw' | 'vmdk' = 'raw') =>
  daemon.client.call('POST /v1/images/{image}/export', {
    params: { image: name },
    body: { path, format },
    ...done,
  });
const sha256 = async (path: string) =>
  createHash('sha256')
    .update(await readFile(path))
    .digest('hex');
const qcow2 = () => join(folder, 'disk.qcow2');

describe('a disk image', () => {
  it('of every format is taken as what it is, reads as it was, and is stored once', async () => {
    const options = { vmdk: [], vpc: ['-o', 'force_size=on'], vhdx: [], vdi: [], qcow2: [], raw: [] };
    for (const [format, more] of Object.entries(options)) {
      const path = join(folder, `of.${format}`);
      await run('qemu-img', ['convert', '-f', 'raw', '-O', format, ...more, raw, path]);
      // Of a raw file nobody can tell by its bytes: it is said.
      const said = format === 'raw' ? ({ format: 'raw' } as const) : {};
      const { spec, status } = await take({ name: format, path, ...said });
      expect(status, format).toMatchObject({ state: 'ready', virtualSizeBytes: 4 * mib });
      expect(spec).toMatchObject({ format: 'qcow2', source: path });
    }
    const all = (await images()).filter(({ name }) => name !== 'micro');
    expect(new Set(all.map(({ status }) => status.sha256)).size).toBe(1);
    expect(await readdir(join(daemon.stateDirectory, 'images'))).toHaveLength(2);
    const back = join(folder, 'back.raw');
    await give('vhdx', back);
    expect(await sha256(back)).toBe(await sha256(raw));
    const foreign = join(folder, 'back.vmdk');
    await give('vdi', foreign, 'vmdk');
    await run('qemu-img', ['compare', '-f', 'vmdk', '-F', 'raw', foreign, raw]);
    await expect(give('vdi', back)).rejects.toMatchObject({ code: 'export.target_exists' });
    await remove('raw');
    expect(await readdir(join(daemon.stateDirectory, 'images'))).toHaveLength(2);
  });

  it.each([
    ['gzip', 'gz'],
    ['xz', 'xz'],
    ['zstd', 'zst'],
  ])('packed with %s is unpacked', async (tool, suffix) => {
    const path = join(folder, `packed.${suffix}`);
    await run('sh', ['-c', '"$1" -c <"$2" >"$3"', 'sh', tool, qcow2(), path]);
    const { status } = await take({ name: 'packed', path });
    expect(status).toMatchObject({ state: 'ready', virtualSizeBytes: 4 * mib });
    const back = join(folder, `back.${suffix}`);
    await give('packed', back);
    expect(await sha256(back)).toBe(await sha256(raw));
  });

  it('boots by its own boot loader, from a linked clone that is sound, and is held by it', async () => {
    await take({ name: 'own', path: qcow2() });
    const spec = { image: 'own', memoryMib: 64 };
    await daemon.client.call('POST /v1/instances', { body: { name: 'web', start: true, spec }, ...done });
    await consoleSays(daemon, 'web', 'booted');
    const { items } = await daemon.client.call('GET /v1/volumes', {});
    await expect(remove('own')).rejects.toMatchObject({
      code: 'image.in_use',
      message: expect.stringContaining(items[0]?.name ?? 'no volume'),
      hint: expect.stringContaining('wirt volume flatten'),
    });
    await storage.stopGuest('web');
    expect(await storage.damaged()).toEqual([]);
  });

  it('is refused under a name that is taken, from a file that is not there, and as what it is not', async () => {
    await take({ name: 'one', path: qcow2() });
    await expect(take({ name: 'one', path: qcow2() })).rejects.toMatchObject({ code: 'image.name_taken' });
    await expect(take({ name: 'two', path: '/nowhere/disk' })).rejects.toMatchObject({
      code: 'disk.not_found',
    });
    await expect(take({ name: 'two', path: qcow2(), format: 'vmdk' })).rejects.toMatchObject({
      code: 'disk.format_mismatch',
    });
    expect((await images()).map(({ name }) => name)).toEqual(['micro', 'one']);
  });
});

describe('an image from an address', () => {
  const url = () => `${server.url}/disk.qcow2`;
  beforeAll(async () => server.write('disk.qcow2', await readFile(qcow2())));

  it('is fetched, goes on where the connection broke, and shows its progress', async () => {
    server.cut('disk.qcow2', mib, 2);
    const digest = await sha256(qcow2());
    const { status } = await take({ name: 'far', url: url(), sha256: digest });
    expect(status).toMatchObject({ state: 'ready', virtualSizeBytes: 4 * mib });
    expect(server.partsAsked('disk.qcow2')).toBeGreaterThanOrEqual(2);
    const back = join(folder, 'far.raw');
    await give('far', back);
    expect(await sha256(back)).toBe(await sha256(raw));
  });

  it('with another digest than was said is refused', async () => {
    await expect(take({ name: 'far', url: url(), sha256: '0'.repeat(64) })).rejects.toMatchObject({
      code: 'download.checksum_mismatch',
    });
  });

  it('shows how far it is, is cancelled in the middle, and goes on there when it is asked for again', async () => {
    server.throttle(mib);
    const { id } = await daemon.client.call('POST /v1/images/import', { body: { name: 'far', url: url() } });
    const params = { operation: id };
    const over = new AbortController();
    const signal = AbortSignal.any([over.signal, AbortSignal.timeout(30_000)]);
    for await (const _ of daemon.client.events({ since: 0, id }, signal)) {
      const { progress } = await daemon.client.call('GET /v1/operations/{operation}', { params });
      if (progress === undefined || progress.done === 0) continue;
      expect(progress).toMatchObject({ unit: 'bytes', total: (await stat(qcow2())).size });
      over.abort();
      break;
    }
    await daemon.client.call('POST /v1/operations/{operation}/cancel', { params });
    const query = { waitSeconds: 30 };
    const ended = await daemon.client.call('GET /v1/operations/{operation}', { params, query });
    expect(ended.state).toBe('cancelled');
    expect((await images()).map(({ name }) => name)).toEqual(['micro']);
    expect(await storage.strays()).toEqual([]);
    server.throttle(undefined);
    const before = server.partsAsked('disk.qcow2');
    await take({ name: 'again', url: url() });
    expect(server.partsAsked('disk.qcow2')).toBe(before + 1);
  });

  it('goes on when wirtd was killed in the middle', async () => {
    server.throttle(mib);
    const asked = server.asked('disk.qcow2');
    const { id } = await daemon.client.call('POST /v1/images/import', { body: { name: 'far', url: url() } });
    await asked;
    await daemon.kill();
    server.throttle(undefined);
    await daemon.start({ args: ['--catalogues', `local=${server.url}`] });
    const params = { operation: id };
    const query = { waitSeconds: 30 };
    const ended = await daemon.client.call('GET /v1/operations/{operation}', { params, query });
    expect(ended).toMatchObject({ state: 'done', recovery: 'resumed' });
    expect((await image('far')).status.state).toBe('ready');
  });
});

describe('an image from a catalogue', () => {
  const entry = { os: 'Debian', release: '12' } as const;

  let path: string;
  beforeAll(async () => {
    path = await server.addDisk({ ...entry, file: qcow2(), variant: 'cloud' });
    const says = { sha256: '0'.repeat(64) };
    await server.addDisk({ ...entry, file: qcow2(), variant: 'lying', says });
  });

  it('is pulled by its name, checked, and says what it is', async () => {
    server.cut(path, mib);
    const { spec, status } = await pull('debian/12/cloud', 'debian');
    expect(spec.source).toBe('local:debian/12/cloud');
    expect(status).toMatchObject({ state: 'ready', virtualSizeBytes: 4 * mib });
    expect(status.description).toMatch(/12/);
    expect(server.partsAsked(path)).toBeGreaterThan(0);
  });

  it('that lies about its digest is refused; and one that it has not is not found', async () => {
    await expect(pull('debian/12/lying', 'debian')).rejects.toMatchObject({
      code: 'download.checksum_mismatch',
    });
    await expect(pull('debian/99', 'debian')).rejects.toMatchObject({ code: 'catalogue.not_found' });
  });
});

describe('a medium', () => {
  const insert = (name: string | null) =>
    daemon.client.call('POST /v1/instances/{instance}/disks/{disk}/medium', {
      params: { instance: 'web', disk: 'cd' },
      body: { image: name },
      ...done,
    });

  it('is inserted, read and ejected while the guest runs', async () => {
    const path = join(folder, 'hello.iso');
    await writeBootIso(path, 'hello from the cd');
    expect((await take({ name: 'hello', path })).spec.format).toBe('iso');
    await storage.guest('web', { disks: [{ device: 'cdrom', name: 'cd', bus: 'virtio-scsi' }] });
    await storage.sh(
      'web',
      'modprobe -a virtio_scsi sr_mod isofs; until [ -e /dev/sr0 ]; do usleep 20000; done',
    );
    const read = 'mount -r -t iso9660 /dev/sr0 /mnt; cat /mnt/hello; umount /mnt';
    await expect(storage.sh('web', read)).rejects.toThrow();
    await insert('hello');
    expect(await storage.sh('web', read)).toBe('hello from the cd');
    await expect(remove('hello')).rejects.toMatchObject({
      code: 'image.in_use',
      hint: expect.stringContaining('eject'),
    });
    await insert(null);
    await expect(storage.sh('web', read)).rejects.toThrow();
    expect((await storage.instance('web')).spec.disks).toMatchObject([{ name: 'cd', device: 'cdrom' }]);
  });

  it('is booted from where it comes first in the order, else the disk', async () => {
    const path = join(folder, 'boot.iso');
    await writeBootIso(path, 'this is the cd');
    await take({ name: 'medium', path });
    await take({ name: 'own', path: qcow2() });
    await storage.volume('root', { source: { kind: 'image', image: 'own' } });
    const cd = { device: 'cdrom', name: 'cd', image: 'medium', bootOrder: 1 } as const;
    const root = { device: 'disk', name: 'root', volume: 'root', bootOrder: 2 } as const;
    const spec = { memoryMib: 64, disks: [root, cd] };
    await daemon.client.call('POST /v1/instances', { body: { name: 'web', start: true, spec }, ...done });
    await consoleSays(daemon, 'web', 'this is the cd');
    await storage.stopGuest('web');
    await insert(null);
    await daemon.client.call('POST /v1/instances/{instance}/start', {
      params: { instance: 'web' },
      body: {},
      ...done,
    });
    await consoleSays(daemon, 'web', 'booted');
    await storage.stopGuest('web');
    expect(await Promise.all((await storage.layerFiles()).map(complaint))).toEqual([undefined]);
    await daemon.client.call('DELETE /v1/instances/{instance}', { params: { instance: 'web' }, ...done });
    await storage.removeVolume('root');
  });
});
