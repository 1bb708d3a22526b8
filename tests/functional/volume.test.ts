// Volumes as people meet them: grown, attached, detached and cloned under running guests, never in two hands at once.
import { mkdtemp, readFile, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { startDaemon, type TestDaemon } from './harness/daemon.ts';
import { mayOpen, mib, run, type Storage, storageOf } from './harness/storage.ts';

let daemon: TestDaemon;
let storage: Storage;
let folder: string;

/** Both run all the while. */
beforeAll(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'wirt-volumes-')));
  daemon = await startDaemon();
  storage = storageOf(daemon);
  await storage.guest('one', { cpus: 2 });
  await storage.guest('two');
});

afterAll(async () => {
  try {
    for (const name of ['one', 'two']) await storage.stopGuest(name);
    expect(await storage.damaged()).toEqual([]);
    expect(await storage.strays()).toEqual([]);
    expect(await daemon.remains()).toEqual([]);
  } finally {
    await daemon[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  }
});

/** Instances are as they were before each test; volumes are gone with the last that needs them. */
afterEach(async () => {
  for (const name of ['one', 'two'])
    for (const disk of (await storage.instance(name)).spec.disks) await storage.detach(name, disk.name);
  const { items } = await daemon.client.call('GET /v1/volumes', {});
  for (const { name } of items.reverse()) await storage.removeVolume(name);
  expect(await storage.layerFiles()).toEqual([]);
});

const activeFile = async (volume: string): Promise<string> => {
  const { status } = await storage.show(volume);
  const path = (await storage.layerFiles()).find((each) => each.includes(status.active));
  return path ?? `no layer ${status.active}`;
};

describe('a volume', () => {
  it('is made in a moment, listed, and counted by its pool', async () => {
    await storage.volume('data', { sizeBytes: 1024 * mib });
    await storage.volume('plain', { sizeBytes: 8 * mib, format: 'raw', labels: { tier: 'db' } });
    const { items } = await daemon.client.call('GET /v1/volumes', {});
    expect(items).toMatchObject([
      { name: 'data', spec: { format: 'qcow2', sizeBytes: 1024 * mib }, status: { state: 'ready' } },
      { name: 'plain', labels: { tier: 'db' }, spec: { format: 'raw' }, status: { state: 'ready' } },
    ]);
    const { status } = await daemon.client.call('GET /v1/pools/{pool}', { params: { pool: 'default' } });
    expect(status).toMatchObject({ state: 'ready', provisionedBytes: 1032 * mib, volumes: 2 });
    expect(status.overcommit).toBeCloseTo((1032 * mib) / (status.capacityBytes ?? 0), 2);
    expect(status.allocatedBytes).toBeLessThan(4 * mib);
    expect(status.reserveBytes).toBe(Math.floor((status.capacityBytes ?? 0) * 0.05));
  });

  it('is renamed while a guest uses it, and two never share a name', async () => {
    await storage.volume('data');
    await storage.volume('other');
    await storage.attach('one', 'data');
    const rename = (volume: string, name: string) =>
      daemon.client.call('PATCH /v1/volumes/{volume}', { params: { volume }, body: { name } });
    await rename('data', 'records');
    await expect(rename('records', 'other')).rejects.toMatchObject({ code: 'volume.name_taken' });
    await expect(storage.show('data')).rejects.toMatchObject({ code: 'volume.not_found' });
    expect(await storage.sh('one', 'disk data')).toMatch(/^\/dev\/vd/);
  });

  it.each(['qcow2', 'raw'] as const)('of format %s grows under a guest, which sees it', async (format) => {
    await storage.volume('data', { format });
    await storage.attach('one', 'data');
    const size = () => storage.sh('one', 'cat /sys/class/block/$(basename $(disk data))/size');
    expect(Number(await size()) * 512).toBe(16 * mib);
    await storage.resize('data', 48 * mib);
    expect(Number(await size()) * 512).toBe(48 * mib);
    await storage.sh('one', 'echo end | dd of=$(disk data) bs=1M seek=47 conv=fsync 2>/dev/null');
    await expect(storage.resize('data', 16 * mib)).rejects.toMatchObject({ code: 'volume.cannot_shrink' });
    expect((await storage.show('data')).spec.sizeBytes).toBe(48 * mib);
  });

  it('is plugged into a running guest and pulled out again, and has its data in the next', async () => {
    await storage.volume('data');
    await storage.attach('one', 'data');
    const write =
      'mke2fs $(disk data) >/dev/null 2>&1; mount $(disk data) /mnt; echo kept >/mnt/file; umount /mnt';
    await storage.sh('one', write);
    await storage.detach('one', 'data');
    expect(await storage.sh('one', 'cat /sys/class/block/vd*/serial 2>/dev/null || true')).toBe('');
    await storage.attach('two', 'data', { name: 'moved', readOnly: true });
    const read = 'mount -r $(disk moved) /mnt; cat /mnt/file; umount /mnt';
    expect(await storage.sh('two', read)).toBe('kept');
    expect(await storage.sh('two', 'cat /sys/class/block/$(basename $(disk moved))/ro')).toBe('1');
  });

  it('has a queue for each processor, takes discards, and gives the room back', async () => {
    await storage.volume('data', { sizeBytes: 32 * mib });
    await storage.attach('one', 'data');
    const queues = await storage.sh('one', 'ls /sys/class/block/$(basename $(disk data))/mq | wc -l');
    expect(queues).toBe('2');
    const allocated = async () => (await storage.show('data')).status.allocatedBytes ?? 0;
    await storage.sh('one', 'dd if=/dev/urandom of=$(disk data) bs=1M count=8 conv=fsync 2>/dev/null');
    expect(await allocated()).toBeGreaterThan(8 * mib);
    await storage.sh('one', 'blkdiscard $(disk data)');
    expect(await allocated()).toBeLessThan(4 * mib);
  });

  it('is open to the guest while it has it, to root after, and to no other guest', async () => {
    await storage.volume('data');
    const path = await activeFile('data');
    const uids = await Promise.all(
      ['one', 'two'].map(async (name) => (await storage.instance(name)).status.process?.uid ?? 0),
    );
    const openTo = () => Promise.all(uids.map((uid) => mayOpen(uid, path)));
    expect(await openTo()).toEqual(['', '']);
    await storage.attach('one', 'data');
    expect(await openTo()).toEqual(['rw', '']);
    await storage.detach('one', 'data');
    expect(await openTo()).toEqual(['', '']);
  });
});

describe('a clone of a volume that a guest is writing', () => {
  it.each(['linked', 'full'] as const)('(%s) reads the same, and stays as it was', async (mode) => {
    await storage.volume('data');
    await storage.attach('one', 'data');
    await storage.sh('one', 'dd if=/dev/urandom of=$(disk data) bs=1M count=4 conv=fsync 2>/dev/null');
    const digest = (guest: string, disk: string) =>
      storage.sh(guest, `echo 3 >/proc/sys/vm/drop_caches; md5sum <$(disk ${disk})`);
    const before = await digest('one', 'data');
    await storage.volume('copy', { source: { kind: 'volume', volume: 'data', mode } });
    await storage.sh('one', 'echo later | dd of=$(disk data) conv=fsync 2>/dev/null');
    await storage.attach('two', 'copy');
    expect(await digest('two', 'copy')).toBe(before);
    await storage.sh('two', 'echo other | dd of=$(disk copy) seek=1 conv=fsync 2>/dev/null');
    expect(await storage.sh('one', 'dd if=$(disk data) count=1 2>/dev/null | head -c 5')).toBe('later');
    const { layers } = (await storage.show('copy')).status;
    expect(layers.at(-1)?.parent === undefined).toBe(mode === 'full');
  });
});

describe('removing a volume is refused, and it is said who has it:', () => {
  const refusal = (volume: string) =>
    storage.removeVolume(volume).then(
      () => 'removed',
      ({ code, message, hint }) => `${code} ${message} ${hint}`,
    );

  it('the instance', async () => {
    await storage.volume('data');
    await storage.attach('two', 'data');
    expect(await refusal('data')).toMatch(/^volume\.in_use .*attached to two.*wirt volume detach data/);
  });

  it('the clones', async () => {
    await storage.volume('data');
    await storage.volume('copy', { source: { kind: 'volume', volume: 'data' } });
    expect(await refusal('data')).toMatch(/^volume\.in_use .*its clones copy.*wirt volume flatten copy/);
    await storage.flatten('copy');
    expect(await refusal('data')).toBe('removed');
  });

  it('the snapshots', async () => {
    await storage.volume('data');
    await storage.attach('two', 'data');
    await storage.snapshot('two', 'before');
    await expect(storage.detach('two', 'data')).rejects.toMatchObject({
      code: 'volume.in_use',
      hint: 'Remove them first: `wirt snapshot rm two before`.',
    });
    await storage.removeSnapshot('two', 'before');
  });
});

describe('a volume is never in two hands:', () => {
  it('a second instance is refused, and told who has it', async () => {
    await storage.volume('data');
    await storage.attach('one', 'data');
    await expect(storage.attach('two', 'data')).rejects.toMatchObject({
      code: 'volume.in_use',
      message: expect.stringContaining('attached to one'),
      hint: 'Detach it first: `wirt volume detach data`.',
    });
  });

  it('of two requests at once one wins', async () => {
    await storage.volume('data');
    const answers = await Promise.allSettled([storage.attach('one', 'data'), storage.attach('two', 'data')]);
    expect(answers.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    const refused = answers.find((answer) => answer.status === 'rejected');
    expect(refused?.reason).toMatchObject({ code: 'volume.in_use' });
    const { attachment } = (await storage.show('data')).status;
    const [winner] = answers[0]?.status === 'fulfilled' ? ['one'] : ['two'];
    expect(attachment?.instance).toBe((await storage.instance(winner ?? '')).id);
  });

  it('a second wirtd is refused the pool’s directory', async () => {
    await using other = await startDaemon();
    const path = join(daemon.stateDirectory, 'pools/default');
    const body = { name: 'stolen', spec: { path } };
    await expect(other.client.call('POST /v1/pools', { body })).rejects.toMatchObject({
      code: 'pool.owned',
      message: expect.stringContaining(daemon.tag),
      hint: expect.stringContaining('wirt-pool.json'),
    });
    expect(await readFile(join(path, 'wirt-pool.json'), 'utf8')).toContain(daemon.tag);
    expect((await other.client.call('GET /v1/pools', {})).items.map(({ name }) => name)).toEqual(['default']);
  });

  /** Opens the disk as a person would who knows nothing of wirt. */
  const byHand = async (path: string, ...more: string[]) =>
    run('qemu-system-x86_64', [
      ...['-machine', 'none', '-nodefaults', '-display', 'none', '-S', '-daemonize'],
      ...['-pidfile', join(folder, 'pid')],
      ...['-blockdev', `driver=qcow2,node-name=x,file.driver=file,file.filename=${path}`, ...more],
    ]);

  it('a QEMU started by hand on a guest’s disk is refused by the lock', async () => {
    await storage.volume('data');
    await storage.attach('one', 'data');
    await expect(byHand(await activeFile('data'))).rejects.toThrow(/Failed to get "?(write|shared)/);
  });

  it('a guest is refused a disk that a QEMU started by hand has open', async () => {
    await storage.volume('data');
    await byHand(await activeFile('data'));
    try {
      await expect(storage.attach('one', 'data')).rejects.toMatchObject({ code: 'volume.locked' });
      expect((await storage.instance('one')).spec.disks).toEqual([]);
      expect((await storage.show('data')).status.attachment).toBeUndefined();
    } finally {
      process.kill(Number(await readFile(join(folder, 'pid'), 'utf8')), 'SIGKILL');
    }
    await storage.attach('one', 'data');
  });
});
