// Huge pages are made for guests and given back to exactly what the pools held, whoever dies when, and whoever else changes them.
import type { Tuning } from '@wirt/api';
import { describe, expect, it } from 'vitest';
import { atEveryCall } from '../fakes/scene.ts';
import { createPlacedCore, type PlacedCore } from './placing.fixture.ts';

const sizeKib = 2048;
const huge = { hugePages: '2M' } as const satisfies Tuning;
const latency = { profile: 'latency' } as const satisfies Tuning;
/** Of guests of 64 MiB. */
const pagesOfGuest = 32;

function poolOf(core: PlacedCore, node = 0): number | undefined {
  return core.fake.host.topology.host.nodes[node]?.hugePages[0]?.total;
}

/** Somebody sets the pool of node 0, as with `echo > nr_hugepages`. */
function setPool(core: PlacedCore, total: number): void {
  const { topology } = core.fake.host;
  const nodes = topology.host.nodes.map((node) =>
    node.id === 0 ? { ...node, hugePages: [{ sizeKib, total, free: total }] } : node,
  );
  topology.host = { ...topology.host, nodes };
}

async function reservedOf(core: PlacedCore, name: string) {
  return (await core.get(name)).status.placement?.reserved;
}

/** A host with one node, whose pool somebody has set to `base`. */
async function withPool(base: number): Promise<PlacedCore> {
  const core = await createPlacedCore(1, 8);
  setPool(core, base);
  return core;
}

async function kept(core: PlacedCore): Promise<unknown> {
  return (await core.fake.store.get('host/huge-pages'))?.value;
}

