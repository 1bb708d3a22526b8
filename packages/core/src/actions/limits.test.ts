// Limits of an instance: refused as a whole or in force, read back from where they act, mended when somebody else changes them.
import { type InstanceUpdate, type Limits, WirtError } from '@wirt/api';
import { describe, expect, it } from 'vitest';
import { createFakeCore, type FakeCore, waitDone } from '../fakes/fake-core.ts';

type Spec = NonNullable<InstanceUpdate['spec']>;

async function running(spec: { limits?: Limits; maxCpus?: number; maxMemoryMib?: number } = {}) {
  const fake = await createFakeCore();
  const { target } = await fake.create({ name: 'web', start: true, spec });
  const get = () => fake.core.actions.instance.get('web');
  return {
    fake,
    id: target.id,
    get,
    set: (change: Spec) => fake.core.actions.instance.update(fake.request, 'web', { spec: change }),
    tuning: () => {
      const process = fake.host.processes.get(target.id);
      if (process === undefined) throw new Error('web does not run');
      return process.tuning;
    },
    group: () => fake.host.groupLimits.get(target.id),
  };
}

/** A pass of the watch, to its end. */
async function pass(fake: FakeCore, ms = 5_000): Promise<void> {
  fake.clock.advance(ms);
  for (let turn = 0; turn < 500; turn += 1) await Promise.resolve();
}

