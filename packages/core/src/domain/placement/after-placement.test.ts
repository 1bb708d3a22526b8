// What a placed guest holds, where its threads may run as others come and go, and which huge pages are to be made for it.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { reconfine } from './confine.ts';
import { holdingOf } from './holding.ts';
import { pagesToReserve } from './memory.ts';
import type { Holding, Placement, PlacementRequest } from './placement.ts';
import { planPlacement } from './plan.ts';
import { hostOf, hosts, requestOf } from './topology.fixture.ts';
import type { HostTopology } from './topology.ts';

function placed(host: HostTopology, request: PlacementRequest, holdings: readonly Holding[] = []): Placement {
  const result = planPlacement(request, { host, holdings });
  if (result.kind === 'refused') throw new Error(result.refusal.message);
  return result.placement;
}

describe('a guest that runs', () => {
  const host = hosts.twoSockets;
  const sharing = requestOf({ name: 'shares', cpus: 4 });
  const own = requestOf({
    name: 'own',
    cpus: 4,
    dedicated: true,
    pins: { vcpus: { 0: [2], 1: [18], 2: [3], 3: [19] } },
  });

  it('makes way for one with dedicated processors, and has them again when it is gone', () => {
    const before = placed(host, sharing);
    const dedicated = placed(host, own, [holdingOf(sharing, before)]);
    const beside = reconfine(sharing, before, { host, holdings: [holdingOf(own, dedicated)] });
    expect(beside.groupCpus).toEqual([0, 1, 4, 5, 6, 7, 16, 17, 20, 21, 22, 23]);
    expect(reconfine(sharing, beside, { host, holdings: [] })).toEqual(before);
  });

  it('on several nodes keeps each vCPU on the processors that are left of its node', () => {
    const wide = requestOf({ name: 'wide', cpus: 32 });
    const before = placed(host, wide);
    const beside = reconfine(wide, before, { host, holdings: [holdingOf(own, placed(host, own))] });
    expect(before.vcpuPins[0]).toHaveLength(16);
    expect(beside.vcpuPins[0]).toEqual([0, 1, 4, 5, 6, 7, 16, 17, 20, 21, 22, 23]);
    expect(beside.vcpuPins[31]).toEqual(before.vcpuPins[31]);
  });

  it('with dedicated processors keeps them, while its QEMU moves aside', () => {
    const first = requestOf({ name: 'first', cpus: 2, dedicated: true });
    const before = placed(host, first);
    expect(before.dedicated).toEqual([1, 17]);
    const after = reconfine(first, before, { host, holdings: [holdingOf(own, placed(host, own))] });
    expect(after.vcpuPins).toEqual(before.vcpuPins);
    expect(after.emulatorPins).toEqual([0, 4, 5, 6, 7, 16, 20, 21, 22, 23]);
  });

  it('never shares what another has for itself, whoever came first and whoever went', () => {
    const request = fc.record({
      cpus: fc.integer({ min: 1, max: 24 }),
      dedicated: fc.boolean(),
      placement: fc.constantFrom('auto' as const, 'none' as const),
      memoryMib: fc.integer({ min: 1, max: 40_000 }),
      leaves: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(request, { minLength: 2, maxLength: 8 }), (parts) => {
        let guests: { readonly request: PlacementRequest; readonly placement: Placement }[] = [];
        const others = (name: string): Holding[] =>
          guests
            .filter((each) => each.request.name !== name)
            .map((each) => holdingOf(each.request, each.placement));
        for (const [at, { leaves, ...part }] of parts.entries()) {
          if (leaves) guests = guests.slice(1);
          const asked = requestOf({ name: `guest${at}`, ...part });
          const result = planPlacement(asked, { host, holdings: others(asked.name) });
          if (result.kind === 'placed') guests.push({ request: asked, placement: result.placement });
          guests = guests.map((each) => ({
            ...each,
            placement: reconfine(each.request, each.placement, { host, holdings: others(each.request.name) }),
          }));
          for (const {
            request: { name },
            placement,
          } of guests) {
            const taken = new Set(others(name).flatMap(({ dedicated }) => dedicated));
            const lists = [
              placement.groupCpus ?? [],
              placement.emulatorPins ?? [],
              ...Object.values(placement.vcpuPins),
            ];
            for (const list of lists) expect(list.filter((cpu) => taken.has(cpu))).toEqual([]);
            for (const list of Object.values(placement.vcpuPins)) expect(list).not.toEqual([]);
            expect(placement.groupCpus).not.toEqual([]);
          }
        }
      }),
    );
  });
});

