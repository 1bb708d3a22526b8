// The addresses of guests on the host's vsock: whose is which, how long, and what becomes of those that others have.
import { describe, expect, it } from 'vitest';
import { createPlacedCore, type PlacedCore } from './placing.fixture.ts';

const on = { vsock: true } as const;

const cids = async (core: PlacedCore, ...names: string[]): Promise<(number | undefined)[]> =>
  Promise.all(names.map(async (name) => (await core.get(name)).status.vsockCid));
const told = async (core: PlacedCore, name: string): Promise<number | undefined> =>
  (await core.plan(name))?.vsockCid;
const set = ({ fake }: PlacedCore, name: string, vsock: boolean) =>
  fake.core.actions.instance.update(fake.request, name, { spec: { vsock } });
const remove = ({ fake }: PlacedCore, name: string) =>
  fake.core.actions.instance.remove(fake.request, name, { force: true }, { wait: 'done', waitSeconds: 5 });

describe('a guest with a vsock', () => {
  it('has the smallest address that no other instance has, and QEMU is told so', async () => {
    const core = await createPlacedCore();
    await Promise.all(['a', 'b', 'c'].map((name) => core.run(name, undefined, on)));
    expect(new Set(await cids(core, 'a', 'b', 'c'))).toEqual(new Set([3, 4, 5]));
    for (const name of ['a', 'b', 'c'])
      expect(await told(core, name)).toBe((await core.get(name)).status.vsockCid);
    expect((await core.get('a')).status.run?.vsock).toBe(true);
    await core.run('none');
    expect(await cids(core, 'none')).toEqual([undefined]);
    expect(await told(core, 'none')).toBeUndefined();
  });

  it('keeps it over stop and start, and over a death of wirtd', async () => {
    const core = await createPlacedCore();
    await core.run('a', undefined, on);
    await core.run('b', undefined, on);
    await core.stop('a');
    await core.stop('b');
    await core.run('c', undefined, on);
    await core.fake.restart();
    await core.start('b');
    await core.start('a');
    expect(await cids(core, 'a', 'b', 'c')).toEqual([3, 4, 5]);
    expect([await told(core, 'a'), await told(core, 'b')]).toEqual([3, 4]);
  });

  it('has it as long as it runs when it is to have none, and from its next start none', async () => {
    const core = await createPlacedCore();
    await core.run('a', undefined, on);
    await set(core, 'a', false);
    expect((await core.get('a')).spec.vsock).toBeUndefined();
    expect(await cids(core, 'a')).toEqual([3]);
    await core.run('b', undefined, on);
    expect(await cids(core, 'b')).toEqual([4]);
    await core.stop('a');
    await core.start('a');
    expect(await told(core, 'a')).toBeUndefined();
    expect((await core.get('a')).status.run?.vsock).toBeUndefined();
    // What it had is free for others, and it gets another one when it comes back too late.
    await core.run('c', undefined, on);
    expect(await cids(core, 'c')).toEqual([3]);
    await core.stop('a');
    await set(core, 'a', true);
    await core.start('a');
    expect(await told(core, 'a')).toBe(5);
  });

  it('leaves its address to others when it is removed', async () => {
    const core = await createPlacedCore();
    await core.run('a', undefined, on);
    await remove(core, 'a');
    await core.run('b', undefined, on);
    expect(await cids(core, 'b')).toEqual([3]);
  });

  it('is moved on past the addresses of other programs before it has ever had one', async () => {
    const core = await createPlacedCore();
    core.fake.host.takenCids.add(3).add(4);
    await core.run('a', undefined, on);
    expect(await cids(core, 'a')).toEqual([5]);
    expect((await core.get('a')).status.state).toBe('running');
    expect(await told(core, 'a')).toBe(5);
  });

  it('is not moved when it had one: the start fails, and names it', async () => {
    const core = await createPlacedCore();
    await core.run('a', undefined, on);
    await core.stop('a');
    core.fake.host.takenCids.add(3);
    await expect(core.start('a')).rejects.toMatchObject({ code: 'host.vsock_cid_taken' });
    expect(await cids(core, 'a')).toEqual([3]);
    // As the hint says: it is given another one.
    await set(core, 'a', false);
    await set(core, 'a', true);
    await core.start('a');
    expect(await cids(core, 'a')).toEqual([4]);
  });

  it('is refused where the host has none: when it is made, changed, and started', async () => {
    const core = await createPlacedCore();
    await core.run('a', undefined, on);
    await core.run('b');
    await core.stop('a');
    core.fake.host.vsock = false;
    const missing = { code: 'host.vsock_missing', hint: expect.stringContaining('modprobe vhost_vsock') };
    await expect(core.run('c', undefined, on)).rejects.toMatchObject(missing);
    await expect(core.get('c')).rejects.toMatchObject({ code: 'instance.not_found' });
    await expect(set(core, 'b', true)).rejects.toMatchObject(missing);
    await expect(core.start('a')).rejects.toMatchObject(missing);
    // As the hint says.
    await set(core, 'a', false);
    await core.start('a');
    expect((await core.get('a')).status.state).toBe('running');
  });

  it('is refused its start by a QEMU that was built without', async () => {
    const core = await createPlacedCore();
    await core.run('a', undefined, on);
    await core.stop('a');
    const { inspector } = core.fake.host;
    const { requireQemu } = inspector;
    Object.assign(inspector, {
      requireQemu: async (signal: AbortSignal) => {
        const qemu = await requireQemu(signal);
        return { ...qemu, features: { ...qemu.features, 'vhost-vsock': false } };
      },
    });
    await expect(core.start('a')).rejects.toMatchObject({
      code: 'host.vsock_missing',
      message: expect.stringContaining('this QEMU has none'),
      hint: expect.stringMatching(/--qemu.*wirt set a vsock=off/),
    });
    await core.run('without');
  });
});

describe('a guest with many queues', () => {
  it('has its disks on several threads where QEMU can, and its record says so', async () => {
    const core = await createPlacedCore(1, 16);
    core.fake.host.qemuVersion = '11.0.0';
    await core.run('wide', undefined, { cpus: 8 });
    expect((await core.plan('wide'))?.diskIothreads).toBe(2);
    expect((await core.get('wide')).status.run?.diskIothreads).toBe(2);
    core.fake.host.qemuVersion = '10.0.2';
    await core.run('other', undefined, { cpus: 8 });
    expect((await core.plan('other'))?.diskIothreads).toBeUndefined();
    expect((await core.get('other')).status.run?.diskIothreads).toBeUndefined();
  });
});
