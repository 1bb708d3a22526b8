// What is declared is in force, and what is in force is measured: processor and memory of real guests, set, changed and taken away live.
import type { InstanceUpdate } from '@wirt/api';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Networked, networked } from './harness/networked.ts';
import { coresSeen, heldUp, shares } from './harness/truth.ts';
import { expectReached, expectWithin, tenth } from './harness/within.ts';

let net: Networked;

beforeAll(async () => {
  net = await networked();
  await Promise.all([
    net.guest('web', undefined, {
      spec: { image: 'micro', memoryMib: 256, maxMemoryMib: 512, cpus: 2, maxCpus: 4 },
    }),
    net.guest('db', [], { spec: { image: 'micro', memoryMib: 96 } }),
  ]);
});

afterAll(async () => expect(await net.end()).toEqual([]));

const set = (name: string, spec: NonNullable<InstanceUpdate['spec']>) => net.set(name, spec);

describe('processor time', () => {
  const reaches = (guest: string, cores: number) => expectReached(cores, () => coresSeen(net, guest, 4));

  it('is what the limit says, as the guest sees it, before and after it is changed', async () => {
    await set('db', { limits: { cpu: { cores: 0.5 } } });
    await reaches('db', 0.5);
    await set('db', { limits: { cpu: { cores: 0.75 } } });
    await reaches('db', 0.75);
    await set('db', { limits: { cpu: { cores: null } } });
    expect(await coresSeen(net, 'db', 3)).toBeGreaterThan(0.9);
    expect((await net.instance('db')).status.limits?.effective.cpu).toBeUndefined();
  });

  it('is saved while a guest is idle, for a burst above its limit', async () => {
    // Of each 100 ms it may work 50, so that once in 150 ms it waits for 50, however they lie; what it has saved carries it over them.
    await set('db', { limits: { cpu: { cores: 0.5 } } });
    const without = await heldUp(net, 'db', 150);
    expect(without).toBeGreaterThan(20);
    await set('db', { limits: { cpu: { cores: 0.5, burstMs: 50 } } });
    expect(await heldUp(net, 'db', 150)).toBeLessThan(without / 2);
    await set('db', { limits: { cpu: null } });
  });

  it('is shared 3:1 by two guests with such weights on a full host', async () => {
    await set('web', { limits: { cpu: { weight: 300 } } });
    await set('db', { limits: { cpu: { weight: 100 } } });
    // A host with one processor: what two with one vCPU each can fill.
    const [web, db] = await shares(net, ['web', 'db'], 5);
    expectWithin((web?.seconds ?? 0) / (db?.seconds ?? 0), tenth(3));
    // Taking up its clock again after each pause costs a guest time of its own, which weighs more where there is less.
    expectWithin((web?.seen ?? 0) / (db?.seen ?? 0), [2.4, 4]);
    await set('web', { limits: { cpu: null } });
    await set('db', { limits: { cpu: null } });
  });
});

describe('memory', () => {
  const memoryMib = async (field: 'MemTotal' | 'MemFree'): Promise<number> =>
    Number((await net.sh('web', `awk '/${field}/{print $2}' /proc/meminfo`)).text) / 1024;
  /** Until the guest has taken or given what it was asked for. */
  async function settled(): Promise<void> {
    const of = async () => (await net.instance('web')).status.limits;
    if ((await of())?.drifted === undefined) return;
    const { revision } = await net.instance('web');
    for await (const _ of net.daemon.client.events(
      { kind: 'instance', since: revision - 1 },
      AbortSignal.timeout(30_000),
    ))
      if ((await of())?.drifted === undefined) return;
  }

  it('fills to the last page without being killed by its own ceiling', async () => {
    await set('web', { limits: { memory: { ceilingMib: 'auto' } } });
    const { effective } = (await net.instance('web')).status.limits ?? {};
    expect(effective?.memory).toMatchObject({
      ceilingMib: expect.any(Number),
      overheadMib: expect.any(Number),
    });
    // All but what the agent needs to tell of it.
    const fill =
      "n=$(awk '/MemAvailable/{print int($2/1024)-12}' /proc/meminfo); mkdir -p /tmp/full; mount -t tmpfs -o size=100% none /tmp/full; " +
      'dd if=/dev/urandom of=/tmp/full/x bs=1M count=$n; du -m /tmp/full/x; rm /tmp/full/x; umount /tmp/full';
    const { text } = await net.sh('web', fill, 60);
    expect(Number(/^(\d+)\t/m.exec(text)?.[1])).toBeGreaterThan(80);
    expect((await net.instance('web')).status.state).toBe('running');
    await set('web', { limits: { memory: null } });
  });

  it('shrinks by the balloon and grows again, as the guest sees it', async () => {
    const free = await memoryMib('MemFree');
    await set('web', { limits: { memory: { balloonMib: 206 } } });
    await settled();
    expectWithin(free - (await memoryMib('MemFree')), tenth(50));
    await set('web', { limits: { memory: { balloonMib: null } } });
    await settled();
    expectWithin(await memoryMib('MemFree'), tenth(free));
  });

  it('grows and shrinks while it runs, up to the maximum of its start', async () => {
    const total = await memoryMib('MemTotal');
    await set('web', { memoryMib: 512 });
    await settled();
    expectWithin((await memoryMib('MemTotal')) - total, tenth(256));
    await set('web', { memoryMib: 256 });
    await settled();
    expectWithin(await memoryMib('MemTotal'), tenth(total));
  });
});

describe('vCPUs', () => {
  const seen = async (): Promise<string> => (await net.sh('web', 'grep -c ^processor /proc/cpuinfo')).text;

  it('come and go while the guest runs, and wait for its next start above the maximum', async () => {
    expect(await seen()).toBe('2');
    await set('web', { cpus: 3 });
    expect(await seen()).toBe('3');
    await set('web', { cpus: 1 });
    expect(await seen()).toBe('1');
    // Its card keeps the queues that it was started with.
    expect((await net.sh('web', 'ping -c 1 -W 2 192.0.2.2')).exitCode).toBe(0);
    const { limits } = (await set('web', { cpus: 5 })).status;
    expect(limits?.pending).toContainEqual(expect.objectContaining({ key: 'cpus', wanted: '5' }));
    await net.cli('restart', 'web');
    expect((await net.instance('web')).status.limits?.pending).toBeUndefined();
  });
});
