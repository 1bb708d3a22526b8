import { readdirSync, readFileSync } from 'node:fs';
import { access, mkdir, rmdir, writeFile } from 'node:fs/promises';
import { posix } from 'node:path';
import { resourceControlContract } from '@wirt/core/contract/resource-control';
import { describe, expect, it } from 'vitest';
import { type CgroupMount, parseCgroupMounts } from '../../platform/cgroup-mounts.ts';
import { createCgroupControl } from './cgroup.ts';

const root = '/sys/fs/cgroup';
const parent = `wirt-test-${process.pid}`;
const mounts = parseCgroupMounts(readFileSync('/proc/self/mountinfo', 'utf8'), root);
const logged: string[] = [];
const logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: (event: string) => void logged.push(event),
  error: (event: string) => void logged.push(event),
};
const make = (tag: string, controllers?: ReadonlySet<string>) =>
  createCgroupControl({ tag, parent, systemd: false, logger, ...(controllers && { controllers }) });

const isWritable = process.geteuid?.() === 0 && mounts.some(({ readOnly }) => !readOnly);
const memory = mounts.find(({ controllers }) => controllers.includes('memory'));
const v2 = mounts.find(({ version }) => version === 'v2');
const v2Controllers =
  v2 === undefined ? '' : readFileSync(posix.join(v2.mountPoint, 'cgroup.controllers'), 'utf8');

async function limit(mount: CgroupMount, id: string, limitMib: number): Promise<void> {
  const group = posix.join(mount.mountPoint, parent, 'first', id);
  const bytes = String(limitMib * 1024 * 1024);
  const [file, swap] =
    mount.version === 'v1'
      ? ['memory.limit_in_bytes', 'memory.memsw.limit_in_bytes']
      : ['memory.max', 'memory.swap.max'];
  await writeFile(posix.join(group, file), bytes);
  const swapFile = posix.join(group, swap);
  if (
    await access(swapFile).then(
      () => true,
      () => false,
    )
  )
    await writeFile(swapFile, mount.version === 'v1' ? bytes : '0');
}

function expectClean(): Promise<void> {
  for (const { mountPoint } of mounts) expect(readdirSync(mountPoint)).not.toContain(parent);
  return Promise.resolve();
}

// Groups can only be made by root, in hierarchies that are not mounted read-only.
describe.skipIf(!isWritable)('cgroupfs', () => {
  resourceControlContract('cgroupfs with the controllers of this machine', () => {
    const limited = memory ?? (v2Controllers.includes('memory') ? v2 : undefined);
    return {
      control: make('first'),
      other: make('second'),
      ...(limited && { limitMemory: (id: string, limitMib: number) => limit(limited, id, limitMib) }),
      expectClean,
    };
  });

  // On a hybrid host v2 is left out until huge pages are used, so it is tried by itself where it exists.
  describe.skipIf(v2 === undefined || memory === undefined)('of version 2 beside version 1', () => {
    const used = new Set(v2Controllers.split(/\s+/).filter(Boolean));
    resourceControlContract('cgroup v2', () => ({
      control: make('first', used),
      other: make('second', used),
      expectClean,
    }));
  });

  it('leaves out what may not be written, with one line in the log, and takes what is left', async () => {
    logged.length = 0;
    const readOnly = mounts.map((mount) => ({ ...mount, readOnly: true }));
    const control = createCgroupControl({ tag: 'x', parent, systemd: false, logger, mounts: readOnly });
    expect(await control.create('abc')).toEqual({ joinFiles: [] });
    await control.remove('abc', AbortSignal.timeout(1_000));
    expect(await control.list()).toEqual([]);
    expect(logged).toEqual(['cgroup.left_out']);
    await expectClean();
  });

  it('finds out at the first guest what may not be written', async () => {
    logged.length = 0;
    // sysfs refuses directories even to root, as cgroupfs does to others.
    const sysfs = {
      version: 'v1',
      mountPoint: '/sys/kernel',
      controllers: ['cpu'],
      readOnly: false,
    } as const;
    const control = createCgroupControl({ tag: 'x', parent, systemd: false, logger, mounts: [sysfs] });
    expect(await control.create('abc')).toEqual({ joinFiles: [] });
    expect(await control.create('abd')).toEqual({ joinFiles: [] });
    expect(logged).toEqual(['cgroup.left_out']);
  });

  it('gives up on a group that does not empty, at the deadline or when told to', async () => {
    const hierarchy = mounts.find(({ controllers }) => controllers.includes('pids')) ?? mounts[0];
    if (hierarchy === undefined) throw new Error('there is no hierarchy');
    const tag = 'stuck';
    const control = createCgroupControl({
      tag,
      parent,
      systemd: false,
      logger,
      mounts: [hierarchy],
      removeTimeoutMs: 60,
    });
    await control.create('abc');
    const below = posix.join(hierarchy.mountPoint, parent, tag, 'abc', 'below');
    await mkdir(below);
    const never = new AbortController().signal;
    await expect(control.remove('abc', never)).rejects.toMatchObject({ code: 'host.cgroup_failed' });
    await expect(control.remove('abc', AbortSignal.abort(new Error('enough')))).rejects.toThrow('enough');
    await rmdir(below);
    await control.remove('abc', never);
    await expectClean();
  });

  it('takes back the groups of a creation that fails half way', async () => {
    const broken = {
      version: 'v1',
      mountPoint: '/dev/null',
      controllers: ['pids'],
      readOnly: false,
    } as const;
    const usable = mounts.filter(
      ({ controllers }) => controllers.includes('memory') || controllers.includes('cpu'),
    );
    const control = createCgroupControl({
      tag: 'x',
      parent,
      systemd: false,
      logger,
      mounts: [...usable, broken],
    });
    await expect(control.create('abc')).rejects.toMatchObject({ code: 'host.cgroup_failed' });
    await expectClean();
  });
});
