// A store that has no room at the very moment when something has come about: it is told when it is stored, and stored when there is room.
import { WirtError } from '@wirt/api';
import { describe, expect, it } from 'vitest';
import { createFakeCore, type FakeCore, waitDone } from '../fakes/fake-core.ts';
import { killedExit } from '../fakes/fake-host.ts';

const force = { mode: 'force', graceSeconds: 0 } as const;
const later = { wait: 'none', waitSeconds: 5 } as const;
const full = new WirtError('host.storage_full', 'Could not write to the store.', { hint: 'Free space.' });

/** What goes on in memory takes no more than a few turns. */
async function turns(): Promise<void> {
  for (let turn = 0; turn < 500; turn += 1) await Promise.resolve();
}

function fillAt(fake: FakeCore, step: string, error = full): void {
  const push = fake.steps.push.bind(fake.steps);
  fake.steps.push = (...steps) => {
    if (steps.includes(step)) fake.store.failWith(error);
    return push(...steps);
  };
}

/** Frees room, and lets so much time pass that it is seen. */
async function makeRoom(fake: FakeCore): Promise<void> {
  fake.store.failWith(undefined);
  await pass(fake, 6);
}

async function pass(fake: FakeCore, seconds: number): Promise<void> {
  for (let second = 0; second < seconds; second += 1) {
    fake.clock.advance(1_000);
    await turns();
  }
}

const statusOf = async (fake: FakeCore) => (await fake.core.actions.instance.get('web')).status;
const start = (fake: FakeCore, wait: typeof later | typeof waitDone = waitDone) =>
  fake.core.actions.instance.start(fake.request, 'web', { paused: false }, wait);
const stop = (fake: FakeCore, wait: typeof later | typeof waitDone = waitDone) =>
  fake.core.actions.instance.stop(fake.request, 'web', force, wait);
const operation = (fake: FakeCore, id: string) => fake.core.actions.operation.get(fake.request, id, 0);

async function stopped(): Promise<FakeCore> {
  const fake = await createFakeCore();
  await fake.create({ name: 'web' });
  return fake;
}

async function running(restart: 'never' | 'always' = 'never'): Promise<FakeCore> {
  const fake = await createFakeCore();
  await fake.create({ name: 'web', start: true, spec: { restart } });
  return fake;
}

const theGuest = (fake: FakeCore) => [...fake.host.processes][0] ?? expect.fail('No guest runs.');

