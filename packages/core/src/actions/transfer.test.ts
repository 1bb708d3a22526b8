// Machines from other hypervisors, and the way out: plans that change nothing, imports that make all or nothing, exports that leave none half.
import { type ImportCreate, WirtError } from '@wirt/api';
import { describe, expect, it } from 'vitest';
import { waitDone } from '../fakes/fake-core.ts';
import { atEveryCall, createScene, everyDeath, gib, type Scene } from '../fakes/scene.ts';

const domain = `<domain type="kvm"><name>shop</name><memory unit="GiB">2</memory><vcpu>2</vcpu>
  <os><type arch="x86_64" machine="q35">hvm</type></os><devices>
  <disk type="file" device="disk"><driver name="qemu" type="qcow2"/><source file="/vm/root.qcow2"/><target dev="vda" bus="virtio"/></disk>
  <disk type="file" device="disk"><driver name="qemu" type="raw"/><source file="/vm/data.raw"/><target dev="vdb" bus="virtio"/></disk>
  <disk type="file" device="cdrom"><source file="/vm/cd.iso"/><target dev="sda" bus="sata"/></disk>
  <interface type="bridge"><mac address="52:54:00:aa:bb:01"/><source bridge="br0"/><model type="virtio"/></interface>
  </devices></domain>`;

const item = (inner: string): string => `<Item>${inner}</Item>`;
const rasd = (name: string, value: string | number): string => `<rasd:${name}>${value}</rasd:${name}>`;
const ovf = `<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
  xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
  xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData">
  <References><File ovf:id="file1" ovf:href="till-disk1.vmdk"/></References>
  <DiskSection><Info>x</Info><Disk ovf:diskId="d1" ovf:fileRef="file1" ovf:capacity="8" ovf:capacityAllocationUnits="byte * 2^30"
    ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/></DiskSection>
  <VirtualSystem ovf:id="till"><Info>x</Info><Name>till</Name><VirtualHardwareSection><Info>x</Info>
  ${item(rasd('InstanceID', 1) + rasd('ResourceType', 3) + rasd('VirtualQuantity', 4))}
  ${item(rasd('AllocationUnits', 'byte * 2^20') + rasd('InstanceID', 2) + rasd('ResourceType', 4) + rasd('VirtualQuantity', 512))}
  ${item(rasd('Address', 0) + rasd('InstanceID', 3) + rasd('ResourceSubType', 'lsilogic') + rasd('ResourceType', 6))}
  ${item(rasd('AddressOnParent', 0) + rasd('HostResource', 'ovf:/disk/d1') + rasd('InstanceID', 9) + rasd('Parent', 3) + rasd('ResourceType', 17))}
  </VirtualHardwareSection></VirtualSystem></Envelope>`;

const defaults = {
  format: 'auto',
  project: 'default',
  pool: 'default',
  start: false,
  dryRun: false,
} as const;

async function withMachines(): Promise<Scene> {
  const scene = await createScene();
  const { files, machines } = scene.fake.host.storage;
  machines.set('/vm/shop.xml', { kind: 'libvirt', text: domain });
  machines.set('/vm/till.ovf', { kind: 'ovf', text: ovf });
  machines.set('/vm/alone.vmdk', { kind: 'disk', text: '' });
  files.set('/vm/root.qcow2', 4 * gib);
  files.set('/vm/data.raw', 2 * gib);
  files.set('/vm/till-disk1.vmdk', 8 * gib);
  files.set('/vm/alone.vmdk', gib);
  return scene;
}

function importMachine({ fake }: Scene, path = '/vm/shop.xml', input: Partial<ImportCreate> = {}) {
  return fake.core.actions.transfer.import(fake.request, { ...defaults, path, ...input }, waitDone);
}

function plan({ fake }: Scene, path: string, input: Partial<ImportCreate> = {}) {
  return fake.core.actions.transfer.plan(fake.request, { ...defaults, path, ...input });
}

function exported({ fake }: Scene, format: 'ova' | 'libvirt' | 'qcow2' | 'raw', path = '/out/shop') {
  return fake.core.actions.transfer.export(fake.request, 'shop', { format, path }, waitDone);
}

async function instancesOf({ fake }: Scene): Promise<string[]> {
  const { items } = await fake.core.actions.instance.list({ limit: 100, project: 'default' });
  return items.map(({ name }) => name);
}

