// Devices of the host in guests: who gets which, what is refused and why, and that each comes back, whoever dies when.
import { type InstanceDevice, type Operation, WirtError } from '@wirt/api';
import { describe, expect, it } from 'vitest';
import type { PciDevice } from '../domain/devices/pci-device.ts';
import { createFakeCore, type FakeCore, waitDone } from '../fakes/fake-core.ts';
import { aDevice } from '../fakes/fake-devices.ts';
import { hostOf } from '../fakes/fake-topology.ts';
import { turns } from './placing.fixture.ts';

const [gpu, sound, disk, nic] = ['0000:01:00.0', '0000:01:00.1', '0000:02:00.0', '0000:03:00.0'];
const uuid = '83b8f4f2-509f-382f-3c1e-e6bfe0fa1001';
const gpu0 = { name: 'gpu0', address: gpu } as const;

async function hostWith(...devices: readonly PciDevice[]): Promise<FakeCore> {
  const fake = await createFakeCore();
  for (const device of devices) fake.host.devices.table.set(device.address, device);
  return fake;
}

const aGpu = (more: Partial<PciDevice> = {}) =>
  aDevice(gpu, { classCode: 0x030000, driver: 'nouveau', iommuGroup: 7, ...more });
const aNic = (more: Partial<PciDevice> = {}) =>
  aDevice(nic, { driver: 'igb', sriov: { totalVfs: 4, numVfs: 0, isVf: false, vfs: [] }, ...more });

/** Whoever waits for an operation is thrown its error. */
function outcome(
  operation: Promise<Operation>,
): Promise<Pick<Operation, 'state' | 'target'> & { error?: object | undefined }> {
  return operation.catch((error: unknown) => {
    if (!(error instanceof WirtError)) throw error;
    const { code, message: detail, hint } = error;
    const target = { kind: 'instance', id: '', name: '' } as const;
    return { state: 'failed', target, error: { code, detail, hint } };
  });
}
const run = (fake: FakeCore, name: string, devices: InstanceDevice[]) =>
  outcome(fake.create({ name, start: true, spec: { devices } }));
const get = (fake: FakeCore, name: string) => fake.core.actions.instance.get(name);
const stop = (fake: FakeCore, name: string) =>
  fake.core.actions.instance.stop(fake.request, name, { mode: 'force', graceSeconds: 0 }, waitDone);
const start = (fake: FakeCore, name: string) =>
  outcome(fake.core.actions.instance.start(fake.request, name, { paused: false }, waitDone));
const remove = (fake: FakeCore, name: string, force = false) =>
  outcome(fake.core.actions.instance.remove(fake.request, name, { force }, waitDone));
const driverOf = (fake: FakeCore, address: string) => fake.host.devices.table.get(address)?.driver;
const pool = (fake: FakeCore, count = 2) =>
  fake.core.actions.device.createVfs(fake.request, nic, { count, pool: 'fast' });

