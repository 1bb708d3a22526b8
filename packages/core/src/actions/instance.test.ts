// The life of instances over a fake host: what each action promises, each step failed in turn, the daemon dead at each step.
import { WirtError } from '@wirt/api';
import { describe, expect, it } from 'vitest';
import { createFakeCore, type FakeCore, waitDone } from '../fakes/fake-core.ts';
import { killedExit } from '../fakes/fake-host.ts';

const force = { mode: 'force', graceSeconds: 0 } as const;
const graceful = { mode: 'graceful', graceSeconds: 30 } as const;

async function instanceOf(fake: FakeCore, name = 'web') {
  return fake.core.actions.instance.get(name);
}

/** Resolves when the instance's record satisfies `test`; the event stream tells when to look. */
async function until(fake: FakeCore, test: (state: string) => boolean, name = 'web') {
  const done = new AbortController();
  const signal = AbortSignal.any([done.signal, AbortSignal.timeout(5_000)]);
  for await (const _ of fake.core.actions.event.stream({ ...fake.request, signal }, { since: 0 })) {
    const instance = await fake.core.actions.instance.get(name).catch(() => undefined);
    if (test(instance?.status.state ?? 'gone')) {
      done.abort();
      return instance;
    }
  }
  throw new Error('the awaited state was not reached');
}

