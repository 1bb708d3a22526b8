// Instances with disks: what is made of an image, what a start opens and a stop gives back, and what goes with the instance.
import type { InstanceCreate } from '@wirt/api';
import { describe, expect, it } from 'vitest';
import { waitDone } from '../fakes/fake-core.ts';
import { atEveryCall, createScene, everyDeath, gib, type Scene } from '../fakes/scene.ts';

const force = { mode: 'force', graceSeconds: 0 } as const;
const disk = { device: 'disk', bus: 'virtio', pool: 'default', format: 'qcow2', readOnly: false } as const;

type Spec = Partial<InstanceCreate['spec']>;

async function withImages(): Promise<Scene> {
  const scene = await createScene();
  await scene.image('debian', 2 * gib);
  await scene.image('installer', gib, 'iso');
  return scene;
}

function create({ fake }: Scene, spec: Spec, start = false) {
  return fake.create({ name: 'web', start, spec: { image: 'debian', ...spec } });
}

function web({ fake }: Scene) {
  return fake.core.actions.instance.get('web');
}

function remove({ fake }: Scene, isForced = false) {
  return fake.core.actions.instance.remove(fake.request, 'web', { force: isForced }, waitDone);
}

function start({ fake }: Scene) {
  return fake.core.actions.instance.start(fake.request, 'web', { paused: false }, waitDone);
}

function stop({ fake }: Scene) {
  return fake.core.actions.instance.stop(fake.request, 'web', force, waitDone);
}

describe('an instance of a disk image', () => {
  it('has a linked copy of it as its first disk, and boots from that', async () => {
    const scene = await withImages();
    await create(scene, {}, true);
    const { spec, status } = await web(scene);
    expect(spec.disks).toMatchObject([{ name: 'root', slot: 0, bootOrder: 1, deleteOnTermination: true }]);
    expect(spec.firmware).toBe('bios');
    expect(status.ssh).toEqual({ host: spec.nics[0]?.ipv4, port: 22 });
    const root = await scene.volumeOf('web-root');
    expect(root.spec).toMatchObject({ sizeBytes: 2 * gib, origin: { kind: 'image', mode: 'linked' } });
    expect(await scene.faults()).toEqual([]);
  });

  it('has its root as asked for: size, copy, pool, bus and what becomes of it', async () => {
    const scene = await withImages();
    const { fake } = scene;
    const pool = { driver: 'dir', path: '/fast', reservePercent: 0 } as const;
    await fake.core.actions.pool.create(fake.request, { name: 'fast', spec: pool });
    const rootDisk = {
      sizeBytes: 9 * gib,
      mode: 'full',
      pool: 'fast',
      bus: 'sata',
      deleteOnTermination: false,
    } as const;
    await create(scene, { rootDisk });
    expect((await web(scene)).spec.disks).toMatchObject([{ bus: 'sata', deleteOnTermination: false }]);
    expect((await scene.volumeOf('web-root')).spec).toMatchObject({
      pool: 'fast',
      sizeBytes: 9 * gib,
      origin: { mode: 'full' },
    });
    await remove(scene);
    expect((await scene.volumeOf('web-root')).status.attachment).toBeUndefined();
  });

  it('boots on by what its image had, when that is gone', async () => {
    const scene = await withImages();
    const { fake } = scene;
    fake.host.storage.files.set('https://images.example/debian', gib);
    await fake.core.actions.image.pull(fake.request, { image: 'debian/12', name: 'efi' }, waitDone);
    await create(scene, {
      image: 'efi',
      rootDisk: { mode: 'full', pool: 'default', bus: 'virtio', deleteOnTermination: true },
    });
    await fake.core.actions.image.remove(fake.request, 'efi');
    await start(scene);
    expect((await web(scene)).spec.firmware).toBe('uefi');
    expect(fake.host.storage.remains().filter((what) => what.startsWith('variables'))).toHaveLength(1);
    await remove(scene, true);
    expect(fake.host.storage.remains()).toEqual([]);
  });

  it.each<[string, Omit<Spec, 'image'> & { readonly image?: string | undefined }]>([
    ['request.invalid', { image: undefined }],
    ['image.wrong_kind', { image: 'installer' }],
    ['image.not_found', { image: 'nothing' }],
    [
      'volume.cannot_shrink',
      {
        rootDisk: {
          sizeBytes: gib,
          mode: 'linked',
          pool: 'default',
          bus: 'virtio',
          deleteOnTermination: true,
        },
      },
    ],
    ['volume.not_found', { disks: [{ ...disk, name: 'data', volume: 'nothing' }] }],
    ['pool.not_found', { disks: [{ ...disk, name: 'data', sizeBytes: gib, pool: 'nothing' }] }],
    ['request.invalid', { disks: [{ ...disk, name: 'data' }] }],
    ['request.invalid', { disks: [{ ...disk, name: 'root', sizeBytes: gib }] }],
    ['volume.in_use', { disks: [{ ...disk, name: 'data', volume: 'taken' }] }],
    [
      'volume.in_use',
      {
        disks: [
          { ...disk, name: 'a', volume: 'free' },
          { ...disk, name: 'b', volume: 'free' },
        ],
      },
    ],
    ['image.wrong_kind', { disks: [{ name: 'cd', device: 'cdrom', bus: 'sata', image: 'debian' }] }],
    ['request.invalid', { image: 'micro', firmware: 'uefi' }],
  ])('is refused for what cannot be, and leaves nothing: %s %o', async (code, spec) => {
    const scene = await withImages();
    await scene.volume('taken');
    await scene.volume('free');
    await scene.guest('other', ['taken'], false);
    const cloudInit = { sshKeys: [] };
    const { image, ...rest } = { image: 'debian', ...spec };
    const named = image === undefined ? {} : { image };
    const made = scene.fake.core.actions.instance.create(
      scene.fake.request,
      {
        name: 'web',
        project: 'default',
        labels: {},
        start: true,
        startPaused: false,
        // What is asked for is all optional here, and complete with `bare`.
        spec: { ...bare, ...named, cloudInit, ...rest } as InstanceCreate['spec'],
      },
      waitDone,
    );
    await expect(made).rejects.toMatchObject({ code });
    expect((await scene.all()).map(({ name }) => name)).toEqual(['taken', 'free']);
    expect((await scene.volumeOf('free')).status.attachment).toBeUndefined();
    expect(await scene.faults()).toEqual([]);
  });
});

