// Disks and media of instances: attached once and never twice, given to the guest and taken back, whatever fails and wherever the daemon dies.
import type { DiskAttach } from '@wirt/api';
import { describe, expect, it } from 'vitest';
import { waitDone } from '../fakes/fake-core.ts';
import { atEveryCall, createScene, everyDeath, gib, type Scene } from '../fakes/scene.ts';

const none = { wait: 'none', waitSeconds: 5 } as const;
const force = { mode: 'force', graceSeconds: 0 } as const;
const defaults = { bus: 'virtio', readOnly: false, deleteOnTermination: false } as const;

function attach({ fake }: Scene, instance: string, volume: string, input: Partial<DiskAttach> = {}) {
  return fake.core.actions.disk.attach(fake.request, instance, { ...defaults, volume, ...input }, waitDone);
}

function detach({ fake }: Scene, instance: string, disk: string) {
  return fake.core.actions.disk.detach(fake.request, instance, disk, waitDone);
}

async function disksOf({ fake }: Scene, instance: string) {
  const { spec } = await fake.core.actions.instance.get(instance);
  return spec.disks.map(({ name, slot }) => `${name}@${slot}`);
}

/** `web` with one disk, running or not; `data` and `more` are free. */
async function set(live: boolean): Promise<Scene> {
  const scene = await createScene();
  for (const name of ['own', 'data', 'more', 'other']) await scene.volume(name);
  await scene.guest('web', ['own'], live);
  await scene.guest('db', ['other'], live);
  return scene;
}

