// Operations on volumes, of which every call fails in turn, and in which the daemon dies before, in and after every call.
import { describe, expect, it } from 'vitest';
import { waitDone } from '../fakes/fake-core.ts';
import { atEveryCall, createScene, everyDeath, gib, type Scene } from '../fakes/scene.ts';

const whole = { project: 'default', labels: {}, pool: 'default', format: 'qcow2' } as const;
const written = { p: 'first', q: 'second' };

interface Stage {
  readonly scene: Scene;
}

/** `data` on an image, with a frozen layer for the clone `twin`; a guest has `data` where it is live. */
async function set(live: boolean): Promise<Stage> {
  const scene = await createScene();
  await scene.image('base');
  await scene.volume('data', { source: { kind: 'image', image: 'base', mode: 'linked' } });
  await scene.write('data', 'p', 'first');
  await scene.volume('twin', { source: { kind: 'volume', volume: 'data', mode: 'linked' } });
  if (live) await scene.guest('web', ['data']);
  await scene.write('data', 'q', 'second');
  return { scene };
}

type Act = (stage: Stage) => Promise<unknown>;

const acts: Record<string, Act> = {
  'an empty volume': ({ scene }) => scene.volume('new'),
  'a linked copy of an image': ({ scene }) =>
    scene.volume('new', { source: { kind: 'image', image: 'base', mode: 'linked' } }),
  'a full copy of an image': ({ scene }) =>
    scene.volume('new', { source: { kind: 'image', image: 'base', mode: 'full' } }),
  'a linked clone': ({ scene }) =>
    scene.volume('new', { source: { kind: 'volume', volume: 'data', mode: 'linked' } }),
  'a full clone': ({ scene }) =>
    scene.volume('new', { source: { kind: 'volume', volume: 'data', mode: 'full' } }),
  growing: ({ scene: { fake } }) =>
    fake.core.actions.volume.resize(fake.request, 'data', { sizeBytes: 7 * gib }, waitDone),
  flattening: ({ scene: { fake } }) => fake.core.actions.volume.flatten(fake.request, 'data', waitDone),
  'flattening a clone': ({ scene: { fake } }) =>
    fake.core.actions.volume.flatten(fake.request, 'twin', waitDone),
  removing: ({ scene: { fake } }) => fake.core.actions.volume.remove(fake.request, 'twin', waitDone),
  exporting: ({ scene: { fake } }) =>
    fake.core.actions.volume.export(fake.request, 'twin', { format: 'raw', path: '/out/twin' }, waitDone),
};

/** Everything reads as it was written, and what the action was to make is there whole or not at all. */
async function intact({ scene }: Stage): Promise<void> {
  expect(await scene.content('data')).toEqual(written);
  const volumes = await scene.all();
  // One whose removal has failed can only be removed.
  if (volumes.some(({ name, status }) => name === 'twin' && status.state === 'ready'))
    expect(await scene.content('twin')).toEqual({ p: 'first' });
  const made = volumes.find(({ name }) => name === 'new');
  if (made === undefined) return;
  expect(made.status.state).toBe('ready');
  const { origin } = made.spec;
  expect(await scene.content('new')).toEqual(origin.kind === 'volume' ? written : {});
}

async function lastOf({ scene: { fake } }: Stage, kinds: readonly string[]) {
  const { items } = await fake.core.actions.operation.list({ limit: 1000 });
  return items.filter(({ kind }) => kinds.includes(kind)).at(-1);
}

