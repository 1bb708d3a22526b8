// Where guests are put on a host of two nodes with four processors each, who keeps off whose processors, and what is refused.
import { describe, expect, it } from 'vitest';
import { waitDone } from '../fakes/fake-core.ts';
import { createPlacedCore, force, type PlacedCore, turns } from './placing.fixture.ts';

const two = { cpus: 2 } as const;
const dedicated = { dedicated: true } as const;

async function dedicatedOf(core: PlacedCore, ...names: string[]): Promise<(string | undefined)[]> {
  const all = await Promise.all(names.map((name) => core.get(name)));
  return all.map(({ status }) => status.placement?.dedicated);
}

describe('a guest on a host of two nodes', () => {
  it('is put on one of them, with memory and processors, and QEMU is told so', async () => {
    const core = await createPlacedCore();
    await core.run('web', undefined, two);
    const { placement } = (await core.get('web')).status;
    expect(placement).toMatchObject({ nodes: [0], groupCpus: '0-3' });
    expect(placement?.reasons.length).toBeGreaterThan(0);
    expect((await core.plan('web'))?.placement).toEqual({
      nodes: [{ memoryMib: 64, vcpus: [0, 1], hostNode: 0, distances: [10] }],
      topology: placement?.topology,
    });
    expect(await core.pins('web')).toEqual({ group: [0, 1, 2, 3], vcpus: {} });
  });

  it('that is larger than a node has two, with the distances between them', async () => {
    const core = await createPlacedCore();
    await core.run('web', undefined, { cpus: 8, memoryMib: 256 });
    const plan = await core.plan('web');
    expect(plan?.placement?.nodes).toMatchObject([
      { vcpus: [0, 1, 2, 3], hostNode: 0, distances: [10, 20] },
      { vcpus: [4, 5, 6, 7], hostNode: 1, distances: [20, 10] },
    ]);
    expect(plan?.placement?.nodes.reduce((sum, { memoryMib }) => sum + memoryMib, 0)).toBe(256);
    expect((await core.pins('web'))?.vcpus).toMatchObject({ 0: [0, 1, 2, 3], 7: [4, 5, 6, 7] });
  });

  it('goes where there is more room for the second one', async () => {
    const core = await createPlacedCore();
    await Promise.all(['a', 'b'].map((name) => core.run(name, undefined, { cpus: 4 })));
    const nodes = await Promise.all(
      ['a', 'b'].map(async (name) => (await core.get(name)).status.placement?.nodes),
    );
    expect(new Set(nodes.flat())).toEqual(new Set([0, 1]));
  });

  it('is anywhere when it is to be wherever the kernel likes, and its record says nothing', async () => {
    const core = await createPlacedCore();
    await core.run('web', { placement: 'none' });
    expect((await core.get('web')).status.placement).toBeUndefined();
    expect((await core.plan('web'))?.placement).toBeUndefined();
    expect(await core.pins('web')).toBeUndefined();
  });

  it('has no place any more once it was stopped, or ended by itself', async () => {
    const core = await createPlacedCore();
    await core.run('a');
    await core.run('b');
    await core.stop('a');
    expect((await core.get('a')).status).not.toHaveProperty('placement');
    core.fake.host.end((await core.get('b')).id, {});
    await turns();
    expect((await core.get('b')).status).toMatchObject({ state: 'stopped' });
    expect((await core.get('b')).status).not.toHaveProperty('placement');
  });

  it('costs no look at the host where it is the only node and asks for nothing', async () => {
    const core = await createPlacedCore(1, 8);
    core.fake.cut(undefined);
    await core.run('web');
    expect(core.fake.calls).not.toContain('topology.read');
    expect((await core.get('web')).status.placement).toBeUndefined();
  });
});