describe('a guest with a device of the host', () => {
  it('has it while it runs, and the host has it again afterwards', async () => {
    const fake = await hostWith(aGpu());
    const { target } = await run(fake, 'web', [gpu0]);
    const { uid } = await fake.host.sandbox.claim(target.id, { kvm: false });
    expect(driverOf(fake, gpu)).toBe('vfio-pci');
    expect([...fake.host.devices.granted]).toEqual([[7, uid]]);
    expect((await get(fake, 'web')).status.devices).toEqual([
      { name: 'gpu0', address: gpu, iommuGroup: 7, formerDriver: 'nouveau' },
    ]);
    expect(await fake.core.actions.device.get(fake.request, gpu)).toMatchObject({
      usable: false,
      why: `PCI device ${gpu} is lent to instance web.`,
      leasedTo: [{ instance: 'web', device: 'gpu0' }],
    });
    await stop(fake, 'web');
    expect(driverOf(fake, gpu)).toBe('nouveau');
    expect((await get(fake, 'web')).status.devices).toBeUndefined();
    expect(fake.host.remains()).toEqual([]);
  });

  it('gives it back when it ends by itself, and when it is removed', async () => {
    const fake = await hostWith(aGpu());
    const { target } = await run(fake, 'web', [gpu0]);
    fake.host.end(target.id, {});
    await start(fake, 'web');
    expect(driverOf(fake, gpu)).toBe('vfio-pci');
    await remove(fake, 'web', true);
    expect(driverOf(fake, gpu)).toBe('nouveau');
    expect(fake.host.remains()).toEqual([]);
  });

  it('is handed all that it asks for of one group, whatever driver each part has', async () => {
    const parts = [
      aGpu({ groupMembers: [sound] }),
      aDevice(sound, { classCode: 0x040300, driver: 'snd_hda_intel', iommuGroup: 7, groupMembers: [gpu] }),
    ];
    const fake = await hostWith(...parts);
    expect(await run(fake, 'half', [gpu0])).toMatchObject({
      state: 'failed',
      error: {
        code: 'device.group_shared',
        detail: expect.stringContaining(`${sound} (driver snd_hda_intel)`),
      },
    });
    expect(driverOf(fake, gpu)).toBe('nouveau');
    const whole = await run(fake, 'whole', [gpu0, { name: 'sound', address: sound }]);
    expect(whole.state).toBe('done');
    await stop(fake, 'whole');
    expect([driverOf(fake, gpu), driverOf(fake, sound)]).toEqual(['nouveau', 'snd_hda_intel']);
  });

  it('of more than 255 vCPUs has no two of one group, which QEMU would refuse later', async () => {
    const parts = [aGpu({ groupMembers: [sound] }), aDevice(sound, { iommuGroup: 7, groupMembers: [gpu] })];
    const fake = await hostWith(...parts);
    fake.host.topology.host = hostOf(1, 300);
    Object.assign(fake.host.inspector, { acceleratorVcpus: async () => 288 });
    await fake.restart();
    const make = (name: string, more: object) =>
      outcome(
        fake.create({
          name,
          start: true,
          spec: { devices: [gpu0, { name: 'sound', address: sound }], ...more },
        }),
      );
    const topology = { sockets: 9, cores: 17, threads: 1 };
    expect(await make('wide', { cpus: 153, tuning: { topology } })).toMatchObject({
      error: {
        code: 'device.group_shared',
        detail: expect.stringContaining(`${gpu} and ${sound} cannot both be its own`),
      },
    });
    expect(fake.host.remains()).toEqual([]);
    expect(await make('narrow', { cpus: 153 })).toMatchObject({ state: 'done' });
  });

  it('of more than 255 vCPUs has no two of one group, also where others are free than when it was looked', async () => {
    const fake = await hostWith(aNic());
    fake.host.topology.host = hostOf(1, 300);
    Object.assign(fake.host.inspector, { acceleratorVcpus: async () => 288 });
    await fake.restart();
    await pool(fake, 3);
    const [one, two] = [...fake.host.devices.table.values()].filter(({ sriov }) => sriov.isVf);
    if (one === undefined || two === undefined) throw new Error('no functions');
    // Between the look and the lending, the kernel puts the first two into one group.
    const { inventory } = fake.host.devices;
    Object.assign(fake.host.devices, {
      inventory: (signal: AbortSignal) => {
        if (fake.steps.includes('instance.start/devices')) {
          fake.host.devices.table.set(one.address, { ...one, iommuGroup: 90, groupMembers: [two.address] });
          fake.host.devices.table.set(two.address, { ...two, iommuGroup: 90, groupMembers: [one.address] });
        }
        return inventory(signal);
      },
    });
    const topology = { sockets: 9, cores: 17, threads: 1 };
    const devices = ['a', 'b'].map((name) => ({ name, pool: 'fast' }));
    const started = fake.create({
      name: 'wide',
      start: true,
      spec: { devices, cpus: 153, tuning: { topology } },
    });
    expect(await outcome(started)).toMatchObject({ error: { code: 'device.group_shared' } });
    expect(fake.host.remains()).toEqual([]);
  });

  it('is given a mediated device by its UUID, and nobody else has that', async () => {
    const kind = { id: 'nvidia-35', available: 3, deviceApi: 'vfio-pci' };
    const mediated = { uuid, type: kind.id, parent: gpu, iommuGroup: 40, isOpen: false };
    const inUse = [{ kind: 'mediated', name: uuid, reason: 'is made of it' }] as const;
    const fake = await hostWith(aGpu({ mediatedTypes: [kind], mediatedDevices: [mediated], inUse }));
    await run(fake, 'web', [{ name: 'vgpu', mdev: uuid }]);
    expect((await get(fake, 'web')).status.devices).toEqual([
      { name: 'vgpu', address: gpu, mdev: uuid, iommuGroup: 40 },
    ]);
    expect(driverOf(fake, gpu)).toBe('nouveau');
    expect(await run(fake, 'db', [{ name: 'vgpu', mdev: uuid }])).toMatchObject({
      error: { code: 'device.in_use', detail: `Mediated device ${uuid} is lent to instance web.` },
    });
    expect(await run(fake, 'whole', [gpu0])).toMatchObject({ error: { code: 'device.in_use' } });
    await stop(fake, 'web');
    expect(fake.host.devices.granted.size).toBe(0);
  });
});