describe('the life of an instance', () => {
  it('runs when created with start, and shows its process', async () => {
    const fake = await createFakeCore();
    await fake.create({ name: 'web', start: true });
    const { status } = await instanceOf(fake);
    expect(status.state).toBe('running');
    expect(status.process?.pid).toBe([...fake.host.processes.values()][0]?.pid);
  });

  it('is left paused when asked', async () => {
    const fake = await createFakeCore();
    await fake.create({ name: 'web', start: true, startPaused: true });
    expect((await instanceOf(fake)).status.state).toBe('paused');
    expect((await fake.core.actions.instance.resume(fake.request, 'web')).status.state).toBe('running');
  });

  it('stops by its power button, and leaves nothing on the host', async () => {
    const fake = await createFakeCore();
    await fake.create({ name: 'web', start: true });
    await fake.core.actions.instance.stop(fake.request, 'web', graceful, waitDone);
    const { status } = await instanceOf(fake);
    expect(status).toMatchObject({ state: 'stopped', exit: { reason: 'stopped' } });
    expect(status.process).toBeUndefined();
    expect(fake.host.remains()).toEqual([]);
  });

  it('is ended by force when it ignores its power button past the grace period', async () => {
    const fake = await createFakeCore();
    const { target } = await fake.create({ name: 'web', start: true });
    const process = fake.host.processes.get(target.id);
    if (process !== undefined) process.obeysPowerButton = false;
    await fake.core.actions.instance.stop(
      fake.request,
      'web',
      { mode: 'graceful', graceSeconds: 0 },
      waitDone,
    );
    expect((await instanceOf(fake)).status.exit?.reason).toBe('killed');
  });

  it('goes on running when asked to stop by ACPI only and it does not', async () => {
    const fake = await createFakeCore();
    const { target } = await fake.create({ name: 'web', start: true });
    const process = fake.host.processes.get(target.id);
    if (process !== undefined) process.obeysPowerButton = false;
    const stop = fake.core.actions.instance.stop(
      fake.request,
      'web',
      { mode: 'acpi', graceSeconds: 0 },
      waitDone,
    );
    await expect(stop).rejects.toMatchObject({ code: 'instance.stop_timeout' });
    expect((await instanceOf(fake)).status.state).toBe('running');
  });

  it('can be ended by force while a graceful stop waits', async () => {
    const fake = await createFakeCore();
    const { target } = await fake.create({ name: 'web', start: true });
    const process = fake.host.processes.get(target.id);
    if (process !== undefined) process.obeysPowerButton = false;
    const waiting = fake.core.actions.instance.stop(fake.request, 'web', graceful, waitDone);
    await until(fake, (state) => state === 'stopping');
    await fake.core.actions.instance.stop(fake.request, 'web', force, waitDone);
    await waiting;
    expect((await instanceOf(fake)).status.state).toBe('stopped');
  });

  it('queues what is asked while work is under way, and does it in order', async () => {
    const fake = await createFakeCore();
    await fake.create({ name: 'web' });
    const { instance } = fake.core.actions;
    const none = { wait: 'none', waitSeconds: 5 } as const;
    const start = await instance.start(fake.request, 'web', { paused: false }, none);
    expect(start.state).toBe('running');
    const stop = await instance.stop(fake.request, 'web', force, none);
    expect(stop.state).toBe('queued');
    expect(await fake.core.actions.operation.get(fake.request, stop.id, 5)).toMatchObject({ state: 'done' });
    expect((await instanceOf(fake)).status.state).toBe('stopped');
  });

  it('refuses what its state does not allow, and says what it does', async () => {
    const fake = await createFakeCore();
    await fake.create({ name: 'web' });
    const refused = fake.core.actions.instance.pause(fake.request, 'web');
    await expect(refused).rejects.toMatchObject({
      code: 'instance.state_conflict',
      details: { state: 'stopped' },
    });
    await expect(refused).rejects.toThrow(
      'Instance web is stopped, and pause is not possible in this state.',
    );
  });

  it('keeps names unique, also for two creates at the same moment', async () => {
    const fake = await createFakeCore();
    const results = await Promise.allSettled([fake.create({ name: 'web' }), fake.create({ name: 'web' })]);
    const refused = results.filter((result) => result.status === 'rejected');
    expect(refused.map(({ reason }) => (reason as WirtError).code)).toEqual(['instance.name_taken']);
  });

  it('moves to its new name when renamed, and the old one is free', async () => {
    const fake = await createFakeCore();
    await fake.create({ name: 'web' });
    await fake.core.actions.instance.update(fake.request, 'web', { name: 'api' });
    await fake.create({ name: 'web' });
    expect((await instanceOf(fake, 'api')).id).not.toBe((await instanceOf(fake)).id);
  });

  it('refuses a change on a record that has changed since', async () => {
    const fake = await createFakeCore();
    await fake.create({ name: 'web' });
    const update = fake.core.actions.instance.update({ ...fake.request, ifRevision: 1 }, 'web', {
      labels: { a: 'b' },
    });
    await expect(update).rejects.toMatchObject({ code: 'request.revision_mismatch' });
    expect((await instanceOf(fake)).labels).toEqual({});
  });

  it('answers the same operation for the same idempotency key, and refuses the key for another request', async () => {
    const fake = await createFakeCore();
    const request = { ...fake.request, idempotency: { key: 'k', fingerprint: 'f' } };
    fake.fault = undefined;
    const input = { project: 'default', labels: {}, start: false, startPaused: false } as const;
    await fake.create({ name: 'a' });
    const { cloudInit: _, disks: __, ...spec } = (await instanceOf(fake, 'a')).spec;
    const wanted = { ...spec, disks: [], nics: [] };
    const create = (name: string, fingerprint: string) =>
      fake.core.actions.instance.create(
        { ...request, idempotency: { key: 'k', fingerprint } },
        { ...input, name, spec: wanted },
        waitDone,
      );
    const first = await create('web', 'f');
    expect(await create('web', 'f')).toMatchObject({ id: first.id });
    expect(await create('other', 'f')).toMatchObject({ id: first.id, target: { name: 'web' } });
    await expect(create('third', 'g')).rejects.toMatchObject({ code: 'request.idempotency_conflict' });
  });

  it('refuses more memory than the host has, with the figures', async () => {
    const fake = await createFakeCore();
    const create = fake.create({ name: 'web', spec: { memoryMib: 8192 } });
    await expect(create).rejects.toThrow(
      'needs 8272 MiB (8192 MiB and 80 MiB for QEMU), and the host has 4096 MiB available',
    );
    await fake.create({ name: 'web', start: true, spec: { memoryMib: 8192, overcommit: true } });
    expect((await instanceOf(fake)).status.state).toBe('running');
  });

  it('removes everything, by force when asked', async () => {
    const fake = await createFakeCore();
    await fake.create({ name: 'web', start: true });
    const remove = (forced: boolean) =>
      fake.core.actions.instance.remove(fake.request, 'web', { force: forced }, waitDone);
    await expect(remove(false)).rejects.toMatchObject({ code: 'instance.state_conflict' });
    await remove(true);
    await expect(instanceOf(fake)).rejects.toMatchObject({ code: 'instance.not_found' });
    expect(fake.host.remains()).toEqual([]);
  });
});

