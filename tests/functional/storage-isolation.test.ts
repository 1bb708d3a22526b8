// Who may open what: conversions of foreign bytes, asked from inside their process, and the disks of guests.
import { mkdtemp, readFile, readlink, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeBootDisk } from './harness/boot-disk.ts';
import { startDaemon, type TestDaemon } from './harness/daemon.ts';
import { done, mayOpen, mib, run, type Storage, storageOf } from './harness/storage.ts';
import { spyOnTools, type ToolSpy } from './harness/tool-spy.ts';

let daemon: TestDaemon;
let storage: Storage;
let spy: ToolSpy;
let folder: string;

beforeAll(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'wirt-isolation-')));
  spy = await spyOnTools();
  daemon = await startDaemon({ env: spy.env });
  storage = storageOf(daemon);
  await writeBootDisk(join(folder, 'disk.raw'), 'booted', mib);
});

afterAll(async () => {
  try {
    expect(await daemon.remains()).toEqual([]);
  } finally {
    await daemon[Symbol.asyncDispose]();
    await spy[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  }
});

const importImage = (name: string) => {
  const body = { name, path: join(folder, 'disk.raw'), format: 'raw' } as const;
  return daemon.client.call('POST /v1/images/import', { body, ...done });
};
const limitOf = (limits: string, name: string) =>
  Number(new RegExp(`^${name} +(\\d+)`, 'm').exec(limits)?.[1] ?? Number.POSITIVE_INFINITY);

describe('a conversion', () => {
  it('has a uid of its own, no capability and no way to get one, its own control groups, no network, and limits', async () => {
    await spy.before(
      `{ cat /proc/$$/status /proc/$$/limits /proc/$$/cgroup; readlink /proc/$$/ns/net; } >${spy.notes}`,
    );
    const { id } = await importImage('own');
    await spy.before('');
    const told = await readFile(spy.notes, 'utf8');
    const [, uid = '0'] = /^Uid:\t(\d+)\t\1\t\1\t\1$/m.exec(told) ?? [];
    expect(Number(uid)).toBeGreaterThan(65_535);
    expect(told).toMatch(new RegExp(`^Gid:\t${uid}\t${uid}\t${uid}\t${uid}$`, 'm'));
    expect(told).toMatch(/^Groups:\s*$/m);
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'])
      expect(told).toMatch(new RegExp(`^${set}:\t0+$`, 'm'));
    expect(told).toMatch(/^NoNewPrivs:\t1$/m);
    expect(told).toMatch(new RegExp(`^\\d+:.*/${daemon.tag}/${id}$`, 'm'));
    expect(told).not.toContain(await readlink('/proc/self/ns/net'));
    expect(limitOf(told, 'Max address space')).toBeLessThanOrEqual(8 * 1024 ** 3);
    expect(limitOf(told, 'Max file size')).toBeLessThan(1024 ** 3);
    expect(limitOf(told, 'Max cpu time')).toBeLessThan(Number.POSITIVE_INFINITY);
    expect(limitOf(told, 'Max open files')).toBeLessThanOrEqual(1024);
    expect(limitOf(told, 'Max core file size')).toBe(0);
  });

  it('opens nothing of wirtd or of a guest', async () => {
    await storage.volume('secret');
    const [layer = ''] = await storage.layerFiles();
    const { stdout } = await run('find', [daemon.stateDirectory, '-name', '*.db']);
    const [database = ''] = stdout.split('\n');
    const paths = [layer, database, daemon.socket, daemon.stateDirectory, '/etc/shadow'];
    for (const path of paths) expect(path).not.toBe('');
    await spy.before(
      `for path in ${paths.join(' ')}; do test -r "$path" && echo "$path"; done >${spy.notes}`,
    );
    await importImage('other');
    await spy.before('');
    expect(await readFile(spy.notes, 'utf8')).toBe('');
    await storage.removeVolume('secret');
  });
});

describe('the disk of a guest', () => {
  const start = async (name: string) => {
    const spec = { image: 'own', memoryMib: 64 };
    const body = { name, start: true, startPaused: true, spec };
    await daemon.client.call('POST /v1/instances', { body, ...done });
    return (await storage.instance(name)).status.process?.uid ?? 0;
  };
  it('is its own while it runs, closed to others, and root’s when it has stopped', async () => {
    const uids = [await start('one'), await start('two')];
    const files = await storage.layerFiles();
    expect(files).toHaveLength(2);
    const openTo = () =>
      Promise.all(files.map(async (path) => Promise.all(uids.map((uid) => mayOpen(uid, path)))));
    expect((await openTo()).map((each) => each.join()).sort()).toEqual([',rw', 'rw,']);
    for (const name of ['one', 'two']) await storage.stopGuest(name);
    expect((await openTo()).flat().join('')).toBe('');
  });

  it('shares with others only what none of them can write', async () => {
    const { stdout } = await run('find', [join(daemon.stateDirectory, 'images'), '-name', '*.qcow2']);
    const images = stdout.split('\n').filter(Boolean);
    expect(images.length).toBeGreaterThan(0);
    await daemon.client.call('POST /v1/instances/{instance}/start', {
      params: { instance: 'one' },
      body: { paused: true },
      ...done,
    });
    const { uid = 0 } = (await storage.instance('one')).status.process ?? {};
    for (const path of images) expect(await mayOpen(uid, path)).toBe('r');
    for (const instance of ['one', 'two'])
      await daemon.client.call('DELETE /v1/instances/{instance}', {
        params: { instance },
        query: { force: 'true', wait: 'done' },
      });
  });
});