describe('a start', () => {
  const rootDisk = aDevice(disk, {
    classCode: 0x010802,
    driver: 'nvme',
    inUse: [{ kind: 'root', name: 'nvme0n1p2', reason: 'is mounted at /' }],
  });
  const { iommuGroup: _, ...withoutGroup } = aGpu();
  it.each([
    ['the host’s own disk', rootDisk, 'device.in_use', 'nvme0n1p2 is mounted at /'],
    ['a bridge', aDevice(disk, { classCode: 0x060400 }), 'device.unsupported', 'bridge'],
    ['what no IOMMU keeps apart', { ...withoutGroup, address: disk }, 'device.unsupported', 'no IOMMU group'],
  ])('is refused %s, and changes nothing', async (_what, device, code, reason) => {
    const fake = await hostWith(device);
    const failed = await run(fake, 'web', [{ name: 'it', address: disk }]);
    expect(failed).toMatchObject({
      state: 'failed',
      error: { code, detail: expect.stringContaining(reason) },
    });
    expect(fake.steps).not.toContain('instance.start/claim-uid');
    expect(fake.host.remains()).toEqual([]);
    expect(driverOf(fake, disk)).toBe(device.driver);
    expect((await get(fake, 'web')).status.devices).toBeUndefined();
  });

  it('of a second guest is refused a device that the first has, or has the neighbour of', async () => {
    const neighbours = [
      aGpu({ groupMembers: [sound] }),
      aDevice(sound, { iommuGroup: 7, groupMembers: [gpu] }),
    ];
    const fake = await hostWith(...neighbours);
    await run(fake, 'web', [gpu0]);
    expect(await run(fake, 'db', [gpu0])).toMatchObject({
      error: {
        code: 'device.in_use',
        detail: `PCI device ${gpu} is lent to instance web.`,
        hint: expect.stringContaining('wirt stop web'),
      },
    });
    expect(await run(fake, 'dns', [{ name: 'sound', address: sound }])).toMatchObject({
      error: {
        code: 'device.in_use',
        detail: `PCI device ${sound} is in IOMMU group 7 with ${gpu}, which is lent to instance web.`,
      },
    });
    await stop(fake, 'web');
    expect(await start(fake, 'db')).toMatchObject({ state: 'done' });
  });

  it('of two guests at the same moment gives the device to one of them', async () => {
    const fake = await hostWith(aGpu());
    const ended = await Promise.all([run(fake, 'web', [gpu0]), run(fake, 'db', [gpu0])]);
    expect(ended.map(({ state }) => state).toSorted()).toEqual(['done', 'failed']);
    const winner = ended[0].state === 'done' ? 'web' : 'db';
    const loser = winner === 'web' ? 'db' : 'web';
    expect((await get(fake, winner)).status.devices).toHaveLength(1);
    expect((await get(fake, loser)).status.devices).toBeUndefined();
    expect(fake.host.devices.granted.size).toBe(1);
  });

  it('that hangs with its device holds up no other, neither at its start nor at its end', async () => {
    const fake = await hostWith(aGpu(), aNic());
    /** At the named call the kernel does not answer before it is let go on. */
    const hangAt = (call: 'bind' | 'release') => {
      const [reached, answer] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
      const act = () => {
        reached.resolve();
        return answer.promise;
      };
      fake.host.devices.before = { call, act };
      return { reached: reached.promise, answer: answer.resolve };
    };
    const binding = hangAt('bind');
    const hung = run(fake, 'web', [gpu0]);
    await binding.reached;
    expect(await run(fake, 'db', [{ name: 'nic', address: nic }])).toMatchObject({ state: 'done' });
    expect(await fake.core.actions.device.get(fake.request, gpu)).toMatchObject({
      leasedTo: [{ instance: 'web' }],
    });
    binding.answer();
    expect(await hung).toMatchObject({ state: 'done' });
    const releasing = hangAt('release');
    const stopping = stop(fake, 'web');
    await releasing.reached;
    await stop(fake, 'db');
    expect(driverOf(fake, nic)).toBe('igb');
    releasing.answer();
    await stopping;
    expect(fake.host.remains()).toEqual([]);
  });

  it('of what the kernel does not let go of is refused, and told so', async () => {
    const fake = await hostWith(aGpu({ stuck: 'unbound from nouveau' }));
    const why = `PCI device ${gpu} is stuck: it was to be unbound from nouveau, and the kernel has not answered since.`;
    expect(await run(fake, 'web', [gpu0])).toMatchObject({
      error: { code: 'device.bind_failed', detail: why, hint: expect.stringContaining('dmesg') },
    });
    expect(await fake.core.actions.device.get(fake.request, gpu)).toMatchObject({
      stuck: 'unbound from nouveau',
      usable: false,
      why,
    });
  });

  it('fails where the device goes between the look at it and the binding, and leaves nothing', async () => {
    const fake = await hostWith(aGpu());
    fake.host.devices.before = { call: 'bind', act: () => void fake.host.devices.table.delete(gpu) };
    expect(await run(fake, 'web', [gpu0])).toMatchObject({ error: { code: 'device.not_found' } });
    expect((await get(fake, 'web')).status.devices).toBeUndefined();
    expect(fake.host.remains()).toEqual([]);
    expect(await start(fake, 'web')).toMatchObject({ error: { code: 'device.not_found' } });
  });

  it('fails where the host takes the device into use meanwhile', async () => {
    const fake = await hostWith(aGpu());
    const inUse = [{ kind: 'disk', name: 'sdx', reason: 'is mounted at /mnt' }] as const;
    fake.host.devices.before = {
      call: 'bind',
      act: () => void fake.host.devices.table.set(gpu, aGpu({ inUse })),
    };
    expect(await run(fake, 'web', [gpu0])).toMatchObject({ error: { code: 'device.in_use' } });
    expect(driverOf(fake, gpu)).toBe('nouveau');
    expect(fake.host.remains()).toEqual([]);
  });
});

