// A pool that is full: its guests stand still and go on by themselves, what was begun fails with a clear error and leaves nothing.
import { execFile } from 'node:child_process';
import { chmod, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { startDaemon, type TestDaemon } from './harness/daemon.ts';
import { type Disk, smallDisk, smallExt4 } from './harness/disk.ts';
import { done, mib, type Storage, storageOf } from './harness/storage.ts';
import { spyOnTools, type ToolSpy } from './harness/tool-spy.ts';

const run = promisify(execFile);
let disk: Disk;
let spy: ToolSpy;
let daemon: TestDaemon;
let storage: Storage;
/** Of a pool without a reserve, and of a file that takes its room away. */
let pool: string;
let filler: string;

beforeAll(async () => {
  disk = await smallExt4(96);
  pool = join(disk.directory, 'state/pool');
  filler = join(disk.directory, 'state/filler');
  spy = await spyOnTools();
  daemon = await startDaemon({ env: spy.env });
  storage = storageOf(daemon);
  const spec = { path: pool, reservePercent: 0 };
  await daemon.client.call('POST /v1/pools', { body: { name: 'small', spec } });
  await storage.guest('web');
});

afterAll(async () => {
  try {
    await storage.stopGuest('web');
    expect(await daemon.remains()).toEqual([]);
  } finally {
    await daemon[Symbol.asyncDispose]();
    await spy[Symbol.asyncDispose]();
    await disk[Symbol.asyncDispose]();
  }
});

/** Every layer is sound once nobody has it open, and none lies about. */
afterEach(async () => {
  await spy.before('');
  await rm(filler, { force: true });
  for (const { name } of (await storage.instance('web')).spec.disks) await storage.detach('web', name);
  expect(await storage.damaged(pool)).toEqual([]);
  expect(await storage.strays()).toEqual([]);
  for (const { name } of (await daemon.client.call('GET /v1/volumes', {})).items.reverse())
    await storage.removeVolume(name);
});

/** Takes all the room but so much. What was written before is put in its place first: ext4 allocates late. */
async function leave(freeMib: number): Promise<void> {
  const more = `dd if=/dev/zero bs=4k conv=fsync 2>/dev/null >>${filler}`;
  await run('sh', ['-c', `sync -f ${pool}; ${more}; ${more}; truncate -s -${freeMib}M ${filler}`]);
}

/** From now on each qemu-img finds that somebody has taken the room. It may only write a file that is there. */
async function fillMeanwhile(path = filler): Promise<void> {
  await writeFile(path, '');
  await chmod(path, 0o666);
  await spy.before(`dd if=/dev/zero of=${path} bs=64k 2>/dev/null; truncate -s -1M ${path}`);
}

const makeVolume = (name: string, sizeBytes = 64 * mib) => storage.volume(name, { pool: 'small', sizeBytes });
const write = (megabytes: number, at = 0) =>
  storage.sh(
    'web',
    `head -c 1048576 /dev/urandom >/tmp/random
     for i in $(seq ${megabytes}); do
       dd if=/tmp/random of=$(disk data) bs=1M seek=$((${at} + i - 1)) conv=fsync 2>/dev/null
     done; md5sum </tmp/random`,
  );

const expectFull = (work: Promise<unknown>) =>
  expect(work).rejects.toMatchObject({
    code: expect.stringMatching(/^(pool\.full|host\.storage_full)$/),
    hint: expect.any(String),
  });

describe('a guest that fills its pool', () => {
  it('stands still, goes on by itself when there is room, and has lost nothing', async () => {
    await makeVolume('data');
    await storage.attach('web', 'data');
    await leave(12);
    await storage.sh(
      'web',
      `head -c 1048576 /dev/urandom >/tmp/random; rm -f /tmp/done; device=$(disk data)
       setsid sh -c "for i in \\$(seq 0 31); do dd if=/tmp/random of=$device bs=1M seek=\\$i conv=fsync || exit; done
         touch /tmp/done" </dev/null >/dev/null 2>&1 &`,
    );
    const paused = await daemon.reach('web', 'paused');
    expect(paused?.status.pauseReason).toBe('no-space');
    expect((await storage.show('data')).status.allocatedBytes).toBeGreaterThan(8 * mib);
    await rm(filler);
    expect((await daemon.reach('web', 'running'))?.status.pauseReason).toBeUndefined();
    const differing = `
      tries=0
      until [ -e /tmp/done ]; do [ $tries -lt 500 ]; tries=$((tries + 1)); usleep 50000; done
      echo 3 >/proc/sys/vm/drop_caches
      for i in $(seq 0 31); do
        dd if=$(disk data) bs=1M skip=$i count=1 2>/dev/null | cmp -s - /tmp/random || echo $i
      done`;
    expect(await storage.sh('web', differing)).toBe('');
  });

  it('goes on only when there is room, also when wirtd ended meanwhile', async () => {
    await makeVolume('data');
    await storage.attach('web', 'data');
    await leave(4);
    await storage.sh(
      'web',
      'device=$(disk data); setsid dd if=/dev/urandom of=$device bs=1M count=8 >/dev/null 2>&1 &',
    );
    await daemon.reach('web', 'paused');
    await daemon.kill();
    await daemon.start({ env: spy.env });
    const { status } = await storage.instance('web');
    expect(status).toMatchObject({ state: 'paused', pauseReason: 'no-space' });
    await rm(filler);
    await daemon.reach('web', 'running');
    await storage.agentAnswers('web');
    await storage.sh('web', 'while pidof dd >/dev/null; do usleep 50000; done');
  });
});

describe('a guest with a disk on NVMe', () => {
  it('is paused before its pool is full, and goes on by itself when there is room', async () => {
    await makeVolume('data');
    await storage.attach('web', 'data', { bus: 'nvme' });
    await leave(4);
    const paused = await daemon.reach('web', 'paused');
    expect(paused?.status.pauseReason).toBe('no-space');
    await rm(filler);
    expect((await daemon.reach('web', 'running'))?.status.pauseReason).toBeUndefined();
    await storage.agentAnswers('web');
    // An NVMe disk goes only when the guest lets it go, and this kernel has no driver for it.
    await storage.stopGuest('web');
    for (const { name } of (await storage.instance('web')).spec.disks) await storage.detach('web', name);
    await daemon.client.call('POST /v1/instances/{instance}/start', {
      params: { instance: 'web' },
      body: {},
      ...done,
    });
    await storage.agentAnswers('web');
  });
});

describe('a pool that fills up in the middle of', () => {
  it('a full clone: nothing is left of it, and with room it is made', async () => {
    await makeVolume('data');
    await storage.attach('web', 'data');
    await write(16);
    await storage.detach('web', 'data');
    await fillMeanwhile();
    const clone = () =>
      storage.volume('copy', { pool: 'small', source: { kind: 'volume', volume: 'data', mode: 'full' } });
    await expectFull(clone());
    expect((await daemon.client.call('GET /v1/volumes', {})).items).toHaveLength(1);
    expect(await storage.layerFiles(pool)).toHaveLength(1);
    await spy.before('');
    await rm(filler);
    await clone();
  });

  it('an import of a machine: no instance, volume or file is left', async () => {
    const path = join(daemon.directory, 'big.raw');
    await run('sh', ['-c', `head -c 32M /dev/urandom >${path}`]);
    await fillMeanwhile();
    const body = { path, format: 'disk', diskFormat: 'raw', name: 'big', pool: 'small' } as const;
    await expectFull(daemon.client.call('POST /v1/imports', { body, ...done }));
    await expect(storage.instance('big')).rejects.toMatchObject({ code: 'instance.not_found' });
    expect(await storage.layerFiles(pool)).toEqual([]);
  });

  it('a snapshot: none is left, and the guest goes on as before', async () => {
    await makeVolume('data');
    await storage.attach('web', 'data');
    const sum = await write(4);
    await leave(0);
    await expectFull(storage.snapshot('web', 'now'));
    expect(await storage.snapshots('web')).toEqual([]);
    expect(await storage.sh('web', 'dd if=$(disk data) bs=1M count=1 2>/dev/null | md5sum')).toBe(sum);
    await storage.sh('web', 'echo overwritten | dd of=$(disk data) conv=fsync 2>/dev/null');
    expect((await storage.instance('web')).status.state).toBe('running');
    await rm(filler);
    await storage.snapshot('web', 'now');
    await storage.removeSnapshot('web', 'now');
  });

  it('the merge of a snapshot: the chain is whole, and is merged when there is room', async () => {
    await makeVolume('data');
    await storage.attach('web', 'data');
    await write(16);
    await storage.snapshot('web', 'before');
    await write(2, 20);
    await leave(4);
    await expectFull(storage.removeSnapshot('web', 'before'));
    expect(await storage.sh('web', 'dd if=$(disk data) bs=1M skip=15 count=1 2>/dev/null | wc -c')).toBe(
      '1048576',
    );
    expect((await storage.instance('web')).status.state).toBe('running');
    await rm(filler);
    await storage.removeSnapshot('web', 'before');
    expect((await storage.show('data')).status.layers).toHaveLength(1);
  });

  it('a resize: it is grown, for that takes no room, or it is not, and says why', async () => {
    await makeVolume('data', 16 * mib);
    await storage.attach('web', 'data');
    await leave(0);
    const grown = await storage.resize('data', 8192 * mib).then(
      () => 8192 * mib,
      (error: unknown) => {
        expect(error).toMatchObject({
          code: expect.stringMatching(/^(host\.storage_full|pool\.full|pool\.overcommitted|volume\.failed)$/),
          message: expect.stringMatching(/\S/),
        });
        return 16 * mib;
      },
    );
    expect((await storage.show('data')).spec.sizeBytes).toBe(grown);
    expect(Number(await storage.sh('web', 'cat /sys/class/block/$(basename $(disk data))/size')) * 512).toBe(
      grown,
    );
    expect((await storage.instance('web')).status.state).toBe('running');
  });

  it('an image import: no image and no file is left', async () => {
    await using small = await smallDisk(64);
    await using other = await startDaemon({ directory: small.directory, empty: true, env: spy.env });
    const path = join(daemon.directory, 'image.raw');
    await run('sh', ['-c', `head -c 16M /dev/urandom >${path}`]);
    await fillMeanwhile(join(other.stateDirectory, 'filler'));
    const body = { name: 'big', path, format: 'raw' } as const;
    await expectFull(other.client.call('POST /v1/images/import', { body, ...done }));
    await spy.before('');
    await rm(join(other.stateDirectory, 'filler'));
    expect(await storageOf(other).strays()).toEqual([]);
    await other.client.call('POST /v1/images/import', { body, ...done });
  });
});

describe('the reserve of a pool', () => {
  it('is kept from everything new, with the sum; what is there can be used and removed', async () => {
    const body = { name: 'kept', spec: { path: join(disk.directory, 'state/kept'), reservePercent: 60 } };
    await daemon.client.call('POST /v1/pools', { body });
    await storage.volume('data', { pool: 'kept' });
    await storage.attach('web', 'data');
    await leave(40);
    const refused = {
      code: 'pool.full',
      message: expect.stringMatching(/^Pool kept has \d+ bytes free, \d+ of them reserved/),
      details: { availableBytes: expect.any(Number), reserveBytes: expect.any(Number) },
    };
    await expect(storage.volume('more', { pool: 'kept' })).rejects.toMatchObject(refused);
    await expect(storage.resize('data', 32 * mib)).rejects.toMatchObject(refused);
    await expect(storage.snapshot('web', 'now')).rejects.toMatchObject(refused);
    const source = { kind: 'volume', volume: 'data', mode: 'linked' } as const;
    await expect(storage.volume('copy', { pool: 'kept', source })).rejects.toMatchObject(refused);
    await write(4);
    await storage.detach('web', 'data');
    await storage.removeVolume('data');
    await daemon.client.call('DELETE /v1/pools/{pool}', { params: { pool: 'kept' } });
  });
});
