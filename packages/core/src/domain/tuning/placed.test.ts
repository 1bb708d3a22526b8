// A placement goes into the record of an instance and comes out of it unchanged, on hosts and for guests made by rule.
import { type InstancePlacement, placementSchema } from '@wirt/api';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Placement } from '../placement/placement.ts';
import { planPlacement } from '../placement/plan.ts';
import { hostOf, requestOf } from '../placement/topology.fixture.ts';
import { pinsOf, placementOfRecord, plannedOf, recordOf } from './placed.ts';

const someHost = fc
  .record({
    nodes: fc.integer({ min: 1, max: 6 }),
    coresPerNode: fc.integer({ min: 1, max: 8 }),
    threads: fc.constantFrom(1 as const, 2 as const),
    mibPerNode: fc.integer({ min: 2048, max: 16_384 }),
    nodesPerSocket: fc.integer({ min: 1, max: 3 }),
    areSiblingsLast: fc.boolean(),
    memoryOnly: fc.array(fc.integer({ min: 1, max: 5 }), { maxLength: 1 }),
    offline: fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 3 }),
    pages: fc.option(fc.nat(1000), { nil: undefined }),
  })
  .map(({ pages, ...shape }) => {
    const pool = { sizeKib: 2048, total: pages ?? 0, free: pages ?? 0 };
    const all = Object.fromEntries(Array.from({ length: shape.nodes }, (_, id) => [id, pool]));
    return hostOf(pages === undefined ? shape : { ...shape, hugePages: all });
  });

const someRequest = fc
  .record({
    maxCpus: fc.integer({ min: 1, max: 48 }),
    memoryMib: fc.integer({ min: 1, max: 40_000 }),
    placement: fc.constantFrom('auto' as const, 'none' as const),
    dedicated: fc.boolean(),
    overcommit: fc.boolean(),
    isHuge: fc.boolean(),
    isPinned: fc.boolean(),
  })
  .map(({ isHuge, isPinned, ...part }) =>
    requestOf({
      ...part,
      cpus: part.maxCpus,
      mayReservePages: true,
      ...(isHuge ? { pageSizeKib: 2048 } : {}),
      ...(isPinned ? { pins: { vcpus: {}, emulator: [0], iothreads: [0] } } : {}),
    }),
  );

/** How often each kind was met, so that the property is of all of them. */
function onPlacements(holds: (placement: Placement, pageSizeKib: number | undefined) => void): void {
  const met = { placed: 0, wide: 0, dedicated: 0, pinned: 0, anywhere: 0 };
  fc.assert(
    fc.property(someHost, someRequest, (host, request) => {
      const result = planPlacement(request, { host, holdings: [] });
      if (result.kind === 'refused') return;
      const { placement } = result;
      met.placed += 1;
      if (placement.guestNodes.length > 1) met.wide += 1;
      if (placement.dedicated.length > 0) met.dedicated += 1;
      if (placement.emulatorPins !== undefined) met.pinned += 1;
      if (placement.groupCpus === undefined) met.anywhere += 1;
      holds(placement, request.pageSizeKib);
    }),
    { numRuns: 400, seed: 6 },
  );
  for (const count of Object.values(met)) expect(count).toBeGreaterThan(5);
}

const nothing = { pageSizeKib: undefined, reserved: [], userPins: undefined };

describe('a placement', () => {
  it('comes out of the record as it went in, also when the record was stored in between', () => {
    onPlacements((placement, pageSizeKib) => {
      const record = recordOf(placement, { ...nothing, pageSizeKib });
      const stored: unknown = JSON.parse(JSON.stringify(record));
      expect(placementOfRecord(placementSchema.parse(stored))).toEqual(placement);
    });
  });

  it('has nothing in its record that the API does not tell of', () => {
    onPlacements((placement) => {
      const record = recordOf(placement, nothing);
      expect(placementSchema.strict().parse(record)).toEqual(record);
    });
  });

  it('tells QEMU of all memory and every vCPU once, and of the nodes that it is bound to', () => {
    onPlacements((placement, pageSizeKib) => {
      const { nodes, topology, ...rest } = plannedOf(placement, pageSizeKib);
      expect(rest).toEqual(pageSizeKib === undefined ? {} : { pageSizeKib });
      expect(topology).toEqual(placement.topology);
      expect(nodes.map(({ memoryMib }) => memoryMib)).toEqual(
        placement.guestNodes.map(({ memoryMib }) => memoryMib),
      );
      expect(nodes.map(({ hostNode }) => hostNode)).toEqual(
        placement.guestNodes.map(({ hostNode }) => hostNode),
      );
      const vcpus = nodes.flatMap((node) => node.vcpus).toSorted((a, b) => a - b);
      const { sockets, cores, threads } = topology;
      expect(vcpus).toEqual(Array.from({ length: sockets * cores * threads }, (_, vcpu) => vcpu));
    });
  });
});

const plain: Placement = {
  nodes: [],
  vcpuPins: {},
  dedicated: [],
  guestNodes: [{ memoryMib: 64, vcpus: [0], cpuNodes: [], distances: [10] }],
  topology: { sockets: 1, cores: 1, threads: 1 },
  reasons: [],
};

describe('the pins of a guest', () => {
  it('are the shared processors for one that is confined to none', () => {
    expect(pinsOf(plain, [1, 2, 5])).toEqual({ group: [1, 2, 5], vcpus: {} });
  });

  it('are its own group, and its vCPUs, emulator and iothreads where they are told', () => {
    const placement = { ...plain, groupCpus: [0, 1], vcpuPins: { 0: [1] }, emulatorPins: [0] };
    expect(pinsOf(placement, [5])).toEqual({ group: [0, 1], vcpus: { 0: [1] }, emulator: [0] });
    expect(pinsOf({ ...placement, iothreadPins: [1] }, [5]).iothreads).toEqual([1]);
  });
});

describe('the record of a placement', () => {
  it('has lists as the kernel writes them, and leaves out what nobody asked for', () => {
    const placement = { ...plain, dedicated: [2, 3, 7], groupCpus: [0, 1, 2], vcpuPins: { 0: [2, 3] } };
    const record: InstancePlacement = recordOf(placement, nothing);
    expect(record).toMatchObject({ dedicated: '2-3,7', groupCpus: '0-2', vcpuPins: { '0': '2-3' } });
    expect(Object.keys(record)).not.toContain('reserved');
    expect(Object.keys(recordOf(plain, nothing))).not.toContain('dedicated');
    const reserved = [{ node: 1, sizeKib: 2048, count: 3 }];
    const userPins = { emulator: '0' };
    expect(recordOf(plain, { pageSizeKib: 2048, reserved, userPins })).toMatchObject({
      pageSizeKib: 2048,
      reserved,
      userPins,
    });
  });
});
