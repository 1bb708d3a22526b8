// When a guest is ready: as it says itself, which may be late, wrong, or never.
import type { ExecResult } from '@wirt/api';
import { WirtError } from '@wirt/api';
import { describe, expect, it } from 'vitest';
import { succeeded } from '../fakes/fake-guest.ts';
import { createScene, gib, type Scene } from '../fakes/scene.ts';

const none = { wait: 'none', waitSeconds: 5 } as const;
const ready = { wait: 'ready', waitSeconds: 5 } as const;

async function starting(cloudInit: boolean) {
  const scene = await createScene();
  await scene.image('debian', gib);
  await scene.fake.create({
    name: 'web',
    start: true,
    spec: { image: 'debian', ...(cloudInit ? { cloudInit: { datasource: 'seed', sshKeys: [] } } : {}) },
  });
  const { id } = await scene.fake.core.actions.instance.get('web');
  const process = scene.fake.host.processes.get(id);
  if (process === undefined) throw new Error('web does not run');
  return { scene, id, process, agent: () => answers(scene, id) };
}

function answers({ fake }: Scene, id: string): void {
  const process = fake.host.processes.get(id);
  if (process !== undefined) process.agent = true;
  fake.host.emit(id, { kind: 'agent', answers: true });
}

/** A request that waits for `ready`, of a guest that runs: a start that is answered again. */
function waiting({ fake }: Scene, waitSeconds = 5) {
  const { instance } = fake.core.actions;
  const request = { ...fake.request, idempotency: { key: 'start', fingerprint: 'f' } };
  return instance
    .stop(fake.request, 'web', { mode: 'force', graceSeconds: 0 }, { wait: 'done', waitSeconds: 5 })
    .then(() => instance.start(request, 'web', { paused: false }, none))
    .then(({ id }) => fake.core.actions.operation.get(fake.request, id, 5))
    .then(() => ({
      done: instance.start(request, 'web', { paused: false }, { ...ready, waitSeconds }),
    }));
}

async function statusOf({ fake }: Scene) {
  return (await fake.core.actions.instance.get('web')).status;
}

describe('a guest without cloud-init', () => {
  it('is ready when its agent answers, and tells its addresses with that', async () => {
    const { scene, agent } = await starting(false);
    expect((await statusOf(scene)).ready).toBeUndefined();
    agent();
    await expect.poll(async () => (await statusOf(scene)).ready).toBe(true);
    expect((await statusOf(scene)).addresses).toEqual(['10.0.2.15']);
  });

  it('that has no address yet is asked again for a while', async () => {
    const { scene, process, agent } = await starting(false);
    process.addresses = () => Promise.resolve([]);
    agent();
    await expect.poll(async () => (await statusOf(scene)).ready).toBe(true);
    expect((await statusOf(scene)).addresses).toBeUndefined();
    process.addresses = () => Promise.resolve(['192.0.2.7']);
    await expect
      .poll(async () => {
        scene.fake.clock.advance(2_000);
        return (await statusOf(scene)).addresses;
      })
      .toEqual(['192.0.2.7']);
  });

  it('whose agent does not tell addresses is ready all the same', async () => {
    const { scene, process, agent } = await starting(false);
    process.addresses = () => Promise.reject(new WirtError('guest.agent_timeout', 'It hangs.'));
    agent();
    await expect.poll(async () => (await statusOf(scene)).ready).toBe(true);
  });
});

describe('a guest with cloud-init', () => {
  it.each([0, 2])('is ready when that has ended, be it with complaints: %s', async (exitCode) => {
    const { scene, process, agent } = await starting(true);
    const { promise, resolve } = Promise.withResolvers<ExecResult>();
    let asked = 0;
    process.exec = () => {
      asked += 1;
      return promise;
    };
    agent();
    agent();
    await expect.poll(() => asked).toBe(1);
    expect((await statusOf(scene)).ready).toBeUndefined();
    resolve({ ...succeeded, exitCode });
    await expect.poll(async () => (await statusOf(scene)).ready).toBe(true);
    expect(asked).toBe(1);
  });

  it('is asked again when its agent comes back from a reboot', async () => {
    const { scene, process, agent } = await starting(true);
    let asked = 0;
    process.exec = () => {
      asked += 1;
      return asked === 1
        ? Promise.reject(new WirtError('guest.agent_timeout', 'It reboots.'))
        : Promise.resolve(succeeded);
    };
    agent();
    await expect.poll(() => asked).toBe(1);
    await scene.settled();
    expect((await statusOf(scene)).ready).toBeUndefined();
    agent();
    await expect.poll(async () => (await statusOf(scene)).ready).toBe(true);
  });
});

describe('who waits for a guest to be ready', () => {
  it('is answered when it is, with its addresses on record', async () => {
    const { scene, id } = await starting(false);
    const { done } = await waiting(scene);
    answers(scene, id);
    expect(await done).toMatchObject({ state: 'done' });
    expect(await statusOf(scene)).toMatchObject({ ready: true, addresses: ['10.0.2.15'] });
  });

  it('is told when cloud-init has failed', async () => {
    const { scene, id } = await starting(true);
    const { done } = await waiting(scene);
    const process = scene.fake.host.processes.get(id);
    if (process !== undefined)
      process.exec = () => Promise.resolve({ ...succeeded, exitCode: 1, stdout: 'status: error' });
    answers(scene, id);
    await expect(done).rejects.toMatchObject({
      code: 'guest.command_failed',
      message: 'Instance web will not become ready.',
      cause: 'cloud-init has ended with an error.',
    });
    expect(await statusOf(scene)).toMatchObject({ notReady: 'cloud-init has ended with an error.' });
  });

  it('is told when the guest ends meanwhile', async () => {
    const { scene, id } = await starting(false);
    const { done } = await waiting(scene);
    scene.fake.host.end(id, {});
    await expect(done).rejects.toMatchObject({ code: 'instance.died' });
  });

  it('is told when the time is over, and the guest goes on', async () => {
    const { scene } = await starting(true);
    const { done } = await waiting(scene, 0.05);
    await expect(done).rejects.toMatchObject({ code: 'operation.wait_timeout' });
    expect((await statusOf(scene)).state).toBe('running');
  });

  it('finds a guest ready that an earlier daemon has found so', async () => {
    const { scene, agent } = await starting(false);
    agent();
    await expect.poll(async () => (await statusOf(scene)).ready).toBe(true);
    await scene.fake.restart();
    expect(await statusOf(scene)).toMatchObject({ ready: true, addresses: ['10.0.2.15'] });
  });
});

describe('a guest that is stopped', () => {
  it('is ready no more', async () => {
    const { scene, agent } = await starting(false);
    agent();
    await expect.poll(async () => (await statusOf(scene)).ready).toBe(true);
    const { done } = await waiting(scene, 0.05);
    await expect(done).rejects.toMatchObject({ code: 'operation.wait_timeout' });
    expect((await statusOf(scene)).ready).toBeUndefined();
  });
});