describe.each([true, false])('a disk of an instance that runs: %s', (live) => {
  it('is attached in the first free place, and is the guest’s and nobody else’s', async () => {
    const scene = await set(live);
    await attach(scene, 'web', 'data');
    await attach(scene, 'web', 'more', { name: 'logs', bootOrder: 3 });
    expect(await disksOf(scene, 'web')).toEqual(['disk1@0', 'disk2@1', 'logs@2']);
    const { status } = await scene.volumeOf('data');
    expect(scene.fake.host.storage.grantOf(status.active)).toBe(live ? 'guest' : '');
    await expect(attach(scene, 'db', 'data')).rejects.toMatchObject({
      code: 'volume.in_use',
      details: { instance: 'web' },
    });
    await expect(attach(scene, 'web', 'data')).rejects.toMatchObject({ code: 'volume.in_use' });
    expect(await scene.faults()).toEqual([]);
  });

  it('leaves the others in their places when it goes, and its own to the next', async () => {
    const scene = await set(live);
    await attach(scene, 'web', 'data');
    await attach(scene, 'web', 'more');
    await detach(scene, 'web', 'disk2');
    expect(await disksOf(scene, 'web')).toEqual(['disk1@0', 'disk3@2']);
    await attach(scene, 'db', 'data');
    await detach(scene, 'web', 'disk1');
    await attach(scene, 'web', 'own');
    expect(await disksOf(scene, 'web')).toEqual(['disk3@2', 'disk1@0']);
    expect(await scene.faults()).toEqual([]);
  });

  it('is attached once when two ask at the same moment', async () => {
    const scene = await set(live);
    const ends = await Promise.allSettled([attach(scene, 'web', 'data'), attach(scene, 'db', 'data')]);
    const refused = ends.find((one) => one.status === 'rejected');
    expect(ends.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(refused?.reason).toMatchObject({ code: 'volume.in_use' });
    expect(await scene.faults()).toEqual([]);
  });

  it('is attached when what was asked of its volume before is done', async () => {
    const scene = await set(live);
    const { volume } = scene.fake.core.actions;
    const { request } = scene.fake;
    const source = { kind: 'volume', volume: 'data', mode: 'full' } as const;
    const all = await Promise.allSettled([
      volume.resize(request, 'data', { sizeBytes: 2 * gib }, waitDone),
      scene.volume('twin', { source, sizeBytes: 3 * gib }),
      attach(scene, 'web', 'data'),
      volume.flatten(request, 'data', waitDone),
    ]);
    expect(all.filter(({ status }) => status === 'rejected')).toEqual([]);
    expect(await disksOf(scene, 'web')).toEqual(['disk1@0', 'disk2@1']);
    expect(await scene.faults()).toEqual([]);
  });

  it('is not taken by a new instance while something is done to it', async () => {
    const scene = await set(live);
    const { volume } = scene.fake.core.actions;
    const source = { kind: 'volume', volume: 'data', mode: 'linked' } as const;
    const whole = { name: 'twin', project: 'default', labels: {}, pool: 'default', format: 'qcow2' } as const;
    const grown = volume.resize(scene.fake.request, 'data', { sizeBytes: 2 * gib }, none);
    await volume.create(scene.fake.request, { ...whole, source, sizeBytes: 2 * gib }, none);
    await expect(scene.guest('new', ['data'])).rejects.toMatchObject({ code: 'volume.state_conflict' });
    await grown;
    await scene.settled();
    await scene.guest('new', ['data']);
    expect((await scene.volumeOf('twin')).status.state).toBe('ready');
    expect(await scene.faults()).toEqual([]);
  });

  it('stays while snapshots have it', async () => {
    const scene = await set(live);
    const { snapshot } = scene.fake.core.actions;
    const { request } = scene.fake;
    await snapshot.create(request, 'web', { name: 's', labels: {}, freeze: 'auto' }, waitDone);
    await expect(detach(scene, 'web', 'disk1')).rejects.toThrow('part of the snapshots s of web');
    await snapshot.remove(request, 'web', 's', waitDone);
    await detach(scene, 'web', 'disk1');
    expect(await scene.faults()).toEqual([]);
  });

  it('is refused what is not there', async () => {
    const scene = await set(live);
    await expect(attach(scene, 'web', 'nothing')).rejects.toMatchObject({ code: 'volume.not_found' });
    await expect(detach(scene, 'web', 'disk9')).rejects.toMatchObject({ code: 'volume.not_attached' });
    await expect(attach(scene, 'web', 'data', { name: 'disk1' })).rejects.toMatchObject({
      code: 'request.invalid',
    });
    expect(await scene.faults()).toEqual([]);
  });
});

describe('a disk that is asked for while the start is under way', () => {
  it('is attached when the guest runs', async () => {
    const scene = await set(false);
    const { fake } = scene;
    await fake.core.actions.instance.start(fake.request, 'web', { paused: false }, none);
    await attach(scene, 'web', 'data');
    expect(await disksOf(scene, 'web')).toEqual(['disk1@0', 'disk2@1']);
    expect(await scene.faults()).toEqual([]);
  });
});

describe('a guest that does not let go of a disk', () => {
  it('keeps it, and nobody else is given it', async () => {
    const scene = await set(true);
    const { id } = await scene.fake.core.actions.instance.get('web');
    const process = scene.fake.host.processes.get(id);
    if (process !== undefined) process.letsGo = false;
    await expect(detach(scene, 'web', 'disk1')).rejects.toMatchObject({ code: 'volume.detach_refused' });
    await expect(attach(scene, 'db', 'own')).rejects.toMatchObject({ code: 'volume.in_use' });
    expect(await scene.faults()).toEqual([]);
  });

  it('is on record as having one that may be plugged in, although attaching failed', async () => {
    const scene = await set(true);
    const { fake } = scene;
    const { id } = await fake.core.actions.instance.get('web');
    const process = fake.host.processes.get(id);
    if (process !== undefined) process.letsGo = false;
    fake.fault = { step: 'instance.attach/record', kind: 'fail' };
    await expect(attach(scene, 'web', 'data')).rejects.toThrow('defect');
    fake.fault = undefined;
    await expect(attach(scene, 'db', 'data')).rejects.toMatchObject({ code: 'volume.in_use' });
    expect(await scene.faults()).toEqual([]);
    if (process !== undefined) process.letsGo = true;
    await detach(scene, 'web', 'disk2');
    await attach(scene, 'db', 'data');
    expect(await scene.faults()).toEqual([]);
  });
});

describe('a disk that is being plugged in', () => {
  it('is the instance’s on record before the guest is given it', async () => {
    const scene = await set(true);
    const { fake } = scene;
    const { id } = await scene.volumeOf('data');
    fake.fault = { step: 'instance.attach/plug', kind: 'die' };
    void attach(scene, 'web', 'data').catch(() => undefined);
    await fake.died();
    const stored = await fake.store.get(`volume/${id}`);
    expect(stored?.value).toMatchObject({ status: { attachment: { disk: 'disk2' } } });
  });
});

describe('a process that is not under control', () => {
  it('keeps its disks from everybody', async () => {
    const scene = await set(true);
    const { fake } = scene;
    const original = fake.host.hypervisor.attach;
    Object.assign(fake.host.hypervisor, { attach: () => Promise.reject(new Error('no')) });
    await fake.restart();
    Object.assign(fake.host.hypervisor, { attach: original });
    const silent = { code: 'instance.unresponsive' };
    const { volume } = fake.core.actions;
    await expect(detach(scene, 'web', 'disk1')).rejects.toMatchObject(silent);
    await expect(attach(scene, 'web', 'data')).rejects.toMatchObject(silent);
    const grow = volume.resize(fake.request, 'own', { sizeBytes: 2 * gib }, waitDone);
    await expect(grow).rejects.toMatchObject(silent);
    expect(fake.host.storage.broken).toEqual([]);
  });
});

describe('a drive', () => {
  async function withDrive(live: boolean): Promise<Scene> {
    const scene = await createScene();
    await scene.image('installer', gib, 'iso');
    await scene.image('drivers', gib, 'iso');
    const drive = { name: 'cd', device: 'cdrom', bus: 'sata' } as const;
    await scene.fake.create({ name: 'web', start: live, spec: { disks: [drive] } });
    return scene;
  }

  function change({ fake }: Scene, image: string | null) {
    return fake.core.actions.disk.changeMedium(fake.request, 'web', 'cd', { image }, waitDone);
  }

  async function mediumOf({ fake }: Scene): Promise<(string | undefined)[]> {
    const { id, spec } = await fake.core.actions.instance.get('web');
    const [drive] = spec.disks;
    const { target } = { target: drive?.device === 'cdrom' ? drive.image : undefined };
    const open = fake.host.processes
      .get(id)
      ?.disks.get('cd')
      ?.layers.map(({ layer }) => layer);
    const image = open?.[0] === undefined ? undefined : (await fake.core.actions.image.get(open[0])).name;
    return [target, image];
  }

  it.each([true, false])('is given a medium, another, and none, running: %s', async (live) => {
    const scene = await withDrive(live);
    await change(scene, 'installer');
    expect(await mediumOf(scene)).toEqual(['installer', live ? 'installer' : undefined]);
    const { image } = scene.fake.core.actions;
    await expect(image.remove(scene.fake.request, 'installer')).rejects.toMatchObject({
      code: 'image.in_use',
      details: { instances: ['web'] },
    });
    await change(scene, 'drivers');
    await image.remove(scene.fake.request, 'installer');
    await change(scene, null);
    expect(await mediumOf(scene)).toEqual([undefined, undefined]);
  });

  it('takes media only, and only drives take them', async () => {
    const scene = await withDrive(true);
    await scene.image('disk');
    await scene.volume('data');
    await attach(scene, 'web', 'data');
    for (const image of ['disk', 'micro'])
      await expect(change(scene, image)).rejects.toMatchObject({ code: 'image.wrong_kind' });
    const { disk } = scene.fake.core.actions;
    const insert = disk.changeMedium(scene.fake.request, 'web', 'disk1', { image: 'drivers' }, waitDone);
    await expect(insert).rejects.toMatchObject({ code: 'volume.not_attached' });
  });

  it('keeps its medium, at whatever moment the image is to go', async () => {
    for (let turns = 0; turns < 40; turns += 1) {
      const scene = await withDrive(true);
      // Long enough for each to look while the other writes.
      scene.fake.store.turns = 10;
      const inserted = change(scene, 'installer');
      for (let turn = 0; turn < turns; turn += 1) await Promise.resolve();
      const removed = scene.fake.core.actions.image.remove(scene.fake.request, 'installer');
      const ends = await Promise.allSettled([inserted, removed]);
      expect(ends.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
    }
  });

  it('is what its record says, wherever the daemon dies', async () => {
    await atEveryCall(
      everyDeath,
      async () => ({ scene: await withDrive(true) }),
      ({ scene }) => change(scene, 'installer'),
      async ({ scene }) => {
        const [target, open] = await mediumOf(scene);
        expect(open).toBe(target);
        expect(await scene.faults()).toEqual([]);
      },
    );
  });
});

describe.each([true, false])('attaching and detaching, running: %s', (live) => {
  const acts = {
    attaching: (scene: Scene) => attach(scene, 'web', 'data'),
    detaching: (scene: Scene) => detach(scene, 'web', 'disk1'),
  } as const;

  it.each(['attaching', 'detaching'] as const)('outlives every death of the daemon: %s', async (name) => {
    await atEveryCall(
      everyDeath,
      async () => ({ scene: await set(live) }),
      ({ scene }) => acts[name](scene),
      async ({ scene }) => {
        expect(await scene.faults()).toEqual([]);
        const { items } = await scene.fake.core.actions.operation.list({ limit: 1000 });
        expect(items.filter(({ state }) => state !== 'done')).toEqual([]);
      },
    );
  });

  it('gives a volume to one alone when both were asked for before the daemon died', async () => {
    await atEveryCall(
      everyDeath,
      async () => ({ scene: await set(live) }),
      ({ scene }) => Promise.allSettled([attach(scene, 'web', 'data'), attach(scene, 'db', 'data')]),
      async ({ scene }) => {
        expect(await scene.faults()).toEqual([]);
      },
    );
  });

  it.each(['attaching', 'detaching'] as const)('can be done again when a step fails: %s', async (name) => {
    await atEveryCall(
      ['fail'],
      async () => ({ scene: await set(live) }),
      ({ scene }) => acts[name](scene),
      async ({ scene }, { error }) => {
        if (error !== undefined)
          await acts[name](scene).catch((again: unknown) => {
            // What was in doubt is on record as attached.
            expect(again).toMatchObject({ code: 'volume.in_use' });
          });
        expect(await scene.faults()).toEqual([]);
        await scene.fake.core.actions.instance.stop(scene.fake.request, 'web', force, waitDone);
        expect(await scene.faults()).toEqual([]);
      },
    );
  });

  it('passes the steps that faults can be put into, and no others', async () => {
    const { fake, ...scene } = await set(live);
    fake.steps.length = 0;
    await attach({ fake, ...scene }, 'web', 'data');
    const attaching = live ? ['grant', 'plug', 'record'] : ['grant'];
    expect(fake.steps.splice(0)).toEqual(attaching.map((step) => `instance.attach/${step}`));
    await detach({ fake, ...scene }, 'web', 'disk2');
    const detaching = ['unplug', 'revoke', 'record'];
    expect(fake.steps.splice(0)).toEqual(detaching.map((step) => `instance.detach/${step}`));
  });
});