describe('processors of its own', () => {
  it('are different ones for two guests that are started side by side', async () => {
    const core = await createPlacedCore();
    await Promise.all(['a', 'b'].map((name) => core.run(name, dedicated, { cpus: 3 })));
    expect(new Set(await dedicatedOf(core, 'a', 'b'))).toEqual(new Set(['1-3', '4-6']));
    for (const name of ['a', 'b']) {
      const pins = await core.pins(name);
      const own = Object.values(pins?.vcpus ?? {});
      expect(own).toHaveLength(3);
      for (const cpus of own) expect(cpus).toHaveLength(1);
      expect([[0], [7]]).toContainEqual(pins?.emulator);
    }
  });

  it('are refused to a third for which there are none, who leaves nothing behind but the reason', async () => {
    const core = await createPlacedCore();
    for (const name of ['a', 'b']) await core.run(name, dedicated, { cpus: 3 });
    const before = core.fake.host.remains();
    await expect(core.run('c', dedicated, { cpus: 3 })).rejects.toMatchObject({ code: 'host.cpus_taken' });
    expect(core.fake.host.remains()).toEqual(before);
    const { status } = await core.get('c');
    expect(status).toMatchObject({ state: 'crashed', exit: { reason: 'error' } });
    expect(status.exit?.message).toMatch(/^Instance c .*processor/);
    expect(status.placement).toBeUndefined();
    await core.stop('a');
    await core.start('c');
    expect(await dedicatedOf(core, 'c')).toEqual(['1-3']);
  });

  it('are free again after a start that failed', async () => {
    const core = await createPlacedCore(1, 4);
    core.fake.fault = { step: 'instance.start/connect', kind: 'fail' };
    await expect(core.run('a', dedicated, { cpus: 3 })).rejects.toThrow();
    core.fake.fault = undefined;
    await core.run('b', dedicated, { cpus: 3 });
    expect((await core.get('b')).status.placement?.dedicated).toHaveLength(3);
  });

  it.each(['a guest that is placed', 'a guest that is not'])(
    'are left by %s, who gets them back after the other has ended',
    async (what) => {
      const core = await createPlacedCore(what.endsWith('placed') ? 2 : 1, what.endsWith('placed') ? 4 : 8);
      await core.run('old', undefined, { cpus: 1 });
      await core.run('loud', { dedicated: true, vcpuPins: { '0': '1', '1': '2' } }, two);
      const all = what.endsWith('placed') ? [0, 1, 2, 3] : [0, 1, 2, 3, 4, 5, 6, 7];
      const left = all.filter((cpu) => cpu !== 1 && cpu !== 2);
      expect((await core.pins('old'))?.group).toEqual(left);
      await core.stop('loud');
      await core.pass();
      expect((await core.pins('old'))?.group).toEqual(all);
    },
  );

  it('are left by one that is started at the same moment, and was not to be placed', async () => {
    const core = await createPlacedCore(1, 8);
    await Promise.all([core.run('plain'), core.run('loud', dedicated, two), core.run('other')]);
    expect(await dedicatedOf(core, 'loud')).toEqual(['1-2']);
    for (const name of ['plain', 'other']) expect((await core.pins(name))?.group).toEqual([0, 3, 4, 5, 6, 7]);
  });

  it('are left by one whose start has not ended yet', async () => {
    const core = await createPlacedCore(1, 8);
    const { hypervisor } = core.fake.host;
    const { launch } = hypervisor;
    const [resumes, other] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    Object.assign(hypervisor, {
      launch: async (...given: Parameters<typeof launch>) => {
        Object.assign(hypervisor, { launch });
        const guest = await launch(...given);
        const { resume } = guest;
        return Object.assign(guest, {
          resume: async (signal: AbortSignal) => {
            resumes.resolve();
            await other.promise;
            return resume(signal);
          },
        });
      },
    });
    const start = core.run('slow');
    await resumes.promise;
    await core.run('loud', dedicated, two);
    other.resolve();
    await start;
    expect((await core.pins('slow'))?.group).toEqual([0, 3, 4, 5, 6, 7]);
  });

  it('show in the record of who had to leave them', async () => {
    const core = await createPlacedCore();
    await core.run('old');
    await core.run('loud', { dedicated: true, vcpuPins: { '0': '3' } });
    expect((await core.get('old')).status.placement?.groupCpus).toBe('0-2');
    await core.stop('loud');
    await core.pass();
    expect((await core.get('old')).status.placement?.groupCpus).toBe('0-3');
  });

  it('are left also by one whose record is being changed, and both changes are made', async () => {
    const core = await createPlacedCore();
    await core.run('old');
    const { fake } = core;
    const { topology } = fake.host;
    const { read } = topology;
    const looks = Promise.withResolvers<void>();
    const looked = Promise.withResolvers<void>();
    // The look at the host that the change takes ends only after the other guest has started.
    topology.read = async (signal) => {
      topology.read = read;
      looks.resolve();
      await looked.promise;
      return read(signal);
    };
    const change = fake.core.actions.instance.update(fake.request, 'old', {
      spec: { tuning: { hugePages: 'none' } },
    });
    await looks.promise;
    await core.run('loud', { dedicated: true, vcpuPins: { '0': '3' } });
    looked.resolve();
    await change;
    await core.pass();
    expect(await core.get('old')).toMatchObject({
      spec: { tuning: { hugePages: 'none' } },
      status: { placement: { groupCpus: '0-2' } },
    });
  });

  it('are left with the next pass by who could not be told at once', async () => {
    const core = await createPlacedCore(1, 8);
    await core.run('old');
    const process = core.fake.host.processes.get((await core.get('old')).id);
    if (process === undefined) throw new Error('It does not run.');
    process.tuning.failure = new Error('It does not answer.');
    await core.run('loud', dedicated, two);
    expect(process.tuning.pins).toBeUndefined();
    process.tuning.failure = undefined;
    await core.pass();
    expect(process.tuning.pins?.group).toEqual([0, 3, 4, 5, 6, 7]);
  });

  it('are kept over a restart of wirtd', async () => {
    const core = await createPlacedCore();
    await core.run('a', dedicated, { cpus: 3 });
    const [own] = await dedicatedOf(core, 'a');
    await core.fake.restart();
    await core.run('b', dedicated, { cpus: 3 });
    const [still, other] = await dedicatedOf(core, 'a', 'b');
    expect(still).toBe(own);
    expect(other).not.toBe(own);
    await expect(core.run('c', dedicated, { cpus: 3 })).rejects.toMatchObject({ code: 'host.cpus_taken' });
  });

  it('are told again by a wirtd that was started anew, for vCPUs to come', async () => {
    const core = await createPlacedCore();
    await core.run('a');
    const process = core.fake.host.processes.get((await core.get('a')).id);
    if (process === undefined) throw new Error('It does not run.');
    process.tuning.pins = undefined;
    await core.fake.restart();
    await turns();
    expect(process.tuning.pins).toMatchObject({ group: [0, 1, 2, 3] });
  });

  it('stay with who has them when what it is to be changes while it runs', async () => {
    const core = await createPlacedCore();
    await core.run('a', dedicated, { cpus: 3 });
    const { instance } = core.fake.core.actions;
    await instance.update(core.fake.request, 'a', { spec: { tuning: null } });
    expect(await dedicatedOf(core, 'a')).toEqual(['1-3']);
    await core.run('b', dedicated, { cpus: 3 });
    expect(await dedicatedOf(core, 'b')).toEqual(['4-6']);
  });
});