const bare = {
  cpus: 1,
  memoryMib: 64,
  machine: 'q35',
  accelerator: 'auto',
  nics: [],
  disks: [],
  restart: 'never',
  autostart: false,
  overcommit: false,
} as const;

describe('a seed', () => {
  it('is written with the instance, told without its secrets, and goes with it', async () => {
    const scene = await withImages();
    const passwordHash = '$6$salt$hash';
    await create(
      scene,
      { cloudInit: { datasource: 'seed', sshKeys: [], passwordHash, hostname: 'www' } },
      true,
    );
    const { id, spec } = await web(scene);
    expect(spec.cloudInit).toMatchObject({
      hostname: 'www',
      password: true,
    });
    expect(JSON.stringify(await web(scene))).not.toContain(passwordHash);
    expect(scene.fake.host.processes.get(id)?.disks.has('cidata')).toBe(true);
    await remove(scene, true);
    expect(scene.fake.host.storage.remains()).toEqual([]);
  });

  it('installs the guest agent where an image may lack it, and not where Wirt has built the image or no card leads out', async () => {
    const vendorDataOf = async (spec: Spec): Promise<string | undefined> => {
      const scene = await withImages();
      const { fake } = scene;
      await fake.core.actions.image.build(fake.request, { recipe: 'micro', name: 'built' }, waitDone);
      const { seeds } = fake.host.storage;
      const { write } = seeds;
      let vendorData: string | undefined;
      Object.assign(seeds, {
        write: (...[id, content]: Parameters<typeof write>) => {
          vendorData = content['vendor-data'];
          return write(id, content);
        },
      });
      await create(scene, { cloudInit: { datasource: 'seed', sshKeys: [] }, ...spec });
      return vendorData;
    };
    expect(await vendorDataOf({})).toContain('install --no-install-recommends qemu-guest-agent');
    expect(await vendorDataOf({ image: 'built' })).toBeUndefined();
    expect(await vendorDataOf({ nics: [] })).toBeUndefined();
  });

  it('is none where the metadata service tells the guest: the user-data is kept, and goes with it', async () => {
    const scene = await withImages();
    const { seeds } = scene.fake.host.storage;
    await create(scene, { cloudInit: { datasource: 'metadata', sshKeys: [], userData: '#!/bin/sh' } }, true);
    const { id, spec } = await web(scene);
    expect(spec.cloudInit).toMatchObject({ datasource: 'metadata', hostname: 'web', userData: true });
    expect(scene.fake.host.processes.get(id)?.disks.has('cidata')).toBe(false);
    expect(String.fromCharCode(...((await seeds.userData(id)) ?? []))).toBe('#!/bin/sh');
    await remove(scene, true);
    expect(scene.fake.host.storage.remains()).toEqual([]);
  });

  it('is written once when the same request comes twice', async () => {
    const scene = await withImages();
    const { fake } = scene;
    const request = { ...fake.request, idempotency: { key: 'k', fingerprint: 'f' } };
    const input = {
      name: 'web',
      project: 'default',
      labels: {},
      start: false,
      startPaused: false,
      spec: {
        ...bare,
        metadata: { enabled: true, tokens: 'required', hopLimit: 1 },
        image: 'debian',
        cloudInit: { datasource: 'seed', sshKeys: [] },
      },
    } as const;
    const twice = [1, 2].map(() =>
      fake.core.actions.instance.create(
        request,
        {
          ...input,
          spec: { ...input.spec, nics: [], disks: [], cloudInit: { datasource: 'seed', sshKeys: [] } },
        },
        waitDone,
      ),
    );
    await Promise.all(twice);
    expect(await scene.faults()).toEqual([]);
  });
});