describe('a plan', () => {
  it('tells what would be made and what could not be carried over, and changes nothing', async () => {
    const scene = await withMachines();
    const before = await scene.fake.store.revision();
    const { notes, ...rest } = await plan(scene, '/vm/shop.xml');
    expect(rest).toMatchObject({
      source: 'libvirt',
      name: 'shop',
      cpus: 2,
      memoryMib: 2048,
      firmware: 'bios',
      disks: [
        { device: 'disk', file: '/vm/root.qcow2', format: 'qcow2', bus: 'virtio' },
        { device: 'disk', file: '/vm/data.raw', format: 'raw', bus: 'virtio' },
        { device: 'cdrom', bus: 'sata' },
      ],
      nics: [{ mac: '52:54:00:aa:bb:01', model: 'virtio' }],
    });
    expect(notes.map(({ setting }) => setting)).toContain('medium of sda');
    expect(await scene.fake.store.revision()).toBe(before);
    expect(scene.fake.host.remains()).toEqual([]);
    expect(scene.fake.host.storage.remains()).toEqual([]);
  });

  it('says which MAC addresses another machine has here, and that this one gets its own', async () => {
    const scene = await withMachines();
    await importMachine(scene);
    const { nics, notes } = await plan(scene, '/vm/shop.xml', { name: 'again' });
    expect(nics).toEqual([{ model: 'virtio' }]);
    expect(notes.find(({ value }) => value === '52:54:00:aa:bb:01')).toMatchObject({ effect: 'changed' });
  });

  it('takes the wishes of who asks, and drops the hints that they answer', async () => {
    const scene = await withMachines();
    const plain = await plan(scene, '/vm/alone.vmdk');
    expect(plain).toMatchObject({
      source: 'disk',
      name: 'alone',
      cpus: 1,
      memoryMib: 2048,
      firmware: 'bios',
    });
    expect(plain.notes.map(({ setting }) => setting)).toEqual(['cpus', 'memory', 'firmware']);
    const wishes = { name: 'mine', cpus: 8, memoryMib: 512, firmware: 'uefi' } as const;
    const wished = await plan(scene, '/vm/alone.vmdk', wishes);
    expect(wished).toMatchObject(wishes);
    expect(wished.notes).toEqual([]);
  });

  it('looks into the disks: their formats, their sizes, and the room they take', async () => {
    const scene = await withMachines();
    const { files } = scene.fake.host.storage;
    const plain = await plan(scene, '/vm/alone.vmdk');
    expect(plain.disks).toEqual([expect.objectContaining({ format: 'vmdk', sizeBytes: gib })]);
    expect([plain.pool, plain.neededBytes]).toEqual(['default', 1]);
    files.set('/vm/till-disk1.vmdk', 3 * gib);
    const till = await plan(scene, '/vm/till.ovf');
    expect(till.disks[0]?.sizeBytes).toBe(8 * gib);
    expect(till.notes.map(({ setting }) => setting)).toContain(`size of ${till.disks[0]?.name}`);
    expect(scene.fake.host.storage.remains()).toEqual([]);
  });

  it('says less, and is none the less one, when the start of a disk cannot be read', async () => {
    const scene = await withMachines();
    const { storage } = scene.fake.host;
    storage.headFailure = new WirtError('disk.convert_failed', 'It ended.');
    const { disks, notes } = await plan(scene, '/vm/alone.vmdk');
    expect(disks).toEqual([expect.objectContaining({ format: 'vmdk', sizeBytes: gib })]);
    expect(notes.map(({ setting }) => setting)).toContain('firmware');
    storage.headFailure = new WirtError('disk.refused', 'No.');
    await expect(plan(scene, '/vm/alone.vmdk')).rejects.toMatchObject({ code: 'disk.refused' });
  });

  it('is refused for a hostile disk, as the import is', async () => {
    const scene = await withMachines();
    const { files } = scene.fake.host.storage;
    files.set('/vm/data.raw', new WirtError('disk.refused', 'No.'));
    await expect(plan(scene, '/vm/shop.xml')).rejects.toMatchObject({ code: 'disk.refused' });
    files.set('/vm/till-disk1.vmdk', 80 * gib);
    await expect(plan(scene, '/vm/till.ovf')).rejects.toMatchObject({ details: { reason: 'size-lie' } });
    await expect(plan(scene, '/vm/alone.vmdk', { pool: 'fast' })).rejects.toMatchObject({
      code: 'pool.not_found',
    });
    await expect(plan(scene, '/vm/alone.vmdk', { memoryMib: 100_000_000 })).rejects.toMatchObject({
      code: 'import.unsupported',
    });
    expect(scene.fake.host.remains()).toEqual([]);
  });

  it('says what an import would fail for, and that can be mended before it', async () => {
    const scene = await withMachines();
    scene.fake.host.storage.files.delete('/vm/data.raw');
    scene.fake.host.storage.availableBytes = 0;
    await scene.fake.create({ name: 'shop' });
    const { notes } = await plan(scene, '/vm/shop.xml');
    expect(notes.filter(({ effect }) => effect === 'dropped').map(({ setting }) => setting)).toEqual(
      expect.arrayContaining(['file of vdb', 'pool', 'name']),
    );
  });

  it('of a machine whose only disk is left out says why, which the import then refuses', async () => {
    const scene = await withMachines();
    const disk =
      '<disk type="network" device="disk"><source protocol="nbd" name="x"/><target dev="vda" bus="virtio"/></disk>';
    const text = `<domain type="kvm"><name>far</name><memory>1048576</memory><vcpu>1</vcpu><os><type>hvm</type></os><devices>${disk}</devices></domain>`;
    scene.fake.host.storage.machines.set('/vm/far.xml', { kind: 'libvirt', text });
    const { notes } = await plan(scene, '/vm/far.xml');
    const reasons = notes.map(({ reason }) => reason).join();
    expect(reasons).toContain('the import will fail');
    expect(reasons).toContain('Its disk is on a network');
    await expect(importMachine(scene, '/vm/far.xml')).rejects.toMatchObject({
      code: 'import.unsupported',
      hint: expect.stringContaining('--dry-run'),
    });
  });

  it('is a route of its own: an import with dryRun is refused and makes nothing', async () => {
    const scene = await withMachines();
    await expect(importMachine(scene, '/vm/shop.xml', { dryRun: true })).rejects.toMatchObject({
      code: 'request.invalid',
    });
    expect(await instancesOf(scene)).toEqual([]);
  });

  it('is refused for what is not there, or is no machine, leaving nothing', async () => {
    const scene = await withMachines();
    scene.fake.host.storage.machines.set('/vm/bad.xml', { kind: 'libvirt', text: '<domain><name>' });
    await expect(plan(scene, '/vm/nothing')).rejects.toMatchObject({ code: 'disk.not_found' });
    await expect(plan(scene, '/vm/bad.xml')).rejects.toMatchObject({ code: 'import.malformed' });
    await expect(plan(scene, '/vm/alone.vmdk', { diskFormat: 'iso' })).rejects.toMatchObject({
      code: 'import.unsupported',
    });
    expect(scene.fake.host.remains()).toEqual([]);
  });
});

