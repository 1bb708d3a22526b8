// wirtd is killed with SIGKILL at every step of create, start, stop and remove: the next one finishes what was
// acknowledged, running guests are untouched, and the host holds what the records say and nothing else.
import type { Operation } from '@wirt/api';
import { afterEach, describe, expect, it } from 'vitest';
import { startDaemon, type TestDaemon } from './harness/daemon.ts';

const startSteps = [
  'claim-uid',
  'control-group',
  'network',
  'directory',
  'spawn',
  'connect',
  'resume',
  'record',
];
const stopSteps = ['mark', 'kill', 'control-group', 'network', 'clean', 'release-uid', 'record'];
const removeSteps = ['mark', 'control-group', 'network', 'clean', 'release-uid', 'forget', 'record'];
/** Of an instance that is stopped: the steps between find nothing on the host. */
const plainRemoveSteps = ['mark', 'forget', 'record'];
/** A removal by force ends the guest first. */
const forcedRemoveSteps = [
  ...stopSteps.map((step) => `instance.stop/${step}`),
  ...removeSteps.map((step) => `instance.remove/${step}`),
];
/** For 50 guests, as promised. */
const adoptionMs = 2_000;

let daemon: TestDaemon | undefined;

afterEach(async () => {
  await daemon?.[Symbol.asyncDispose]();
  daemon = undefined;
});

const at = (instance: string) => ({ params: { instance } });
/** The daemon may die between making the request durable and answering it. */
const unanswered = (): undefined => undefined;
const force = { mode: 'force' } as const;

/** A daemon that dies at `step`, beside a guest that runs and must not notice. */
async function fated(step: string): Promise<{ daemon: TestDaemon; bystander: number }> {
  daemon = await startDaemon();
  await daemon.create('bystander', { start: true, startPaused: true });
  const { status } = await daemon.client.call('GET /v1/instances/{instance}', at('bystander'));
  await daemon.stop();
  await daemon.start({ env: { WIRT_FAULT: `crash:${step}` } });
  return { daemon, bystander: status.process?.pid ?? 0 };
}

async function expectOnly(one: TestDaemon, bystander: number, names: readonly string[]): Promise<void> {
  const { items } = await one.client.call('GET /v1/instances', {});
  expect(items.map(({ name }) => name).sort()).toEqual([...names].sort());
  const running = items.filter(({ status }) => status.process !== undefined);
  const { status } = await one.client.call('GET /v1/instances/{instance}', at('bystander'));
  expect(status).toMatchObject({ state: 'paused', process: { pid: bystander } });
  const left = await one.remains();
  const owned = running.map(({ id }) => id);
  const strange = left.filter(
    (entry) => !entry.startsWith('uid ') && !owned.some((id) => entry.includes(id)),
  );
  expect(strange).toEqual([]);
  expect(left.filter((entry) => entry.startsWith('uid '))).toHaveLength(running.length);
}

/** The interrupted operation is brought to its end, and says that it was interrupted. */
async function expectTakenUp(one: TestDaemon, kind: Operation['kind']): Promise<void> {
  const { items } = await one.client.call('GET /v1/operations', { query: { target: 'web' } });
  const left = items.filter((operation) => operation.kind === kind);
  expect(left).toHaveLength(1);
  const ended = await one.client.call('GET /v1/operations/{operation}', {
    params: { operation: left[0]?.id ?? '' },
    query: { waitSeconds: 30 },
  });
  expect(ended).toMatchObject({ state: 'done', recovery: expect.stringMatching(/^(finished|resumed)$/) });
}

