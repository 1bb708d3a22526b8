// Snapshots: their tree, how a guest is frozen for them and thawed again, and that every disk reads right whatever fails.
import { type SnapshotCreate, WirtError } from '@wirt/api';
import { describe, expect, it } from 'vitest';
import { waitDone } from '../fakes/fake-core.ts';
import { atEveryCall, createScene, everyDeath, gib, type Scene } from '../fakes/scene.ts';
import { longChain } from './snapshot-work.ts';

const force = { mode: 'force', graceSeconds: 0 } as const;

function take({ fake }: Scene, name: string, freeze: SnapshotCreate['freeze'] = 'auto') {
  return fake.core.actions.snapshot.create(fake.request, 'web', { name, labels: {}, freeze }, waitDone);
}

function restore({ fake }: Scene, name: string) {
  return fake.core.actions.snapshot.restore(fake.request, 'web', name, waitDone);
}

function remove({ fake }: Scene, name: string) {
  return fake.core.actions.snapshot.remove(fake.request, 'web', name, waitDone);
}

function shown({ fake }: Scene, name: string) {
  return fake.core.actions.snapshot.get('web', name);
}

function stop({ fake }: Scene) {
  return fake.core.actions.instance.stop(fake.request, 'web', force, waitDone);
}

async function processOf({ fake }: Scene) {
  const { id } = await fake.core.actions.instance.get('web');
  const process = fake.host.processes.get(id);
  if (process === undefined) throw new Error('web does not run');
  return process;
}

/** `web` with two disks, on one of which `p` is written. */
async function set(live: boolean, agent = false): Promise<Scene> {
  const scene = await createScene();
  await scene.volume('a');
  await scene.volume('b');
  await scene.guest('web', ['a', 'b'], live);
  if (agent) (await processOf(scene)).agent = true;
  await scene.write('a', 'p', 'first');
  return scene;
}

describe('the tree of snapshots', () => {
  it('branches where one was restored, and heals where one is removed', async () => {
    const scene = await set(false);
    const tree = async () => {
      const { items } = await scene.fake.core.actions.snapshot.list('web', { limit: 10 });
      const nameOf = (id: string | undefined) => items.find((one) => one.id === id)?.name;
      const { status } = await scene.fake.core.actions.instance.get('web');
      return [...items.map((one) => `${nameOf(one.status.parent)} > ${one.name}`), nameOf(status.snapshot)];
    };
    await take(scene, 'root');
    await scene.write('a', 'p', 'second');
    await take(scene, 'left');
    await restore(scene, 'root');
    await scene.write('a', 'p', 'third');
    await take(scene, 'right');
    expect(await tree()).toEqual(['undefined > root', 'root > left', 'root > right', 'right']);
    await remove(scene, 'root');
    expect(await tree()).toEqual(['undefined > left', 'undefined > right', 'right']);
    await restore(scene, 'left');
    expect(await scene.content('a')).toEqual({ p: 'second' });
    await remove(scene, 'left');
    expect(await tree()).toEqual(['undefined > right', undefined]);
    expect(await scene.content('a')).toEqual({ p: 'second' });
    await restore(scene, 'right');
    expect(await scene.content('a')).toEqual({ p: 'third' });
    expect(await scene.faults()).toEqual([]);
  });

  it('has the parents that were there when it was its turn, not when it was asked for', async () => {
    const scene = await set(false);
    await Promise.all([take(scene, 'one'), take(scene, 'two')]);
    const [one, two] = [await shown(scene, 'one'), await shown(scene, 'two')];
    expect([one.status.parent, two.status.parent]).toEqual([undefined, one.id]);
  });

  it('names those that have none by their time, each differently', async () => {
    const { fake } = await set(false);
    const { snapshot } = fake.core.actions;
    for (const _ of [1, 2])
      await snapshot.create(fake.request, 'web', { labels: {}, freeze: 'auto' }, waitDone);
    const { items } = await snapshot.list('web', { limit: 10 });
    expect(items.map(({ name }) => name)).toEqual([
      expect.stringMatching(/^at-2030-01-01t000000$/),
      expect.stringMatching(/^at-2030-01-01t000000-[0-9a-z]{6}$/),
    ]);
  });

  it.each([
    ['snapshot.name_taken', (scene: Scene) => take(scene, 'one')],
    ['snapshot.not_found', (scene: Scene) => remove(scene, 'two')],
    ['instance.state_conflict', (scene: Scene) => restore(scene, 'one')],
  ] as const)('refuses what cannot be: %s', async (code, act) => {
    const scene = await set(true);
    await take(scene, 'one');
    await expect(act(scene)).rejects.toMatchObject({ code });
    expect(await scene.faults()).toEqual([]);
  });

  it('is refused where there is no disk, where it would fill the pool, and of an unknown instance', async () => {
    const { fake, ...scene } = await createScene();
    await fake.create({ name: 'web' });
    await expect(take({ fake, ...scene }, 'one')).rejects.toMatchObject({ code: 'snapshot.failed' });
    const full = await set(true);
    full.fake.host.storage.availableBytes = gib;
    await expect(take(full, 'one')).rejects.toMatchObject({ code: 'pool.full' });
    await full.settled();
    expect(await full.faults()).toEqual([]);
    expect((await full.fake.core.actions.snapshot.list('web', { limit: 10 })).items).toEqual([]);
  });
});