describe('an operation whose end finds the store full', () => {
  it('goes on running, says why, and ends well as soon as there is room', async () => {
    const fake = await stopped();
    fillAt(fake, 'instance.start/record');
    const { id } = await start(fake, later);
    await pass(fake, 60);
    expect(await operation(fake, id)).toMatchObject({ state: 'running', stage: 'waiting-for-room' });
    expect((await statusOf(fake)).state).toBe('starting');
    expect(fake.host.processes.size).toBe(1);
    await makeRoom(fake);
    expect(await operation(fake, id)).toMatchObject({ state: 'done', stage: 'done' });
    expect((await statusOf(fake)).state).toBe('running');
  });

  it('shows its end to those who wait for the operation not before it is stored', async () => {
    const fake = await stopped();
    fillAt(fake, 'instance.start/record');
    const { id } = await start(fake, later);
    let seen: string | undefined;
    const waiting = fake.core.actions.operation.get(fake.request, id, 5).then(({ state }) => {
      seen = state;
    });
    await pass(fake, 60);
    expect(seen).toBeUndefined();
    await makeRoom(fake);
    await waiting;
    expect(seen).toBe('done');
    expect((await fake.store.get(`operation/${id}`))?.value).toMatchObject({ state: 'done' });
  });

  it('tells who waits for its outcome that the store is full, and what to do', async () => {
    const fake = await stopped();
    fillAt(fake, 'instance.start/record');
    await expect(start(fake)).rejects.toMatchObject({
      code: 'host.storage_full',
      hint: 'Free space.',
      details: { operation: expect.any(String) },
    });
    await makeRoom(fake);
    expect((await statusOf(fake)).state).toBe('running');
  });

  it('keeps a failure, its cause and the state of the instance until there is room', async () => {
    const fake = await stopped();
    fillAt(fake, 'instance.start/resume');
    fake.fault = { step: 'instance.start/resume', kind: 'fail' };
    const { id } = await start(fake, later);
    await pass(fake, 60);
    expect((await operation(fake, id)).state).toBe('running');
    await makeRoom(fake);
    expect(await operation(fake, id)).toMatchObject({
      state: 'failed',
      error: { code: 'internal' },
    });
    expect(await statusOf(fake)).toMatchObject({
      state: 'crashed',
      exit: { reason: 'error', message: 'injected at instance.start/resume' },
    });
    expect(fake.host.remains()).toEqual([]);
  });

  it('does not make a crash of a stop', async () => {
    const fake = await running();
    fillAt(fake, 'instance.stop/record');
    const { id } = await stop(fake, later);
    await pass(fake, 60);
    expect((await operation(fake, id)).state).toBe('running');
    await makeRoom(fake);
    expect((await operation(fake, id)).state).toBe('done');
    expect(await statusOf(fake)).toMatchObject({ state: 'stopped', exit: { reason: 'killed' } });
  });

  it('can be cancelled while it waits, and is then undone', async () => {
    const fake = await stopped();
    fillAt(fake, 'instance.start/record');
    const { id } = await start(fake, later);
    await pass(fake, 5);
    await fake.core.actions.operation.cancel(fake.request, id);
    await turns();
    expect(fake.host.remains()).toEqual([]);
    await makeRoom(fake);
    expect((await operation(fake, id)).state).toBe('cancelled');
    expect((await statusOf(fake)).state).toBe('crashed');
  });

  it('leaves no record of what it has taken back', async () => {
    const fake = await createFakeCore();
    fillAt(fake, 'volume.create/record');
    fake.fault = { step: 'volume.create/record', kind: 'fail' };
    const head = { name: 'data', project: 'default', labels: {}, pool: 'default', format: 'qcow2' } as const;
    const volume = { ...head, sizeBytes: 2 ** 30, source: { kind: 'empty' } } as const;
    const { id } = await fake.core.actions.volume.create(fake.request, volume, later);
    await pass(fake, 60);
    const volumes = async () =>
      (await fake.core.actions.volume.list({ limit: 10, project: 'default' })).items.map(({ name }) => name);
    expect(await volumes()).toEqual(['data']);
    await makeRoom(fake);
    expect((await operation(fake, id)).state).toBe('failed');
    expect(await volumes()).toEqual([]);
  });

  it('is tried now and then only, however long there is no room', async () => {
    const fake = await stopped();
    fillAt(fake, 'instance.start/record');
    await start(fake, later);
    await turns();
    fake.cut(undefined);
    await pass(fake, 600);
    const writes = fake.calls.filter((call) => call === 'store.write');
    expect(writes.length).toBeGreaterThan(50);
    expect(writes.length).toBeLessThan(130);
  });

  it('is finished by the next daemon when this one dies meanwhile, and its guest goes on', async () => {
    const fake = await stopped();
    fillAt(fake, 'instance.start/record');
    const { id } = await start(fake, later);
    await pass(fake, 5);
    const [, { pid }] = theGuest(fake);
    fake.store.failWith(undefined);
    await fake.restart();
    await turns();
    expect(await operation(fake, id)).toMatchObject({ state: 'done', recovery: 'finished' });
    expect(await statusOf(fake)).toMatchObject({ state: 'running', process: { pid } });
  });

  it('waits on under the next daemon when the store is still full, and its guest goes on', async () => {
    const fake = await stopped();
    fillAt(fake, 'instance.start/record');
    const { id } = await start(fake, later);
    await pass(fake, 5);
    const [, { pid }] = theGuest(fake);
    await fake.restart();
    await pass(fake, 60);
    expect((await operation(fake, id)).state).toBe('running');
    await makeRoom(fake);
    expect((await operation(fake, id)).state).toBe('done');
    expect(await statusOf(fake)).toMatchObject({ state: 'running', process: { pid } });
  });

  it('does not hold up the end of the daemon past its deadline, and undoes nothing', async () => {
    const fake = await stopped();
    fillAt(fake, 'instance.start/record');
    await start(fake, later);
    await pass(fake, 5);
    await fake.core.stop(AbortSignal.abort());
    await makeRoom(fake);
    expect(fake.host.processes.size).toBe(1);
    expect((await statusOf(fake)).state).toBe('starting');
  });

  it('is stored while the daemon ends, when there is room before its deadline', async () => {
    const fake = await stopped();
    fillAt(fake, 'instance.start/record');
    const { id } = await start(fake, later);
    await pass(fake, 5);
    const ended = fake.core.stop(AbortSignal.timeout(5_000));
    await makeRoom(fake);
    await ended;
    expect((await fake.store.get(`operation/${id}`))?.value).toMatchObject({ state: 'done' });
  });
});

