// Machines from other hypervisors and back: planned without a change, imported, booted by their own boot loaders, given out
// again, and the same when they come back.
import { mkdir, mkdtemp, open, readdir, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import type { Instance } from '@wirt/api';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { consoleSays, writeBootDisk } from './harness/boot-disk.ts';
import { startDaemon, type TestDaemon } from './harness/daemon.ts';
import { manifest, ovf, writeTar } from './harness/ova.ts';
import { complaint, done, mib, run, type Storage, storageOf } from './harness/storage.ts';

const diskBytes = 2 * mib;
let daemon: TestDaemon;
let storage: Storage;
let folder: string;

/** One folder for each source, with a machine called `shop` whose disk says `from` and the source's name. */
beforeAll(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'wirt-import-')));
  daemon = await startDaemon();
  storage = storageOf(daemon);
  for (const name of ['ova', 'ovf', 'libvirt', 'xl', 'disk']) {
    await mkdir(join(folder, name));
    await writeBootDisk(join(folder, name, 'disk.raw'), `from ${name}`, diskBytes);
  }
  await writeVmware();
  await convert('libvirt', 'qcow2', 'shop.qcow2');
  await writeFile(join(folder, 'libvirt/shop.xml'), libvirt);
  await writeFile(join(folder, 'xl/shop.cfg'), xl);
  await convert('disk', 'vpc', 'shop.vhd', ['-o', 'force_size=on']);
});