describe.each([true, false])('with a guest running: %s', (live) => {
  it.each(Object.keys(acts))('%s outlives every death of the daemon', async (name) => {
    const calls = await atEveryCall(
      everyDeath,
      () => set(live),
      acts[name] as Act,
      async (stage) => {
        await intact(stage);
        expect(await stage.scene.faults()).toEqual([]);
        // What was acknowledged has been brought to its end.
        const { items } = await stage.scene.fake.core.actions.operation.list({ limit: 1000 });
        expect(items.filter(({ state }) => state !== 'done')).toEqual([]);
      },
    );
    expect(calls).toBeGreaterThanOrEqual(4);
  });

  it.each(Object.keys(acts))(
    '%s whose steps fail leaves all as it was, and can be done again',
    async (name) => {
      const act = acts[name] as Act;
      await atEveryCall(
        ['fail'],
        () => set(live),
        act,
        async (stage, { error }) => {
          await intact(stage);
          if (error !== undefined) await act(stage).catch(tolerateOwnOutput);
          await stage.scene.fake.restart();
          await stage.scene.settled();
          await intact(stage);
          expect(await stage.scene.faults()).toEqual([]);
        },
      );
    },
  );
});

/** An export that was written, and could not be recorded. */
function tolerateOwnOutput(error: unknown): void {
  expect(error).toMatchObject({
    code: expect.stringMatching(/export.target_exists|volume.name_taken|volume.not_found/),
  });
}

describe('the steps of operations on volumes', () => {
  it('are those that faults can be put into, and no others', async () => {
    const { scene } = await set(true);
    const { fake } = scene;
    const passed = async (act: Act): Promise<string[]> => {
      fake.steps.length = 0;
      await act({ scene });
      return [...fake.steps];
    };
    const of = (action: string, ...steps: string[]) => steps.map((step) => `volume.${action}/${step}`);
    const clone = acts['a linked clone'] as Act;
    expect(await passed(clone)).toEqual(of('create', 'layers', 'moment', 'record', 'make', 'record'));
    await fake.core.actions.volume.remove(fake.request, 'new', waitDone);
    // What was frozen for the clone goes behind the back of its removal.
    await scene.settled();
    const copy = of('create', 'layers', 'moment', 'record', 'make');
    expect(await passed(acts['a full clone'] as Act)).toEqual([
      ...copy,
      ...of('merge', 'copy', 'record'),
      ...of('create', 'record'),
    ]);
    expect(await passed(acts['growing'] as Act)).toEqual(of('resize', 'grow', 'record'));
    expect(await passed(acts['flattening'] as Act)).toEqual(of('merge', 'copy', 'record'));
    expect(await passed(acts['removing'] as Act)).toEqual(of('remove', 'mark', 'storage', 'record'));
    expect(await lastOf({ scene }, ['volume.remove'])).toMatchObject({ state: 'done' });
  });
});

describe('a daemon that is stopped', () => {
  it('leaves a copy to the next, which begins it anew', async () => {
    const { scene } = await set(false);
    const { fake } = scene;
    const gate = Promise.withResolvers<void>();
    const original = fake.host.storage.halfway;
    fake.host.storage.halfway = () => gate.promise;
    const copy = acts['a full copy of an image'] as Act;
    void copy({ scene }).catch(() => undefined);
    const dead = fake.core;
    await expect.poll(() => fake.host.storage.layers.size).toBe(4);
    const stopped = dead.stop(AbortSignal.timeout(1_000));
    gate.resolve();
    await stopped;
    fake.host.storage.halfway = original;
    await fake.restart();
    await scene.settled();
    await intact({ scene });
    expect(await scene.faults()).toEqual([]);
    expect((await scene.volumeOf('new')).status.state).toBe('ready');
  });
});

describe('an operation that is cancelled', () => {
  it('takes back what it made', async () => {
    const { scene } = await set(false);
    const { fake } = scene;
    const gate = Promise.withResolvers<void>();
    fake.host.storage.halfway = () => gate.promise;
    const { volume, operation } = fake.core.actions;
    const source = { kind: 'image', image: 'base', mode: 'full' } as const;
    const none = { wait: 'none', waitSeconds: 5 } as const;
    const { id } = await volume.create(fake.request, { ...whole, name: 'new', source }, none);
    await operation.cancel(fake.request, id);
    gate.resolve();
    const ended = await operation.get(fake.request, id, 5);
    // Cancelled too late, it is done; else it is as if it had never been.
    const isThere = (await scene.all()).some(({ name }) => name === 'new');
    expect(isThere).toBe(ended.state === 'done');
    expect(await scene.faults()).toEqual([]);
  });
});