describe('a start', () => {
  it('that fails gives every grant back', async () => {
    const scene = await withImages();
    await create(scene, {});
    scene.fake.fault = { step: 'instance.start/connect', kind: 'fail' };
    await expect(start(scene)).rejects.toThrow();
    scene.fake.fault = undefined;
    const { status } = await scene.volumeOf('web-root');
    expect(scene.fake.host.storage.grantOf(status.active)).toBe('');
    expect(await scene.faults()).toEqual([]);
    await start(scene);
    await stop(scene);
    expect(await scene.faults()).toEqual([]);
  });

  it('makes what an interrupted create left, and never makes anew what a guest has written', async () => {
    const scene = await withImages();
    scene.fake.fault = { step: 'instance.start/record', kind: 'die' };
    void create(scene, {}, true).catch(() => undefined);
    await scene.fake.died();
    const { id } = await web(scene);
    scene.fake.host.write(id, 'root', 'p', 'first');
    scene.fake.host.end(id, {});
    await scene.fake.restart();
    await scene.settled();
    expect((await web(scene)).status.state).toBe('running');
    expect(await scene.content('web-root')).toEqual({ p: 'first' });
    expect(await scene.faults()).toEqual([]);
  });

  it('is refused while its pool has no room for what is still to be made', async () => {
    const scene = await withImages();
    scene.fake.host.storage.availableBytes = gib;
    await expect(create(scene, {}, true)).rejects.toMatchObject({ code: 'pool.full' });
    expect((await web(scene)).status).toMatchObject({ state: 'crashed' });
    expect((await scene.volumeOf('web-root')).status.state).toBe('creating');
    await remove(scene);
    expect(await scene.faults()).toEqual([]);
    expect(await scene.all()).toEqual([]);
  });
});

