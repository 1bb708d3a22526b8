// What of a host may be promised to guests, how it is added up, and who has which processor.
import { type InstanceUpdate, policyCreateSchema } from '@wirt/api';
import { describe, expect, it } from 'vitest';
import { aDevice } from '../fakes/fake-devices.ts';
import { createPlacedCore, type PlacedCore } from './placing.fixture.ts';

const huge = { hugePages: '2M' } as const;
const dedicated = { dedicated: true } as const;
const totalMib = 4096;
/** Of each QEMU. */
const overheadMib = 80;

/** Eight processors on one node, and 4 GiB, of which huge pages are taken as the kernel takes them. */
async function createHost(): Promise<PlacedCore> {
  const core = await createPlacedCore(1, 8);
  const { inspector, topology } = core.fake.host;
  const memory = () => {
    const pools = topology.host.nodes.flatMap(({ hugePages }) => hugePages);
    const hugePagesMib = pools.reduce((sum, { total, sizeKib }) => sum + (total * sizeKib) / 1024, 0);
    return Promise.resolve({ totalMib, availableMib: totalMib - hugePagesMib, hugePagesMib });
  };
  Object.assign(inspector, { memory });
  return core;
}

async function set(core: PlacedCore, settings: { cpuOvercommit?: number; memoryOvercommit?: number }) {
  const { host } = core.fake.core.actions;
  return host.updateSettings(core.fake.request, settings);
}

/** The next guest that is started comes no further than to its QEMU, until it is let go. */
function holdNextLaunch({ fake }: PlacedCore): { readonly reached: Promise<void>; letGo(): void } {
  const { hypervisor } = fake.host;
  const { launch } = hypervisor;
  const [reached, free] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const held = async (...given: Parameters<typeof launch>) => {
    Object.assign(hypervisor, { launch });
    reached.resolve();
    await free.promise;
    return launch(...given);
  };
  Object.assign(hypervisor, { launch: held });
  return { reached: reached.promise, letGo: () => free.resolve() };
}

function update({ fake }: PlacedCore, name: string, spec: InstanceUpdate['spec']) {
  return fake.core.actions.instance.update(fake.request, name, { spec });
}

const capacityOf = (core: PlacedCore) => core.fake.core.actions.host.capacity(core.fake.request);

