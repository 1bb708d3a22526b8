// The sandbox of a guest, read from the kernel; and what a daemon without privileges does.
import { execFile } from 'node:child_process';
import { chown, mkdir, mkdtemp, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, describe, expect, it } from 'vitest';
import { startDaemon, type TestDaemon } from './harness/daemon.ts';

const run = promisify(execFile);
let daemon: TestDaemon | undefined;

afterEach(async () => {
  await daemon?.[Symbol.asyncDispose]();
  daemon = undefined;
});

const at = (instance: string) => ({ params: { instance } });

describe('a guest’s process', () => {
  it('has a uid of its own, no group, no capability, a seccomp filter, no new privileges, and its own control groups', async () => {
    daemon = await startDaemon();
    await daemon.create('one', { start: true, startPaused: true });
    await daemon.create('two', { start: true, startPaused: true });
    const one = await daemon.client.call('GET /v1/instances/{instance}/isolation', at('one'));
    const two = await daemon.client.call('GET /v1/instances/{instance}/isolation', at('two'));
    expect(new Set(one.uids).size).toBe(1);
    expect(one.uids[0]).toBeGreaterThan(65_535);
    expect(one.uids[0]).not.toBe(two.uids[0]);
    expect(one.groups).toEqual([]);
    expect(one.capabilities).toEqual({
      inheritable: [],
      permitted: [],
      effective: [],
      bounding: [],
      ambient: [],
    });
    expect(one).toMatchObject({ seccomp: 'filter', noNewPrivileges: true });
    expect(one.cgroups.filter(({ own }) => own).length).toBeGreaterThan(0);
  });

  it('is what the report says, by the kernel’s own word', async () => {
    daemon = await startDaemon();
    await daemon.create('one', { start: true, startPaused: true });
    const report = await daemon.client.call('GET /v1/instances/{instance}/isolation', at('one'));
    const status = await readFile(`/proc/${report.pid}/status`, 'utf8');
    expect(status).toContain(`Uid:\t${report.uids.join('\t')}`);
    expect(status).toMatch(/CapEff:\t0+\n/);
    expect(status).toMatch(/CapBnd:\t0+\n/);
    expect(status).toMatch(/NoNewPrivs:\t1/);
    expect(status).toMatch(/Seccomp:\t2/);
  });

  it('cannot open another guest’s files, signal it, or reach its control socket', async () => {
    daemon = await startDaemon();
    await daemon.create('one', { start: true, startPaused: true });
    await daemon.create('two', { start: true, startPaused: true });
    const one = await daemon.client.call('GET /v1/instances/{instance}', at('one'));
    const two = await daemon.client.call('GET /v1/instances/{instance}', at('two'));
    const uid = String(one.status.process?.uid);
    const as = (...command: string[]) =>
      run('setpriv', [
        '--reuid',
        uid,
        '--regid',
        uid,
        '--clear-groups',
        '--no-new-privs',
        '--bounding-set=-all',
        ...command,
      ]).then(
        () => 'allowed',
        () => 'refused',
      );
    expect(await as('true')).toBe('allowed');
    expect(await as('kill', '-0', String(one.status.process?.pid))).toBe('allowed');
    expect(await as('kill', '-0', String(two.status.process?.pid))).toBe('refused');
    for (const path of [
      join(daemon.stateDirectory, 'instances', two.id, 'qemu.log'),
      join(daemon.stateDirectory, 'instances', two.id, 'console.log'),
      `/proc/${two.status.process?.pid}/mem`,
    ]) {
      expect(await as('head', '-c1', path), path).toBe('refused');
    }
    expect(await as('ls', join(daemon.runDirectory, 'instances', two.id, 'io'))).toBe('refused');
    expect(await as('ls', daemon.stateDirectory)).toBe('refused');
    expect(await as('test', '-w', daemon.socket)).toBe('refused');
  });
});

describe('the kernel’s word on a guest killed for memory', () => {
  it('is passed on', async () => {
    daemon = await startDaemon();
    await daemon.create('big', { start: true, startPaused: true, spec: { memoryMib: 512 } });
    const { id } = await daemon.client.call('GET /v1/instances/{instance}', at('big'));
    const { cgroups } = await daemon.client.call('GET /v1/instances/{instance}/isolation', at('big'));
    const memory = cgroups.find(({ own, hierarchy }) => own && hierarchy.includes('memory'));
    const unified = cgroups.find(
      ({ own, hierarchy }) => own && (hierarchy === '' || hierarchy === 'unified'),
    );
    const v1 = `/sys/fs/cgroup/memory${memory?.path ?? ''}/memory.limit_in_bytes`;
    const v2 = `/sys/fs/cgroup${unified?.path ?? ''}/memory.max`;
    await writeFile(memory === undefined ? v2 : v1, String(48 * 1024 * 1024)).catch((error: unknown) => {
      throw new Error(`the limit of ${id} was not set`, { cause: error });
    });
    await daemon.client.call('POST /v1/instances/{instance}/resume', at('big'));
    const crashed = await daemon.reach('big', 'crashed');
    expect(crashed?.status.exit).toMatchObject({ reason: 'oom', signal: 'SIGKILL' });
    expect(crashed?.status.exit?.message).toContain('memory');
  });
});

describe('wirtd started by an ordinary user', () => {
  it('runs guests as that user, and its host check says what is missing and what it costs', async () => {
    const uid = 54_321;
    const directory = await realpath(await mkdtemp(join(tmpdir(), 'wirt-user-')));
    for (const path of [directory, join(directory, 'state'), join(directory, 'run')]) {
      await mkdir(path, { recursive: true });
      await chown(path, uid, uid);
    }
    const user = [
      'setpriv',
      '--reuid',
      String(uid),
      '--regid',
      String(uid),
      '--clear-groups',
      'env',
      `HOME=${directory}`,
    ];
    try {
      daemon = await startDaemon({ directory, under: user, owner: uid });
      await daemon.create('mine', { spec: { memoryMib: 128 } });
      await daemon.client.call('POST /v1/instances/{instance}/start', {
        ...at('mine'),
        body: {},
        query: { wait: 'ready', waitSeconds: 60 },
      });
      const isolation = await daemon.client.call('GET /v1/instances/{instance}/isolation', at('mine'));
      expect(isolation).toMatchObject({
        uids: [uid, uid, uid, uid],
        noNewPrivileges: true,
        seccomp: 'filter',
      });
      expect(isolation.capabilities.effective).toEqual([]);
      const { findings } = await daemon.client.call('GET /v1/host/check', {});
      const privileges = findings.find(({ id }) => id === 'privileges');
      expect(privileges?.level).not.toBe('ok');
      expect(privileges?.why).toContain('All guests run as that user');
      await daemon.client.call('DELETE /v1/instances/{instance}', {
        ...at('mine'),
        query: { force: 'true', wait: 'done' },
      });
      expect(await daemon.remains()).toEqual([]);
    } finally {
      await daemon?.[Symbol.asyncDispose]();
      daemon = undefined;
      await rm(directory, { recursive: true, force: true });
    }
  });
});
