// wirtd is killed with SIGKILL at every step of taking images and machines in and giving them out, and of the life of an
// instance with disks: the next one finishes what was begun, once, and leaves nothing else.
import { mkdtemp, readFile, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeBootDisk, writeBootIso } from './harness/boot-disk.ts';
import { startDaemon, type TestDaemon } from './harness/daemon.ts';
import { type ImageServer, startImageServer } from './harness/image-server.ts';
import { killedAt } from './harness/killed.ts';
import { done, mib, run, type Storage, storageOf } from './harness/storage.ts';

let daemon: TestDaemon;
let storage: Storage;
let server: ImageServer;
let folder: string;
let args: string[];

beforeAll(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'wirt-transfer-')));
  server = await startImageServer();
  args = ['--catalogues', `local=${server.url}`];
  daemon = await startDaemon({ args });
  storage = storageOf(daemon);
  await writeBootDisk(at('disk.raw'), 'booted', 2 * mib);
  await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', at('disk.raw'), at('disk.qcow2')]);
  await writeBootIso(at('medium.iso'), 'medium');
  await server.write('disk.qcow2', await readFile(at('disk.qcow2')));
  await server.addDisk({ file: at('disk.qcow2'), os: 'Debian', release: '12', variant: 'cloud' });
});

afterAll(async () => {
  try {
    expect(await daemon.remains()).toEqual([]);
  } finally {
    await daemon[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  }
});

const at = (name: string) => join(folder, name);
const of = (instance: string) => ({ params: { instance } });
const noWait = { query: { wait: 'none' } } as const;

/** What it was doing is done by the next one, and nothing lies about. */
async function survives(step: string, act: () => Promise<unknown>): Promise<void> {
  const operations = await killedAt(daemon, step, act, { args });
  expect(
    operations.map(({ kind, state, error }) => `${kind} ${state} ${error?.detail ?? ''}`.trim()),
  ).toEqual(operations.map(({ kind }) => `${kind} done`));
  expect(operations.map(({ recovery }) => recovery).filter(Boolean)).not.toEqual([]);
  expect(await storage.strays()).toEqual([]);
}

const removeImage = (image: string) => daemon.client.call('DELETE /v1/images/{image}', { params: { image } });
async function expectImage(name: string): Promise<void> {
  const { status } = await daemon.client.call('GET /v1/images/{image}', { params: { image: name } });
  expect(status).toMatchObject({ state: 'ready', virtualSizeBytes: 2 * mib });
  await removeImage(name);
}
const removeInstance = (instance: string) =>
  daemon.client.call('DELETE /v1/instances/{instance}', { ...of(instance), ...done });

describe('wirtd killed with SIGKILL', () => {
  it.each(['image.import/open', 'image.import/convert', 'image.make/publish', 'image.make/record'])(
    'in the import of an image at %s: the image is there',
    async (step) => {
      const body = { name: 'taken', path: at('disk.qcow2') };
      await survives(step, () => daemon.client.call('POST /v1/images/import', { body, ...noWait }));
      await expectImage('taken');
    },
  );

  it('in the import of an image from an address: the image is there', async () => {
    const body = { name: 'far', url: `${server.url}/disk.qcow2` };
    const act = () => daemon.client.call('POST /v1/images/import', { body, ...noWait });
    await survives('image.import/download', act);
    await expectImage('far');
  });

  it('in pulling an image: the image is there', async () => {
    const body = { image: 'debian/12/cloud', name: 'pulled' };
    const act = () => daemon.client.call('POST /v1/images/pull', { body, ...noWait });
    await survives('image.pull/download', act);
    await expectImage('pulled');
  });

  it.each(['open', 'disk', 'record'])('in the import of a machine at %s: it is there, once', async (step) => {
    const body = { name: 'shop', path: at('disk.qcow2') };
    await survives(`instance.import/${step}`, () =>
      daemon.client.call('POST /v1/imports', { body, ...noWait }),
    );
    expect((await storage.instance('shop')).spec.disks).toHaveLength(1);
    const { items } = await daemon.client.call('GET /v1/volumes', {});
    expect(items).toMatchObject([{ status: { state: 'ready' } }]);
    const path = at(`out-${step}.raw`);
    const params = { volume: items[0]?.name ?? '' };
    await daemon.client.call('POST /v1/volumes/{volume}/export', {
      params,
      body: { path, format: 'raw' },
      ...done,
    });
    expect((await readFile(path)).equals(await readFile(at('disk.raw')))).toBe(true);
    await removeInstance('shop');
    expect((await daemon.client.call('GET /v1/volumes', {})).items).toEqual([]);
  });

  it.each(['instance.import/start', 'instance.start/grant-disks', 'instance.start/record'])(
    'in the import of a machine that is to start, at %s: it runs',
    async (step) => {
      const body = { name: 'shop', path: at('disk.qcow2'), memoryMib: 64, start: true };
      await survives(step, () => daemon.client.call('POST /v1/imports', { body, ...noWait }));
      expect((await storage.instance('shop')).status.state).toBe('running');
      expect((await daemon.client.call('GET /v1/volumes', {})).items).toHaveLength(1);
      await storage.stopGuest('shop');
      await removeInstance('shop');
    },
  );
});

describe('wirtd killed with SIGKILL with a machine that has a disk and a drive,', () => {
  beforeAll(async () => {
    for (const name of ['medium', 'own'] as const) {
      const path = at(name === 'own' ? 'disk.qcow2' : 'medium.iso');
      await daemon.client.call('POST /v1/images/import', { body: { name, path }, ...done });
    }
  });

  afterAll(async () => {
    for (const name of ['medium', 'own']) await removeImage(name);
  });

  const create = async () => {
    const spec = { image: 'own', memoryMib: 64, disks: [{ device: 'cdrom', name: 'cd' } as const] };
    await daemon.client.call('POST /v1/instances', { body: { name: 'web', spec }, ...done });
  };
  const start = () =>
    daemon.client.call('POST /v1/instances/{instance}/start', {
      ...of('web'),
      body: { paused: true },
      ...noWait,
    });

  it('in its start: it runs', async () => {
    await create();
    await survives('instance.start/grant-disks', start);
    expect((await storage.instance('web')).status.state).toBe('paused');
  });

  it('in changing its medium: the medium is in', async () => {
    const params = { instance: 'web', disk: 'cd' };
    await survives('instance.medium/change', () =>
      daemon.client.call('POST /v1/instances/{instance}/disks/{disk}/medium', {
        params,
        body: { image: 'medium' },
        ...noWait,
      }),
    );
    const { disks } = (await storage.instance('web')).spec;
    expect(disks.find(({ name }) => name === 'cd')).toMatchObject({ image: 'medium' });
  });

  it('in its stop: it is stopped, and its disk is nobody’s', async () => {
    const body = { mode: 'force' } as const;
    await survives('instance.stop/close-disks', () =>
      daemon.client.call('POST /v1/instances/{instance}/stop', { ...of('web'), body, ...noWait }),
    );
    expect((await storage.instance('web')).status.state).toBe('stopped');
    expect(await daemon.remains()).toEqual([]);
    expect(await storage.damaged()).toEqual([]);
  });

  it('in giving it out: the file is whole', async () => {
    const body = { format: 'qcow2', path: at('given.qcow2') } as const;
    await survives('instance.export/write', () =>
      daemon.client.call('POST /v1/instances/{instance}/export', { ...of('web'), body, ...noWait }),
    );
    await run('qemu-img', ['compare', '-f', 'qcow2', '-F', 'raw', at('given.qcow2'), at('disk.raw')]);
  });

  it('in its removal: it is gone, and its disk with it', async () => {
    await survives('instance.remove/disks', () =>
      daemon.client.call('DELETE /v1/instances/{instance}', { ...of('web'), ...noWait }),
    );
    await expect(storage.instance('web')).rejects.toMatchObject({ code: 'instance.not_found' });
    expect((await daemon.client.call('GET /v1/volumes', {})).items).toEqual([]);
    expect(await storage.layerFiles()).toEqual([]);
  });
});
