// That every disk reads right, whatever fails and wherever the daemon dies.
import { describe, expect, it } from 'vitest';
import { atEveryCall, createScene, everyDeath, type Scene } from '../fakes/scene.ts';
import { remove, restore, set, take } from './snapshot.fixture.ts';

describe('a guest that writes on while there is no daemon', () => {
  it.each(['take', 'clone'] as const)(
    'loses nothing when it ends before the next one comes: %s',
    async (what) => {
      const source = { kind: 'volume', volume: 'a', mode: 'linked' } as const;
      const act = (scene: Scene) => (what === 'take' ? take(scene, 'one') : scene.volume('twin', { source }));
      const whole = await set(true);
      whole.fake.cut(undefined);
      await act(whole);
      for (const call of whole.fake.calls.keys())
        for (const how of ['before', 'after'] as const) {
          const scene = await set(true);
          const { id } = await scene.fake.core.actions.instance.get('web');
          scene.fake.cut({ call, how });
          await Promise.race([act(scene).catch(() => undefined), scene.fake.died()]);
          scene.fake.host.write(id, 'disk1', 'q', 'alone');
          scene.fake.host.end(id, {});
          await scene.fake.restart();
          await scene.settled();
          expect(await scene.content('a'), `${how} ${whole.fake.calls[call]}`).toEqual({
            p: 'first',
            q: 'alone',
          });
          expect(await scene.faults()).toEqual([]);
        }
    },
  );
});

describe.each(['layered', 'native'] as const)('on storage that is %s', (kind) => {
  async function grown(live: boolean): Promise<{ scene: Scene }> {
    const scene = await createScene();
    scene.fake.host.storage.snapshots = kind;
    await scene.image('base');
    await scene.volume('a', { source: { kind: 'image', image: 'base', mode: 'linked' } });
    await scene.volume('b');
    await scene.guest('web', ['a', 'b'], live);
    await scene.write('a', 'p', 'first');
    await take(scene, 'one');
    await scene.write('a', 'q', 'second');
    await take(scene, 'two');
    await scene.write('a', 'r', 'third');
    return { scene };
  }

  const everything = { p: 'first', q: 'second', r: 'third' };
  const acts = {
    'taking a snapshot': (scene: Scene) => take(scene, 'three'),
    'removing the root': (scene: Scene) => remove(scene, 'one'),
    'removing the current': (scene: Scene) => remove(scene, 'two'),
  } as const;

  it.each([
    ['taking a snapshot', true],
    ['taking a snapshot', false],
    ['removing the root', true],
    ['removing the root', false],
    ['removing the current', true],
    ['removing the current', false],
  ] as const)('%s outlives every death and failure, running: %s', async (name, live) => {
    await atEveryCall(
      [...everyDeath, 'fail'],
      () => grown(live),
      ({ scene }) => acts[name](scene),
      async ({ scene }, { how, error }) => {
        expect(await scene.content('a')).toEqual(everything);
        if (how === 'fail' && error !== undefined) await acts[name](scene).catch(() => undefined);
        if (how === 'fail') await scene.fake.restart();
        await scene.settled();
        expect(await scene.content('a')).toEqual(everything);
        expect(await scene.faults()).toEqual([]);
        const { items } = await scene.fake.core.actions.operation.list({ limit: 1000 });
        if (how !== 'fail') expect(items.filter(({ state }) => state !== 'done')).toEqual([]);
      },
    );
  });

  it('restoring outlives every death and failure', async () => {
    await atEveryCall(
      [...everyDeath, 'fail'],
      () => grown(false),
      ({ scene }) => restore(scene, 'one'),
      async ({ scene }, { how, error }) => {
        const { items } = await scene.fake.core.actions.operation.list({ limit: 1000 });
        const before = !items.some((one) => one.kind === 'snapshot.restore' && one.state === 'done');
        expect(how !== 'fail' || before).toBe(how !== 'fail' || error !== undefined);
        expect(await scene.content('a')).toEqual(before ? everything : { p: 'first' });
        if (before) await restore(scene, 'one');
        if (how === 'fail') await scene.fake.restart();
        await restore(scene, 'two');
        expect(await scene.content('a')).toEqual({ p: 'first', q: 'second' });
        await scene.settled();
        expect(await scene.faults()).toEqual([]);
      },
    );
  });
});