describe('an instance that ends by itself', () => {
  it('is crashed with the reason, and nothing is left on the host', async () => {
    const fake = await createFakeCore();
    const { target } = await fake.create({ name: 'web', start: true });
    fake.host.end(target.id, { process: { kind: 'signalled', signal: 'SIGSEGV' }, lastLine: 'qemu: oops' });
    const instance = await until(fake, (state) => state === 'crashed');
    expect(instance?.status.exit).toMatchObject({ reason: 'signal', signal: 'SIGSEGV' });
    expect(instance?.status.exit?.message).toContain('qemu: oops');
    expect(fake.host.remains()).toEqual([]);
  });

  it('shows when the kernel killed it for memory', async () => {
    const fake = await createFakeCore();
    const { target } = await fake.create({ name: 'web', start: true });
    fake.host.runOutOfMemory(target.id);
    expect((await until(fake, (state) => state === 'crashed'))?.status.exit?.reason).toBe('oom');
  });

  it('is started again after the back-off, which doubles', async () => {
    const fake = await createFakeCore();
    const { target } = await fake.create({ name: 'web', start: true, spec: { restart: 'on-failure' } });
    for (const row of [0, 1, 2]) {
      fake.host.end(target.id, killedExit);
      const crashed = await until(fake, (state) => state === 'crashed');
      expect(crashed?.status.restarts).toBe(row);
      fake.clock.advance(1000 * 2 ** row - 1);
      expect((await instanceOf(fake)).status.state).toBe('crashed');
      fake.clock.advance(1);
      await until(fake, (state) => state === 'running');
    }
  });

  it('stays stopped when it powered off and the policy is on-failure', async () => {
    const fake = await createFakeCore();
    const { target } = await fake.create({ name: 'web', start: true, spec: { restart: 'on-failure' } });
    fake.host.end(target.id, { shutdownReason: 'guest-shutdown' });
    const stopped = await until(fake, (state) => state === 'stopped');
    expect(stopped?.status).toMatchObject({ exit: { reason: 'guest-shutdown' } });
    expect(stopped?.status.restartAt).toBeUndefined();
  });

  it('is not started again once a person has stopped it', async () => {
    const fake = await createFakeCore();
    const { target } = await fake.create({ name: 'web', start: true, spec: { restart: 'always' } });
    fake.host.end(target.id, killedExit);
    await until(fake, (state) => state === 'crashed');
    await fake.core.actions.instance.stop(fake.request, 'web', force, waitDone);
    fake.clock.advance(10_000);
    expect((await instanceOf(fake)).status.state).toBe('stopped');
    expect(fake.host.processes.size).toBe(0);
  });
});

const startSteps = [
  'claim-uid',
  'control-group',
  'network',
  'disks',
  'grant-disks',
  'directory',
  'spawn',
  'connect',
  'resume',
  'record',
].map((step) => `instance.start/${step}`);
const stopSteps = [
  'mark',
  'kill',
  'control-group',
  'network',
  'clean',
  'devices',
  'close-disks',
  'release-uid',
  'record',
].map((step) => `instance.stop/${step}`);
const removeSteps = [
  'mark',
  'control-group',
  'network',
  'clean',
  'devices',
  'close-disks',
  'release-uid',
  'forget',
  'disks',
  'record',
].map((step) => `instance.remove/${step}`);

describe('a start of which a step fails', () => {
  it.each(startSteps)('leaves a clean host and the reason: %s', async (step) => {
    const fake = await createFakeCore();
    await fake.create({ name: 'web' });
    fake.fault = { step, kind: 'fail' };
    await expect(
      fake.core.actions.instance.start(fake.request, 'web', { paused: false }, waitDone),
    ).rejects.toThrow();
    expect(fake.host.remains()).toEqual([]);
    const { status } = await instanceOf(fake);
    expect(status).toMatchObject({
      state: 'crashed',
      exit: { reason: 'error', message: `injected at ${step}` },
    });
  });

  it('leaves a clean host when its end cannot be recorded', async () => {
    const fake = await createFakeCore();
    await fake.create({ name: 'web' });
    fake.fault = undefined;
    const broken = new WirtError('store.failed', 'The disk is broken.');
    const original = fake.host.hypervisor.launch;
    Object.assign(fake.host.hypervisor, {
      launch: async (...given: Parameters<typeof original>) => {
        const guest = await original(...given);
        fake.store.failWith(broken);
        return guest;
      },
    });
    const started = fake.core.actions.instance.start(fake.request, 'web', { paused: false }, waitDone);
    await expect(started).rejects.toMatchObject({ code: 'store.failed' });
    expect(fake.host.remains()).toEqual([]);
  });
});