describe('an import', () => {
  it('makes instance, volumes, drives and cards of a libvirt domain', async () => {
    const scene = await withMachines();
    await importMachine(scene);
    const { spec, status } = await scene.fake.core.actions.instance.get('shop');
    expect(status.state).toBe('stopped');
    expect(spec).toMatchObject({
      cpus: 2,
      memoryMib: 2048,
      firmware: 'bios',
      nics: [{ mac: '52:54:00:aa:bb:01' }],
    });
    expect(spec.disks.map(({ device, slot, bus }) => [device, slot, bus])).toEqual([
      ['disk', 0, 'virtio'],
      ['disk', 1, 'virtio'],
      ['cdrom', 2, 'sata'],
    ]);
    const volumes = await scene.all();
    expect(volumes.map(({ spec: { sizeBytes, origin } }) => [sizeBytes, origin])).toEqual([
      [4 * gib, { kind: 'file', file: '/vm/root.qcow2' }],
      [2 * gib, { kind: 'file', file: '/vm/data.raw' }],
    ]);
    expect(await scene.content(volumes[0]?.name ?? '')).toEqual({ imported: 'yes' });
    expect(await scene.faults()).toEqual([]);
  });

  it('makes a machine of an OVF and its disk beside it', async () => {
    const scene = await withMachines();
    await importMachine(scene, '/vm/till.ovf');
    const { spec } = await scene.fake.core.actions.instance.get('till');
    expect(spec).toMatchObject({ cpus: 4, memoryMib: 512 });
    expect((await scene.all())[0]?.spec.sizeBytes).toBe(8 * gib);
    expect(await scene.faults()).toEqual([]);
  });

  it('makes a machine of a disk alone, and has started it when it answers, where that was asked', async () => {
    const scene = await withMachines();
    const { state } = await importMachine(scene, '/vm/alone.vmdk', { start: true, memoryMib: 256 });
    expect(state).toBe('done');
    expect((await scene.fake.core.actions.instance.get('alone')).status.state).toBe('running');
    const { items } = await scene.fake.core.actions.operation.list({ limit: 100 });
    expect(items.map(({ kind }) => kind)).not.toContain('instance.start');
    expect(await scene.faults()).toEqual([]);
  });

  it('whose start fails says so, and the machine stays, to be started again', async () => {
    const scene = await withMachines();
    scene.fake.host.availableMib = 16;
    const imported = importMachine(scene, '/vm/alone.vmdk', { start: true });
    await expect(imported).rejects.toMatchObject({
      message: expect.stringContaining('is imported, but could not be started'),
      hint: expect.any(String),
    });
    expect((await scene.fake.core.actions.instance.get('alone')).status.state).toBe('crashed');
    expect((await scene.all()).map(({ status }) => status.state)).toEqual(['ready']);
    scene.fake.host.availableMib = 4096;
    await scene.fake.core.actions.instance.start(scene.fake.request, 'alone', { paused: false }, waitDone);
    expect(await scene.faults()).toEqual([]);
  });

  it('that starts its machine is ended by the next daemon, wherever this one dies: the guest runs', async () => {
    await atEveryCall(
      everyDeath,
      async () => ({ scene: await withMachines() }),
      ({ scene }) => importMachine(scene, '/vm/alone.vmdk', { start: true }),
      async ({ scene }) => {
        const { items } = await scene.fake.core.actions.operation.list({ limit: 100 });
        expect(items.filter(({ state }) => state !== 'done')).toEqual([]);
        const isThere = items.some(({ kind }) => kind === 'instance.import');
        expect(await instancesOf(scene)).toEqual(isThere ? ['alone'] : []);
        if (isThere)
          expect((await scene.fake.core.actions.instance.get('alone')).status.state).toBe('running');
        expect(await scene.faults()).toEqual([]);
      },
    );
  });

  it('gives a disk the size that its description states, when its file has less', async () => {
    const scene = await withMachines();
    scene.fake.host.storage.files.set('/vm/till-disk1.vmdk', 3 * gib);
    await importMachine(scene, '/vm/till.ovf');
    const [volume] = await scene.all();
    expect(volume?.spec.sizeBytes).toBe(8 * gib);
    expect(volume?.status.layers.map(({ sizeBytes }) => sizeBytes)).toEqual([8 * gib]);
    expect(await scene.faults()).toEqual([]);
  });

  it.each([
    ['has 30 drives', {}, 30],
    ['memoryMib', { memoryMib: 100_000_000 }, 1],
  ] as const)('is refused where no instance can be like that: %s', async (what, wishes, count) => {
    const scene = await withMachines();
    const disk =
      '<disk type="file" device="disk"><source file="/vm/data.raw"/><target dev="vdN" bus="virtio"/></disk>';
    const letters = Array.from({ length: count }, (_, index) =>
      String.fromCharCode(97 + (index % 26)).repeat(1 + Math.floor(index / 26)),
    );
    const many = letters.map((letter) => disk.replace('vdN', `vd${letter}`)).join('');
    const text = `<domain type="kvm"><name>shop</name><memory>1048576</memory><vcpu>1</vcpu><os><type>hvm</type></os><devices>${many}</devices></domain>`;
    scene.fake.host.storage.machines.set('/vm/many.xml', { kind: 'libvirt', text });
    const imported = importMachine(scene, '/vm/many.xml', wishes);
    await expect(imported).rejects.toMatchObject({
      code: 'import.unsupported',
      message: expect.stringContaining(what),
    });
    await scene.fake.restart();
    expect(await instancesOf(scene)).toEqual([]);
  });

  it('goes with its instance', async () => {
    const scene = await withMachines();
    await importMachine(scene);
    await scene.fake.core.actions.instance.remove(scene.fake.request, 'shop', { force: false }, waitDone);
    expect(scene.fake.host.storage.remains()).toEqual([]);
  });

  it.each([
    ['disk.not_found', (scene: Scene) => scene.fake.host.storage.files.delete('/vm/data.raw')],
    [
      'disk.refused',
      (scene: Scene) =>
        scene.fake.host.storage.files.set('/vm/data.raw', new WirtError('disk.refused', 'No.')),
    ],
    [
      'pool.full',
      (scene: Scene) => {
        scene.fake.host.storage.availableBytes = gib;
      },
    ],
  ] as const)('leaves nothing when a disk of several is refused: %s', async (code, spoil) => {
    const scene = await withMachines();
    spoil(scene);
    await expect(importMachine(scene)).rejects.toMatchObject({ code });
    expect(await instancesOf(scene)).toEqual([]);
    expect(await scene.all()).toEqual([]);
    expect(await scene.faults()).toEqual([]);
  });

  it('refuses a disk whose header has more than the description of its machine', async () => {
    const scene = await withMachines();
    scene.fake.host.storage.files.set('/vm/till-disk1.vmdk', 80 * gib);
    await expect(importMachine(scene, '/vm/till.ovf')).rejects.toMatchObject({
      code: 'disk.refused',
      details: { reason: 'size-lie', statedBytes: 8 * gib, foundBytes: 80 * gib },
    });
    expect(await scene.faults()).toEqual([]);
  });

  it('is refused a name that is taken, and a pool that is not there, before anything is made', async () => {
    const scene = await withMachines();
    await scene.fake.create({ name: 'shop' });
    await expect(importMachine(scene)).rejects.toMatchObject({ code: 'instance.name_taken' });
    await expect(importMachine(scene, '/vm/shop.xml', { pool: 'fast', name: 'two' })).rejects.toMatchObject({
      code: 'pool.not_found',
    });
    const twice = await Promise.allSettled(
      ['a', 'b'].map(() => importMachine(scene, '/vm/shop.xml', { name: 'two' })),
    );
    const refused = twice.find((one) => one.status === 'rejected');
    expect(refused?.reason).toMatchObject({ code: 'instance.name_taken' });
    expect(await instancesOf(scene)).toEqual(['shop', 'two']);
    expect(await scene.faults()).toEqual([]);
  });

  it('is ended by the next daemon, wherever this one dies', async () => {
    await atEveryCall(
      everyDeath,
      async () => ({ scene: await withMachines() }),
      ({ scene }) => importMachine(scene),
      async ({ scene }) => {
        const { items } = await scene.fake.core.actions.operation.list({ limit: 100 });
        expect(items.filter(({ state }) => state !== 'done')).toEqual([]);
        const isThere = items.some(({ kind }) => kind === 'instance.import');
        expect(await instancesOf(scene)).toEqual(isThere ? ['shop'] : []);
        expect((await scene.all()).map(({ status }) => status.state)).toEqual(
          isThere ? ['ready', 'ready'] : [],
        );
        expect(await scene.faults()).toEqual([]);
      },
    );
  });

  it('leaves nothing when a step fails, and can be done again', async () => {
    await atEveryCall(
      ['fail'],
      async () => ({ scene: await withMachines() }),
      ({ scene }) => importMachine(scene),
      async ({ scene }, { error }) => {
        if (error !== undefined) {
          expect(await instancesOf(scene)).toEqual([]);
          expect(await scene.all()).toEqual([]);
          await importMachine(scene);
        }
        await scene.fake.restart();
        expect(await instancesOf(scene)).toEqual(['shop']);
        expect(await scene.faults()).toEqual([]);
      },
    );
  });

  it('passes the steps that faults can be put into, and no others', async () => {
    const scene = await withMachines();
    scene.fake.steps.length = 0;
    await importMachine(scene);
    const steps = ['open', 'disk', 'disk', 'record'].map((step) => `instance.import/${step}`);
    expect(scene.fake.steps).toEqual(steps);
  });
});