describe('freezing the guest', () => {
  it('is done and told where its agent answers, and it is thawed', async () => {
    const scene = await set(true, true);
    await take(scene, 'one');
    expect((await shown(scene, 'one')).status).toMatchObject({ consistency: 'frozen' });
    expect((await shown(scene, 'one')).status.consistencyReason).toBeUndefined();
    expect((await processOf(scene)).frozen).toBe(false);
  });

  it('is not done without an agent, of a paused guest, when not wanted, or of one that is stopped: it says so', async () => {
    const scene = await set(true);
    await take(scene, 'no-agent');
    (await processOf(scene)).agent = true;
    await take(scene, 'unwanted', 'none');
    await scene.fake.core.actions.instance.pause(scene.fake.request, 'web');
    await take(scene, 'paused');
    await expect(take(scene, 'required', 'required')).rejects.toMatchObject({
      code: 'guest.agent_unavailable',
    });
    await stop(scene);
    await take(scene, 'stopped', 'required');
    const told = async (name: string) => {
      const { consistency, consistencyReason = '' } = (await shown(scene, name)).status;
      return `${consistency}: ${consistencyReason}`;
    };
    expect(await told('no-agent')).toBe('crash: No guest agent answers in the guest.');
    expect(await told('unwanted')).toBe('crash: Freezing was not asked for.');
    expect(await told('paused')).toBe('crash: The guest is paused, and its agent with it.');
    expect(await told('stopped')).toBe('stopped: ');
    await expect(shown(scene, 'required')).rejects.toMatchObject({ code: 'snapshot.not_found' });
    expect(await scene.faults()).toEqual([]);
  });

  it.each(['auto', 'required'] as const)('that fails leaves the guest thawed: %s', async (freeze) => {
    const scene = await set(true, true);
    const process = await processOf(scene);
    process.freeze = () => Promise.reject(new WirtError('guest.agent_timeout', 'The agent hangs.'));
    const taken = take(scene, 'one', freeze);
    if (freeze === 'required') await expect(taken).rejects.toMatchObject({ code: 'guest.agent_timeout' });
    else await taken;
    expect(process.frozen).toBe(false);
    if (freeze === 'auto')
      expect((await shown(scene, 'one')).status).toMatchObject({
        consistency: 'crash',
        consistencyReason: 'The agent hangs.',
      });
    expect(await scene.faults()).toEqual([]);
  });

  it('whose thaw is not answered spoils no snapshot: the guest goes on with its new layers', async () => {
    const scene = await set(true, true);
    (await processOf(scene)).thaw = () => Promise.reject(new WirtError('guest.agent_timeout', 'No.'));
    await take(scene, 'one');
    expect((await shown(scene, 'one')).status).toMatchObject({
      consistency: 'frozen',
      consistencyReason: 'The guest did not say that its file systems have thawed.',
    });
    await scene.write('a', 'p', 'second');
    expect(await scene.faults()).toEqual([]);
  });

  it('is undone when the snapshot is cancelled while the agent keeps it waiting', async () => {
    const scene = await set(true, true);
    const process = await processOf(scene);
    const asked = Promise.withResolvers<void>();
    process.freeze = (signal) =>
      new Promise((_, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
        asked.resolve();
      });
    const { fake } = scene;
    const none = { wait: 'none', waitSeconds: 5 } as const;
    const input = { name: 'one', labels: {}, freeze: 'auto' } as const;
    const { id } = await fake.core.actions.snapshot.create(fake.request, 'web', input, none);
    await asked.promise;
    await fake.core.actions.operation.cancel(fake.request, id);
    expect((await fake.core.actions.operation.get(fake.request, id, 5)).state).toBe('cancelled');
    expect(process.frozen).toBe(false);
    expect(await scene.faults()).toEqual([]);
  });

  it('is undone by the next daemon, wherever this one dies', async () => {
    await atEveryCall(
      everyDeath,
      async () => ({ scene: await set(true, true) }),
      ({ scene }) => take(scene, 'one'),
      async ({ scene }) => {
        expect((await processOf(scene)).frozen).toBe(false);
      },
    );
  });
});