describe('a limit', () => {
  it('is in force before QEMU is started, and shown as it was read back', async () => {
    const { group, tuning, get } = await running({
      limits: { cpu: { cores: 0.5 }, disk: { readBytes: { rate: 1_000_000 } } },
    });
    expect(group()).toEqual({ cores: 0.5 });
    expect(tuning().all).toEqual({ readBytes: { rate: 1_000_000 } });
    const { limits } = (await get()).status;
    expect(limits?.effective).toMatchObject({
      cpus: 1,
      cpu: { cores: 0.5 },
      disk: { readBytes: { rate: 1_000_000 } },
    });
    expect(limits?.drifted).toBeUndefined();
  });

  it('is changed and taken away while the guest runs', async () => {
    const { set, group, get } = await running();
    expect((await set({ limits: { cpu: { cores: 2, weight: 300 } } })).status.limits?.effective.cpu).toEqual({
      cores: 2,
      weight: 300,
    });
    expect((await set({ limits: { cpu: { weight: 100 } } })).status.limits?.drifted).toBeUndefined();
    await set({ limits: { cpu: { cores: null, weight: 300 } } });
    expect(group()).toEqual({ weight: 300 });
    await set({ limits: { cpu: null } });
    expect(group()).toEqual({});
    const { spec, status } = await get();
    expect(spec.limits).toEqual({});
    expect(status.limits?.effective.cpu).toBeUndefined();
  });

  it('that is refused changes nothing, and names the floor', async () => {
    const { set, group, get } = await running({ limits: { cpu: { cores: 1 } } });
    const before = await get();
    await expect(set({ limits: { cpu: { cores: 2 }, memory: { ceilingMib: 10 } } })).rejects.toMatchObject({
      code: 'limit.below_floor',
      details: { key: 'memory.ceiling' },
    });
    expect(await get()).toEqual(before);
    expect(group()).toEqual({ cores: 1 });
  });

  it('that this host cannot keep is refused, with what to do', async () => {
    const { fake, set, get } = await running();
    fake.host.groupRefuses.set('ioWeight', { why: 'no scheduler weighs.', hint: 'Use bfq.' });
    await expect(set({ limits: { disk: { weight: 50 } } })).rejects.toMatchObject({
      code: 'limit.unsupported',
      hint: 'Use bfq.',
    });
    expect((await get()).spec.limits).toBeUndefined();
    fake.host.network.limitsRefusal = { why: 'not root.', hint: 'Be root.' };
    await expect(set({ limits: { eachNic: { ingress: { bytesPerSecond: 1e6 } } } })).rejects.toMatchObject({
      code: 'limit.unsupported',
    });
  });

  it('that the kernel refuses lets no guest start, and shows at a running one until it is taken', async () => {
    const { fake, set, get } = await running();
    const refusal = new WirtError('limit.failed', 'The group was not limited.', {
      cause: new Error('EINVAL'),
    });
    fake.host.groupFails = refusal;
    const limited = await set({ limits: { cpu: { cores: 1 } } });
    expect(limited.status.limits?.drifted).toEqual([
      { key: 'cpu.cores', wanted: '1', why: expect.stringContaining('EINVAL') },
    ]);
    fake.host.groupFails = undefined;
    await pass(fake);
    expect((await get()).status.limits).toMatchObject({ effective: { cpu: { cores: 1 } } });
    expect((await get()).status.limits?.drifted).toBeUndefined();
    fake.host.groupFails = refusal;
    const { actions } = fake.core;
    await actions.instance.stop(fake.request, 'web', { mode: 'force', graceSeconds: 0 }, waitDone);
    const start = actions.instance.start(fake.request, 'web', { paused: false }, waitDone);
    await expect(start).rejects.toMatchObject({ code: 'limit.failed' });
    expect(fake.host.processes.size).toBe(0);
  });

  it('of a disk or a card that is not there, or has gone, is refused, and goes with it', async () => {
    const { fake, set, get, id } = await running();
    await expect(set({ disks: { data: { limits: {} } } })).rejects.toMatchObject({
      code: 'volume.not_attached',
    });
    const egress = { bytesPerSecond: 1_000_000 };
    await set({ nics: { nic0: { limits: { egress } } } });
    expect(fake.host.network.plan.ports).toMatchObject([{ limits: { egress } }]);
    await fake.core.actions.nic.detach(fake.request, 'web', 'nic0', waitDone);
    expect(fake.host.network.plan.ports).toEqual([]);
    await expect(set({ nics: { nic0: { limits: null } } })).rejects.toMatchObject({
      code: 'network.no_such_nic',
    });
    await pass(fake);
    expect((await get()).status.limits?.drifted).toBeUndefined();
    expect(fake.host.groupLimits.get(id)).toEqual({});
  });

  it('is kept over stop, start and a restart of the daemon', async () => {
    const { fake, id, group, get } = await running({ limits: { cpu: { cores: 1 } } });
    await fake.restart();
    expect((await get()).status.limits?.effective.cpu).toEqual({ cores: 1 });
    const { instance } = fake.core.actions;
    await instance.stop(fake.request, 'web', { mode: 'force', graceSeconds: 0 }, waitDone);
    expect((await get()).status.limits).toBeUndefined();
    expect(fake.host.groupLimits.has(id)).toBe(false);
    await instance.start(fake.request, 'web', { paused: false }, waitDone);
    expect(group()).toEqual({ cores: 1 });
  });

  it.each(['instance.update/limits', 'policy.update/apply'])(
    'is brought into force by the next daemon where one died at %s',
    async (step) => {
      const { fake, set, group, get } = await running();
      const { policy } = fake.core.actions;
      const head = { name: 'gold', project: 'default', labels: {}, description: '' };
      await policy.create(fake.request, { ...head, limits: {} });
      await set({ policy: 'gold' });
      fake.fault = { step, kind: 'die' };
      const limits = { cpu: { cores: 2 } };
      void (step.startsWith('policy') ? policy.update(fake.request, 'gold', { limits }) : set({ limits }));
      await fake.died();
      expect(group()).toEqual({});
      await fake.restart();
      await pass(fake);
      expect(group()).toEqual({ cores: 2 });
      expect((await get()).status.limits).toMatchObject({ effective: { cpu: { cores: 2 } } });
    },
  );

  it.each<[string, (fake: FakeCore, id: string) => void]>([
    ['a control group', ({ host }, id) => host.groupLimits.set(id, { cores: 9 })],
    ['a control group that is gone', ({ host }, id) => host.groupLimits.delete(id)],
    ['a card’s rates', ({ host }, id) => host.network.unlimited.add(`${id}/nic0`)],
  ])('of %s that somebody else changes is mended by the watch, and said', async (_what, harm) => {
    const limits = { cpu: { cores: 1 }, eachNic: { egress: { bytesPerSecond: 1_000_000 } } };
    const { fake, id, group, get } = await running({ limits });
    await pass(fake);
    harm(fake, id);
    for (let number = 0; number < 12; number += 1) await pass(fake);
    expect(group()).toEqual({ cores: 1 });
    expect(fake.host.network.unlimited.size).toBe(0);
    const { limits: shown } = (await get()).status;
    expect(shown).toMatchObject({ effective: { cpu: { cores: 1 }, nics: { nic0: limits.eachNic } } });
    expect(shown?.repairedAt).toBeDefined();
  });
});

