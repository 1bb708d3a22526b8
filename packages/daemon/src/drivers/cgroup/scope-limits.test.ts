import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { CgroupMount } from '../../platform/cgroup-mounts.ts';
import { createScopeControl } from './scope.ts';
import { propertiesOf } from './scope-limits.ts';
import type { Systemctl } from './systemctl.ts';
import { type FakeTree, fakeProcess, makeTree, procOf, v2Group } from './tree.fixture.ts';

const id = '01J9ZK3W8Y7Q5T2R4M6N8P0V1X';
const unit = `wirt-ab12-${id}.scope`;
const path = `/system.slice/${unit}`;
const group = `v2${path}`;
const mib = 1024 * 1024;
const controllers = 'cpu memory io pids\n';

describe('limits of a guest under systemd', () => {
  let tree: FakeTree;
  let calls: string[];
  /** Properties that systemd takes and does not put in force. */
  let deaf: Set<string>;
  let answer: { exitCode: number; stderr: string };
  /** Whether systemd-run has made the scope. */
  let hasUnit: boolean;

  beforeEach(() => {
    const uid = process.geteuid?.() ?? 0;
    tree = makeTree({
      'v2/cgroup.controllers': controllers,
      [`v2/user.slice/user-${uid}.slice/user@${uid}.service/cgroup.controllers`]: controllers,
      ...v2Group(group),
      ...procOf(`0::${path}\n`),
    });
    calls = [];
    deaf = new Set();
    hasUnit = true;
    answer = { exitCode: 0, stderr: '' };
  });
  afterEach(() => tree[Symbol.dispose]());

  /** Writes what systemd 252 writes for these properties. */
  function putInForce(property: string): void {
    const [name = '', value = ''] = property.split('=');
    if (deaf.has(name)) return;
    const bytes = value === 'infinity' ? 'max' : value;
    const files: Record<string, [string, string]> = {
      CPUQuota: [
        'cpu.max',
        value === '' ? 'max 100000' : `${Math.round(Number.parseFloat(value) * 1_000)} 100000`,
      ],
      CPUWeight: ['cpu.weight', value || '100'],
      MemoryMax: ['memory.max', bytes],
      MemoryLow: ['memory.low', bytes],
      MemorySwapMax: ['memory.swap.max', bytes],
    };
    const [file, text] = files[name] ?? ['', ''];
    tree.write({ [`${group}/${file}`]: `${text}\n` });
  }

  const systemctl: Systemctl = (args) => {
    calls.push(args.join(' '));
    // As systemd 252: `show` of a unit that it does not know succeeds, with nothing in its properties.
    const shown = hasUnit
      ? `ActiveState=active\nControlGroup=${path}\nResult=success\n`
      : 'ActiveState=inactive\nControlGroup=\nResult=success\n';
    const stdout = args[0] === 'show' ? shown : '';
    if (args[0] !== 'show' && !hasUnit)
      return Promise.resolve({ exitCode: 5, stdout, stderr: `Unit ${unit} not found.\n` });
    if (args[0] === 'set-property' && answer.exitCode === 0) for (const one of args.slice(4)) putInForce(one);
    return Promise.resolve({ ...answer, stdout });
  };
  const control = (mounts?: readonly CgroupMount[]) =>
    createScopeControl({
      tag: 'ab12',
      mounts: mounts ?? [
        { version: 'v2', mountPoint: join(tree.root, 'v2'), controllers: [], readOnly: false },
      ],
      systemctl,
      procRoot: join(tree.root, 'proc'),
      sysBlock: join(tree.root, 'block'),
      applyTimeoutMs: 20,
    });

  it('are properties of its scope, only those that change, and read back from the kernel', async () => {
    const all = { cores: 0.5, weight: 300, ceilingMib: 512, swapMib: 0 };
    await control().limit(id, all, fakeProcess);
    const properties = `MemoryMax=${512 * mib} MemorySwapMax=0 CPUQuota=50% CPUWeight=300`;
    expect(calls).toEqual([`set-property --runtime -- ${unit} ${properties}`]);
    expect(await control().limits(id, fakeProcess)).toEqual(all);

    await control().limit(id, all, fakeProcess);
    expect(calls).toHaveLength(1);

    await control().limit(id, { cores: 1.2345, ceilingMib: 512, swapMib: 0 }, fakeProcess);
    expect(calls[1]).toBe(`set-property --runtime -- ${unit} CPUQuota=123.45% CPUWeight=`);
    await control().limit(id, {}, fakeProcess);
    expect(calls[2]).toBe(
      `set-property --runtime -- ${unit} MemoryMax=infinity MemorySwapMax=infinity CPUQuota=`,
    );
    expect(await control().limits(id, fakeProcess)).toEqual({});
    expect(tree.read(`${group}/cpu.max.burst`)).toBe('0\n');
  });

  it('have systemd asked where its group is only when there is no process', async () => {
    await control().limits(id, fakeProcess);
    expect(calls).toEqual([]);
    expect(await control().limits(id, undefined)).toEqual({});
    expect(calls).toEqual([`show --property=ActiveState,ControlGroup,Result -- ${unit}`]);
  });

  it('wait for the scope, which is made with the process, and are then set', async () => {
    hasUnit = false;
    await control().limit(id, { cores: 1 }, undefined);
    await control().limit(id, {}, undefined);
    expect(calls).toEqual([]);
    expect(await control().limits(id, undefined)).toBeUndefined();
    hasUnit = true;
    await control().limit(id, { cores: 1 }, fakeProcess);
    expect(await control().limits(id, undefined)).toEqual({ cores: 1 });
    // A scope that is still there from before is not the one that is meant.
    await control().limit(id, { cores: 2 }, undefined);
    expect(await control().limits(id, fakeProcess)).toEqual({ cores: 1 });
  });

  it('that this host cannot keep are refused before the scope is there', async () => {
    hasUnit = false;
    await expect(control().limit(id, { cores: 1, burstMs: 5 }, undefined)).rejects.toMatchObject({
      code: 'limit.unsupported',
    });
  });

  it('reserve no memory, which the slice above would have to reserve too', async () => {
    expect(control().refuses('reservationMib')?.why).toContain('MemoryLow=');
    await expect(control().limit(id, { reservationMib: 64 }, fakeProcess)).rejects.toMatchObject({
      code: 'limit.unsupported',
      details: { key: 'reservationMib' },
    });
    expect(calls).toEqual([]);
  });

  it('take away a reservation that somebody else has made', async () => {
    tree.write({ [`${group}/memory.low`]: `${128 * mib}\n` });
    await control().limit(id, {}, fakeProcess);
    expect(calls).toEqual([`set-property --runtime -- ${unit} MemoryLow=0`]);
  });

  it('have no burst of the processor, which systemd does not know', async () => {
    expect(control().refuses('burstMs')?.why).toMatch(/^systemd has no property/);
    await expect(control().limit(id, { cores: 1, burstMs: 5 }, fakeProcess)).rejects.toMatchObject({
      code: 'limit.unsupported',
      details: { key: 'burstMs' },
    });
    expect(calls).toEqual([]);
  });

  it('fail with what systemd says when it refuses', async () => {
    answer = { exitCode: 1, stderr: 'Failed to set unit properties: Access denied\n' };
    await expect(control().limit(id, { cores: 1 }, fakeProcess)).rejects.toMatchObject({
      code: 'limit.failed',
      cause: { message: 'Failed to set unit properties: Access denied' },
    });
  });

  it('fail, and are put back, when the kernel does not get them', async () => {
    await control().limit(id, { weight: 50 }, fakeProcess);
    deaf.add('CPUQuota');
    await expect(control().limit(id, { weight: 200, cores: 1 }, fakeProcess)).rejects.toMatchObject({
      code: 'limit.failed',
      cause: { message: 'systemd took CPUQuota, and the kernel does not have it' },
    });
    expect(await control().limits(id, fakeProcess)).toEqual({ weight: 50 });
  });

  it('refuse a ceiling below what is in use without asking systemd', async () => {
    await expect(control().limit(id, { ceilingMib: 60 }, fakeProcess)).rejects.toMatchObject({
      code: 'limit.failed',
      details: { key: 'ceilingMib' },
    });
    expect(calls).toEqual([]);
  });

  it('are unknown, and not set, when its process is in no scope of its own', async () => {
    tree.write(procOf('0::/system.slice/wirtd.service\n'));
    expect(await control().limits(id, fakeProcess)).toBeUndefined();
    expect(control().usage(id, fakeProcess, [])).toBeUndefined();
    await expect(control().limit(id, { cores: 1 }, fakeProcess)).rejects.toMatchObject({
      code: 'limit.failed',
    });
    // Nothing is limited where nothing is to be.
    await control().limit(id, {}, fakeProcess);
    expect(calls).toEqual([]);
  });

  it('are beside what it uses', () => {
    expect(control().usage(id, fakeProcess, [4711])).toMatchObject({
      cpuSeconds: 1.5,
      throttledSeconds: 0.25,
      pressure: { cpu: 0.125 },
      threads: [{ cpuSeconds: 1, stealSeconds: 0.5 }],
    });
  });

  it('are fewer with version 1, and only in the groups that systemd has made', async () => {
    tree.write({
      ...procOf(`3:cpu,cpuacct:${path}\n2:memory:/system.slice\n1:name=systemd:${path}\n`),
      [`cpu${path}/cpu.cfs_quota_us`]: '50000\n',
      [`cpu${path}/cpu.cfs_period_us`]: '100000\n',
      'memory/system.slice/memory.limit_in_bytes': '1048576\n',
    });
    const v1 = (name: string, ...names: string[]): CgroupMount => ({
      version: 'v1',
      mountPoint: join(tree.root, name),
      controllers: names,
      readOnly: false,
    });
    const old = control([v1('cpu', 'cpu', 'cpuacct'), v1('memory', 'memory')]);
    expect(old.refuses('swapMib')?.hint).toContain('unified_cgroup_hierarchy');
    expect(old.refuses('ceilingMib')).toBeUndefined();
    expect(await old.limits(id, fakeProcess)).toEqual({ cores: 0.5 });
  });

  it('are refused where the controller is not delegated', () => {
    const none = control([
      { version: 'v2', mountPoint: join(tree.root, 'nowhere'), controllers: [], readOnly: false },
    ]);
    expect(none.refuses('cores')?.hint).toContain('not delegated');
  });

  it('never ask for no processor at all', () => {
    expect(propertiesOf({ cores: 0.001 }).get('CPUQuota')).toBe('0.1%');
    expect(propertiesOf({ cores: 0, weight: 100 })).toEqual(propertiesOf({}));
  });
});