describe('pins and topologies that the host cannot have', () => {
  const nowhere = { vcpuPins: { '0': '40' } } as const;

  it('are refused when the guest is created, and nothing is recorded', async () => {
    const core = await createPlacedCore();
    const refused = core.fake.create({ name: 'web', spec: { tuning: nowhere } });
    await expect(refused).rejects.toMatchObject({ code: 'host.no_such_cpu', details: { missing: '40' } });
    await expect(core.get('web')).rejects.toMatchObject({ code: 'instance.not_found' });
  });

  it('are refused when they are changed, and nothing changes', async () => {
    const core = await createPlacedCore();
    await core.fake.create({ name: 'web', spec: { tuning: { emulatorPin: '1' } } });
    const before = await core.get('web');
    const update = (tuning: object) =>
      core.fake.core.actions.instance.update(core.fake.request, 'web', {
        labels: { a: 'b' },
        spec: { tuning },
      });
    await expect(update(nowhere)).rejects.toMatchObject({ code: 'host.no_such_cpu' });
    await expect(update({ iothreadPin: '0,8' })).rejects.toMatchObject({ code: 'host.no_such_cpu' });
    await expect(update({ vcpuPins: { '1': '0' } })).rejects.toMatchObject({
      code: 'instance.invalid_topology',
    });
    expect(await core.get('web')).toEqual(before);
    await update({ iothreadPin: '0,7' });
    expect((await core.get('web')).spec.tuning).toEqual({ emulatorPin: '1', iothreadPin: '0,7' });
  });

  it('are refused when their product is not the number of vCPUs that the guest may have', async () => {
    const core = await createPlacedCore();
    const create = (name: string, maxCpus: number) =>
      core.fake.create({
        name,
        spec: { cpus: 2, maxCpus, tuning: { topology: { sockets: 1, cores: 2, threads: 2 } } },
      });
    await expect(create('web', 8)).rejects.toMatchObject({
      code: 'instance.invalid_topology',
      details: { product: 4, maxCpus: 8 },
    });
    await create('api', 4);
    await core.start('api');
    expect((await core.plan('api'))?.placement?.topology).toEqual({ sockets: 1, cores: 2, threads: 2 });
  });

  it('are refused too when the vCPUs are changed below them', async () => {
    const core = await createPlacedCore();
    const topology = { sockets: 1, cores: 2, threads: 1 };
    await core.fake.create({ name: 'web', spec: { cpus: 2, tuning: { topology } } });
    const { instance } = core.fake.core.actions;
    const update = instance.update(core.fake.request, 'web', { spec: { cpus: 4 } });
    await expect(update).rejects.toMatchObject({ code: 'instance.invalid_topology' });
    expect((await core.get('web')).spec.cpus).toBe(2);
    const both = { cpus: 4, tuning: { topology: { ...topology, cores: 4 } } };
    await instance.update(core.fake.request, 'web', { spec: both });
    expect((await core.get('web')).spec.cpus).toBe(4);
  });

  it('are refused at the start when the processor has gone meanwhile, and nothing is left', async () => {
    const core = await createPlacedCore();
    await core.fake.create({ name: 'web', spec: { tuning: { vcpuPins: { '0': '7' } } } });
    const { topology } = core.fake.host;
    topology.host = { ...topology.host, cpus: topology.host.cpus.filter(({ id }) => id !== 7) };
    await expect(core.start('web')).rejects.toMatchObject({ code: 'host.no_such_cpu' });
    expect(core.fake.host.remains()).toEqual([]);
    expect((await core.get('web')).status.exit?.message).toContain('processor 7');
  });

  it('are refused at the start when another has the processor, who is named', async () => {
    const core = await createPlacedCore();
    await core.run('loud', { dedicated: true, vcpuPins: { '0': '3' } });
    const start = core.run('web', { vcpuPins: { '0': '3' } });
    await expect(start).rejects.toMatchObject({ code: 'host.cpus_taken', details: { by: 'loud' } });
  });
});