describe('a guest, while the store is full,', () => {
  it('that ends is shown as ended as soon as there is room, with its reason', async () => {
    const fake = await running();
    const [id] = theGuest(fake);
    fake.store.failWith(full);
    fake.host.end(id, killedExit);
    await pass(fake, 60);
    expect((await statusOf(fake)).state).toBe('running');
    await makeRoom(fake);
    expect(await statusOf(fake)).toMatchObject({ state: 'crashed', exit: { reason: 'signal' } });
    expect(fake.host.remains()).toEqual([]);
  });

  it('that ends is started again, as its policy says, as soon as there is room', async () => {
    const fake = await running('always');
    const [id] = theGuest(fake);
    fake.store.failWith(full);
    fake.host.end(id, killedExit);
    await pass(fake, 60);
    expect(fake.host.processes.size).toBe(0);
    await makeRoom(fake);
    await pass(fake, 10);
    expect((await statusOf(fake)).state).toBe('running');
  });

  it('that stands still is shown as it then is, however often it has changed meanwhile', async () => {
    const fake = await running();
    const [id, process] = theGuest(fake);
    fake.store.failWith(full);
    for (const processors of ['paused', 'running', 'paused'] as const) {
      process.processors = processors;
      fake.host.emit(id, { kind: processors === 'paused' ? 'paused' : 'resumed' });
      await pass(fake, 7);
    }
    expect((await statusOf(fake)).state).toBe('running');
    await makeRoom(fake);
    expect((await statusOf(fake)).state).toBe('paused');
  });

  it('that ended while no daemon ran is shown as ended as soon as there is room', async () => {
    const fake = await running();
    const [id] = theGuest(fake);
    fake.store.failWith(full);
    fake.host.end(id, killedExit);
    await fake.restart();
    await pass(fake, 60);
    await makeRoom(fake);
    expect((await statusOf(fake)).state).toBe('crashed');
  });

  it('that another daemon takes over is shown as it is as soon as there is room', async () => {
    const fake = await running();
    const [, process] = theGuest(fake);
    fake.store.failWith(full);
    process.processors = 'paused';
    await fake.restart();
    await makeRoom(fake);
    expect((await statusOf(fake)).state).toBe('paused');
  });

  it('can be paused and resumed without a wait: the refusal comes at once', async () => {
    const fake = await running();
    fake.store.failWith(full);
    const pause = fake.core.actions.instance.pause(fake.request, 'web');
    await expect(pause).rejects.toMatchObject({ code: 'host.storage_full' });
    await makeRoom(fake);
    expect((await statusOf(fake)).state).toBe('paused');
  });
});

describe('a daemon that starts while the store is full', () => {
  it('serves all the same, and ends what was interrupted when there is room', async () => {
    const fake = await createFakeCore();
    fake.fault = { step: 'image.make/record', kind: 'die' };
    void fake.core.actions.image.build(fake.request, { recipe: 'micro', name: 'other' }, later);
    await fake.died();
    const open = (await fake.store.list('operation/')).find(({ value }) =>
      JSON.stringify(value).includes('"running"'),
    );
    fake.store.failWith(full);
    await fake.restart();
    expect((await fake.core.actions.image.list({ limit: 10 })).items).toHaveLength(2);
    await makeRoom(fake);
    expect((await fake.core.actions.image.list({ limit: 10 })).items).toHaveLength(1);
    expect((await fake.store.get(open?.key ?? ''))?.value).toMatchObject({
      state: 'failed',
      recovery: 'undone',
    });
  });
});
