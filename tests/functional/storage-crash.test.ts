// wirtd is killed with SIGKILL at every step of what it does to volumes and snapshots, under a guest that never stops
// writing: the guest goes on, loses nothing, and the next wirtd finishes what was begun.
import { mkdtemp, readFile, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startDaemon, type TestDaemon } from './harness/daemon.ts';
import { killedAt } from './harness/killed.ts';
import { done, mib, type Storage, storageOf } from './harness/storage.ts';
import { startWriter, type Writer } from './harness/writer.ts';

let daemon: TestDaemon;
let storage: Storage;
let writer: Writer;
let pid: number | undefined;
let folder: string;

beforeAll(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'wirt-crash-')));
  daemon = await startDaemon();
  storage = storageOf(daemon);
  await storage.volume('data');
  await storage.volume('spare');
  pid = (await storage.guest('web')).status.process?.pid;
  await storage.attach('web', 'data');
  writer = await startWriter(storage, 'web', 'data');
});

afterAll(async () => {
  try {
    await storage.stopGuest('web');
    expect(await storage.damaged()).toEqual([]);
    expect(await daemon.remains()).toEqual([]);
  } finally {
    await daemon[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  }
});

/** What it was doing is done by the next one, the guest has not noticed, and nothing lies about. */
async function survives(step: string, act: () => Promise<unknown>, ends = 'done'): Promise<void> {
  const operations = await killedAt(daemon, step, act);
  expect(
    operations.map(({ kind, state, error }) => `${kind} ${state} ${error?.detail ?? ''}`.trim()),
  ).toEqual(operations.map(({ kind }) => `${kind} ${ends}`));
  expect((await storage.instance('web')).status).toMatchObject({ state: 'running', process: { pid } });
  await storage.agentAnswers('web');
  expect(await writer.faults()).toEqual([]);
  expect(await storage.strays()).toEqual([]);
}

describe('wirtd killed with SIGKILL while a guest writes', () => {
  it.each(['make', 'record'])('in making a volume at %s: it is made', async (step) => {
    await survives(`volume.create/${step}`, () => storage.volume('new'));
    expect((await storage.show('new')).status.state).toBe('ready');
    await storage.removeVolume('new');
  });

  it.each(['mark', 'storage', 'record'])('in removing a volume at %s: it is gone', async (step) => {
    await storage.volume('old');
    await survives(`volume.remove/${step}`, () => storage.removeVolume('old'));
    await expect(storage.show('old')).rejects.toMatchObject({ code: 'volume.not_found' });
  });

  it.each([
    'volume.create/layers',
    'volume.create/moment',
    'volume.create/record',
    'volume.create/make',
    'volume.create/record#2',
  ])('in a linked clone of its disk at %s: the clone is made', async (step) => {
    await survives(step, () => storage.volume('copy', { source: { kind: 'volume', volume: 'data' } }));
    expect((await storage.show('copy')).status.state).toBe('ready');
    await storage.removeVolume('copy');
    await storage.flatten('data');
  });

  it.each(['volume.create/make', 'volume.create/record#2', 'volume.merge/copy', 'volume.merge/record'])(
    'in a full clone of its disk at %s: the clone stands alone',
    async (step) => {
      const source = { kind: 'volume', volume: 'data', mode: 'full' } as const;
      await survives(step, () => storage.volume('copy', { source }));
      expect((await storage.show('copy')).status.layers).toHaveLength(1);
      await storage.removeVolume('copy');
      await storage.flatten('data');
    },
  );

  it.each(['volume.merge/copy', 'volume.merge/record'])(
    'in flattening a clone at %s: it stands alone',
    async (step) => {
      await storage.volume('copy', { source: { kind: 'volume', volume: 'data' } });
      await survives(step, () => storage.flatten('copy'));
      expect((await storage.show('copy')).status.layers).toHaveLength(1);
      await storage.removeVolume('copy');
      await storage.flatten('data');
    },
  );

  it.each(['grow', 'record'])('in growing its disk at %s: it is grown', async (step) => {
    const sizeBytes = (await storage.show('data')).spec.sizeBytes + mib;
    await survives(`volume.resize/${step}`, () => storage.resize('data', sizeBytes));
    expect((await storage.show('data')).spec.sizeBytes).toBe(sizeBytes);
    const seen = await storage.sh('web', 'cat /sys/class/block/$(basename $(disk data))/size');
    expect(Number(seen) * 512).toBe(sizeBytes);
  });

  it.each(['grant', 'plug', 'record'])('in attaching a disk at %s: it is attached, once', async (step) => {
    await survives(`instance.attach/${step}`, () => storage.attach('web', 'spare'));
    const { id, spec } = await storage.instance('web');
    expect(spec.disks.map(({ name }) => name)).toEqual(['data', 'spare']);
    expect((await storage.show('spare')).status.attachment).toEqual({ instance: id, disk: 'spare' });
    await storage.sh('web', 'echo works | dd of=$(disk spare) conv=fsync 2>/dev/null');
    await storage.detach('web', 'spare');
  });

  it.each(['unplug', 'revoke', 'record'])('in detaching a disk at %s: it is free', async (step) => {
    await storage.attach('web', 'spare');
    await storage.sh('web', 'disk spare');
    await survives(`instance.detach/${step}`, () => storage.detach('web', 'spare'));
    expect((await storage.show('spare')).status.attachment).toBeUndefined();
    expect((await storage.instance('web')).spec.disks.map(({ name }) => name)).toEqual(['data']);
  });

  it.each([
    ['begin', 'snapshot.remove/mark'],
    ['layers', 'snapshot.remove/merge'],
    ['moment', 'snapshot.remove/record'],
    ['record', 'volume.merge/copy'],
    ['record', 'volume.merge/record'],
  ])('in a snapshot at %s and in its removal at %s: it is taken, and merged', async (taking, removing) => {
    await survives(`snapshot.create/${taking}`, () => storage.snapshot('web', 'now'));
    expect(await storage.snapshots('web')).toMatchObject([{ name: 'now', status: { state: 'ready' } }]);
    await survives(removing, () => storage.removeSnapshot('web', 'now'));
    expect(await storage.snapshots('web')).toEqual([]);
    // What was frozen before the crash may stay in the chain, when the snapshot was taken once more after it.
    expect((await storage.show('data')).status.layers.length).toBeLessThanOrEqual(2);
    await storage.flatten('data');
  });

  it('leaves no guest frozen', async () => {
    await storage.attach('web', 'spare');
    await storage.sh('web', 'mke2fs $(disk spare) >/dev/null 2>&1; mount $(disk spare) /mnt');
    await survives('snapshot.create/record', () => storage.snapshot('web', 'frozen'));
    await storage.sh('web', 'echo thawed >/mnt/file; sync; umount /mnt');
    await storage.removeSnapshot('web', 'frozen');
    await storage.detach('web', 'spare');
  });
});

describe('wirtd killed with SIGKILL with the disks of a stopped guest', () => {
  beforeAll(async () => {
    await storage.volume('cold');
    await storage.guest('cold', { disks: [{ device: 'disk', name: 'cold', volume: 'cold' }] });
    for (const name of ['a', 'b']) {
      await storage.sh('cold', `echo ${name} | dd of=$(disk cold) conv=fsync 2>/dev/null`);
      await storage.snapshot('cold', name);
    }
    await storage.stopGuest('cold');
  });

  const content = async (): Promise<string> => {
    const path = join(folder, 'cold.raw');
    await rm(path, { force: true });
    const body = { path, format: 'raw' } as const;
    await daemon.client.call('POST /v1/volumes/{volume}/export', {
      params: { volume: 'cold' },
      body,
      ...done,
    });
    return (await readFile(path, 'latin1')).slice(0, 1);
  };

  it.each(['layer', 'firmware', 'record'])('in a restore at %s: it is restored', async (step) => {
    await storage.restore('cold', 'b');
    expect(await content()).toBe('b');
    await survives(`snapshot.restore/${step}`, () => storage.restore('cold', 'a'));
    expect(await content()).toBe('a');
  });
});