describe('memory', () => {
  it('is refused with the sum of what is promised already', async () => {
    const core = await createHost();
    await core.run('a', undefined, { memoryMib: 1920 });
    await core.run('b', undefined, { memoryMib: 1420 });
    const start = core.run('c', undefined, { memoryMib: 517 });
    await expect(start).rejects.toMatchObject({
      code: 'host.insufficient_memory',
      details: { neededMib: 597, availableMib: 596, totalMib, promisedMib: 3500 },
    });
    await expect(start).rejects.toThrow('of 4096 MiB; 3500 MiB are promised to running guests.');
    await core.run('d', undefined, { memoryMib: 516 });
    expect((await capacityOf(core)).memory).toMatchObject({ promisedMib: totalMib, promisableMib: totalMib });
  });

  it('may be promised by half more with a factor of 1.5, and by no more', async () => {
    const core = await createHost();
    await core.run('a', undefined, { memoryMib: 3000 });
    await expect(core.run('b', undefined, { memoryMib: 2904 })).rejects.toMatchObject({
      code: 'host.insufficient_memory',
    });
    await set(core, { memoryOvercommit: 1.5 });
    await core.start('b');
    expect((await capacityOf(core)).memory).toMatchObject({ promisedMib: 6064, promisableMib: 6144 });
    await expect(core.run('c', undefined, { memoryMib: 1 })).rejects.toMatchObject({
      details: { neededMib: 81, availableMib: 80 },
    });
    await set(core, { memoryOvercommit: 1 });
    expect((await core.get('b')).status.state).toBe('running');
    await core.stop('b');
    await expect(core.start('b')).rejects.toMatchObject({ code: 'host.insufficient_memory' });
  });

  it('may be promised less than there is, with a factor below 1', async () => {
    const core = await createHost();
    await set(core, { memoryOvercommit: 0.5 });
    await expect(core.run('a', undefined, { memoryMib: 1969 })).rejects.toMatchObject({
      details: { availableMib: 2048 },
    });
    await core.run('b', undefined, { memoryMib: 1968 });
  });

  it('is given to a guest that grows by the same sum', async () => {
    const core = await createHost();
    await core.run('a', undefined, { memoryMib: 3000 });
    await core.run('b', undefined, { memoryMib: 64, maxMemoryMib: 2048 });
    const grow = (memoryMib: number) => update(core, 'b', { memoryMib });
    await expect(grow(64 + 873)).rejects.toMatchObject({
      code: 'host.insufficient_memory',
      details: { neededMib: 873, availableMib: 872 },
    });
    await set(core, { memoryOvercommit: 1.5 });
    await grow(64 + 873);
    expect((await core.get('b')).spec.memoryMib).toBe(937);
  });

  it('is not given to a guest that grows while it is promised to one that is being started', async () => {
    const core = await createHost();
    await core.run('b', undefined, { memoryMib: 64, maxMemoryMib: 2048 });
    const launch = holdNextLaunch(core);
    const start = core.run('a', undefined, { memoryMib: 3000 });
    await launch.reached;
    await expect(update(core, 'b', { memoryMib: 64 + 873 })).rejects.toMatchObject({
      code: 'host.insufficient_memory',
      details: { neededMib: 873, availableMib: 872, promisedMib: 3224 },
    });
    await update(core, 'b', { memoryMib: 64 + 872 });
    launch.letGo();
    await start;
  });

  it('is given to one of two that ask for the rest at the same moment, be it by growing or by starting', async () => {
    const core = await createHost();
    await core.run('a', undefined, { memoryMib: 64, maxMemoryMib: 4096 });
    await core.run('b', undefined, { memoryMib: 64, maxMemoryMib: 4096 });
    const asked = await Promise.allSettled([
      update(core, 'a', { memoryMib: 2500 }),
      update(core, 'b', { memoryMib: 2500 }),
      core.run('c', undefined, { memoryMib: 2500 }),
    ]);
    expect(asked.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    const { promisedMib, promisableMib } = (await capacityOf(core)).memory;
    expect(promisedMib).toBeLessThanOrEqual(promisableMib);
  });

  it('is given up to what there is, whatever the factor, to a guest whose devices hold all of it', async () => {
    const core = await createHost();
    await set(core, { memoryOvercommit: 2 });
    const nvme = aDevice('0000:02:00.0');
    core.fake.host.devices.table.set(nvme.address, nvme);
    const devices = [{ name: 'nvme0', address: nvme.address }];
    await core.run('a', undefined, { memoryMib: 64, maxMemoryMib: 8192, devices });
    await expect(update(core, 'a', { memoryMib: 64 + 3953 })).rejects.toMatchObject({
      code: 'host.insufficient_memory',
      details: { neededMib: 3953, availableMib: 3952 },
    });
    await update(core, 'a', { memoryMib: 64 + 3952 });
  });

  it('that was asked back and not given yet is not counted twice when it is asked for again', async () => {
    const core = await createHost();
    await core.run('a', undefined, { memoryMib: 64, maxMemoryMib: 4016 });
    await update(core, 'a', { memoryMib: 4016 });
    expect((await capacityOf(core)).memory.promisedMib).toBe(totalMib);
    const guest = core.fake.host.processes.get((await core.get('a')).id);
    Object.assign(guest?.tuning ?? {}, { obliges: false });
    await update(core, 'a', { memoryMib: 2000 });
    expect((await capacityOf(core)).memory.promisedMib).toBe(totalMib);
    await update(core, 'a', { memoryMib: 4016 });
  });

  it('that is reserved is promised also to who takes the risk for the rest', async () => {
    const core = await createHost();
    const limits = { memory: { reservationMib: 3000 } };
    await core.run('a', undefined, { memoryMib: 9000, overcommit: true, limits });
    expect((await capacityOf(core)).memory).toMatchObject({ promisedMib: 3000, reservedMib: 3000 });
    await expect(core.run('b', undefined, { memoryMib: 1017 })).rejects.toMatchObject({
      details: { neededMib: 1097, availableMib: 1096, promisedMib: 3000 },
    });
    const another = core.run('c', undefined, {
      ...{ memoryMib: 9000, overcommit: true },
      limits: { memory: { reservationMib: 1097 } },
    });
    await expect(another).rejects.toMatchObject({ code: 'host.insufficient_memory' });
    await expect(another).rejects.toThrow('needs 1097 MiB (its reservation)');
    await expect(update(core, 'a', { limits: { memory: { reservationMib: 4097 } } })).rejects.toMatchObject({
      code: 'host.insufficient_memory',
      details: { neededMib: 1097 },
    });
    await update(core, 'a', { limits: { memory: { reservationMib: 4096 } } });
  });

  describe('that a policy is to reserve', () => {
    const risky = { memoryMib: 9000, overcommit: true, policy: 'db' } as const;

    async function createPolicy(reservationMib: number) {
      const core = await createHost();
      const { policy } = core.fake.core.actions;
      const limits = { memory: { reservationMib } };
      await policy.create(core.fake.request, policyCreateSchema.parse({ name: 'db', limits }));
      const change = (larger: number) =>
        policy.update(core.fake.request, 'db', { limits: { memory: { reservationMib: larger } } });
      return { core, change };
    }

    it('is promised also to a guest that is being started, or refused', async () => {
      const { core, change } = await createPolicy(1000);
      const launch = holdNextLaunch(core);
      const start = core.run('a', undefined, risky);
      await launch.reached;
      await expect(change(4097)).rejects.toMatchObject({
        code: 'host.insufficient_memory',
        details: { neededMib: 3097, availableMib: 3096 },
      });
      expect((await capacityOf(core)).memory.promisedMib).toBe(1000);
      await change(3000);
      expect((await capacityOf(core)).memory).toMatchObject({ promisedMib: 3000, reservedMib: 3000 });
      await expect(core.run('b', undefined, { memoryMib: 1017 })).rejects.toMatchObject({
        details: { neededMib: 1097, availableMib: 1096, promisedMib: 3000 },
      });
      launch.letGo();
      await start;
      expect((await capacityOf(core)).memory).toMatchObject({ promisedMib: 3000, reservedMib: 3000 });
    });

    it('counts for guests that are started while its record is being written', async () => {
      const { core, change } = await createPolicy(1000);
      for (const name of ['a', 'b']) await core.fake.create({ name, spec: risky });
      const { store } = core.fake;
      const write = store.write.bind(store);
      const [reached, free] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
      Object.assign(store, {
        write: async (...given: Parameters<typeof write>) => {
          if (given[0].some(({ key }) => key.startsWith('policy/'))) {
            reached.resolve();
            await free.promise;
          }
          return write(...given);
        },
      });
      const changed = change(3000);
      await reached.promise;
      await core.start('a');
      await expect(core.start('b')).rejects.toMatchObject({
        code: 'host.insufficient_memory',
        details: { neededMib: 3000, promisedMib: 3000 },
      });
      free.resolve();
      await changed;
      expect((await capacityOf(core)).memory).toMatchObject({ promisedMib: 3000, reservedMib: 3000 });
    });
  });

  it('that is reserved by a policy is promised as well', async () => {
    const core = await createHost();
    const limits = { memory: { reservationMib: 3000 } };
    await core.fake.core.actions.policy.create(
      core.fake.request,
      policyCreateSchema.parse({ name: 'db', limits }),
    );
    await core.run('a', undefined, { memoryMib: 9000, overcommit: true, policy: 'db' });
    expect((await capacityOf(core)).memory).toMatchObject({ promisedMib: 3000, reservedMib: 3000 });
    const { policy } = core.fake.core.actions;
    const change = (reservationMib: number) =>
      policy.update(core.fake.request, 'db', { limits: { memory: { reservationMib } } });
    await expect(change(4097)).rejects.toMatchObject({
      code: 'host.insufficient_memory',
      details: { neededMib: 1097, availableMib: 1096 },
    });
    expect((await policy.get('db')).spec.limits.memory?.reservationMib).toBe(3000);
    await change(4096);
    expect((await capacityOf(core)).memory).toMatchObject({ promisedMib: 4096, reservedMib: 4096 });
  });

  it('that is reserved, or held whole for devices, is kept once, whatever the factor', async () => {
    const core = await createHost();
    await set(core, { memoryOvercommit: 2 });
    const nvme = aDevice('0000:02:00.0');
    core.fake.host.devices.table.set(nvme.address, nvme);
    const devices = [{ name: 'nvme0', address: nvme.address }];
    const reserving = (reservationMib: number) => ({ limits: { memory: { reservationMib } } });
    await core.run('a', undefined, { memoryMib: 9000, overcommit: true, ...reserving(2000) });
    await core.run('b', undefined, { memoryMib: 920, devices });
    const start = core.run('c', undefined, { memoryMib: 2000, ...reserving(1097) });
    await expect(start).rejects.toMatchObject({
      code: 'host.insufficient_memory',
      details: { neededMib: 1097, availableMib: 1096, totalMib, keptMib: 3000 },
    });
    await expect(start).rejects.toThrow('of the host’s 4096 MiB, 3000 MiB are kept for running guests');
    await update(core, 'c', reserving(1096));
    await core.start('c');
    // It is promised no more by it, but more of that is kept.
    await expect(update(core, 'c', reserving(1097))).rejects.toMatchObject({
      details: { neededMib: 1, availableMib: 0 },
    });
    await expect(core.run('d', undefined, { memoryMib: 5000, ...reserving(4097) })).rejects.toMatchObject({
      details: { neededMib: 4097, availableMib: totalMib, keptMib: 0 },
    });
    await core.run('e', undefined, { memoryMib: 3000 });
  });

  it('is shown as promised from when a guest is being started', async () => {
    const core = await createHost();
    const launch = holdNextLaunch(core);
    const start = core.run('a', undefined, {
      memoryMib: 1000,
      cpus: 3,
      limits: { memory: { reservationMib: 64 } },
    });
    await launch.reached;
    const { memory, cpus } = await capacityOf(core);
    expect(memory).toMatchObject({ promisedMib: 1080, reservedMib: 64 });
    expect(cpus.promised).toBe(3);
    launch.letGo();
    await start;
    expect((await capacityOf(core)).memory).toEqual(memory);
  });

  it('that is in pools of huge pages is not promised to who does not ask for them', async () => {
    const core = await createHost();
    await core.run('huge', huge, { memoryMib: 2000 });
    await expect(core.run('a', undefined, { memoryMib: 1937 })).rejects.toMatchObject({
      details: { totalMib: 2096, availableMib: 2016, promisedMib: overheadMib },
    });
    await core.run('b', undefined, { memoryMib: 1936 });
  });

  it('that is promised to others is not made huge pages of', async () => {
    const core = await createHost();
    await core.run('a', undefined, { memoryMib: 3000 });
    await expect(core.run('huge', huge, { memoryMib: 1000 })).rejects.toMatchObject({
      code: 'host.insufficient_memory',
      details: { neededMib: 1080, availableMib: 1016 },
    });
    await core.pass();
    expect((await capacityOf(core)).memory.hugePagesMib).toBe(0);
    await core.run('less', huge, { memoryMib: 936 });
  });

  it('that is promised is not made huge pages of for who takes the risk, nor by a factor', async () => {
    const core = await createHost();
    await core.run('a', undefined, { memoryMib: 3000 });
    await set(core, { memoryOvercommit: 2 });
    const risk = core.run('risk', huge, { memoryMib: 1018, overcommit: true });
    await expect(risk).rejects.toMatchObject({
      code: 'host.insufficient_memory',
      details: { neededMib: 1018, availableMib: 1016 },
    });
    await expect(risk).rejects.toThrow('1018 MiB (huge pages that are to be made)');
    await expect(core.run('huge', huge, { memoryMib: 938 })).rejects.toMatchObject({
      code: 'host.insufficient_memory',
      details: { neededMib: 1018, availableMib: 1016 },
    });
    await core.run('less', huge, { memoryMib: 936 });
  });

  it('that no huge pages of a profile could be made of is promised of the host’s own', async () => {
    const core = await createHost();
    const { topology } = core.fake.host;
    // It would have had those, and the rest of memory.
    const hugePages = [{ sizeKib: 2048, total: 100, free: 100 }];
    topology.host = { ...topology.host, nodes: topology.host.nodes.map((node) => ({ ...node, hugePages })) };
    topology.mostPages = 120;
    const launch = holdNextLaunch(core);
    const start = core.run('a', { profile: 'latency' }, { memoryMib: 1000 });
    await launch.reached;
    expect((await capacityOf(core)).memory).toMatchObject({ hugePagesMib: 200, promisedMib: 1080 });
    launch.letGo();
    await start;
    expect((await capacityOf(core)).memory).toMatchObject({ hugePagesMib: 200, promisedMib: 1080 });
  });

  it('of huge pages is counted once, also while the guest is still being started', async () => {
    const core = await createHost();
    const launch = holdNextLaunch(core);
    const start = core.run('a', huge, { memoryMib: 1900 });
    await launch.reached;
    await core.run('b', huge, { memoryMib: 1900 });
    launch.letGo();
    await start;
    expect((await capacityOf(core)).memory).toMatchObject({ hugePagesMib: 3800, promisedMib: 160 });
  });

  it('is no matter for who takes the risk', async () => {
    const core = await createHost();
    await core.run('a', undefined, { memoryMib: 9000, overcommit: true });
    expect((await capacityOf(core)).memory.promisedMib).toBe(0);
  });
});

describe('processors', () => {
  it('are promised up to the factor, and refused with the sum beyond it', async () => {
    const core = await createHost();
    await set(core, { cpuOvercommit: 1 });
    await core.run('a', undefined, { cpus: 6, maxCpus: 8 });
    const start = core.run('b', undefined, { cpus: 3 });
    await expect(start).rejects.toMatchObject({
      code: 'host.insufficient_cpus',
      hint: expect.stringContaining('cpu-overcommit=2'),
      details: { cpus: 3, promisable: 8, promised: 6, online: 8 },
    });
    expect(core.fake.host.remains().filter((what) => what.startsWith('process'))).toHaveLength(1);
    await core.run('c', undefined, { cpus: 2 });
    expect((await capacityOf(core)).cpus).toMatchObject({ online: 8, promisable: 8, promised: 8 });
    await core.run('d', undefined, { cpus: 4, overcommit: true });
  });

  it('are given to a guest that grows by the same sum, with those of guests being started', async () => {
    const core = await createHost();
    await set(core, { cpuOvercommit: 1 });
    await core.run('a', undefined, { cpus: 2, maxCpus: 8 });
    const launch = holdNextLaunch(core);
    const start = core.run('b', undefined, { cpus: 3 });
    await launch.reached;
    const grown = update(core, 'a', { cpus: 6 });
    await expect(grown).rejects.toMatchObject({
      code: 'host.insufficient_cpus',
      details: { cpus: 4, promisable: 8, promised: 5 },
    });
    await expect(grown).rejects.toThrow('needs 4 vCPUs more');
    await update(core, 'a', { cpus: 5 });
    launch.letGo();
    await start;
    expect((await capacityOf(core)).cpus.promised).toBe(8);
  });

  it('that a guest has alone are promised to nobody else, whatever the factor', async () => {
    const core = await createHost();
    await set(core, { cpuOvercommit: 2 });
    await core.run('loud', dedicated, { cpus: 2, maxCpus: 3 });
    await core.run('a', undefined, { cpus: 9 });
    const start = core.run('b', undefined, { cpus: 2 });
    await expect(start).rejects.toMatchObject({
      code: 'host.insufficient_cpus',
      hint: expect.stringContaining('cpu-overcommit=3'),
      details: { cpus: 2, promisable: 10, promised: 9, online: 8, dedicated: 3 },
    });
    await expect(start).rejects.toThrow(
      'has 2 vCPUs, and the host may promise 10 (8 processors less 3 that guests have alone, 2 times), of which 9 are',
    );
    // It has had a processor for that one from its start.
    await update(core, 'loud', { cpus: 3 });
    expect((await capacityOf(core)).cpus).toMatchObject({ promisable: 10, promised: 9, dedicated: '1-3' });
    await core.stop('loud');
    await core.start('b');
    expect((await capacityOf(core)).cpus).toMatchObject({ promisable: 16, promised: 11 });
  });

  it('are given to nobody alone while they are promised to those who share', async () => {
    const core = await createHost();
    await set(core, { cpuOvercommit: 1 });
    await core.run('a', undefined, { cpus: 6 });
    const before = core.fake.host.remains();
    const start = core.run('loud', dedicated, { cpus: 3 });
    await expect(start).rejects.toMatchObject({
      code: 'host.insufficient_cpus',
      hint: expect.stringContaining('cpu-overcommit=2'),
      details: { cpus: 3, promisable: 5, promised: 6, online: 8, dedicated: 3 },
    });
    await expect(start).rejects.toThrow(
      'takes 3 processors for itself, and the host may then promise to others 5 (8 processors less 3',
    );
    expect(core.fake.host.remains()).toEqual(before);
    expect((await capacityOf(core)).cpus).toMatchObject({ promisable: 8, promised: 6, dedicated: '' });
    await core.run('less', dedicated, { cpus: 2 });
    await set(core, { cpuOvercommit: 2 });
    await core.run('more', dedicated, { cpus: 3 });
  });

  it('that a guest has alone are whole cores, and those of one that is being started count', async () => {
    const core = await createHost();
    const { topology } = core.fake.host;
    const cpus = topology.host.cpus.map((cpu) => ({ ...cpu, core: Math.floor(cpu.id / 2) }));
    topology.host = { ...topology.host, cpus };
    await set(core, { cpuOvercommit: 1 });
    const launch = holdNextLaunch(core);
    const start = core.run('loud', dedicated, { cpus: 1 });
    await launch.reached;
    expect((await capacityOf(core)).cpus).toMatchObject({ promisable: 6, promised: 0 });
    await expect(core.run('a', undefined, { cpus: 7 })).rejects.toMatchObject({
      details: { promisable: 6, dedicated: 2 },
    });
    launch.letGo();
    await start;
    await core.run('b', undefined, { cpus: 6 });
  });

  it('are promised a hundred times by default', async () => {
    const core = await createHost();
    await core.run('a', undefined, { cpus: 200 });
    expect((await capacityOf(core)).cpus).toMatchObject({ promisable: 800, promised: 200 });
  });

  it('stay with guests that run when the factor is lowered', async () => {
    const core = await createHost();
    await core.run('a', undefined, { cpus: 8 });
    await set(core, { cpuOvercommit: 0.5 });
    await core.pass();
    expect((await core.get('a')).status.state).toBe('running');
    expect((await capacityOf(core)).cpus).toMatchObject({ promisable: 4, promised: 8 });
    await core.stop('a');
    await expect(core.start('a')).rejects.toMatchObject({ code: 'host.insufficient_cpus' });
  });

  it('are counted also for those that are started side by side', async () => {
    const core = await createHost();
    await set(core, { cpuOvercommit: 1 });
    const starts = await Promise.allSettled(
      ['a', 'b', 'c'].map((name) => core.run(name, undefined, { cpus: 4 })),
    );
    expect(starts.map(({ status }) => status).filter((status) => status === 'rejected')).toHaveLength(1);
  });
});

describe('the settings of the host', () => {
  it('are changed one by one, and kept over a restart of wirtd', async () => {
    const core = await createHost();
    const settings = () => core.fake.core.actions.host.settings();
    expect(await settings()).toEqual({ cpuOvercommit: 100, memoryOvercommit: 1, poolOvercommit: 20 });
    await set(core, { memoryOvercommit: 1.5 });
    const changed = { cpuOvercommit: 4, memoryOvercommit: 1.5, poolOvercommit: 20 };
    expect(await set(core, { cpuOvercommit: 4 })).toEqual(changed);
    await core.fake.restart();
    expect(await settings()).toEqual(changed);
    expect((await capacityOf(core)).settings).toEqual(changed);
  });

  it('stay what they were when they cannot be stored', async () => {
    const core = await createHost();
    core.fake.store.failWith(new Error('The disk is full.'));
    await expect(set(core, { cpuOvercommit: 4 })).rejects.toThrow();
    core.fake.store.failWith(undefined);
    expect((await capacityOf(core)).settings.cpuOvercommit).toBe(100);
  });
});

describe('the capacity of a host', () => {
  it('adds up: huge pages on their own account, the overhead of each QEMU, and processors of both kinds', async () => {
    const core = await createHost();
    await core.run('plain', undefined, { memoryMib: 1000 });
    await core.run('huge', { ...huge, ...dedicated }, { memoryMib: 500, cpus: 2 });
    const { cpus, memory, hugePages } = await capacityOf(core);
    expect(memory).toEqual({
      totalMib,
      availableMib: totalMib - 500,
      promisableMib: totalMib - 500,
      promisedMib: 1000 + 2 * overheadMib,
      reservedMib: 0,
      hugePagesMib: 500,
    });
    expect(hugePages).toEqual([{ node: 0, sizeKib: 2048, total: 250, free: 250, promised: 250 }]);
    expect(cpus).toEqual({ online: 8, promisable: 600, promised: 1, dedicated: '1-2' });
    await core.stop('plain');
    await core.stop('huge');
    await core.pass();
    const after = await capacityOf(core);
    expect(after.memory).toMatchObject({ promisedMib: 0, hugePagesMib: 0 });
    expect(after.hugePages).toEqual([{ node: 0, sizeKib: 2048, total: 0, free: 0, promised: 0 }]);
    expect(after.cpus).toMatchObject({ promisable: 800, promised: 0, dedicated: '' });
  });

  it('has the sums of its pools', async () => {
    const core = await createHost();
    await core.scene.volume('data');
    const { pools } = await capacityOf(core);
    expect(pools).toMatchObject([{ name: 'default', promisedBytes: 2 ** 30 }]);
  });
});

describe('the topology of a host', () => {
  it('says who is on which node, and who has which processor for itself', async () => {
    const core = await createPlacedCore(2, 4);
    await core.run('loud', dedicated, { cpus: 2 });
    await core.run('quiet', undefined, { cpus: 4 });
    await core.run('wide', undefined, { cpus: 6, memoryMib: 256 });
    const { nodes, cpus } = await core.fake.core.actions.host.topology(core.fake.request);
    expect(nodes.map(({ node, cpus: ids, instances }) => ({ node, ids, instances }))).toEqual([
      { node: 0, ids: '0-3', instances: ['loud', 'wide'] },
      { node: 1, ids: '4-7', instances: ['quiet', 'wide'] },
    ]);
    expect(nodes[0]?.distances).toEqual([
      { node: 0, distance: 10 },
      { node: 1, distance: 20 },
    ]);
    const owned = cpus.filter(({ dedicatedTo }) => dedicatedTo !== undefined);
    expect(owned.map(({ cpu, dedicatedTo }) => [cpu, dedicatedTo])).toEqual([
      [1, 'loud'],
      [2, 'loud'],
    ]);
    expect(cpus).toHaveLength(8);
    expect(cpus[5]).toEqual({ cpu: 5, node: 1, socket: 1, core: 5 });
  });
});
