// What goes wrong on real hosts: stopped, killed and lying QEMUs, full and read-only disks, vanished directories, clocks.
import { execFile } from 'node:child_process';
import { chmod, mkdtemp, readdir, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises'; // paces requests: nothing is waited for with it
import { promisify } from 'node:util';
import { afterEach, describe, expect, it } from 'vitest';
import { cloneRoot, type DaemonOptions, startDaemon, type TestDaemon } from './harness/daemon.ts';
import { failingDisk, smallDisk } from './harness/disk.ts';
import { writeLiar } from './harness/liar.ts';

const run = promisify(execFile);
const undo: (() => Promise<unknown>)[] = [];

/** Given back after the test, the last one first. */
function held<T extends AsyncDisposable>(resource: T): T {
  undo.push(async () => {
    await resource[Symbol.asyncDispose]();
  });
  return resource;
}

async function daemonWith(options: DaemonOptions = {}): Promise<TestDaemon> {
  return held(await startDaemon(options));
}

afterEach(async () => {
  for (let step = undo.pop(); step !== undefined; step = undo.pop()) await step();
});

const at = (instance: string) => ({ params: { instance } });
const pidOf = async (daemon: TestDaemon, name: string): Promise<number> =>
  (await daemon.client.call('GET /v1/instances/{instance}', at(name))).status.process?.pid ?? 0;

async function endByForce(daemon: TestDaemon, name: string): Promise<void> {
  const body = { mode: 'force' } as const;
  await daemon.client.call('POST /v1/instances/{instance}/stop', {
    ...at(name),
    body,
    query: { wait: 'done' },
  });
}

/** Twenty requests about a running guest, a tenth of a second apart so that a wait of seconds is covered; the longest, in ms. */
async function longestOfTwenty(daemon: TestDaemon, name: string): Promise<number> {
  let longestMs = 0;
  const timed = async <T>(request: Promise<T>): Promise<T> => {
    const sentAt = performance.now();
    const answer = await request;
    longestMs = Math.max(longestMs, performance.now() - sentAt);
    return answer;
  };
  for (let round = 0; round < 20; round += 1) {
    if (round % 2 === 0) {
      const { status } = await timed(daemon.client.call('GET /v1/instances/{instance}', at(name)));
      expect(status.state).toBe(round % 4 === 0 ? 'running' : 'paused');
    } else if (round % 4 === 1) {
      const { status } = await timed(daemon.client.call('POST /v1/instances/{instance}/pause', at(name)));
      expect(status.state).toBe('paused');
    } else {
      const { status } = await timed(daemon.client.call('POST /v1/instances/{instance}/resume', at(name)));
      expect(status.state).toBe('running');
    }
    await pause(100);
  }
  return longestMs;
}

describe('a QEMU that is stopped by SIGSTOP', () => {
  it('is shown as unresponsive within three seconds, holds nobody else up, and is back when it answers', async () => {
    const daemon = await daemonWith();
    await daemon.create('stuck', { start: true });
    await daemon.create('fine', { start: true });
    const pid = await pidOf(daemon, 'stuck');
    const stoppedAt = performance.now();
    process.kill(pid, 'SIGSTOP');
    const noticed = daemon.reach('stuck', 'unresponsive').then(() => performance.now() - stoppedAt);
    expect(await longestOfTwenty(daemon, 'fine')).toBeLessThan(1_000);
    expect(await noticed).toBeLessThanOrEqual(3_000);
    await expect(
      daemon.client.call('POST /v1/instances/{instance}/pause', at('stuck')),
    ).rejects.toMatchObject({
      code: 'instance.state_conflict',
    });
    expect(await longestOfTwenty(daemon, 'fine')).toBeLessThan(1_000);
    process.kill(pid, 'SIGCONT');
    await daemon.reach('stuck', 'running');
  });

  it('can be ended by force while it is stopped', async () => {
    const daemon = await daemonWith();
    await daemon.create('stuck', { start: true });
    process.kill(await pidOf(daemon, 'stuck'), 'SIGSTOP');
    await endByForce(daemon, 'stuck');
    expect(await daemon.remains()).toEqual([]);
  });

  it('is adopted as unresponsive by the next wirtd, and comes back', async () => {
    const daemon = await daemonWith();
    await daemon.create('stuck', { start: true, startPaused: true });
    const pid = await pidOf(daemon, 'stuck');
    process.kill(pid, 'SIGSTOP');
    await daemon.kill();
    await daemon.start();
    await daemon.reach('stuck', 'unresponsive');
    process.kill(pid, 'SIGCONT');
    await daemon.reach('stuck', 'paused');
    expect(await pidOf(daemon, 'stuck')).toBe(pid);
  });
});

/** Guests, with uids of their own, may read it. */
async function programDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'wirt-impostor-'));
  undo.push(() => rm(directory, { recursive: true, force: true }));
  await chmod(directory, 0o755);
  return directory;
}