describe('the huge pages of a guest', () => {
  it('are made for its start, and given back after its end', async () => {
    const core = await withPool(0);
    await core.run('web', huge);
    expect(poolOf(core)).toBe(pagesOfGuest);
    expect((await core.plan('web'))?.placement?.pageSizeKib).toBe(sizeKib);
    expect(await reservedOf(core, 'web')).toEqual([{ node: 0, sizeKib, count: pagesOfGuest }]);
    await core.pass();
    expect(poolOf(core)).toBe(pagesOfGuest);
    await core.stop('web');
    await core.pass();
    expect(poolOf(core)).toBe(0);
    expect(await kept(core)).toBeUndefined();
  });

  it('are those that the pool has already, and only what is short is made', async () => {
    const core = await withPool(10);
    await core.run('web', huge);
    expect(poolOf(core)).toBe(pagesOfGuest);
    expect(await reservedOf(core, 'web')).toEqual([{ node: 0, sizeKib, count: 22 }]);
    core.fake.host.end((await core.get('web')).id, {});
    await core.pass();
    expect(poolOf(core)).toBe(10);
  });

  it('change nothing on the host where the pool has enough', async () => {
    const core = await withPool(100);
    await core.run('web', huge);
    expect(await reservedOf(core, 'web')).toBeUndefined();
    await core.stop('web');
    await core.pass();
    expect(core.fake.host.topology.totals).toEqual({});
    expect(poolOf(core)).toBe(100);
  });

  it('leave alone what the pool holds after the host was started again', async () => {
    const core = await withPool(10);
    await core.run('web', huge);
    const { host } = core.fake;
    host.end((await core.get('web')).id, {});
    host.bootId = 'the next';
    // As the kernel’s command line has it.
    setPool(core, 10);
    await core.fake.restart();
    await core.pass();
    expect(poolOf(core)).toBe(10);
    expect(await kept(core)).toBeUndefined();
  });

  it('are of the node that it is put on', async () => {
    const core = await createPlacedCore(2, 4);
    await core.run('a', huge, { cpus: 4 });
    await core.run('b', huge, { cpus: 4 });
    expect([poolOf(core, 0), poolOf(core, 1)]).toEqual([pagesOfGuest, pagesOfGuest]);
    const node = (await core.get('a')).status.placement?.nodes[0];
    await core.stop('a');
    await core.pass();
    expect([poolOf(core, 0), poolOf(core, 1)]).toEqual(node === 0 ? [0, pagesOfGuest] : [pagesOfGuest, 0]);
  });

  it('are whole pages, and it has what that is more', async () => {
    const core = await withPool(0);
    await core.run('web', huge, { memoryMib: 65 });
    expect(poolOf(core)).toBe(33);
    expect((await core.plan('web'))?.memoryMib).toBe(66);
    expect((await core.get('web')).status.run?.memoryMib).toBe(66);
  });

  it('stay when another guest in the same pool ends', async () => {
    const core = await withPool(10);
    await core.run('a', huge);
    await core.run('b', huge);
    expect(poolOf(core)).toBe(2 * pagesOfGuest);
    await core.stop('a');
    await core.pass();
    expect(await reservedOf(core, 'b')).toEqual([{ node: 0, sizeKib, count: pagesOfGuest }]);
    // What the host had of its own is free again, and what was made for the other stays.
    expect(poolOf(core)).toBe(10 + pagesOfGuest);
    await core.stop('b');
    await core.pass();
    expect(poolOf(core)).toBe(10);
  });

  it('are made for each of those that are started side by side', async () => {
    const core = await withPool(10);
    await Promise.all(['a', 'b', 'c'].map((name) => core.run(name, huge)));
    expect(poolOf(core)).toBe(3 * pagesOfGuest);
    await Promise.all(['a', 'b', 'c'].map((name) => core.stop(name)));
    await core.pass();
    expect(poolOf(core)).toBe(10);
  });

  it('are made anew for those that are started before those of an ended one were given back', async () => {
    const core = await withPool(0);
    await core.run('a', huge);
    await core.stop('a');
    await Promise.all(['b', 'c'].map((name) => core.run(name, huge)));
    expect(poolOf(core)).toBe(2 * pagesOfGuest);
    await core.pass();
    expect(poolOf(core)).toBe(2 * pagesOfGuest);
    await core.stop('b');
    await core.pass();
    expect(poolOf(core)).toBe(pagesOfGuest);
    await core.stop('c');
    await core.pass();
    expect(poolOf(core)).toBe(0);
  });

  it('are its own also when another ends while a place is looked for', async () => {
    const core = await withPool(0);
    await core.run('a', huge);
    await core.fake.create({ name: 'b', spec: { tuning: huge } });
    const { topology } = core.fake.host;
    const { read } = topology;
    topology.read = async (signal) => {
      topology.read = read;
      await core.stop('a');
      return read(signal);
    };
    await core.start('b');
    await core.pass();
    expect(await reservedOf(core, 'b')).toEqual([{ node: 0, sizeKib, count: pagesOfGuest }]);
    expect(poolOf(core)).toBe(pagesOfGuest);
  });

  it('stay over a restart of wirtd, and are given back by the next', async () => {
    const core = await withPool(10);
    await core.run('web', huge);
    await core.fake.restart();
    await core.pass();
    expect(poolOf(core)).toBe(pagesOfGuest);
    await core.stop('web');
    await core.pass();
    expect(poolOf(core)).toBe(10);
  });
});

describe('a pool that somebody else changes meanwhile', () => {
  it.each([
    { what: 'enlarges', by: 7, base: 17 },
    { what: 'makes smaller', by: -4, base: 6 },
    { what: 'empties by more than was theirs', by: -20, base: 0 },
  ])('keeps their change: $what', async ({ by, base }) => {
    const core = await withPool(10);
    await core.run('web', huge);
    setPool(core, (poolOf(core) ?? 0) + by);
    await core.stop('web');
    await core.pass();
    expect(poolOf(core)).toBe(base);
  });

  it('keeps their change also when another guest is started in between', async () => {
    const core = await withPool(10);
    await core.run('a', huge);
    setPool(core, 40);
    await core.run('b', huge);
    await core.stop('a');
    await core.stop('b');
    await core.pass();
    expect(poolOf(core)).toBe(18);
  });
});