describe('what a guest holds', () => {
  it('is its nodes, its memory by node with the size of its pages, and what it is pinned to', () => {
    const pool = { sizeKib: 2048, total: 1024, free: 1024 };
    const host = hostOf({
      nodes: 2,
      coresPerNode: 4,
      threads: 1,
      mibPerNode: 8192,
      hugePages: { 0: pool, 1: pool },
    });
    const request = requestOf({
      cpus: 6,
      memoryMib: 2048,
      pageSizeKib: 2048,
      pins: { vcpus: { 0: [3] }, emulator: [0] },
    });
    expect(holdingOf(request, placed(host, request))).toEqual({
      name: 'web',
      dedicated: [],
      pinned: [0, 3],
      vcpus: 6,
      nodes: [0, 1],
      memoryMib: { 0: 1024, 1: 1024 },
      pageSizeKib: 2048,
    });
  });

  it('for itself is not counted a second time as pinned', () => {
    const request = requestOf({ dedicated: true, pins: { vcpus: { 0: [4], 1: [20] }, emulator: [0, 4] } });
    expect(holdingOf(request, placed(hosts.twoSockets, request))).toMatchObject({
      dedicated: [4, 20],
      pinned: [0],
    });
  });

  it('of huge pages is not taken from the memory of others, and not promised twice', () => {
    const pool = { sizeKib: 2048, total: 1024, free: 1024 };
    const host = hostOf({ nodes: 1, coresPerNode: 4, threads: 1, mibPerNode: 8192, hugePages: { 0: pool } });
    const huge = requestOf({ name: 'huge', memoryMib: 2048, pageSizeKib: 2048 });
    const holdings = [holdingOf(huge, placed(host, huge))];
    expect(planPlacement(requestOf({ memoryMib: 6144 }), { host, holdings }).kind).toBe('placed');
    expect(planPlacement(requestOf({ memoryMib: 6145 }), { host, holdings: [] }).kind).toBe('refused');
    expect(planPlacement(requestOf({ memoryMib: 2, pageSizeKib: 2048 }), { host, holdings })).toMatchObject({
      refusal: {
        code: 'host.insufficient_huge_pages',
        message: 'web needs 1 huge page of 2048 KiB, and the nodes have 0 free: node 0: 0.',
        hint: expect.stringContaining(
          'echo 1025 > /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages',
        ),
      },
    });
  });
});

describe('huge pages that Wirt may make', () => {
  const pools = { 0: { sizeKib: 2048, total: 100, free: 40 }, 1: { sizeKib: 2048, total: 0, free: 0 } };
  const host = hostOf({ nodes: 2, coresPerNode: 4, threads: 1, mibPerNode: 8192, hugePages: pools });
  const request = requestOf({ memoryMib: 1024, pageSizeKib: 2048, mayReservePages: true });

  it('are made only where too few are free, on the node that the guest is on', () => {
    const enough = placed(host, { ...request, memoryMib: 80 });
    expect(pagesToReserve(enough, 2048, { host, holdings: [] })).toEqual([]);
    const short = placed(host, request);
    const [node] = short.nodes;
    const expected = node === 0 ? { missing: 472, total: 572 } : { missing: 512, total: 512 };
    expect(pagesToReserve(short, 2048, { host, holdings: [] })).toEqual([
      { node, sizeKib: 2048, ...expected },
    ]);
    expect(short.reasons).toContain(
      'Huge pages are made of free memory on its nodes, since too few are free.',
    );
  });

  it('come from wherever there is memory, for a guest that is on no node in particular', () => {
    const anywhere = placed(host, { ...request, placement: 'none', memoryMib: 12_000 });
    const made = pagesToReserve(anywhere, 2048, { host, holdings: [] });
    expect(made.reduce((sum, { missing }) => sum + missing, 40)).toBe(6000);
    expect(made.map(({ node }) => node)).toEqual([0, 1]);
  });

  it('are not made of memory that those for another guest are yet to be made of, nor is any other given it', () => {
    const one = hostOf({
      ...{ nodes: 1, coresPerNode: 4, threads: 1, mibPerNode: 8192 },
      hugePages: { 0: { sizeKib: 2048, total: 0, free: 0 } },
    });
    const first = { ...request, name: 'first', memoryMib: 6000 };
    const ground = { host: one, holdings: [holdingOf(first, placed(one, first))] };
    const plain = requestOf({ memoryMib: 2193 });
    for (const more of [{ ...request, memoryMib: 2194 }, plain])
      expect(planPlacement(more, ground).kind).toBe('refused');
    const rest = { ...request, memoryMib: 2192 };
    const result = planPlacement(rest, ground);
    expect(result.kind).toBe('placed');
    if (result.kind === 'placed')
      expect(pagesToReserve(result.placement, 2048, ground)).toMatchObject([{ node: 0, missing: 1096 }]);
    const made = hostOf({
      ...{ nodes: 1, coresPerNode: 4, threads: 1, mibPerNode: 8192 },
      hugePages: { 0: { sizeKib: 2048, total: 3000, free: 3000 } },
    });
    expect(planPlacement({ ...plain, memoryMib: 2192 }, { ...ground, host: made }).kind).toBe('placed');
  });

  it('are no more than memory is free for', () => {
    expect(planPlacement({ ...request, memoryMib: 16_384 }, { host, holdings: [] })).toMatchObject({
      refusal: { message: expect.stringContaining('too little free memory to make more of') },
    });
    expect(planPlacement({ ...request, mayReservePages: false }, { host, holdings: [] }).kind).toBe(
      'refused',
    );
  });
});