describe('a change of tuning', () => {
  it('takes out what is null, keeps what is absent, and leaves no empty tuning', async () => {
    const core = await createPlacedCore();
    await core.fake.create({ name: 'web', spec: { tuning: { profile: 'density', dedicated: true } } });
    const update = async (tuning: object | null) => {
      const { instance } = core.fake.core.actions;
      return (await instance.update(core.fake.request, 'web', { spec: { tuning } })).spec.tuning;
    };
    expect(await update({ dedicated: null })).toEqual({ profile: 'density' });
    expect(await update({ placement: 'auto' })).toEqual({ profile: 'density', placement: 'auto' });
    expect(await update({ profile: null, placement: null })).toBeUndefined();
    expect(await update({ hugePages: 'none' })).toEqual({ hugePages: 'none' });
    expect(await update(null)).toBeUndefined();
  });

  it('is in force from the next start', async () => {
    const core = await createPlacedCore();
    await core.run('web');
    const { instance } = core.fake.core.actions;
    await instance.update(core.fake.request, 'web', { spec: { tuning: dedicated } });
    expect(await dedicatedOf(core, 'web')).toEqual([undefined]);
    await instance.restart(core.fake.request, 'web', force, waitDone);
    expect(await dedicatedOf(core, 'web')).toEqual(['1']);
  });
});