describe('processors and memory', () => {
  it('are raised and lowered live up to what the run was started for, and wait for the next start above', async () => {
    const { set, tuning, get } = await running({ maxCpus: 4, maxMemoryMib: 512 });
    await set({ cpus: 3, memoryMib: 256 });
    expect(tuning()).toMatchObject({ plugged: 3, pluggedMib: 256 });
    await set({ memoryMib: 512 });
    await set({ memoryMib: 128 });
    expect(tuning()).toMatchObject({ pluggedMib: 128 });
    await set({ memoryMib: 48 });
    expect(tuning()).toMatchObject({ pluggedMib: 64, balloonMib: 48 });
    await set({ memoryMib: 256 });
    expect(tuning()).toMatchObject({ pluggedMib: 256, balloonMib: 256 });
    const { limits } = (await set({ cpus: 6 })).status;
    expect(limits?.pending).toMatchObject([{ key: 'cpus', wanted: '6' }, { key: 'max-cpus' }]);
    expect(tuning().plugged).toBe(4);
    await set({ cpus: 1, maxCpus: 4 });
    expect(tuning().plugged).toBe(1);
    expect((await get()).status.limits?.pending).toBeUndefined();
  });

  it('are given back by the balloon below what it was started with, and asked for again until the guest gives', async () => {
    const { fake, set, tuning, get } = await running();
    tuning().obliges = false;
    const stubborn = await set({ limits: { memory: { balloonMib: 64 } }, memoryMib: 64 });
    expect(stubborn.status.limits?.drifted).toBeUndefined();
    const fresh = await running({ maxMemoryMib: 512 });
    fresh.tuning().obliges = false;
    expect((await fresh.set({ memoryMib: 512 })).status.limits?.drifted).toMatchObject([
      { key: 'memory', wanted: '512', found: '64' },
    ]);
    fresh.tuning().obliges = true;
    await pass(fresh.fake);
    expect((await fresh.get()).status.limits?.drifted).toBeUndefined();
    expect((await get()).status.limits?.effective.memoryMib).toBe(64);
    expect(fake.host.processes.size).toBe(1);
  });

  it('squeeze no guest that has not got yet what it was promised', async () => {
    const { set, tuning } = await running({ maxMemoryMib: 128 });
    await set({ limits: { memory: { balloonMib: 64 } } });
    tuning().obliges = false;
    await set({ memoryMib: 512 });
    tuning().obliges = true;
    await set({ limits: { memory: { balloonMib: 64 } }, memoryMib: 1024 });
    expect(tuning()).toMatchObject({ pluggedMib: 128, balloonMib: 64 });
  });

  it('have a ceiling that counts what their QEMU may still have', async () => {
    const { set, group } = await running({ maxMemoryMib: 512, limits: { memory: { ceilingMib: 'auto' } } });
    const before = group()?.ceilingMib ?? 0;
    await set({ memoryMib: 32, maxMemoryMib: null });
    expect(group()?.ceilingMib).toBe(before);
    await expect(set({ limits: { memory: { ceilingMib: before - 300 } } })).rejects.toMatchObject({
      code: 'limit.below_floor',
    });
  });

  it('are not raised beyond what the host has left', async () => {
    const { set, get } = await running({ maxMemoryMib: 60_000 });
    await expect(set({ memoryMib: 50_000 })).rejects.toMatchObject({ code: 'host.insufficient_memory' });
    expect((await get()).spec.memoryMib).toBe(64);
  });

  it('whose maximum is below what there is are refused', async () => {
    const { set } = await running();
    await expect(set({ cpus: 4, maxCpus: 2 })).rejects.toMatchObject({ code: 'limit.invalid' });
  });
});