describe('a pool', () => {
  const vf = (name: string) => ({ name, pool: 'fast' }) as const;

  it('gives each guest another function, and says when none is left', async () => {
    const fake = await hostWith(aNic());
    await pool(fake);
    await run(fake, 'web', [vf('vf0')]);
    await run(fake, 'db', [vf('vf0')]);
    const lent = [await get(fake, 'web'), await get(fake, 'db')].map(
      ({ status }) => status.devices?.[0]?.address,
    );
    expect(new Set(lent).size).toBe(2);
    expect(await run(fake, 'dns', [vf('vf0')])).toMatchObject({
      error: {
        code: 'device.pool_exhausted',
        detail: expect.stringMatching(/none of its 2 virtual functions free: .* is lent to instance web/),
      },
    });
    await stop(fake, 'db');
    expect(await start(fake, 'dns')).toMatchObject({ state: 'done' });
  });

  it('gives one guest several functions, and none that it names itself', async () => {
    const fake = await hostWith(aNic());
    const { sriov } = await pool(fake);
    const [first = ''] = sriov.vfs;
    await run(fake, 'web', [vf('a'), { name: 'b', address: first }]);
    const addresses = (await get(fake, 'web')).status.devices?.map(({ address }) => address) ?? [];
    expect(new Set(addresses)).toEqual(new Set(sriov.vfs));
    expect(await run(fake, 'db', [vf('a')])).toMatchObject({ error: { code: 'device.pool_exhausted' } });
  });

  it('gives a guest a function near its memory, where it has one, and places it there; tuning tells', async () => {
    const other = '0000:83:00.0';
    const fake = await hostWith(aNic({ numaNode: 0 }), aNic({ address: other, numaNode: 1 }));
    fake.host.topology.host = hostOf(2, 4);
    await fake.restart();
    await pool(fake, 1);
    await fake.core.actions.device.createVfs(fake.request, other, { count: 2, pool: 'fast' });
    for (const { address, sriov } of [...fake.host.devices.table.values()])
      if (sriov.isVf) {
        const device = fake.host.devices.table.get(address);
        const numaNode = sriov.physicalFunction === other ? 1 : 0;
        if (device !== undefined) fake.host.devices.table.set(address, { ...device, numaNode });
      }
    const spec = { devices: [vf('vf0')], tuning: { placement: 'auto' } } as const;
    await fake.create({ name: 'web', start: true, spec: { ...spec, devices: [...spec.devices] } });
    const { placement, devices } = (await get(fake, 'web')).status;
    const nodeOf = (address: string | undefined) => fake.host.devices.table.get(address ?? '')?.numaNode;
    expect(placement?.nodes).toEqual([nodeOf(devices?.[0]?.address)]);
    const facts = { ioUring: true, vhostNet: true, thp: 'always', ksm: true, numa: [], kvm: { why: '' } };
    Object.assign(fake.host.inspector, { inspect: async () => facts });
    const { settings } = await fake.core.actions.instance.tuning(fake.request, 'web');
    expect(settings.find(({ setting }) => setting === 'device.vf0')).toMatchObject({
      value: `${devices?.[0]?.address}, node ${nodeOf(devices?.[0]?.address)}`,
      why: 'A free function of pool fast, on a node of the guest.',
    });
  });

  it('whose functions are gone is filled again by the start that wants one', async () => {
    const fake = await hostWith(aNic());
    await pool(fake);
    fake.host.devices.boot();
    expect(await run(fake, 'web', [vf('vf0')])).toMatchObject({ state: 'done' });
  });
});

