import { mkdirSync, readdirSync, statSync, symlinkSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { CgroupMount } from '../../platform/cgroup-mounts.ts';
import { createCgroupControl } from './cgroup.ts';
import { type FakeTree, fakeProcess, makeTree, procOf, v2Group } from './tree.fixture.ts';

const id = 'abc';
const logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};
const group = 'v2/wirt/t/abc';
const mib = 1024 * 1024;

describe("limits of a guest's group of version 2", () => {
  let tree: FakeTree;

  beforeEach(() => {
    tree = makeTree({
      'v2/cgroup.controllers': 'cpu memory io pids\n',
      'v2/cgroup.subtree_control': 'cpu memory io pids\n',
      'v2/wirt/cgroup.subtree_control': 'cpu memory io pids\n',
      ...v2Group('v2/wirt/t', { 'cgroup.subtree_control': 'cpu memory io pids\n' }),
      ...v2Group(group),
      ...procOf('0::/wirt/t/abc\n'),
    });
  });
  afterEach(() => tree[Symbol.dispose]());

  const v2 = (): CgroupMount => ({
    version: 'v2',
    mountPoint: join(tree.root, 'v2'),
    controllers: [],
    readOnly: false,
  });
  const control = (mounts: readonly CgroupMount[] = [v2()]) =>
    createCgroupControl({
      tag: 't',
      systemd: false,
      logger,
      mounts,
      procRoot: join(tree.root, 'proc'),
      sysBlock: join(tree.root, 'block'),
    });
  const limit = (limits: Parameters<ReturnType<typeof control>['limit']>[1]) =>
    control().limit(id, limits, fakeProcess);

  it('are set, read back and taken away', async () => {
    const all = { cores: 0.5, burstMs: 20, weight: 300, ceilingMib: 512, swapMib: 0, reservationMib: 128 };
    await limit(all);
    expect(tree.read(`${group}/cpu.max`)).toBe('50000 100000');
    expect(tree.read(`${group}/memory.swap.max`)).toBe('0');
    expect(await control().limits(id, fakeProcess)).toEqual(all);
    await limit({ cores: 0.5 });
    expect(await control().limits(id, fakeProcess)).toEqual({ cores: 0.5 });
    await limit({});
    expect(await control().limits(id, fakeProcess)).toEqual({});
    expect(tree.read(`${group}/memory.max`)).toBe('max');
  });

  it('are not written again when they are what is wanted', async () => {
    const one = control();
    await one.limit(id, { cores: 0.5, ceilingMib: 512 }, fakeProcess);
    const changed = () =>
      readdirSync(join(tree.root, group)).map(
        (file) => statSync(join(tree.root, group, file), { bigint: true }).mtimeNs,
      );
    const before = changed();
    await one.limit(id, { cores: 0.5, ceilingMib: 512 }, fakeProcess);
    expect(changed()).toEqual(before);
  });

  it('refuse a ceiling below what is in use, which the kernel would kill for, and keep the others', async () => {
    await limit({ cores: 1, ceilingMib: 200 });
    tree.write({ [`${group}/memory.reclaim`]: '' });
    await expect(limit({ cores: 2, ceilingMib: 60 })).rejects.toMatchObject({
      code: 'limit.failed',
      details: { key: 'ceilingMib', file: 'memory.max' },
      cause: { cause: { message: '100 MiB are in use and cannot be reclaimed' } },
    });
    // What was too much was asked back first.
    expect(tree.read(`${group}/memory.reclaim`)).toBe(String(40 * mib));
    expect(await control().limits(id, fakeProcess)).toEqual({ cores: 1, ceilingMib: 200 });
  });

  it('are put back when the kernel refuses one of them', async () => {
    await limit({ ceilingMib: 512 });
    unlinkSync(join(tree.root, group, 'cpu.weight'));
    symlinkSync('/dev/full', join(tree.root, group, 'cpu.weight'));
    await expect(limit({ ceilingMib: 1024, cores: 2, weight: 300 })).rejects.toMatchObject({
      code: 'limit.failed',
      details: { key: 'weight' },
      cause: { cause: { code: 'ENOSPC' } },
    });
    expect(tree.read(`${group}/memory.max`)).toBe(String(512 * mib));
    expect(tree.read(`${group}/cpu.max`)).toBe('max 100000');
  });

  it('are not supported where a file may not be written, and nothing is changed', async () => {
    unlinkSync(join(tree.root, group, 'cpu.max'));
    // sysfs lets nobody open it for writing, not even root.
    symlinkSync('/sys/kernel/uevent_seqnum', join(tree.root, group, 'cpu.max'));
    await expect(limit({ ceilingMib: 1024, cores: 2 })).rejects.toMatchObject({
      code: 'limit.unsupported',
      details: { key: 'cores' },
      cause: { cause: { code: 'EACCES' } },
    });
    expect(tree.read(`${group}/memory.max`)).toBe('max');
  });

  it('are refused by name where the kernel does not have them, before anything is changed', async () => {
    unlinkSync(join(tree.root, 'v2/wirt/t/cpu.max.burst'));
    expect(control().refuses('burstMs')).toEqual({
      why: 'The kernel has no cpu.max.burst in its control groups.',
      hint: expect.stringContaining('5.14'),
    });
    await expect(limit({ ceilingMib: 512, cores: 1, burstMs: 5 })).rejects.toMatchObject({
      code: 'limit.unsupported',
      details: { key: 'burstMs' },
    });
    expect(tree.read(`${group}/memory.max`)).toBe('max\n');
  });

  it('are refused where the controller is missing or read-only', async () => {
    tree.write({ 'v2/cgroup.controllers': 'cpu\n' });
    expect(control().refuses('ceilingMib')?.why).toBe(
      'This host has no memory controller that wirtd may use.',
    );
    expect(control().refuses('cores')).toBeUndefined();
    const none = control([{ ...v2(), readOnly: true }]);
    expect(none.refuses('cores')?.hint).toMatch(/read-only/);
    await expect(none.limit(id, { cores: 1 }, fakeProcess)).rejects.toMatchObject({
      code: 'limit.unsupported',
      details: { key: 'cores' },
    });
    expect(await none.limits(id, fakeProcess)).toBeUndefined();
    expect(none.usage(id, fakeProcess, [])).toBeUndefined();
  });

  it('are each in the hierarchy that has the controller, on a hybrid host', async () => {
    tree.write({
      'v2/cgroup.controllers': 'memory\n',
      'cpu/wirt/t/abc/cpu.cfs_quota_us': '-1\n',
      'cpu/wirt/t/abc/cpu.cfs_period_us': '100000\n',
      'cpu/wirt/t/abc/cpu.shares': '1024\n',
      'cpu/wirt/t/cpu.cfs_quota_us': '-1\n',
      ...procOf('3:cpu:/wirt/t/abc\n0::/wirt/t/abc\n'),
    });
    const v1: CgroupMount = {
      version: 'v1',
      mountPoint: join(tree.root, 'cpu'),
      controllers: ['cpu'],
      readOnly: false,
    };
    const hybrid = control([v1, v2()]);
    await hybrid.limit(id, { cores: 1.5, ceilingMib: 512 }, fakeProcess);
    expect(tree.read('cpu/wirt/t/abc/cpu.cfs_quota_us')).toBe('150000');
    expect(tree.read(`${group}/memory.max`)).toBe(String(512 * mib));
    expect(tree.read(`${group}/cpu.max`)).toBe('max 100000\n');
    expect(await hybrid.limits(id, fakeProcess)).toEqual({ cores: 1.5, ceilingMib: 512 });
    expect(hybrid.refuses('burstMs')?.why).toContain('cpu.cfs_burst_us');
  });

  it('are none of a group that does not hold the process', async () => {
    tree.write(procOf('0::/wirt/t/other\n'));
    expect(await control().limits(id, fakeProcess)).toBeUndefined();
    tree.write(procOf('0::/elsewhere/wirt/t/abc\n'));
    expect(await control().limits(id, fakeProcess)).toEqual({});
  });

  it('ask version 1 for a ceiling beside swap', async () => {
    const files = { 'memory.limit_in_bytes': '-1', 'memory.memsw.limit_in_bytes': '-1' };
    for (const [file, text] of Object.entries(files))
      tree.write({ [`m/wirt/t/${file}`]: text, [`m/wirt/t/abc/${file}`]: text });
    const v1: CgroupMount = {
      version: 'v1',
      mountPoint: join(tree.root, 'm'),
      controllers: ['memory'],
      readOnly: false,
    };
    await expect(control([v1]).limit(id, { swapMib: 5 }, undefined)).rejects.toMatchObject({
      code: 'limit.unsupported',
      details: { key: 'swapMib' },
    });
    await control([v1]).limit(id, { ceilingMib: 5, swapMib: 5 }, undefined);
    expect(await control([v1]).limits(id, undefined)).toEqual({ ceilingMib: 5, swapMib: 5 });
  });

  describe('for disks', () => {
    it('are refused unless a disk is scheduled by weight', () => {
      expect(control().refuses('ioWeight')?.hint).toContain('modprobe bfq');
      tree.write({ 'v2/wirt/t/io.bfq.weight': 'default 100\n' });
      expect(control().refuses('ioWeight')?.why).toMatch(/scheduler/);
      tree.write({ 'block/sda/queue/scheduler': '[none] mq-deadline bfq\n' });
      expect(control().refuses('ioWeight')?.hint).toContain('/queue/scheduler');
      tree.write({ 'block/sda/queue/scheduler': 'none [bfq]\n' });
      expect(control().refuses('ioWeight')).toBeUndefined();
    });

    it('are weights of BFQ, as far as that goes', async () => {
      const weights = { 'io.bfq.weight': 'default 100\n' };
      tree.write({
        'block/sda/queue/scheduler': '[bfq]',
        ...v2Group('v2/wirt/t', weights),
        ...v2Group(group, weights),
      });
      await limit({ ioWeight: 300 });
      expect(tree.read(`${group}/io.bfq.weight`)).toBe('300');
      expect(await control().limits(id, fakeProcess)).toEqual({ ioWeight: 300 });
      await expect(limit({ ioWeight: 2000 })).rejects.toMatchObject({ code: 'limit.unsupported' });
    });

    it("are weights of the kernel's cost model where that is on", async () => {
      const weights = { 'io.weight': 'default 100\n' };
      tree.write({
        ...v2Group('v2/wirt/t', weights),
        ...v2Group(group, weights),
        'v2/io.cost.qos': '8:0 enable=0\n',
      });
      expect(control().refuses('ioWeight')).toBeDefined();
      tree.write({ 'v2/io.cost.qos': '8:0 enable=1 ctrl=auto\n' });
      await limit({ ioWeight: 2000 });
      expect(await control().limits(id, fakeProcess)).toEqual({ ioWeight: 2000 });
    });
  });

  it('are looked for in groups that are made for the moment, and leave none', () => {
    mkdirSync(join(tree.root, 'new'));
    tree.write({ 'new/cgroup.controllers': 'cpu\n', 'new/cgroup.subtree_control': '' });
    const fresh = control([{ ...v2(), mountPoint: join(tree.root, 'new') }]);
    expect(fresh.refuses('cores')?.why).toBe('The kernel has no cpu.max in its control groups.');
    expect(readdirSync(join(tree.root, 'new')).toSorted()).toEqual([
      'cgroup.controllers',
      'cgroup.subtree_control',
    ]);
  });

  it('are beside what is used, with pressure, swap and threads', () => {
    const one = control();
    const usage = one.usage(id, fakeProcess, [4711, 4712]);
    expect(usage).toEqual({
      cpuSeconds: 1.5,
      periods: 40,
      throttledPeriods: 12,
      throttledSeconds: 0.25,
      memoryBytes: 100 * mib,
      swappedBytes: 4096,
      pressure: { cpu: 0.125, memory: 0, io: 0.01 },
      threads: [
        { cpuSeconds: 1, stealSeconds: 0.5 },
        { cpuSeconds: 0.25, stealSeconds: 0 },
      ],
    });
    tree.write({ [`${group}/memory.current`]: '8192\n' });
    expect(one.usage(id, fakeProcess, [4712])).toMatchObject({
      memoryBytes: 8192,
      threads: [{ cpuSeconds: 0.25 }],
    });
  });

  it('leave memory to the process where no controller counts it', () => {
    for (const file of ['memory.current', 'memory.swap.current', 'cpu.pressure'])
      unlinkSync(join(tree.root, group, file));
    tree.write({ 'v2/cgroup.controllers': 'cpu\n', 'proc/4711/status': 'VmRSS:\t  2048 kB\n' });
    const usage = control().usage(id, fakeProcess, []);
    expect(usage).toMatchObject({ memoryBytes: 2 * mib, pressure: { memory: 0, io: 0.01 } });
    expect(usage).not.toHaveProperty('swappedBytes');
  });
});