/** A program in the place of QEMU. */
async function impostor(script: string): Promise<string> {
  const path = join(await programDirectory(), 'qemu-system-x86_64');
  await writeFile(path, script);
  await chmod(path, 0o755);
  return path;
}

async function startRefused(qemu: string): Promise<{ code: string; hint?: string }> {
  const daemon = await daemonWith({ args: ['--qemu', qemu] });
  const refused = daemon.create('web', { start: true }).then(
    () => ({ code: 'none' }),
    (error: { code: string; hint?: string }) => error,
  );
  const error = await refused;
  expect(await daemon.remains()).toEqual([]);
  expect((await daemon.client.call('GET /v1/instances/{instance}', at('web'))).status).toMatchObject({
    state: 'crashed',
    exit: { reason: 'error' },
  });
  return error;
}

describe('a QEMU binary', () => {
  it('that is missing is named, with the command to install it', async () => {
    expect(await startRefused('/nowhere/qemu-system-x86_64')).toMatchObject({
      code: 'host.qemu_missing',
      hint: expect.stringContaining('apt'),
    });
  });

  it('that does not run is named as broken', async () => {
    const qemu = await impostor('#!/bin/sh\necho "error while loading shared libraries" >&2\nexit 127\n');
    expect(await startRefused(qemu)).toMatchObject({ code: 'host.qemu_broken' });
  });

  it('that lacks what every guest needs is named as too old, with what it lacks', async () => {
    // By way of a file: QEMU quits without waiting for a slow reader of a pipe.
    const qemu = await impostor(
      '#!/bin/sh\nqemu-system-x86_64 "$@" > "$0.answers"\nexec sed s/memory-backend-memfd/memory-backend-other/g "$0.answers"\n',
    );
    expect(await startRefused(qemu)).toMatchObject({
      code: 'host.qemu_too_old',
      details: { missing: ['memory-backend-memfd'] },
      hint: expect.stringContaining('--qemu'),
    });
  });

  it('that speaks garbage on QMP starts no guest, and wirtd goes on', async () => {
    const node = process.execPath;
    // As QEMU when it is probed; as a liar when it has a guest to run and inherits its QMP socket as descriptor 3.
    const qemu = await impostor(
      `#!/bin/sh\ncase "$*" in *wirt-*) exec ${node} -e '
        require("net").createServer((peer) => { peer.on("error", () => {}); peer.write("\\u0000{[garbage\\n".repeat(1000)); }).listen({ fd: 3 });
      ' ;; esac\nexec qemu-system-x86_64 "$@"\n`,
    );
    expect((await startRefused(qemu)).code).toBe('instance.start_failed');
  });

  it('that turns to garbage while its guest runs is unresponsive, holds nobody else up, and ends by force', async () => {
    const daemon = await daemonWith({ args: ['--qemu', await writeLiar(await programDirectory())] });
    await daemon.create('liar', { start: true });
    await daemon.create('fine', { start: true });
    process.kill(await pidOf(daemon, 'liar'), 'SIGUSR2');
    await daemon.reach('liar', 'unresponsive');
    expect(await longestOfTwenty(daemon, 'fine')).toBeLessThan(1_000);
    expect((await daemon.client.call('GET /v1/instances/{instance}', at('liar'))).status.state).toBe(
      'unresponsive',
    );
    for (const name of ['liar', 'fine']) await endByForce(daemon, name);
    expect(await daemon.remains()).toEqual([]);
  });
});

