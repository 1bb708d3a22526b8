// What is declared is in force, and what is in force is measured: each axis of QoS in real guests, set, changed and taken away live.
import type { InstanceUpdate } from '@wirt/api';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Networked, networked } from './harness/networked.ts';
import {
  coresSeen,
  diskRate,
  egressRate,
  ingressRate,
  pinned,
  processSeconds,
  startPeers,
  tenth,
} from './harness/truth.ts';

const mib = 2 ** 20;
let net: Networked;

beforeAll(async () => {
  net = await networked();
  const disks = [
    {
      name: 'data',
      device: 'disk',
      bus: 'virtio',
      sizeBytes: 256 * mib,
      pool: 'default',
      format: 'raw',
      readOnly: false,
    },
  ] as const;
  await Promise.all([
    net.guest('web', undefined, {
      spec: { image: 'micro', memoryMib: 256, maxMemoryMib: 512, cpus: 2, maxCpus: 4, disks: [...disks] },
    }),
    net.guest('db', [], { spec: { image: 'micro', memoryMib: 96 } }),
  ]);
  await startPeers(net);
});

afterAll(async () => {
  try {
    await net.clear();
    expect(await net.network.remains()).toEqual([]);
    expect(await net.daemon.remains()).toEqual([]);
  } finally {
    await net[Symbol.asyncDispose]();
  }
});

const set = (name: string, spec: NonNullable<InstanceUpdate['spec']>) =>
  net.daemon.client.call('PATCH /v1/instances/{instance}', { params: { instance: name }, body: { spec } });

function expectWithin(value: number, [least, most]: readonly [number, number]): void {
  expect(value).toBeGreaterThan(least);
  expect(value).toBeLessThan(most);
}

describe('processor time', () => {
  /** What else the machine does takes from a guest, and may do so in one look; it has what it is given in one of three, and more in none. */
  async function reaches(guest: string, cores: number): Promise<void> {
    for (let look = 1; ; look += 1) {
      const seen = await coresSeen(net, guest, 4);
      expect(seen).toBeLessThan(cores * 1.1);
      if (look === 3 || seen > cores * 0.9) return expectWithin(seen, tenth(cores));
    }
  }

  it('is what the limit says, as the guest sees it, before and after it is changed', async () => {
    await set('db', { limits: { cpu: { cores: 0.5 } } });
    await reaches('db', 0.5);
    await set('db', { limits: { cpu: { cores: 0.75 } } });
    await reaches('db', 0.75);
    await set('db', { limits: { cpu: { cores: null } } });
    expect(await coresSeen(net, 'db', 3)).toBeGreaterThan(0.9);
    expect((await net.instance('db')).status.limits?.effective.cpu).toBeUndefined();
  });

  it('is shared 3:1 by two guests with such weights on a full host', async () => {
    const names = ['web', 'db'] as const;
    // A host with one processor: what two with one vCPU each can fill.
    for (const name of names) await pinned(net, name, 1);
    await set('web', { limits: { cpu: { weight: 300 } } });
    await set('db', { limits: { cpu: { weight: 100 } } });
    const got = async (name: string): Promise<{ seconds: number; seen: number }> => {
      const pid = (await net.instance(name)).status.process?.pid ?? 0;
      const before = await processSeconds(pid);
      const seen = await coresSeen(net, name, 5);
      return { seconds: (await processSeconds(pid)) - before, seen };
    };
    const [web, db] = [await Promise.all(names.map(got))].flat();
    expectWithin((web?.seconds ?? 0) / (db?.seconds ?? 0), tenth(3));
    // Taking up its clock again after each pause costs a guest time of its own, which weighs more where there is less.
    expectWithin((web?.seen ?? 0) / (db?.seen ?? 0), [2.4, 4]);
    await set('web', { limits: { cpu: null } });
    await set('db', { limits: { cpu: null } });
  });
});

describe('disks', () => {
  const rate = (way: 'read' | 'write', blockKib: number, count: number) =>
    diskRate(net, 'web', { way, blockKib, count });

  it('read and write as many bytes a second as the limit says, each disk and all together', async () => {
    await set('web', { disks: { data: { limits: { readBytes: { rate: 4 * mib } } } } });
    expectWithin(await rate('read', 256, 48), tenth(4 * mib));
    await set('web', { disks: { data: { limits: { readBytes: { rate: 8 * mib } } } } });
    expectWithin(await rate('read', 256, 96), tenth(8 * mib));
    await set('web', {
      disks: { data: { limits: null } },
      limits: { disk: { totalBytes: { rate: 4 * mib } } },
    });
    expectWithin(await rate('write', 256, 48), tenth(4 * mib));
    await set('web', { limits: { disk: null } });
    expect(await rate('read', 256, 96)).toBeGreaterThan(16 * mib);
  });

  it('do as many operations a second as the limit says', async () => {
    await set('web', { limits: { disk: { totalOperations: { rate: 100 } } } });
    expectWithin((await rate('read', 4, 400)) / 4096, tenth(100));
    await set('web', { limits: { disk: null } });
    expect((await rate('read', 4, 400)) / 4096).toBeGreaterThan(200);
  });
});

describe('the network', () => {
  it('lets as many bytes a second out as the limit says', async () => {
    await set('web', { nics: { nic0: { limits: { egress: { bytesPerSecond: mib } } } } });
    expectWithin(await egressRate(net, 'web'), tenth(mib));
    await set('web', { nics: { nic0: { limits: { egress: { bytesPerSecond: 2 * mib } } } } });
    expectWithin(await egressRate(net, 'web'), tenth(2 * mib));
    await set('web', { nics: { nic0: { limits: null } } });
    expect(await egressRate(net, 'web')).toBeGreaterThan(3 * mib);
  });

  it('lets as many bytes a second in as the limit says', async () => {
    await set('web', { limits: { eachNic: { ingress: { bytesPerSecond: mib } } } });
    expectWithin(await ingressRate(net, 'web'), tenth(mib));
    await set('web', { limits: { eachNic: { ingress: { bytesPerSecond: 2 * mib } } } });
    expectWithin(await ingressRate(net, 'web'), tenth(2 * mib));
    await set('web', { limits: { eachNic: null } });
    expect(await ingressRate(net, 'web')).toBeGreaterThan(3 * mib);
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

describe('what somebody else changes', () => {
  it('is mended within 5 s and a bit, and shown', async () => {
    await set('web', { limits: { eachNic: { egress: { bytesPerSecond: mib } } } });
    const { items } = await net.daemon.client.call('GET /v1/networks/{network}/ports', {
      params: { network: 'default' },
    });
    const tap = items.find(({ instance }) => instance === 'web')?.interface ?? '';
    const before = await net.network.inside.run('tc', 'qdisc', 'show', 'dev', tap);
    await net.network.inside.run('tc', 'qdisc', 'del', 'dev', tap, 'ingress');
    const { revision } = await net.networkOf('default');
    for await (const _ of net.daemon.client.events(
      { kind: 'network', since: revision - 1 },
      AbortSignal.timeout(10_000),
    ))
      if ((await net.network.inside.run('tc', 'qdisc', 'show', 'dev', tap)) === before) break;
    expectWithin(await egressRate(net, 'web', 2), tenth(mib));
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