describe('a stop or a removal of which a step fails', () => {
  it.each(stopSteps)('shows the reason and can be done again: %s', async (step) => {
    const fake = await createFakeCore();
    await fake.create({ name: 'web', start: true });
    fake.fault = { step, kind: 'fail' };
    await expect(fake.core.actions.instance.stop(fake.request, 'web', force, waitDone)).rejects.toThrow();
    expect((await instanceOf(fake)).status.state).toMatch(/^(running|crashed)$/);
    fake.fault = undefined;
    await fake.core.actions.instance.stop(fake.request, 'web', force, waitDone);
    await fake.core.actions.instance.remove(fake.request, 'web', { force: false }, waitDone);
    expect(fake.host.remains()).toEqual([]);
  });

  it.each(removeSteps)('can be removed after all: %s', async (step) => {
    const fake = await createFakeCore();
    await fake.create({ name: 'web' });
    fake.fault = { step, kind: 'fail' };
    const remove = () => fake.core.actions.instance.remove(fake.request, 'web', { force: true }, waitDone);
    await expect(remove()).rejects.toThrow();
    fake.fault = undefined;
    await remove();
    await expect(instanceOf(fake)).rejects.toMatchObject({ code: 'instance.not_found' });
  });

  it('is not the end of an instance whose failure could not be recorded either', async () => {
    const fake = await createFakeCore();
    await fake.create({ name: 'web', start: true });
    const broken = new WirtError('store.failed', 'The disk is broken.');
    const original = fake.host.resources.remove;
    Object.assign(fake.host.resources, {
      remove: async (...given: Parameters<typeof original>) => {
        await original(...given);
        fake.store.failWith(broken);
      },
    });
    await expect(fake.core.actions.instance.stop(fake.request, 'web', force, waitDone)).rejects.toThrow();
    Object.assign(fake.host.resources, { remove: original });
    fake.store.failWith(undefined);
    await fake.restart();
    await until(fake, (state) => state === 'stopped' || state === 'crashed');
    await fake.core.actions.instance.remove(fake.request, 'web', { force: false }, waitDone);
    expect(fake.host.remains()).toEqual([]);
  });
});

describe('a recovery in which something fails', () => {
  it('goes on with all the others', async () => {
    const fake = await createFakeCore();
    const broken = await fake.create({ name: 'broken', start: true });
    await fake.create({ name: 'web', start: true });
    const original = fake.host.hypervisor.attach;
    Object.assign(fake.host.hypervisor, {
      attach: (...given: Parameters<typeof original>) =>
        given[0].id === broken.target.id ? Promise.reject(new Error('no')) : original(...given),
    });
    await fake.restart();
    expect((await instanceOf(fake)).status.state).toBe('running');
    await fake.core.actions.instance.stop(fake.request, 'web', force, waitDone);
  });

  it('adopts guests although the store takes nothing', async () => {
    const fake = await createFakeCore();
    await fake.create({ name: 'web', start: true });
    fake.store.failWith(new WirtError('host.storage_full', 'The disk is full.'));
    await fake.restart();
    fake.store.failWith(undefined);
    expect((await fake.core.actions.instance.pause(fake.request, 'web')).status.state).toBe('paused');
  });
});

describe('a restart that is due', () => {
  it('is called off by stop, also of a guest that powered off by itself, and stays so', async () => {
    const fake = await createFakeCore();
    const { target } = await fake.create({ name: 'web', start: true, spec: { restart: 'always' } });
    fake.host.end(target.id, { shutdownReason: 'guest-shutdown' });
    await until(fake, (state) => state === 'stopped');
    await fake.core.actions.instance.stop(fake.request, 'web', force, waitDone);
    await fake.restart();
    fake.clock.advance(10_000);
    expect((await instanceOf(fake)).status).toMatchObject({ state: 'stopped' });
    expect((await instanceOf(fake)).status.restartAt).toBeUndefined();
  });

  it('is called off when the policy becomes never', async () => {
    const fake = await createFakeCore();
    const { target } = await fake.create({ name: 'web', start: true, spec: { restart: 'always' } });
    fake.host.end(target.id, killedExit);
    await until(fake, (state) => state === 'crashed');
    await fake.core.actions.instance.update(fake.request, 'web', { spec: { restart: 'never' } });
    fake.clock.advance(10_000);
    expect(fake.host.processes.size).toBe(0);
  });
});

describe('memory', () => {
  it('is promised once: guests that run or are being started count with all that they may take', async () => {
    const fake = await createFakeCore();
    const starts = await Promise.allSettled(
      ['a', 'b', 'c'].map((name) => fake.create({ name, start: true, spec: { memoryMib: 1800 } })),
    );
    expect(starts.filter(({ status }) => status === 'fulfilled')).toHaveLength(2);
    const refused = starts.find((start) => start.status === 'rejected');
    expect(refused?.reason).toMatchObject({
      code: 'host.insufficient_memory',
      details: { promisedMib: 3760 },
    });
  });
});