/** Takes all the room that is left; gives the file that does. */
async function fill({ stateDirectory }: TestDaemon): Promise<string> {
  const filler = join(stateDirectory, 'filler');
  await expect(run('dd', ['if=/dev/zero', `of=${filler}`, 'bs=4k'])).rejects.toThrow(/No space left/);
  return filler;
}

/** The store has a little room within its own files, and is full a few writes after its file system is. */
async function expectFull(daemon: TestDaemon, name = 'more'): Promise<void> {
  let refusal: { code?: string } = {};
  for (let tries = 0; tries < 200 && refusal.code === undefined; tries += 1) {
    refusal = await daemon.create(`${name}-${tries}`, { labels: { pad: 'x'.repeat(200) } }).then(
      () => ({}),
      (error: { code: string }) => error,
    );
  }
  expect(refusal.code).toBe('host.storage_full');
}

describe('a state directory', () => {
  it('that is full refuses new work and harms no guest; with room again all goes on', async () => {
    const { directory } = held(await smallDisk());
    const daemon = await daemonWith({ directory });
    await daemon.create('web', { start: true, startPaused: true });
    const filler = await fill(daemon);
    await expectFull(daemon);
    expect((await daemon.client.call('GET /v1/instances/{instance}', at('web'))).status.state).toBe('paused');
    await rm(filler);
    await daemon.create('after');
    await endByForce(daemon, 'web');
    expect(await daemon.remains()).toEqual([]);
  });

  it('that is full lets wirtd start again: it adopts the guests that run', async () => {
    const { directory } = held(await smallDisk());
    const daemon = await daemonWith({ directory });
    await daemon.create('web', { start: true, startPaused: true });
    const pid = await pidOf(daemon, 'web');
    const filler = await fill(daemon);
    await expectFull(daemon);
    await daemon.kill();
    await daemon.start();
    const web = await daemon.client.call('GET /v1/instances/{instance}', at('web'));
    expect(web.status).toMatchObject({ state: 'paused', process: { pid } });
    await expectFull(daemon, 'again');
    await rm(filler);
    await daemon.client.call('POST /v1/instances/{instance}/resume', at('web'));
    await endByForce(daemon, 'web');
    expect(await daemon.remains()).toEqual([]);
  });

  it('that is full when a guest or an operation ends shows the end as soon as there is room', async () => {
    const { directory } = held(await smallDisk());
    const daemon = await daemonWith({ directory });
    for (const name of ['web', 'silent']) await daemon.create(name, { start: true, startPaused: true });
    process.kill(await pidOf(daemon, 'silent'), 'SIGSTOP');
    await daemon.reach('silent', 'unresponsive');
    const { id } = await daemon.client.call('POST /v1/instances/{instance}/stop', {
      ...at('silent'),
      body: { mode: 'graceful', graceSeconds: 5 },
    });
    const filler = await fill(daemon);
    await expectFull(daemon);
    process.kill(await pidOf(daemon, 'web'), 'SIGKILL');
    const operation = () =>
      daemon.client.call('GET /v1/operations/{operation}', { params: { operation: id } });
    const deadlineMs = performance.now() + 30_000;
    // Nothing tells of it: what cannot be stored is no event.
    while ((await operation()).stage !== 'waiting-for-room' && performance.now() < deadlineMs)
      await pause(50);
    expect(await operation()).toMatchObject({ state: 'running', stage: 'waiting-for-room' });
    await rm(filler);
    await daemon.reach('web', 'crashed');
    await daemon.reach('silent', 'stopped');
    expect((await operation()).state).toBe('done');
    expect(await daemon.remains()).toEqual([]);
  });

  it('that is read-only when wirtd starts is refused, and wirtd says so', async () => {
    const { directory } = held(await smallDisk());
    const daemon = await daemonWith({ directory });
    await daemon.kill();
    await run('mount', ['-o', 'remount,ro', daemon.stateDirectory]);
    await expect(daemon.start()).rejects.toThrow(/read-only/);
    await run('mount', ['-o', 'remount,rw', daemon.stateDirectory]);
    await daemon.start();
    await daemon.create('web');
  });

  it('that turns read-only under wirtd refuses new work and harms no guest; repaired, all goes on', async () => {
    const disk = held(await failingDisk());
    const daemon = await daemonWith({ directory: disk.directory });
    await daemon.create('web', { start: true, startPaused: true });
    const pid = await pidOf(daemon, 'web');
    await disk.fail();
    await expect(daemon.create('more')).rejects.toMatchObject({
      code: 'host.storage_read_only',
      hint: expect.stringContaining('findmnt'),
    });
    expect((await daemon.client.call('GET /v1/instances', {})).items).toMatchObject([
      { name: 'web', status: { state: 'paused', process: { pid } } },
    ]);
    // The disk cannot be repaired before the guest has closed its log.
    process.kill(pid, 'SIGKILL');
    await daemon.log().find(({ event }) => event === 'guest.exited', 'guest.exited');
    await daemon.kill();
    await disk.repair();
    await daemon.start();
    expect((await daemon.reach('web', 'crashed'))?.status.exit).toMatchObject({ signal: 'SIGKILL' });
    expect(await daemon.remains()).toEqual([]);
    await daemon.create('more', { start: true, startPaused: true });
  });

  it('that another wirtd uses is refused, and the other’s pid named', async () => {
    const daemon = await daemonWith();
    const args = ['--state-dir', daemon.stateDirectory, '--run-dir', daemon.runDirectory];
    const second = await run(join(cloneRoot, 'bin/wirtd'), args, { timeout: 20_000 }).then(
      () => ({ code: 0, stderr: '' }),
      (error: { code: number; stderr: string }) => error,
    );
    expect(second.code).not.toBe(0);
    expect(second.stderr).toContain('daemon.already_running');
    expect(second.stderr).toContain(String(daemon.pid()));
    await daemon.create('web');
  });
});