describe('an instance', () => {
  it('is not made with what could never be', async () => {
    const fake = await hostWith(aGpu());
    const make = (spec: object) => fake.create({ name: 'web', spec });
    const refused = (code: string, text: string) => ({ code, message: expect.stringContaining(text) });
    await expect(make({ devices: [gpu0], machine: 'microvm' })).rejects.toMatchObject(
      refused('request.invalid', 'microvm'),
    );
    await expect(make({ devices: [gpu0], overcommit: true })).rejects.toMatchObject(
      refused('request.invalid', 'cannot have devices of the host and overcommit its memory'),
    );
    await expect(make({ devices: [gpu0, { ...gpu0, name: 'again' }] })).rejects.toMatchObject(
      refused('request.invalid', `same device: ${gpu}`),
    );
    await expect(make({ devices: [gpu0, { name: 'gpu0', address: nic }] })).rejects.toMatchObject(
      refused('request.invalid', 'same name: gpu0'),
    );
    await expect(make({ devices: [{ name: 'x', address: nic }] })).rejects.toMatchObject(
      refused('device.not_found', nic),
    );
    await expect(make({ devices: [{ name: 'x', mdev: uuid }] })).rejects.toMatchObject(
      refused('device.not_found', uuid),
    );
    await expect(make({ devices: [{ name: 'x', pool: 'fast' }] })).rejects.toMatchObject(
      refused('pool.not_found', 'device pool "fast"'),
    );
    await expect(get(fake, 'web')).rejects.toMatchObject({ code: 'instance.not_found' });
  });

  it('is given devices, or none, for its next start', async () => {
    const fake = await hostWith(aGpu());
    const { instance } = fake.core.actions;
    await run(fake, 'web', []);
    const set = (devices: InstanceDevice[] | null) =>
      instance.update(fake.request, 'web', { spec: { devices } });
    await expect(set([{ name: 'x', address: nic }])).rejects.toMatchObject({ code: 'device.not_found' });
    expect((await set([gpu0])).spec.devices).toEqual([gpu0]);
    expect(driverOf(fake, gpu)).toBe('nouveau');
    await stop(fake, 'web');
    await start(fake, 'web');
    expect(driverOf(fake, gpu)).toBe('vfio-pci');
    // What it has goes when it stops, whatever it is to have next.
    expect((await set(null)).spec.devices).toBeUndefined();
    await stop(fake, 'web');
    expect(driverOf(fake, gpu)).toBe('nouveau');
    expect(fake.host.remains()).toEqual([]);
  });

  it('keeps what cannot be given back, and gives it back when that can be', async () => {
    const fake = await hostWith(aGpu());
    await run(fake, 'web', [gpu0]);
    const fail = () => {
      fake.host.devices.before = {
        call: 'release',
        act: () => {
          throw new Error('the device does not answer');
        },
      };
    };
    fail();
    await stop(fake, 'web');
    const { state, devices } = (await get(fake, 'web')).status;
    expect([state, devices?.length]).toEqual(['stopped', 1]);
    expect(await run(fake, 'db', [gpu0])).toMatchObject({ error: { code: 'device.in_use' } });
    fail();
    expect(await remove(fake, 'web')).toMatchObject({
      state: 'failed',
      error: { code: 'device.bind_failed', detail: expect.stringContaining(gpu) },
    });
    expect(await remove(fake, 'web')).toMatchObject({
      state: 'done',
    });
    expect(driverOf(fake, gpu)).toBe('nouveau');
    expect(fake.host.remains()).toEqual([]);
  });
});