describe('wirtd killed with SIGKILL', () => {
  it.each(startSteps)('in create and start at %s: the guest runs under the next wirtd', async (step) => {
    const { daemon: one, bystander } = await fated(`instance.start/${step}`);
    const body = { name: 'web', start: true, startPaused: true, spec: { image: 'micro', memoryMib: 64 } };
    await one.client.call('POST /v1/instances', { body }).catch(unanswered);
    await one.ended();
    await one.start();
    expect((await one.reach('web', 'paused'))?.status.process).toBeDefined();
    await expectTakenUp(one, 'instance.create');
    await expectOnly(one, bystander, ['bystander', 'web']);
  });

  it.each(stopSteps)('in stop at %s: the guest is stopped under the next wirtd', async (step) => {
    const { daemon: one, bystander } = await fated(`instance.stop/${step}`);
    await one.create('web', { start: true, startPaused: true });
    await one.client
      .call('POST /v1/instances/{instance}/stop', { ...at('web'), body: force })
      .catch(unanswered);
    await one.ended();
    await one.start();
    await one.reach('web', 'stopped');
    await expectTakenUp(one, 'instance.stop');
    await expectOnly(one, bystander, ['bystander', 'web']);
  });

  it('in a graceful stop before the power button: the stop is taken up, and ends by force', async () => {
    const { daemon: one, bystander } = await fated('instance.stop/power-button');
    // It boots when the stop lets it go on, and does not hear the one press of the button.
    await one.create('web', { start: true, startPaused: true });
    const body = { mode: 'graceful', graceSeconds: 1 } as const;
    await one.client.call('POST /v1/instances/{instance}/stop', { ...at('web'), body }).catch(unanswered);
    await one.ended();
    await one.start();
    const web = await one.reach('web', 'stopped');
    expect(web?.status.exit).toMatchObject({ reason: 'killed' });
    await expectTakenUp(one, 'instance.stop');
    await expectOnly(one, bystander, ['bystander', 'web']);
  });

  it.each(plainRemoveSteps)('in remove at %s: the instance is gone under the next wirtd', async (step) => {
    const { daemon: one, bystander } = await fated(`instance.remove/${step}`);
    await one.create('web');
    await one.client.call('DELETE /v1/instances/{instance}', at('web')).catch(unanswered);
    await one.ended();
    await one.start();
    await one.reach('web', 'gone');
    await expectTakenUp(one, 'instance.remove');
    await expectOnly(one, bystander, ['bystander']);
  });

  it.each(forcedRemoveSteps)(
    'in remove by force at %s: guest and instance are gone under the next wirtd',
    async (step) => {
      const { daemon: one, bystander } = await fated(step);
      await one.create('web', { start: true, startPaused: true });
      const query = { force: 'true' } as const;
      await one.client.call('DELETE /v1/instances/{instance}', { ...at('web'), query }).catch(unanswered);
      await one.ended();
      await one.start();
      await one.reach('web', 'gone');
      await expectTakenUp(one, 'instance.remove');
      await expectOnly(one, bystander, ['bystander']);
    },
  );

  it.each(['image.build/stage', 'image.build/build', 'image.make/publish', 'image.make/record'])(
    'in an image build at %s: the build is reported as undone',
    async (step) => {
      daemon = await startDaemon({ empty: true, env: { WIRT_FAULT: `crash:${step}` } });
      await daemon.client.call('POST /v1/images/build', { body: { recipe: 'micro' } }).catch(unanswered);
      await daemon.ended();
      await daemon.start();
      const { items } = await daemon.client.call('GET /v1/operations', {});
      expect(items).toMatchObject([
        { state: 'failed', recovery: 'undone', error: { code: 'operation.interrupted' } },
      ]);
      expect((await daemon.client.call('GET /v1/images', {})).items).toEqual([]);
    },
  );

  it('with guests running: they go on, are adopted, and can be used as before', async () => {
    daemon = await startDaemon();
    const names = ['one', 'two', 'three', 'four'];
    for (const name of names) await daemon.create(name, { start: true, startPaused: true });
    const pids = async () =>
      (await (daemon as TestDaemon).client.call('GET /v1/instances', {})).items.map(
        ({ status }) => status.process,
      );
    const before = await pids();
    await daemon.kill();
    await daemon.start();
    expect(await pids()).toEqual(before);
    await daemon.client.call('POST /v1/instances/{instance}/resume', at('one'));
    await daemon.client.call('POST /v1/instances/{instance}/stop', {
      ...at('one'),
      body: force,
      query: { wait: 'done' },
    });
  });

  it(`with 50 guests: all are adopted within ${adoptionMs} ms`, async () => {
    const one = await startDaemon();
    daemon = one;
    const names = Array.from({ length: 50 }, (_, index) => `guest-${String(index).padStart(2, '0')}`);
    await Promise.all(names.map((name) => one.create(name, { start: true, startPaused: true })));
    const guests = async () => {
      const { items } = await one.client.call('GET /v1/instances', {});
      return items.map(({ name, status }) => [name, status.state, status.process?.pid]);
    };
    const before = await guests();
    expect(before.map(([, state]) => state)).toEqual(names.map(() => 'paused'));
    expect(new Set(before.map(([, , pid]) => pid)).size).toBe(50);
    await one.kill();
    await one.start();
    expect(await guests()).toEqual(before);
    const { ms } = await one.log().find(({ event }) => event === 'daemon.ready', 'daemon.ready');
    expect(ms).toBeLessThanOrEqual(adoptionMs);
  });

  it('and a guest that ends meanwhile is explained by the next', async () => {
    daemon = await startDaemon();
    await daemon.create('web', { start: true, startPaused: true });
    const { status } = await daemon.client.call('GET /v1/instances/{instance}', at('web'));
    await daemon.kill();
    process.kill(status.process?.pid ?? 0, 'SIGBUS');
    await daemon.start();
    const web = await daemon.reach('web', 'crashed');
    expect(web?.status.exit).toMatchObject({ reason: 'signal', signal: 'SIGBUS' });
    expect(await daemon.remains()).toEqual([]);
  });
});