describe('QEMU that fails to switch', () => {
  it.each(['before', 'after'] as const)(
    'lets no clone come, nor a later one fail: failing %s it has done so',
    async (when) => {
      const scene = await set(true);
      const process = await processOf(scene);
      const clone = () => scene.volume('twin', { source: { kind: 'volume', volume: 'a', mode: 'linked' } });
      process.overlayFails = { when, error: new WirtError('instance.unresponsive', 'QEMU is silent.') };
      await expect(clone()).rejects.toMatchObject({ code: 'instance.unresponsive' });
      expect(await scene.faults()).toEqual([]);
      process.overlayFails = undefined;
      await clone();
      expect(await scene.content('twin')).toEqual({ p: 'first' });
      expect(await scene.faults()).toEqual([]);
    },
  );

  it.each(['before', 'after'] as const)(
    'leaves all as it was, or in place: failing %s it has done so',
    async (when) => {
      const scene = await set(true);
      const process = await processOf(scene);
      process.overlayFails = { when, error: new WirtError('instance.unresponsive', 'QEMU is silent.') };
      await expect(take(scene, 'one')).rejects.toMatchObject({ code: 'instance.unresponsive' });
      process.overlayFails = undefined;
      await scene.write('a', 'p', 'second');
      expect(await scene.content('a')).toEqual({ p: 'second' });
      expect(await scene.faults()).toEqual([]);
      await take(scene, 'one');
      await stop(scene);
      await scene.write('a', 'p', 'third');
      await restore(scene, 'one');
      expect(await scene.content('a')).toEqual({ p: 'second' });
      expect(await scene.faults()).toEqual([]);
    },
  );
});

describe('a guest that was left frozen', () => {
  it('thaws before its agent is known to the next daemon', async () => {
    const scene = await set(true, true);
    const process = await processOf(scene);
    const whole = await set(true, true);
    whole.fake.cut(undefined);
    await take(whole, 'one');
    scene.fake.cut({ call: whole.fake.calls.indexOf('guest.agent.freeze'), how: 'after' });
    void take(scene, 'one').catch(() => undefined);
    await scene.fake.died();
    expect(process.frozen).toBe(true);
    process.agent = false;
    await scene.fake.restart();
    await scene.settled();
    expect(process.frozen).toBe(false);
    expect((await shown(scene, 'one')).status).toMatchObject({ consistency: 'crash' });
  });
});

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

describe('a long chain', () => {
  it('is flattened in the background, and every snapshot still reads as it did', async () => {
    const scene = await set(true);
    const names = Array.from({ length: longChain + 2 }, (_, index) => `s${index}`);
    for (const name of names) {
      await scene.write('a', 'p', name);
      await take(scene, name);
    }
    await scene.settled();
    const { items } = await scene.fake.core.actions.operation.list({ limit: 1000 });
    expect(
      items.some(({ kind, requestedBy }) => kind === 'volume.flatten' && requestedBy === 'long-chain'),
    ).toBe(true);
    await stop(scene);
    for (const name of names) {
      await restore(scene, name);
      expect(await scene.content('a')).toEqual({ p: name });
    }
    expect(await scene.faults()).toEqual([]);
  });
});

