// Snapshots of a guest that runs: frozen where its agent answers, a tree, restored, merged and exported, each with the right data.
import { mkdtemp, readFile, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startDaemon, type TestDaemon } from './harness/daemon.ts';
import { complaint, done, mib, run, type Storage, storageOf } from './harness/storage.ts';

let daemon: TestDaemon;
let storage: Storage;
let folder: string;

beforeAll(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'wirt-snapshots-')));
  daemon = await startDaemon();
  storage = storageOf(daemon);
});

afterAll(async () => {
  try {
    for (const { name } of (await daemon.client.call('GET /v1/instances', {})).items)
      await storage.stopGuest(name);
    expect(await storage.damaged()).toEqual([]);
    expect(await storage.strays()).toEqual([]);
    expect(await daemon.remains()).toEqual([]);
  } finally {
    await daemon[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  }
});

const mount = 'mount $(disk data) /mnt';
/** Into a file, without a sync, and into the second disk. */
const write = (text: string) =>
  storage.sh('web', `echo ${text} >/mnt/${text}; echo ${text} | dd of=$(disk log) conv=fsync 2>/dev/null`);
const files = () => storage.sh('web', 'ls /mnt | grep -v lost | tr "\\n" " "');
const log = () =>
  storage.sh('web', 'echo 3 >/proc/sys/vm/drop_caches; dd if=$(disk log) count=1 2>/dev/null | head -n 1');
const tree = async () => {
  const snapshots = await storage.snapshots('web');
  const nameOf = (id: string | undefined) => snapshots.find((one) => one.id === id)?.name;
  const { snapshot } = (await storage.instance('web')).status;
  const lines = snapshots.map(({ name, status }) => `${nameOf(status.parent) ?? ''}>${name}`);
  return [...lines, `on ${nameOf(snapshot)}`];
};
/** As the snapshot has it, exported while the guest runs: the names of the files, and the first word of the second disk. */
async function exported(snapshot: string): Promise<string> {
  const path = join(folder, snapshot);
  await daemon.client.call('POST /v1/instances/{instance}/snapshots/{snapshot}/export', {
    params: { instance: 'web', snapshot },
    body: { path, format: 'qcow2' },
    ...done,
  });
  const raws = await Promise.all(
    ['data', 'log'].map(async (disk) => {
      const image = join(
        path,
        (await run('ls', [path])).stdout.split('\n').find((one) => one.includes(disk)) ?? '',
      );
      expect(await complaint(image)).toBeUndefined();
      await run('qemu-img', ['convert', '-f', 'qcow2', '-O', 'raw', image, `${path}.${disk}`]);
      return `${path}.${disk}`;
    }),
  );
  const [data = '', second = ''] = raws;
  const { stdout } = await run('/usr/sbin/debugfs', ['-R', 'ls -p /', data]);
  const names = stdout.split('\n').map((line) => line.split('/')[5] ?? '');
  const word = (await readFile(second, 'utf8')).split('\n')[0] ?? '';
  return `${names
    .filter((name) => /^[A-Z]$/.test(name))
    .sort()
    .join('')} ${word}`;
}

/** One story: each test goes on where the one before it ended. */
describe('a guest with two disks', () => {
  it('is frozen through its agent, so that what was only written is in the snapshot', async () => {
    await storage.volume('data');
    await storage.volume('log');
    const disk = { device: 'disk' } as const;
    const disks = [
      { ...disk, name: 'data', volume: 'data' },
      { ...disk, name: 'log', volume: 'log' },
    ];
    await storage.guest('web', { disks });
    await storage.sh('web', `mke2fs $(disk data) >/dev/null 2>&1; ${mount}`);
    await write('A');
    const s1 = await storage.snapshot('web', 's1', { description: 'before the change' });
    expect(s1).toMatchObject({
      spec: { description: 'before the change' },
      status: { state: 'ready', consistency: 'frozen', disks: [{ disk: 'data' }, { disk: 'log' }] },
    });
    expect(s1.status.consistencyReason).toBeUndefined();
    await write('B');
    await storage.snapshot('web', 's2');
    expect(await tree()).toEqual(['>s1', 's1>s2', 'on s2']);
    expect(await files()).toBe('A B');
  });

  it('has its snapshots exported while it writes', async () => {
    expect(await exported('s1')).toBe('A A');
    await write('C');
    expect(await exported('s2')).toBe('AB B');
    const again = exported('s2');
    await expect(again).rejects.toMatchObject({ code: 'export.target_exists' });
  });

  it('is not restored while it runs', async () => {
    await expect(storage.restore('web', 's1')).rejects.toMatchObject({ code: 'instance.state_conflict' });
  });

  it('goes on from a snapshot that it was restored to, and branches there', async () => {
    await storage.stopGuest('web');
    await storage.restore('web', 's1');
    expect(await tree()).toEqual(['>s1', 's1>s2', 'on s1']);
    await storage.startGuest('web');
    await storage.sh('web', mount);
    expect(await files()).toBe('A');
    expect(await log()).toBe('A');
    await write('D');
    await storage.snapshot('web', 's3');
    await write('E');
    await storage.snapshot('web', 's4');
    await write('F');
    expect(await tree()).toEqual(['>s1', 's1>s2', 's1>s3', 's3>s4', 'on s4']);
  });

  it('has one in the middle merged while it writes', async () => {
    const writing =
      'i=0; while [ ! -e /tmp/stop ]; do i=$((i+1)); echo $i >/mnt/count; sync; done >/dev/null 2>&1 &';
    await storage.sh('web', writing);
    await storage.removeSnapshot('web', 's3');
    await storage.sh('web', 'touch /tmp/stop; wait; usleep 200000; rm /mnt/count');
    expect(await tree()).toEqual(['>s1', 's1>s2', 's1>s4', 'on s4']);
    await storage.sh('web', `umount /mnt; echo 3 >/proc/sys/vm/drop_caches; ${mount}`);
    expect(await files()).toBe('A D E F');
    expect(await log()).toBe('F');
    expect(await exported('s4')).toBe('ADE E');
  });

  it('has the root of two branches merged into both', async () => {
    await storage.removeSnapshot('web', 's1');
    expect(await tree()).toEqual(['>s2', '>s4', 'on s4']);
    await storage.sh('web', `umount /mnt; echo 3 >/proc/sys/vm/drop_caches; ${mount}`);
    expect(await files()).toBe('A D E F');
    await rm(join(folder, 's2'), { recursive: true });
    expect(await exported('s2')).toBe('AB B');
  });

  it('is restored to the other branch, and nothing is left of what only that one did not need', async () => {
    await storage.stopGuest('web');
    expect(await storage.damaged()).toEqual([]);
    await storage.restore('web', 's2');
    await storage.startGuest('web');
    await storage.sh('web', mount);
    expect(await files()).toBe('A B');
    for (const name of ['s4', 's2']) await storage.removeSnapshot('web', name);
    expect(await storage.snapshots('web')).toEqual([]);
    expect(await files()).toBe('A B');
    expect((await storage.show('data')).status.layers).toHaveLength(1);
    expect(await storage.layerFiles()).toHaveLength(2);
  });

  it('has disks for snapshots only where it has disks', async () => {
    await daemon.create('bare');
    await expect(storage.snapshot('bare', 's1')).rejects.toMatchObject({ code: 'snapshot.failed' });
    expect(await storage.snapshots('bare')).toEqual([]);
  });
});

describe('a guest that cannot be frozen', () => {
  it('without an agent is taken as after a power cut, and that is said', async () => {
    const disks = [{ device: 'disk', name: 'root', sizeBytes: mib }] as const;
    const spec = { memoryMib: 64, disks: [...disks] };
    await daemon.client.call('POST /v1/instances', { body: { name: 'mute', start: true, spec }, ...done });
    const { status } = await storage.snapshot('mute', 's1');
    expect(status).toMatchObject({
      consistency: 'crash',
      consistencyReason: 'No guest agent answers in the guest.',
    });
    await expect(storage.snapshot('mute', 's2', { freeze: 'required' })).rejects.toMatchObject({
      code: 'guest.agent_unavailable',
    });
    expect((await storage.snapshots('mute')).map(({ name }) => name)).toEqual(['s1']);
  });

  it('because it was not asked for is taken so too', async () => {
    const { status } = await storage.snapshot('web', 'hot', { freeze: 'none' });
    expect(status).toMatchObject({
      consistency: 'crash',
      consistencyReason: 'Freezing was not asked for.',
    });
  });

  it('because it is stopped needs no freezing', async () => {
    await storage.stopGuest('web');
    const { status } = await storage.snapshot('web', 'cold');
    expect(status).toMatchObject({ consistency: 'stopped' });
  });
});