describe('an export', () => {
  async function imported(): Promise<{ scene: Scene }> {
    const scene = await withMachines();
    await importMachine(scene);
    return { scene };
  }

  const outputsOf = ({ fake }: Scene): string[] => [...fake.host.storage.outputs.keys()].toSorted();

  it('writes an OVA, a libvirt domain, or the disks alone', async () => {
    const { scene } = await imported();
    const files = async (format: 'ova' | 'libvirt' | 'qcow2' | 'raw', path: string) =>
      (await exported(scene, format, path)).result?.['files'];
    const [first, second] = (await scene.fake.core.actions.instance.get('shop')).spec.disks.map(
      ({ name }) => name,
    );
    expect(await files('ova', '/out/shop.ova')).toEqual(['/out/shop.ova']);
    expect(await files('libvirt', '/out/xml')).toEqual([
      '/out/xml/shop.xml',
      `/out/xml/shop-${first}.qcow2`,
      `/out/xml/shop-${second}.qcow2`,
    ]);
    expect(await files('raw', '/out/raw')).toEqual([
      `/out/raw/shop-${first}.raw`,
      `/out/raw/shop-${second}.raw`,
    ]);
    expect(scene.fake.host.storage.outputs.get('/out/shop.ova')).toContain('<Envelope');
    expect(scene.fake.host.storage.outputs.get('/out/xml/shop.xml')).toContain('<domain');
    expect(await scene.faults()).toEqual([]);
  });

  it('has the MAC addresses of the cards in its descriptions, those that Wirt gave as well, and warns of them', async () => {
    const scene = await withMachines();
    const text = domain.replace('<mac address="52:54:00:aa:bb:01"/>', '');
    scene.fake.host.storage.machines.set('/vm/shop.xml', { kind: 'libvirt', text });
    await importMachine(scene);
    const [card] = (await scene.fake.core.actions.instance.get('shop')).spec.nics;
    expect(card?.mac).toMatch(/^02:/);
    for (const [format, path, file] of [
      ['ova', '/out/shop.ova', '/out/shop.ova'],
      ['libvirt', '/out/xml', '/out/xml/shop.xml'],
    ] as const) {
      const { result } = await exported(scene, format, path);
      expect(scene.fake.host.storage.outputs.get(file)).toContain(card?.mac);
      expect(result?.['notes']).toContainEqual({
        setting: 'NIC nic0: MAC address',
        value: card?.mac,
        reason: 'Both machines have it: do not run them on one network.',
        effect: 'hint',
      });
    }
  });

  it('of the disks alone tells of the machine that they do not describe', async () => {
    const { scene } = await imported();
    const { result } = await exported(scene, 'raw');
    expect(result?.['notes']).toContainEqual(expect.objectContaining({ setting: 'cpus', value: '2' }));
  });

  it('is refused while the guest runs, of what has no disks, and over what is there', async () => {
    const { scene } = await imported();
    const { fake } = scene;
    await exported(scene, 'raw');
    await expect(exported(scene, 'raw')).rejects.toMatchObject({ code: 'export.target_exists' });
    expect(outputsOf(scene)).toHaveLength(3);
    await fake.core.actions.instance.start(fake.request, 'shop', { paused: false }, waitDone);
    await expect(exported(scene, 'ova', '/out/o.ova')).rejects.toMatchObject({
      code: 'instance.state_conflict',
    });
    await fake.create({ name: 'bare' });
    const bare = fake.core.actions.transfer.export(
      fake.request,
      'bare',
      { format: 'ova', path: '/out/b' },
      waitDone,
    );
    await expect(bare).rejects.toMatchObject({ code: 'export.failed' });
  });

  it.each(['ova', 'libvirt', 'qcow2'] as const)(
    'is whole or not there, wherever the daemon dies: %s',
    async (format) => {
      await atEveryCall(
        everyDeath,
        imported,
        ({ scene }) => exported(scene, format),
        async ({ scene }) => {
          const { items } = await scene.fake.core.actions.operation.list({ limit: 100 });
          expect(items.filter(({ state }) => state !== 'done')).toEqual([]);
          const isThere = items.some(({ kind }) => kind === 'instance.export');
          expect(outputsOf(scene).length > 0).toBe(isThere);
          expect([...scene.fake.host.storage.outputs.values()]).not.toContain('torn');
          expect(await scene.faults()).toEqual([]);
        },
      );
    },
  );

  it('of a folder leaves none half when a disk cannot be written', async () => {
    const { scene } = await imported();
    const original = scene.fake.host.storage.transfer.fromSource;
    let count = 0;
    Object.assign(scene.fake.host.storage.transfer, {
      fromSource: (...given: Parameters<typeof original>) => {
        count += 1;
        return count === 2
          ? Promise.reject(new WirtError('host.storage_full', 'The disk is full.'))
          : original(...given);
      },
    });
    await expect(exported(scene, 'libvirt')).rejects.toMatchObject({ code: 'host.storage_full' });
    expect(outputsOf(scene)).toEqual([]);
    expect(await scene.faults()).toEqual([]);
  });
});