describe('exporting a snapshot', () => {
  it('writes what it holds while the guest writes on, one disk or all', async () => {
    const scene = await set(true);
    const { fake } = scene;
    await take(scene, 'one');
    await scene.write('a', 'p', 'second');
    const { snapshot } = fake.core.actions;
    const all = await snapshot.export(
      fake.request,
      'web',
      'one',
      { format: 'qcow2', path: '/out/all' },
      waitDone,
    );
    expect(all.result).toEqual({ files: ['/out/all/disk1.qcow2', '/out/all/disk2.qcow2'] });
    const input = { format: 'raw', path: '/out/a.raw', disk: 'disk1' } as const;
    await snapshot.export(fake.request, 'web', 'one', input, waitDone);
    expect(fake.host.storage.outputs.get('/out/a.raw')).toBe('raw {"p":"first"}');
    expect(await scene.faults()).toEqual([]);
  });

  it('is waited for by removals that would take it away, and by nothing else', async () => {
    const scene = await createScene();
    const { fake } = scene;
    const { snapshot, instance } = fake.core.actions;
    const disk = { name: 'disk1', device: 'disk', sizeBytes: gib, pool: 'default', format: 'qcow2' } as const;
    await fake.create({
      name: 'web',
      start: true,
      spec: { disks: [{ ...disk, bus: 'virtio', readOnly: false }] },
    });
    await take(scene, 'one');
    await scene.write('web-disk1', 'p', 'second');
    await take(scene, 'two');
    const gate = Promise.withResolvers<void>();
    fake.host.storage.exporting = gate.promise;
    const input = { format: 'raw', path: '/out/a.raw', disk: 'disk1' } as const;
    const exported = snapshot.export(fake.request, 'web', 'two', input, waitDone);
    await expect.poll(() => fake.host.storage.outputs.size).toBe(1);
    const removed = remove(scene, 'one');
    const gone = instance.remove(fake.request, 'web', { force: true }, waitDone);
    await instance.pause(fake.request, 'web');
    await instance.resume(fake.request, 'web');
    expect((await shown(scene, 'one')).status.state).toBe('ready');
    expect(fake.host.storage.broken).toEqual([]);
    gate.resolve();
    await exported;
    await removed;
    await gone;
    expect(fake.host.storage.outputs.get('/out/a.raw')).toBe('raw {"p":"second"}');
    await scene.settled();
    expect(fake.host.storage.broken).toEqual([]);
    expect(await scene.all()).toEqual([]);
  });
});

describe('a layer on which a clone lies', () => {
  it('is not written, although a snapshot below it is removed', async () => {
    const scene = await set(false);
    await take(scene, 'one');
    await scene.write('a', 'q', 'second');
    await scene.volume('twin', { source: { kind: 'volume', volume: 'a', mode: 'linked' } });
    await scene.fake.create({
      name: 'other',
      start: true,
      spec: {
        disks: [
          {
            name: 'root',
            device: 'disk',
            volume: 'twin',
            bus: 'virtio',
            pool: 'default',
            format: 'qcow2',
            readOnly: false,
          },
        ],
      },
    });
    await remove(scene, 'one');
    expect(await scene.content('twin')).toEqual({ p: 'first', q: 'second' });
    expect(await scene.content('a')).toEqual({ p: 'first', q: 'second' });
    expect(await scene.faults()).toEqual([]);
  });
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

describe('the steps of operations on snapshots', () => {
  it('are those that faults can be put into, and no others', async () => {
    const scene = await set(true);
    const { fake } = scene;
    const passed = async (act: Promise<unknown>): Promise<string[]> => {
      await act;
      return fake.steps.splice(0).filter((step) => !step.startsWith('instance.'));
    };
    const of = (action: string, ...steps: string[]) => steps.map((step) => `snapshot.${action}/${step}`);
    fake.steps.length = 0;
    expect(await passed(take(scene, 'one'))).toEqual(of('create', 'begin', 'layers', 'moment', 'record'));
    await stop(scene);
    fake.steps.length = 0;
    expect(await passed(restore(scene, 'one'))).toEqual(
      of('restore', 'layer', 'layer', 'firmware', 'record'),
    );
    const merge = ['volume.merge/copy', 'volume.merge/record'];
    expect(await passed(remove(scene, 'one'))).toEqual([
      ...of('remove', 'mark', 'merge'),
      ...merge,
      ...of('remove', 'merge'),
      ...merge,
      ...of('remove', 'record'),
    ]);
  });
});