describe('what could not be given back', () => {
  /** A pass of the watch that gives back. */
  async function pass(fake: FakeCore): Promise<void> {
    await turns();
    fake.clock.advance(5_000);
    await turns();
  }
  const failing = (fake: FakeCore, act: () => void = () => undefined) => {
    fake.host.devices.before = {
      call: 'release',
      act: () => {
        act();
        throw new Error('the kernel does not answer');
      },
    };
  };

  it('since the kernel hung with it comes back by itself when it is through', async () => {
    const fake = await hostWith(aGpu());
    await run(fake, 'web', [gpu0]);
    failing(fake, () => {
      const device = fake.host.devices.table.get(gpu) ?? aGpu();
      fake.host.devices.table.set(gpu, { ...device, stuck: 'reset' });
    });
    await stop(fake, 'web');
    let asked = 0;
    fake.host.devices.before = { call: 'release', act: () => void (asked += 1) };
    for (let at = 0; at < 3; at += 1) await pass(fake);
    expect([asked, (await get(fake, 'web')).status.devices?.length]).toEqual([0, 1]);
    const { stuck: _, ...through } = fake.host.devices.table.get(gpu) ?? aGpu();
    fake.host.devices.table.set(gpu, through);
    await pass(fake);
    expect(driverOf(fake, gpu)).toBe('nouveau');
    expect((await get(fake, 'web')).status.devices).toBeUndefined();
    expect(await run(fake, 'db', [gpu0])).toMatchObject({ state: 'done' });
  });

  it('since it does not answer is tried again ever less often', async () => {
    const fake = await hostWith(aGpu());
    await run(fake, 'web', [gpu0]);
    failing(fake);
    await stop(fake, 'web');
    const triedAt: number[] = [];
    for (let at = 0; at < 16; at += 1) {
      failing(fake, () => void triedAt.push(at));
      await pass(fake);
    }
    const [first = 0] = triedAt;
    expect(triedAt.map((at) => at - first)).toEqual([0, 2, 6, 14]);
  });
});