describe('a removal', () => {
  it('takes what was made for the instance, and leaves what was there before', async () => {
    const scene = await withImages();
    await scene.volume('data');
    await create(scene, {
      disks: [
        { ...disk, name: 'data', volume: 'data' },
        { ...disk, name: 'scratch', sizeBytes: gib },
      ],
    });
    await remove(scene);
    expect((await scene.all()).map(({ name }) => name)).toEqual(['data']);
    expect((await scene.volumeOf('data')).status.attachment).toBeUndefined();
    expect(await scene.faults()).toEqual([]);
  });

  it('takes the snapshots of what goes, and is refused where a clone lies on it', async () => {
    const scene = await withImages();
    const { fake } = scene;
    await create(scene, {}, true);
    const input = { name: 's', labels: {}, freeze: 'auto' } as const;
    await fake.core.actions.snapshot.create(fake.request, 'web', input, waitDone);
    await scene.volume('twin', { source: { kind: 'volume', volume: 'web-root', mode: 'linked' } });
    await expect(remove(scene, true)).rejects.toMatchObject({ details: { volumes: ['twin'] } });
    expect((await web(scene)).status.state).toBe('running');
    await fake.core.actions.volume.flatten(fake.request, 'twin', waitDone);
    await remove(scene, true);
    await scene.settled();
    expect((await scene.all()).map(({ name }) => name)).toEqual(['twin']);
    expect(await scene.faults()).toEqual([]);
  });

  it('that failed half-way lets nothing start from what is gone', async () => {
    const scene = await withImages();
    await create(scene, {});
    scene.fake.fault = { step: 'instance.remove/record', kind: 'fail' };
    await expect(remove(scene)).rejects.toThrow();
    scene.fake.fault = undefined;
    await expect(start(scene)).rejects.toMatchObject({ code: 'volume.state_conflict' });
    await remove(scene);
    expect(await scene.all()).toEqual([]);
    expect(await scene.faults()).toEqual([]);
  });
});

describe('an instance with disks, seed and firmware of its own', () => {
  async function whole(): Promise<{ scene: Scene }> {
    const scene = await withImages();
    await scene.volume('data');
    return { scene };
  }

  const spec: Spec = {
    firmware: 'uefi',
    cloudInit: { datasource: 'seed', sshKeys: [] },
    disks: [
      { ...disk, name: 'data', volume: 'data' },
      { ...disk, name: 'scratch', sizeBytes: gib },
      { name: 'cd', device: 'cdrom', bus: 'sata', image: 'installer' },
    ],
  };

  it('is created and started wherever the daemon dies', async () => {
    await atEveryCall(
      everyDeath,
      whole,
      ({ scene }) => create(scene, spec, true),
      async ({ scene }) => {
        const isThere = await web(scene).then(
          ({ status }) => status.state,
          () => 'not accepted',
        );
        expect(isThere).toMatch(/^(running|not accepted)$/);
        expect(await scene.faults()).toEqual([]);
      },
    );
  });

  it('is there, and leaves no grant, when a step of its start fails', async () => {
    await atEveryCall(
      ['fail'],
      whole,
      ({ scene }) => create(scene, spec, true),
      async ({ scene }, { error }) => {
        const isThere = await web(scene).then(
          ({ status }) => status.state,
          () => 'not accepted',
        );
        expect(isThere).toMatch(error === undefined ? /^running$/ : /^(crashed|not accepted)$/);
        await scene.fake.restart();
        await scene.settled();
        expect(await scene.faults()).toEqual([]);
        if (isThere === 'crashed') await start(scene);
        expect(await scene.faults()).toEqual([]);
      },
    );
  });

  it('is stopped and removed wherever the daemon dies', async () => {
    await atEveryCall(
      everyDeath,
      async () => {
        const { scene } = await whole();
        await create(scene, spec, true);
        return { scene };
      },
      ({ scene }) => remove(scene, true),
      async ({ scene }) => {
        expect(await scene.faults()).toEqual([]);
        const left = (await scene.all()).map(({ name }) => name);
        const isThere = await web(scene).catch(() => undefined);
        if (isThere === undefined) expect(left).toEqual(['data']);
        else expect(isThere.status.state).toBe('running');
      },
    );
  });
});
