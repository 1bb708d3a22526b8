import { mkdirSync, readdirSync, rmdirSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createCgroupControl } from './cgroup.ts';
import { type FakeTree, fakeProcess, makeTree, procOf, v2Group } from './tree.fixture.ts';

const mib = 1024 * 1024;
const silent = () => undefined;
const logger = { debug: silent, info: silent, warn: silent, error: silent };

describe('a reservation of memory with version 2', () => {
  let tree: FakeTree;

  beforeEach(() => {
    const enabled = { 'cgroup.subtree_control': 'cpu memory io pids\n' };
    tree = makeTree({
      'v2/cgroup.controllers': 'cpu memory io pids\n',
      'v2/cgroup.subtree_control': 'cpu memory io pids\n',
      ...v2Group('v2/wirt', enabled),
      ...v2Group('v2/wirt/t', enabled),
      ...v2Group('v2/wirt/t/abc'),
      ...v2Group('v2/wirt/t/def'),
      // Another daemon's.
      ...v2Group('v2/wirt/u', { 'memory.low': String(7 * mib) }),
      ...procOf('0::/wirt/t/abc\n'),
    });
  });
  afterEach(() => tree[Symbol.dispose]());

  const make = () =>
    createCgroupControl({
      tag: 't',
      systemd: false,
      logger,
      mounts: [{ version: 'v2', mountPoint: join(tree.root, 'v2'), controllers: [], readOnly: false }],
      procRoot: join(tree.root, 'proc'),
      sysBlock: join(tree.root, 'block'),
      removeTimeoutMs: 1_000,
    });
  const lows = () => ['wirt', 'wirt/t'].map((path) => Number(tree.read(`v2/${path}/memory.low`)) / mib);

  it('is reserved in the directories above as well, which bound it', async () => {
    await make().limit('abc', { reservationMib: 128 }, fakeProcess);
    expect(lows()).toEqual([135, 128]);
    await make().limit('def', { reservationMib: 64 }, undefined);
    expect(lows()).toEqual([199, 192]);
    await make().limit('abc', { cores: 1 }, fakeProcess);
    expect(lows()).toEqual([71, 64]);
  });

  it('is held up again where the directories above were made anew', async () => {
    await make().limit('abc', { reservationMib: 128 }, fakeProcess);
    tree.write({ 'v2/wirt/memory.low': '0\n', 'v2/wirt/t/memory.low': '0\n' });
    await make().limit('abc', { reservationMib: 128 }, fakeProcess);
    expect(lows()).toEqual([135, 128]);
  });

  it('is given back by the directories above when its group is removed', async () => {
    const control = make();
    await control.limit('abc', { reservationMib: 128 }, fakeProcess);
    await control.limit('def', { reservationMib: 64 }, undefined);
    const removing = control.remove('abc', AbortSignal.timeout(5_000));
    // The kernel's files go with their directory; these have to be taken away first.
    const group = join(tree.root, 'v2/wirt/t/abc');
    for (const file of readdirSync(group)) unlinkSync(join(group, file));
    await removing;
    expect(lows()).toEqual([71, 64]);
  });

  it('is kept of the guest alone where the directories above may not be written', async () => {
    for (const path of ['v2/wirt', 'v2/wirt/t']) {
      unlinkSync(join(tree.root, path, 'memory.low'));
      mkdirSync(join(tree.root, path, 'memory.low'));
    }
    const control = make();
    // What a group can have is looked up in the directory above.
    await control.limit('abc', { reservationMib: 128 }, fakeProcess);
    expect(await control.limits('abc', fakeProcess)).toEqual({ reservationMib: 128 });
    for (const path of ['v2/wirt', 'v2/wirt/t']) rmdirSync(join(tree.root, path, 'memory.low'));
  });
});