describe('a run directory that is emptied', () => {
  it('harms no guest; wirtd listens anew, and guests start and stop as before', async () => {
    const daemon = await daemonWith();
    await daemon.create('web', { start: true });
    for (const entry of await readdir(daemon.runDirectory))
      await rm(join(daemon.runDirectory, entry), { recursive: true });
    await daemon.log().find(({ event }) => event === 'rest.listening_anew', 'rest.listening_anew');
    expect((await daemon.client.call('POST /v1/instances/{instance}/pause', at('web'))).status.state).toBe(
      'paused',
    );
    await daemon.create('new', { start: true, startPaused: true });
    for (const name of ['web', 'new']) {
      await endByForce(daemon, name);
    }
    expect(await daemon.remains()).toEqual([]);
  });
});

describe('a clock that is set back by a day', () => {
  it('disturbs no wait, no order of instances, and no event', async () => {
    const { stdout } = await run('sh', ['-c', 'ls /usr/lib/*/faketime/libfaketime.so.1']);
    const directory = await realpath(await mkdtemp(join(tmpdir(), 'wirt-clock-')));
    undo.push(() => rm(directory, { recursive: true, force: true }));
    const clock = join(directory, 'clock');
    await writeFile(clock, '+0\n');
    const daemon = await daemonWith({
      env: {
        LD_PRELOAD: stdout.trim(),
        FAKETIME_TIMESTAMP_FILE: clock,
        FAKETIME_NO_CACHE: '1',
        FAKETIME_DONT_FAKE_MONOTONIC: '1',
      },
    });
    await daemon.create('before', { start: true, startPaused: true, spec: { restart: 'always' } });
    await writeFile(clock, '-1d\n');
    await daemon.create('after');
    const { items } = await daemon.client.call('GET /v1/instances', {});
    expect(items.map(({ name }) => name)).toEqual(['before', 'after']);
    expect(Date.parse(items[1]?.createdAt ?? '')).toBeLessThan(Date.parse(items[0]?.createdAt ?? ''));
    process.kill(await pidOf(daemon, 'before'), 'SIGKILL');
    await daemon.reach('before', 'crashed');
    await daemon.reach('before', 'running');
    await daemon.kill();
    await daemon.start();
    await daemon.create('last');
    expect((await daemon.client.call('GET /v1/instances', {})).items).toHaveLength(3);
  });
});