describe('a kernel that makes fewer pages than it was asked for', () => {
  it('has the start refused with the figures, and nothing is kept', async () => {
    const core = await withPool(10);
    core.fake.host.topology.mostPages = 20;
    await expect(core.run('web', huge)).rejects.toMatchObject({
      code: 'host.insufficient_huge_pages',
      details: { node: 0, sizeKib, wanted: 32, got: 20 },
    });
    expect(core.fake.host.remains()).toEqual([]);
    expect((await core.get('web')).status.exit?.message).toContain(
      'needs 12 more huge pages of 2M on node 0',
    );
    await core.pass();
    expect(poolOf(core)).toBe(10);
    expect(await kept(core)).toBeUndefined();
    core.fake.host.topology.mostPages = 10_000;
    await core.start('web');
    expect(poolOf(core)).toBe(pagesOfGuest);
  });

  it('takes nothing from a guest that runs', async () => {
    const core = await withPool(0);
    await core.run('web', huge);
    core.fake.host.topology.mostPages = 40;
    await expect(core.run('more', huge)).rejects.toMatchObject({ code: 'host.insufficient_huge_pages' });
    await core.pass();
    expect(poolOf(core)).toBe(pagesOfGuest);
  });

  it('that has no free memory either has the start refused before anything is made', async () => {
    const core = await withPool(10);
    const { topology } = core.fake.host;
    topology.host = {
      ...topology.host,
      nodes: topology.host.nodes.map((node) => ({ ...node, freeMib: 20 })),
    };
    await expect(core.run('web', huge)).rejects.toMatchObject({ code: 'host.insufficient_huge_pages' });
    expect(topology.totals).toEqual({});
  });
});

describe('a wirtd that may not make pages', () => {
  async function withoutRight(base: number): Promise<PlacedCore> {
    const core = await withPool(base);
    core.fake.host.topology.mayReserve = false;
    await core.fake.restart();
    return core;
  }

  it('refuses a guest that asks for them, with the command to run', async () => {
    const core = await withoutRight(10);
    const start = core.run('web', huge);
    await expect(start).rejects.toMatchObject({
      code: 'host.insufficient_huge_pages',
      hint: expect.stringContaining('nr_hugepages'),
    });
    expect(core.fake.host.remains()).toEqual([]);
  });

  it('takes those that there are', async () => {
    const core = await withoutRight(pagesOfGuest);
    await core.run('web', huge);
    expect((await core.get('web')).status.placement?.pageSizeKib).toBe(sizeKib);
  });

  it('starts a guest for latency without them where the host has none', async () => {
    const core = await withoutRight(0);
    await core.run('web', { profile: 'latency' });
    const { placement } = (await core.get('web')).status;
    expect(placement?.pageSizeKib).toBeUndefined();
    expect(placement?.dedicated).toBe('1');
  });
});

describe('huge pages that only the profile asks for', () => {
  /** Somebody else has all pages that there are. */
  async function withFullPool(): Promise<PlacedCore> {
    const core = await withPool(100);
    const { topology } = core.fake.host;
    const nodes = topology.host.nodes.map((node) => ({
      ...node,
      hugePages: [{ sizeKib, total: 100, free: 0 }],
    }));
    topology.host = { ...topology.host, nodes };
    topology.mayReserve = false;
    await core.fake.restart();
    return core;
  }

  it('are left out where the pool is full, and those of its own are refused', async () => {
    const core = await withFullPool();
    await core.run('web', latency);
    const { placement } = (await core.get('web')).status;
    expect(placement).toMatchObject({ dedicated: '1' });
    expect(placement).not.toHaveProperty('pageSizeKib');
    expect((await core.plan('web'))?.placement?.pageSizeKib).toBeUndefined();
    const own = core.run('own', { ...latency, ...huge });
    await expect(own).rejects.toMatchObject({ code: 'host.insufficient_huge_pages' });
  });

  it('are left out where the kernel makes too few, and those that it made are given back at once', async () => {
    const core = await withPool(10);
    core.fake.host.topology.mostPages = 20;
    await core.run('web', latency, { memoryMib: 65 });
    expect(poolOf(core)).toBe(10);
    expect(await kept(core)).toBeUndefined();
    const { placement, run } = (await core.get('web')).status;
    expect(placement).toMatchObject({ dedicated: '1' });
    expect(placement).not.toHaveProperty('pageSizeKib');
    expect(placement).not.toHaveProperty('reserved');
    expect(run?.memoryMib).toBe(65);
    expect((await core.plan('web'))?.placement?.pageSizeKib).toBeUndefined();
    const own = core.run('own', { ...latency, ...huge });
    await expect(own).rejects.toMatchObject({ code: 'host.insufficient_huge_pages' });
  });

  it('are left out where the kernel refuses to make any', async () => {
    const core = await withPool(10);
    const { topology } = core.fake.host;
    topology.setTotal = () => Promise.reject(new Error('It may not be written.'));
    await core.run('web', latency);
    expect((await core.get('web')).status.placement).not.toHaveProperty('pageSizeKib');
    expect(poolOf(core)).toBe(10);
    await expect(core.run('own', huge)).rejects.toThrow();
  });

  it('are left out without taking those of a guest that runs', async () => {
    const core = await withPool(0);
    core.fake.host.topology.mostPages = 40;
    await core.run('own', huge);
    await core.run('web', latency);
    await core.pass();
    expect(poolOf(core)).toBe(pagesOfGuest);
    expect(await reservedOf(core, 'web')).toBeUndefined();
  });
});