afterAll(async () => {
  try {
    expect(await daemon.remains()).toEqual([]);
  } finally {
    await daemon[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  }
});

afterEach(async () => {
  for (const { name } of await instances()) {
    if ((await storage.instance(name)).status.state === 'running') await storage.stopGuest(name);
    expect(await storage.damaged()).toEqual([]);
    await daemon.client.call('DELETE /v1/instances/{instance}', { params: { instance: name }, ...done });
  }
  // What was made for a machine goes with it.
  expect((await daemon.client.call('GET /v1/volumes', {})).items).toEqual([]);
  expect(await storage.strays()).toEqual([]);
});

async function convert(source: string, format: string, name: string, more: string[] = []): Promise<void> {
  const raw = join(folder, source, 'disk.raw');
  await run('qemu-img', ['convert', '-f', 'raw', '-O', format, ...more, raw, join(folder, source, name)]);
}

async function writeVmware(): Promise<void> {
  const disk = 'shop-disk1.vmdk';
  const options = ['-o', 'subformat=streamOptimized'];
  for (const source of ['ova', 'ovf']) await convert(source, 'vmdk', disk, options);
  const description = ovf({ name: 'shop', disk, diskBytes });
  await writeFile(join(folder, 'ovf/shop.ovf'), description);
  const content = await readFile(join(folder, 'ova', disk));
  await writeTar(join(folder, 'ova/shop.ova'), [
    { name: 'shop.ovf', content: description },
    { name: 'shop.mf', content: manifest({ 'shop.ovf': description, [disk]: content }) },
    { name: disk, content },
  ]);
}

/** Paths of another host: the files lie beside the description. */
const libvirt = `<domain type="kvm"><name>shop</name><memory unit="MiB">128</memory><vcpu>2</vcpu>
  <os><type arch="x86_64" machine="pc-q35-8.2">hvm</type><boot dev="hd"/></os>
  <cputune><vcpupin vcpu="0" cpuset="3"/></cputune>
  <devices>
    <disk type="file" device="disk"><driver name="qemu" type="qcow2"/>
      <source file="/var/lib/libvirt/images/shop.qcow2"/><target dev="vda" bus="virtio"/></disk>
    <interface type="network"><mac address="52:54:00:12:34:56"/><source network="default"/>
      <model type="virtio"/></interface>
    <hostdev mode="subsystem" type="usb"/>
  </devices>
</domain>
`;

const xl = `name = "shop"
type = "hvm"
vcpus = 2
memory = 128
disk = [ 'format=raw, vdev=hda, access=rw, target=/srv/xen/disk.raw' ]
vif = [ 'mac=00:16:3e:12:34:56,bridge=xenbr0' ]
usbdevice = "tablet"
no_such_setting = 7
`;

const instances = async (): Promise<Instance[]> => (await daemon.client.call('GET /v1/instances', {})).items;
const plan = (path: string) => daemon.client.call('POST /v1/imports/plan', { body: { path } });
const importFrom = (path: string, name?: string, start = false) =>
  daemon.client.call('POST /v1/imports', {
    body: { path, start, ...(start ? { memoryMib: 64 } : {}), ...(name === undefined ? {} : { name }) },
    ...done,
  });
const exportTo = (instance: string, format: 'ova' | 'libvirt' | 'qcow2' | 'raw', path: string) =>
  daemon.client.call('POST /v1/instances/{instance}/export', {
    params: { instance },
    body: { format, path },
    ...done,
  });

const sources = [
  ['ova', 'ova/shop.ova', ['svga.autodetect', 'pvscsi', 'vmxnet3']],
  ['ovf', 'ovf/shop.ovf', ['svga.autodetect']],
  ['libvirt', 'libvirt/shop.xml', ['vcpupin', 'hostdev', 'devices/interface/source']],
  ['xl', 'xl/shop.cfg', ['no_such_setting', 'usbdevice']],
  ['disk', 'disk/shop.vhd', []],
] as const;

describe('a machine', () => {
  it.each(sources)(
    'of %s: its plan changes nothing, and names what is not carried over',
    async (source, path, settings) => {
      // Where disks are looked into: made once, and empty afterwards.
      await mkdir(join(daemon.stateDirectory, 'transfers'), { recursive: true });
      const before = await readdir(daemon.stateDirectory, { recursive: true });
      const { notes, ...made } = await plan(join(folder, path));
      const expected = source === 'disk' ? {} : { cpus: 2, memoryMib: 128 };
      expect(made).toMatchObject({ name: 'shop', firmware: 'bios', ...expected });
      const format = { ova: 'vmdk', ovf: 'vmdk', libvirt: 'qcow2', xl: 'raw', disk: 'vpc' }[source];
      expect(made.disks).toMatchObject([{ device: 'disk', format, sizeBytes: diskBytes }]);
      expect(made.neededBytes).toBeGreaterThan(0);
      const said = notes.map(({ setting, value }) => `${setting} ${value}`).join('\n');
      for (const setting of settings) expect(said).toContain(setting);
      for (const { reason } of notes) expect(reason.length).toBeGreaterThan(10);
      expect(await instances()).toEqual([]);
      expect(await readdir(daemon.stateDirectory, { recursive: true })).toEqual(before);
    },
  );

  it.each(sources)('of %s is imported, and boots by its own boot loader', async (source, path) => {
    const operation = await importFrom(join(folder, path), undefined, true);
    expect(operation).toMatchObject({ kind: 'instance.import', state: 'done' });
    const { spec, status } = await storage.instance('shop');
    expect(status.state).toBe('running');
    await consoleSays(daemon, 'shop', `from ${source}`);
    expect(spec).toMatchObject({ firmware: 'bios', memoryMib: 64, disks: [{ device: 'disk' }] });
    if (source === 'libvirt') expect(spec.nics).toMatchObject([{ mac: '52:54:00:12:34:56' }]);
    if (source === 'ova') {
      expect(spec.disks[0]?.bus).toBe('pvscsi');
      expect(spec.nics[0]?.model).toBe('vmxnet3');
    }
  });

  it('of Xen on a block device of the host is imported from it, and not while it is written', async () => {
    const disk = join(folder, 'lv.raw');
    await run('cp', [join(folder, 'xl/disk.raw'), disk]);
    const device = (await run('losetup', ['-f', '--show', disk])).stdout.trim();
    try {
      const path = join(folder, 'lv.cfg');
      await writeFile(path, xl.replace(/disk = .*/, `disk = [ "phy:${device},xvda,w" ]`));
      const writer = await open(device, 'r+');
      await expect(plan(path)).rejects.toMatchObject({ details: { reason: 'in-use' } });
      await expect(importFrom(path)).rejects.toMatchObject({ code: 'disk.refused' });
      await writer.close();
      expect((await plan(path)).disks).toMatchObject([{ file: device, format: 'raw', sizeBytes: diskBytes }]);
      await importFrom(path, undefined, true);
      await consoleSays(daemon, 'shop', 'from xl');
    } finally {
      await run('losetup', ['-d', device]);
    }
  });

  it('of an OVF that states more than its disk has gets a disk of that size, and the plan says so', async () => {
    const path = join(folder, 'ovf/larger.ovf');
    await writeFile(path, ovf({ name: 'shop', disk: 'shop-disk1.vmdk', diskBytes: 64 * mib }));
    const { notes, disks } = await plan(path);
    expect(disks).toMatchObject([{ sizeBytes: 64 * mib }]);
    expect(notes.map(({ setting }) => setting)).toContain(`size of ${disks[0]?.name}`);
    await importFrom(path, undefined, true);
    await consoleSays(daemon, 'shop', 'from ovf');
    expect((await daemon.client.call('GET /v1/volumes', {})).items).toMatchObject([
      { spec: { sizeBytes: 64 * mib } },
    ]);
  });

  it('whose start fails is imported all the same, and that is said', async () => {
    const body = { path: join(folder, 'disk/shop.vhd'), start: true, memoryMib: 60_000_000 };
    await expect(daemon.client.call('POST /v1/imports', { body, ...done })).rejects.toMatchObject({
      message: expect.stringContaining('is imported, but could not be started'),
      hint: expect.any(String),
    });
    expect((await storage.instance('shop')).status.state).not.toBe('running');
    expect((await daemon.client.call('GET /v1/volumes', {})).items).toHaveLength(1);
  });

  it('is refused under a name that is taken, and from a description whose disk is missing', async () => {
    await importFrom(join(folder, 'disk/shop.vhd'));
    await expect(importFrom(join(folder, 'xl/shop.cfg'))).rejects.toMatchObject({
      code: 'instance.name_taken',
    });
    const lonely = join(folder, 'lonely.cfg');
    await writeFile(lonely, xl.replace('disk.raw', 'lost.raw'));
    await expect(importFrom(lonely, 'lonely')).rejects.toMatchObject({ code: 'disk.not_found' });
    expect((await instances()).map(({ name }) => name)).toEqual(['shop']);
  });
});

describe('a machine given out', () => {
  /** What both sides can say. */
  const essence = async (name: string) => {
    const { cpus, memoryMib, firmware, disks, nics } = (await storage.instance(name)).spec;
    const cards = nics.map(({ model }) => model);
    const drives = disks.map(({ device, bootOrder }) => [device, bootOrder]);
    return { cpus, memoryMib, firmware, cards, drives };
  };
  const content = async (name: string): Promise<Buffer> => {
    const path = join(folder, `${name}.content`);
    await rm(path, { force: true });
    await exportTo(name, 'raw', path);
    return readFile(path);
  };

  it.each(['ova', 'libvirt'] as const)('as %s comes back the same', async (format) => {
    await importFrom(join(folder, 'libvirt/shop.xml'));
    const path = join(folder, `out-${format}${format === 'ova' ? '.ova' : ''}`);
    const { result } = await exportTo('shop', format, path);
    const files = result?.['files'] as string[];
    expect(files.length).toBeGreaterThan(0);
    const description = files.find((file) => /\.(ova|xml)$/.test(file)) ?? '';
    if (format === 'ova')
      expect((await run('tar', ['-tf', description])).stdout.split('\n').filter(Boolean)).toEqual(
        expect.arrayContaining(['shop.ovf', 'shop.mf']),
      );
    await importFrom(description, 'again');
    expect(await essence('again')).toEqual(await essence('shop'));
    // Both are here now, and no two cards have one address.
    const macs = await Promise.all(
      ['shop', 'again'].map(async (name) => (await storage.instance(name)).spec.nics),
    );
    expect(new Set(macs.flat().map(({ mac }) => mac)).size).toBe(macs.flat().length);
    expect((await content('again')).equals(await content('shop'))).toBe(true);
    await expect(exportTo('shop', format, path)).rejects.toMatchObject({ code: 'export.target_exists' });
  });

  it.each(['qcow2', 'raw'] as const)('as %s is a disk that other programs read', async (format) => {
    await importFrom(join(folder, 'disk/shop.vhd'));
    const path = join(folder, `out.${format}`);
    await exportTo('shop', format, path);
    expect(await complaint(path)).toBeUndefined();
    await run('qemu-img', ['compare', '-f', format, '-F', 'raw', path, join(folder, 'disk/disk.raw')]);
    expect(basename(path)).toBe(`out.${format}`);
  });

  it('has to be stopped first', async () => {
    await importFrom(join(folder, 'disk/shop.vhd'), 'shop', true);
    await daemon.reach('shop', 'running');
    await expect(exportTo('shop', 'raw', join(folder, 'never'))).rejects.toMatchObject({
      code: 'instance.state_conflict',
    });
    expect(await readdir(folder)).not.toContain('never');
  });
});