describe('force', () => {
  it('ends no grace period when its request is refused', async () => {
    const fake = await createFakeCore();
    const { target } = await fake.create({ name: 'web', start: true });
    const process = fake.host.processes.get(target.id);
    if (process !== undefined) process.obeysPowerButton = false;
    const waiting = fake.core.actions.instance.stop(fake.request, 'web', graceful, waitDone);
    await until(fake, (state) => state === 'stopping');
    const stale = { ...fake.request, ifRevision: 1 };
    await expect(fake.core.actions.instance.stop(stale, 'web', force, waitDone)).rejects.toMatchObject({
      code: 'request.revision_mismatch',
    });
    expect(fake.host.processes.size).toBe(1);
    await fake.core.actions.instance.stop(fake.request, 'web', force, waitDone);
    await waiting;
  });
});

describe('a daemon that dies', () => {
  it('passes the steps that these tests name, and no others', async () => {
    const fake = await createFakeCore();
    await fake.create({ name: 'web', start: true });
    expect(fake.steps.splice(0)).toEqual(startSteps);
    await fake.core.actions.instance.stop(fake.request, 'web', force, waitDone);
    expect(fake.steps.splice(0)).toEqual(stopSteps);
    await fake.core.actions.instance.remove(fake.request, 'web', { force: false }, waitDone);
    expect(fake.steps.splice(0)).toEqual(removeSteps);
  });

  it.each(startSteps)('in a start at %s: the start is finished by the next', async (step) => {
    const fake = await createFakeCore();
    fake.fault = { step, kind: 'die' };
    void fake.create({ name: 'web', start: true }).catch(() => undefined);
    await fake.died();
    await fake.restart();
    await until(fake, (state) => state === 'running');
    expect(fake.host.processes.size).toBe(1);
    expect([...fake.host.processes.values()][0]?.processors).toBe('running');
    const { items } = await fake.core.actions.operation.list({ limit: 10, target: 'web' });
    expect(items).toMatchObject([{ state: 'done', recovery: expect.stringMatching(/finished|resumed/) }]);
  });

  it.each(stopSteps)('in a stop at %s: the stop is finished by the next', async (step) => {
    const fake = await createFakeCore();
    await fake.create({ name: 'web', start: true });
    fake.fault = { step, kind: 'die' };
    void fake.core.actions.instance.stop(fake.request, 'web', force, waitDone).catch(() => undefined);
    await fake.died();
    await fake.restart();
    await until(fake, (state) => state === 'stopped');
    expect(fake.host.remains()).toEqual([]);
  });

  it.each(removeSteps)('in a removal at %s: the removal is finished by the next', async (step) => {
    const fake = await createFakeCore();
    await fake.create({ name: 'web' });
    fake.fault = { step, kind: 'die' };
    void fake.core.actions.instance
      .remove(fake.request, 'web', { force: false }, waitDone)
      .catch(() => undefined);
    await fake.died();
    await fake.restart();
    await until(fake, (state) => state === 'gone');
    expect(fake.host.remains()).toEqual([]);
  });

  it('leaves running guests untouched, and the next one adopts them', async () => {
    const fake = await createFakeCore();
    const { target } = await fake.create({ name: 'web', start: true });
    const before = fake.host.processes.get(target.id);
    await fake.restart();
    expect(fake.host.processes.get(target.id)).toBe(before);
    expect((await instanceOf(fake)).status).toMatchObject({
      state: 'running',
      process: { pid: before?.pid },
    });
  });

  it('misses the end of a guest, and the next one explains it', async () => {
    const fake = await createFakeCore();
    const { target } = await fake.create({ name: 'web', start: true });
    fake.host.processes.get(target.id)?.listeners.clear();
    const dead = fake.core;
    await dead.stop(AbortSignal.timeout(100));
    fake.host.processes.delete(target.id);
    await fake.restart();
    expect((await instanceOf(fake)).status).toMatchObject({ state: 'crashed', exit: { reason: 'lost' } });
  });

  it('starts what is to start by itself, once after the host has booted', async () => {
    const fake = await createFakeCore();
    await fake.create({ name: 'web', spec: { autostart: true } });
    await fake.restart();
    expect((await instanceOf(fake)).status.state).toBe('stopped');
    fake.host.bootId = 'boot-2';
    await fake.restart();
    await until(fake, (state) => state === 'running');
  });
});