/** What must hold once all is over: whoever runs has its pages, and after its end the pool is what it was. */
const settles = (core: PlacedCore): Promise<void> => settlesWith(core, pagesOfGuest);

async function settlesWith(core: PlacedCore, pagesWhileRunning: number): Promise<void> {
  await core.pass();
  const { state } = (await core.get('web')).status;
  expect(['running', 'crashed', 'stopped']).toContain(state);
  expect(poolOf(core)).toBe(state === 'running' ? pagesWhileRunning : 10);
  if (state === 'running') await core.stop('web');
  await core.pass();
  expect(poolOf(core)).toBe(10);
  expect(await kept(core)).toBeUndefined();
  expect(core.fake.host.remains()).toEqual([]);
}

describe('a wirtd that dies', () => {
  const set = async () => {
    const core = await withPool(10);
    await core.fake.create({ name: 'web', spec: { tuning: huge } });
    return core;
  };

  it('at any step of a start leaves pools that the next brings back', async () => {
    const whole = await set();
    whole.fake.steps.length = 0;
    await whole.start('web');
    const steps = whole.fake.steps.splice(0);
    expect(steps).toContain('instance.start/place');
    for (const step of steps)
      for (const kind of ['die', 'fail'] as const) {
        const core = await set();
        core.fake.fault = { step, kind };
        await Promise.race([core.start('web').catch(() => undefined), core.fake.died()]);
        if (kind === 'die') await core.fake.restart();
        core.fake.fault = undefined;
        await core.scene.settled();
        await settles(core);
      }
  });

  it('before or after any call of a start leaves pools that the next brings back', {
    timeout: 30_000,
  }, async () => {
    const calls = await atEveryCall(['before', 'after', 'fail'], set, (core) => core.start('web'), settles);
    expect(calls).toBeGreaterThan(10);
  });

  it('before or after any call of a start that goes without leaves pools that the next brings back', {
    timeout: 30_000,
  }, async () => {
    const short = async () => {
      const core = await withPool(10);
      core.fake.host.topology.mostPages = 20;
      await core.fake.create({ name: 'web', spec: { tuning: latency } });
      return core;
    };
    const calls = await atEveryCall(
      ['before', 'after', 'fail'],
      short,
      (core) => core.start('web'),
      (core) => settlesWith(core, 10),
    );
    expect(calls).toBeGreaterThan(10);
  });

  it('before or after any call of a stop leaves pools that the next brings back', {
    timeout: 30_000,
  }, async () => {
    const running = async () => {
      const core = await set();
      await core.start('web');
      return core;
    };
    const stopped = async (core: PlacedCore) => {
      await core.stop('web');
      await core.pass();
    };
    const calls = await atEveryCall(['before', 'after'], running, stopped, settles);
    expect(calls).toBeGreaterThan(10);
  });
});