describe('a daemon', () => {
  const steps = [
    'instance.start/claim-uid',
    'instance.start/devices',
    'instance.start/bind-devices',
    'instance.start/grant-devices',
    'instance.start/disks',
    'instance.start/spawn',
    'instance.start/connect',
    'instance.start/resume',
    'instance.start/record',
  ];

  it.each(steps)('that fails at %s gives the device back', async (step) => {
    const fake = await hostWith(aGpu());
    fake.fault = { step, kind: 'fail' };
    expect(await run(fake, 'web', [gpu0])).toMatchObject({ state: 'failed' });
    expect(driverOf(fake, gpu)).toBe('nouveau');
    expect((await get(fake, 'web')).status.devices).toBeUndefined();
    expect(fake.host.remains()).toEqual([]);
  });

  it.each(steps)(
    'that dies at %s leaves the next one to start the guest, and to know the driver',
    async (step) => {
      const fake = await hostWith(aGpu());
      fake.fault = { step, kind: 'die' };
      void run(fake, 'web', [gpu0]).catch(() => undefined);
      await fake.died();
      await fake.restart();
      await stop(fake, 'web');
      expect(driverOf(fake, gpu)).toBe('nouveau');
      expect((await get(fake, 'web')).status.devices).toBeUndefined();
      expect(fake.host.remains()).toEqual([]);
    },
  );

  it.each([
    'instance.stop/kill',
    'instance.stop/devices',
    'instance.end/record-devices',
    'instance.stop/record',
  ])('that dies at %s leaves the next one to give the device back', async (step) => {
    const fake = await hostWith(aGpu());
    await run(fake, 'web', [gpu0]);
    fake.fault = { step, kind: 'die' };
    void stop(fake, 'web').catch(() => undefined);
    await fake.died();
    await fake.restart();
    await stop(fake, 'web');
    expect(driverOf(fake, gpu)).toBe('nouveau');
    expect((await get(fake, 'web')).status.devices).toBeUndefined();
    expect(fake.host.remains()).toEqual([]);
  });

  it('that restarts leaves the device with the guest that runs', async () => {
    const fake = await hostWith(aGpu());
    await run(fake, 'web', [gpu0]);
    await fake.restart();
    expect(driverOf(fake, gpu)).toBe('vfio-pci');
    expect(await run(fake, 'db', [gpu0])).toMatchObject({ error: { code: 'device.in_use' } });
    await stop(fake, 'web');
    expect(driverOf(fake, gpu)).toBe('nouveau');
  });

  it('that comes up after a boot of the host finds nothing lent', async () => {
    const fake = await hostWith(aGpu());
    const { target } = await run(fake, 'web', [gpu0]);
    const { id } = target;
    // All of this daemon's objects on the host are gone, and so is the daemon, which saw nothing of it.
    const process = fake.host.processes.get(id);
    process?.listeners.clear();
    fake.host.processes.delete(id);
    await fake.host.hypervisor.clean(id);
    await fake.host.resources.remove(id, AbortSignal.timeout(1_000));
    await fake.host.sandbox.release(id);
    fake.host.devices.boot();
    await fake.restart();
    expect((await get(fake, 'web')).status).toMatchObject({ state: 'crashed' });
    expect((await get(fake, 'web')).status.devices).toBeUndefined();
    expect(driverOf(fake, gpu)).toBe('nouveau');
  });
});
