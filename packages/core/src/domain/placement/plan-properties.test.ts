// What holds for every guest on every host, recorded and made by rule, from one node with two cores to 64 nodes with 4096 cores and 64 TiB, with processors
// that are offline, nodes without memory and without processors, and uneven ones. Sums are taken here by other means than the planner's.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { holdingOf } from './holding.ts';
import type { Holding, IdList, Placement, PlacementRequest, Refusal } from './placement.ts';
import { planPlacement } from './plan.ts';
import { recordedHosts } from './recorded.fixture.ts';
import { holding, hostOf, hosts, requestOf } from './topology.fixture.ts';
import type { HostNode, HostTopology } from './topology.ts';

const pageSizes = [2048, 1_048_576] as const;

/** What is in use of a host: free memory in per cent by node, and a pool of huge pages on each with so much of it free. */
const someLoad = fc.record({
  free: fc.array(fc.integer({ min: 0, max: 100 }), { minLength: 5, maxLength: 9 }),
  poolKib: fc.option(fc.constantFrom(...pageSizes), { nil: undefined }),
  inUse: fc.nat(100),
});

function loaded(
  { cpus, nodes }: HostTopology,
  { free, poolKib, inUse }: { free: number[]; poolKib: number | undefined; inUse: number },
): HostTopology {
  return {
    cpus,
    nodes: nodes.map((node, at) => {
      const share = (free[at % free.length] ?? 0) / 100;
      if (poolKib === undefined) return { ...node, freeMib: Math.floor(share * node.freeMib) };
      const pages = Math.floor(((node.totalMib / 2) * 1024) / poolKib);
      const pool = { sizeKib: poolKib, total: pages, free: Math.floor((pages * inUse) / 100) };
      return { ...node, freeMib: Math.floor((share * node.freeMib) / 2), hugePages: [pool] };
    }),
  };
}

const hostByRule: fc.Arbitrary<HostTopology> = fc
  .record({
    nodes: fc.oneof(
      { weight: 5, arbitrary: fc.integer({ min: 1, max: 4 }) },
      { weight: 1, arbitrary: fc.integer({ min: 5, max: 64 }) },
    ),
    coresPerNode: fc.oneof(
      { weight: 5, arbitrary: fc.integer({ min: 1, max: 8 }) },
      { weight: 1, arbitrary: fc.constant(64) },
    ),
    threads: fc.constantFrom(1 as const, 2 as const),
    mibPerNode: fc.oneof(fc.integer({ min: 2048, max: 65_536 }), fc.constant(1_048_576)),
    nodesPerSocket: fc.integer({ min: 1, max: 8 }),
    areSiblingsLast: fc.boolean(),
    offline: fc.array(fc.nat(40), { maxLength: 12 }),
    memoryOnly: fc.array(fc.nat(6), { maxLength: 2 }),
    memoryless: fc.array(fc.nat(6), { maxLength: 2 }),
  })
  .map(({ memoryless, ...shape }) =>
    hostOf({ ...shape, totalMib: Object.fromEntries(memoryless.map((id) => [id, 0])) }),
  )
  .filter(({ cpus }) => cpus.length > 0);

const recorded = fc.constantFrom<HostTopology[]>(...Object.values(recordedHosts));

const someHost: fc.Arbitrary<HostTopology> = fc.oneof(
  { weight: 30, arbitrary: fc.tuple(hostByRule, someLoad).map(([host, load]) => loaded(host, load)) },
  { weight: 15, arbitrary: recorded },
  { weight: 15, arbitrary: fc.tuple(recorded, someLoad).map(([host, load]) => loaded(host, load)) },
  { weight: 1, arbitrary: fc.constant(hosts.largest) },
);

const someRequest: fc.Arbitrary<PlacementRequest> = fc
  .record({
    maxCpus: fc.oneof(
      { weight: 4, arbitrary: fc.integer({ min: 1, max: 16 }) },
      { weight: 1, arbitrary: fc.integer({ min: 17, max: 400 }) },
    ),
    cpus: fc.nat(400),
    memoryMib: fc.oneof(
      fc.integer({ min: 1, max: 8192 }),
      fc.integer({ min: 8192, max: 262_144 }),
      fc.constant(2_097_152),
    ),
    pageSizeKib: fc.option(fc.constantFrom(...pageSizes), { nil: undefined, freq: 2 }),
    placement: fc.constantFrom('auto' as const, 'auto' as const, 'none' as const),
    dedicated: fc.boolean(),
    overcommit: fc.boolean(),
    threads: fc.constantFrom(undefined, undefined, 1, 2, 4),
  })
  .map(({ threads, pageSizeKib, ...part }) => {
    const maxCpus = threads === undefined ? part.maxCpus : Math.ceil(part.maxCpus / threads) * threads;
    return requestOf({
      ...part,
      maxCpus,
      cpus: 1 + (part.cpus % maxCpus),
      ...(pageSizeKib === undefined ? {} : { pageSizeKib }),
      ...(threads === undefined ? {} : { topology: { sockets: 1, cores: maxCpus / threads, threads } }),
    });
  });

/** Guests that came one after the other; those that did not fit went away. */
const someGround = fc
  .tuple(
    someHost,
    fc.array(someRequest, { maxLength: 6 }),
    fc.array(fc.tuple(fc.nat(40), fc.nat(6)), { maxLength: 2 }),
  )
  .map(([host, requests, pinned]) => {
    const holdings = pinned.map(([cpu, node], at) =>
      holding({ name: `pinned${at}`, pinned: [cpu], nodes: [node] }),
    );
    for (const [at, request] of requests.entries()) {
      const named = { ...request, name: `guest${at}` };
      const result = planPlacement(named, { host, holdings });
      if (result.kind === 'placed') holdings.push(holdingOf(named, result.placement));
    }
    return { host, holdings };
  });

type Ground = { readonly host: HostTopology; readonly holdings: Holding[] };

function check(holds: (request: PlacementRequest, ground: Ground) => void, numRuns = 200): void {
  fc.assert(
    fc.property(someRequest, someGround, (request, ground) => holds(request, ground)),
    { numRuns },
  );
}

function ifPlaced(holds: (placement: Placement, request: PlacementRequest, ground: Ground) => void): void {
  check((request, ground) => {
    const result = planPlacement(request, ground);
    if (result.kind === 'placed') holds(result.placement, request, ground);
  });
}

function ifRefused(holds: (refusal: Refusal, request: PlacementRequest, ground: Ground) => void): void {
  check((request, ground) => {
    const result = planPlacement(request, ground);
    if (result.kind === 'refused') holds(result.refusal, request, ground);
  });
}

const total = (counts: readonly number[]): number => counts.reduce((sum, count) => sum + count, 0);
const upTo = (count: number): number[] => Array.from({ length: count }, (_, at) => at);
const ascending = (ids: Iterable<number>): number[] => [...ids].sort((a, b) => a - b);

function roundedMib({ memoryMib, pageSizeKib = 1024 }: PlacementRequest): number {
  const pageMib = pageSizeKib / 1024;
  return Math.ceil(memoryMib / pageMib) * pageMib;
}

/** Of memory that the request could be given of. */
function freeOn(node: HostNode, { pageSizeKib }: PlacementRequest, holdings: readonly Holding[]): number {
  const promised = (size: number | undefined): number =>
    total(
      holdings.filter((each) => each.pageSizeKib === size).map(({ memoryMib }) => memoryMib[node.id] ?? 0),
    );
  const pools = node.hugePages.map((pool) => ({ ...pool, mib: pool.sizeKib / 1024 }));
  if (pageSizeKib === undefined) {
    const set = total(pools.map(({ mib, total: pages }) => mib * pages));
    return Math.max(0, Math.floor(Math.min(node.freeMib, node.totalMib - set - promised(undefined))));
  }
  const pool = pools.find(({ sizeKib }) => sizeKib === pageSizeKib);
  if (pool === undefined) return 0;
  const left = Math.min(pool.free * pool.mib, pool.total * pool.mib - promised(pageSizeKib));
  return Math.max(0, Math.floor(left / pool.mib) * pool.mib);
}

function cpusOf(placement: Placement, { host, holdings }: Ground): Set<number> {
  const dedicated = new Set(holdings.flatMap((each) => each.dedicated));
  const group = placement.groupCpus ?? host.cpus.map(({ id }) => id).filter((id) => !dedicated.has(id));
  const lists: IdList[] = [
    group,
    ...Object.values(placement.vcpuPins),
    placement.emulatorPins ?? [],
    placement.iothreadPins ?? [],
  ];
  return new Set(lists.flat());
}

describe('a guest that is placed', () => {
  it('never runs on a processor that is offline or dedicated to another', () => {
    ifPlaced((placement, _request, ground) => {
      const online = new Set(ground.host.cpus.map(({ id }) => id));
      const taken = new Set(ground.holdings.flatMap(({ dedicated }) => dedicated));
      const cpus = [...cpusOf(placement, ground)];
      expect(cpus.length).toBeGreaterThan(0);
      expect(cpus.filter((cpu) => !online.has(cpu) || taken.has(cpu))).toEqual([]);
    });
  });

  it('runs within its group, and its vCPUs on processors of the node that has their memory or is nearest to it', () => {
    ifPlaced((placement, _request, ground) => {
      const group = new Set(placement.groupCpus ?? cpusOf(placement, ground));
      const nodeOf = new Map(ground.host.cpus.map(({ id, node }) => [id, node]));
      for (const { vcpus, cpuNodes, hostNode } of placement.guestNodes) {
        const pins = new Set(vcpus.map((vcpu) => placement.vcpuPins[vcpu] ?? []));
        const cpus = [...pins].flat();
        expect(cpus.filter((cpu) => !group.has(cpu))).toEqual([]);
        const isNear = (cpu: number): boolean => cpuNodes.includes(nodeOf.get(cpu) ?? -1);
        if (hostNode !== undefined) expect(cpus.filter((cpu) => !isNear(cpu))).toEqual([]);
      }
      if (placement.nodes.length > 0) {
        const cpus = placement.dedicated.length > 0 ? placement.dedicated : [...group];
        const nodes = new Set(cpus.map((cpu) => nodeOf.get(cpu) ?? -1));
        expect(placement.nodes).toEqual(expect.arrayContaining([...nodes]));
      }
    });
  });

  it('has whole cores for itself where it is to have dedicated ones, one processor for each vCPU', () => {
    ifPlaced(({ dedicated, vcpuPins, emulatorPins = [] }, request, { host, holdings }) => {
      if (!request.dedicated) return expect(dedicated).toEqual([]);
      const own = new Set(dedicated);
      const coreOf = new Map(host.cpus.map(({ id, core }) => [id, core]));
      const cores = new Set(dedicated.map((id) => coreOf.get(id)));
      expect(dedicated).toEqual(
        host.cpus
          .filter(({ core }) => cores.has(core))
          .map(({ id }) => id)
          .sort((a, b) => a - b),
      );
      const used = upTo(request.maxCpus).map((vcpu) => vcpuPins[vcpu] ?? []);
      expect(used.every((list) => list.length === 1 && own.has(list[0]!))).toBe(true);
      expect(new Set(used.flat()).size).toBe(request.maxCpus);
      const others = new Set(holdings.flatMap((each) => [...each.dedicated, ...(each.pinned ?? [])]));
      expect(dedicated.filter((cpu) => others.has(cpu))).toEqual([]);
      expect(emulatorPins.filter((cpu) => own.has(cpu))).toEqual([]);
      expect(emulatorPins).not.toEqual([]);
    });
  });

  it('leaves a processor for the host, and one on each node that others share', () => {
    ifPlaced(({ dedicated }, request, { host, holdings }) => {
      if (!request.dedicated) return;
      const taken = new Set([...dedicated, ...holdings.flatMap((each) => each.dedicated)]);
      const left = host.cpus.filter(({ id }) => !taken.has(id));
      expect(left).not.toEqual([]);
      const shared = new Set(
        holdings.filter((each) => each.dedicated.length === 0).flatMap((each) => each.nodes),
      );
      const wereFree = host.cpus.filter(({ id }) => !holdings.some((each) => each.dedicated.includes(id)));
      for (const node of shared) {
        if (wereFree.some((cpu) => cpu.node === node)) expect(left.map((cpu) => cpu.node)).toContain(node);
      }
    });
  });

  it('has all its memory and every vCPU on exactly one of its nodes, in whole pages', () => {
    ifPlaced(({ guestNodes, topology }, request) => {
      expect(total(guestNodes.map(({ memoryMib }) => memoryMib))).toBe(roundedMib(request));
      expect(ascending(guestNodes.flatMap(({ vcpus }) => vcpus))).toEqual(upTo(request.maxCpus));
      const pageMib = Math.max(1, (request.pageSizeKib ?? 0) / 1024);
      for (const { memoryMib, distances, vcpus } of guestNodes) {
        expect(memoryMib % pageMib).toBe(0);
        expect(memoryMib).toBeGreaterThan(0);
        expect(distances).toHaveLength(guestNodes.length);
        expect(vcpus.length % topology.threads).toBe(0);
      }
      for (const [at, { distances }] of guestNodes.entries()) {
        expect(distances.every((far, to) => (to === at ? far === 10 : far > 10 && far < 255))).toBe(true);
      }
    });
  });

  it('has a topology of as many vCPUs as it may have, and no socket of it is cut by a node of its own choice', () => {
    ifPlaced(({ topology, guestNodes }, request) => {
      const { sockets, cores, threads } = topology;
      expect(sockets * cores * threads).toBe(request.maxCpus);
      if (request.topology !== undefined) return expect(topology).toEqual(request.topology);
      for (const { vcpus } of guestNodes) {
        const touched = new Set(vcpus.map((vcpu) => Math.floor(vcpu / (cores * threads))));
        expect(touched.size).toBeLessThanOrEqual(1);
      }
    });
  });

  it('is given no more memory of a node than it has free, but with overcommit', () => {
    ifPlaced(({ guestNodes }, request, { host, holdings }) => {
      if (request.overcommit && request.pageSizeKib === undefined) return;
      for (const { hostNode, memoryMib } of guestNodes) {
        const node = host.nodes.find(({ id }) => id === hostNode);
        if (node !== undefined) expect(memoryMib).toBeLessThanOrEqual(freeOn(node, request, holdings));
      }
    });
  });

  it('is on several nodes only where no single one would have held it', () => {
    ifPlaced(({ nodes }, request, { host, holdings }) => {
      if (nodes.length < 2 || request.dedicated || request.overcommit) return;
      const taken = new Set(holdings.flatMap((each) => each.dedicated));
      const { threads } = request.topology ?? { threads: 1 };
      const alone = host.nodes.filter((node) => {
        const cpus = host.cpus.filter((cpu) => cpu.node === node.id && !taken.has(cpu.id)).length;
        return (
          Math.floor(cpus / threads) * threads >= request.maxCpus &&
          freeOn(node, request, holdings) >= roundedMib(request)
        );
      });
      expect(alone).toEqual([]);
    });
  });

  it('is on two nodes only where no two that are nearer to each other would have held it', () => {
    ifPlaced(({ nodes }, request, { host, holdings }) => {
      if (nodes.length !== 2 || request.dedicated || request.overcommit) return;
      const taken = new Set(holdings.flatMap((each) => each.dedicated));
      const { threads } = request.topology ?? { threads: 1 };
      const nodesWithRoom = host.nodes.map((node) => {
        const cpus = host.cpus.filter((cpu) => cpu.node === node.id && !taken.has(cpu.id)).length;
        return { node, cores: Math.floor(cpus / threads), mib: freeOn(node, request, holdings) };
      });
      // One with memory alone is taken only where those with processors do not have enough.
      const withCpus = nodesWithRoom.filter(({ cores }) => cores > 0);
      const [first, second] = nodes.map((id) => withCpus.find(({ node }) => node.id === id));
      if (first === undefined || second === undefined) return;
      const both = (a: HostNode, b: HostNode): number =>
        (a.distances[b.id] ?? 20) + (b.distances[a.id] ?? 20);
      const nearer = withCpus.flatMap((a) =>
        withCpus
          .filter(
            (b) =>
              a !== b &&
              (a.cores + b.cores) * threads >= request.maxCpus &&
              a.mib + b.mib >= roundedMib(request) &&
              both(a.node, b.node) < both(first.node, second.node),
          )
          .map((b) => [a.node.id, b.node.id]),
      );
      expect(nearer).toEqual([]);
    });
  });

  it('is on three nodes or more only where no two would have held it', () => {
    const uneven = fc.array(fc.tuple(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 6000 })), {
      minLength: 3,
      maxLength: 7,
    });
    fc.assert(
      fc.property(
        uneven,
        fc.integer({ min: 1, max: 16 }),
        fc.integer({ min: 1, max: 16_000 }),
        (nodes, cpus, memoryMib) => {
          const host: HostTopology = {
            cpus: nodes.flatMap(([count], node) =>
              upTo(count).map((at) => ({ id: node * 10 + at, node, socket: node, core: node * 10 + at })),
            ),
            nodes: nodes.map(([, mib], id) => ({
              id,
              totalMib: mib,
              freeMib: mib,
              distances: {},
              hugePages: [],
            })),
          };
          const result = planPlacement(requestOf({ cpus, memoryMib }), { host, holdings: [] });
          if (result.kind === 'refused' || result.placement.nodes.length < 3) return;
          if (cpus > host.cpus.length) return;
          for (const a of nodes) {
            for (const b of nodes) {
              if (a !== b) expect(a[0] + b[0] >= cpus && a[1] + b[1] >= memoryMib).toBe(false);
            }
          }
        },
      ),
    );
  });

  it('is placed the same way again', () => {
    check((request, ground) => {
      const again = { host: structuredClone(ground.host), holdings: structuredClone(ground.holdings) };
      expect(planPlacement(request, again)).toEqual(planPlacement(request, ground));
    }, 60);
  });

  it('still fits after another guest has gone', () => {
    fc.assert(
      fc.property(someRequest, someGround, fc.nat(8), (request, { host, holdings }, gone) => {
        if (planPlacement(request, { host, holdings }).kind === 'refused') return;
        const left = holdings.filter((_, at) => at !== gone % Math.max(1, holdings.length));
        expect(planPlacement(request, { host, holdings: left }).kind).toBe('placed');
      }),
      { numRuns: 200 },
    );
  });
});

describe('a guest with pins', () => {
  const somePins = fc.dictionary(
    fc.nat(8).map(String),
    fc.uniqueArray(fc.nat(24), { minLength: 1, maxLength: 3 }),
    { maxKeys: 8 },
  );
  const lists = fc.option(fc.uniqueArray(fc.nat(24), { minLength: 1, maxLength: 3 }), { nil: undefined });

  it('has them as they are, or is refused for one that cannot be, and is whole all the same', () => {
    fc.assert(
      fc.property(
        someRequest,
        someGround,
        somePins,
        lists,
        lists,
        (part, ground, vcpus, emulator, iothreads) => {
          const pins = {
            vcpus,
            ...(emulator === undefined ? {} : { emulator }),
            ...(iothreads === undefined ? {} : { iothreads }),
          };
          const request = { ...part, pins };
          const result = planPlacement(request, ground);
          const online = new Set(ground.host.cpus.map(({ id }) => id));
          const taken = new Set(ground.holdings.flatMap(({ dedicated }) => dedicated));
          const named = [...Object.values(vcpus), emulator ?? [], iothreads ?? []].flat();
          const isImpossible = named.some((cpu) => !online.has(cpu) || taken.has(cpu));
          if (result.kind === 'refused') {
            if (result.refusal.code === 'host.no_such_cpu')
              expect(named.every((cpu) => online.has(cpu))).toBe(false);
            return;
          }
          const { placement } = result;
          expect(isImpossible).toBe(false);
          expect(placement.vcpuPins).toMatchObject(vcpus);
          if (emulator !== undefined) expect(placement.emulatorPins).toEqual(emulator);
          if (iothreads !== undefined) expect(placement.iothreadPins).toEqual(iothreads);
          if (placement.groupCpus !== undefined)
            expect(placement.groupCpus).toEqual(expect.arrayContaining(named));
          expect(total(placement.guestNodes.map(({ memoryMib }) => memoryMib))).toBe(roundedMib(request));
          expect(ascending(placement.guestNodes.flatMap((node) => node.vcpus))).toEqual(
            upTo(request.maxCpus),
          );
          expect([...cpusOf(placement, ground)].filter((cpu) => taken.has(cpu))).toEqual([]);
        },
      ),
      { numRuns: 200 },
    );
  });
});

describe('a guest that is refused', () => {
  it('for memory really needs more than all nodes have together', () => {
    ifRefused(({ code, details }, request, { host, holdings }) => {
      if (code !== 'host.insufficient_memory' && code !== 'host.insufficient_huge_pages') return;
      const free = total(host.nodes.map((node) => freeOn(node, request, holdings)));
      expect(free).toBeLessThan(roundedMib(request));
      const pageMib = request.pageSizeKib === undefined ? 1 : request.pageSizeKib / 1024;
      expect(Number(details['free']) * pageMib).toBe(free);
      expect(request.overcommit && code === 'host.insufficient_memory').toBe(false);
    });
  });

  it('for processors really wants cores of its own, and there are too few', () => {
    ifRefused(({ code }, request, { host, holdings }) => {
      if (code !== 'host.cpus_taken') return;
      expect(request.dedicated).toBe(true);
      const held = new Set(holdings.flatMap((each) => [...each.dedicated, ...(each.pinned ?? [])]));
      const dedicated = new Set(holdings.flatMap((each) => each.dedicated));
      const sizes = new Map<number, number>();
      for (const { core } of host.cpus) sizes.set(core, (sizes.get(core) ?? 0) + 1);
      for (const { id, core } of host.cpus) if (held.has(id)) sizes.delete(core);
      const { threads } = request.topology ?? { threads: request.maxCpus % 2 === 0 ? 2 : 1 };
      const wide = [...sizes.values()].filter((size) => size >= threads).length;
      // A core for every vCPU always serves, but where threads are asked for and the host has cores with as many.
      const mayIdle =
        request.topology === undefined ||
        threads === 1 ||
        !host.cpus.some(({ core }) => host.cpus.filter((cpu) => cpu.core === core).length >= threads);
      const kept =
        new Set(holdings.filter((each) => each.dedicated.length === 0).flatMap((each) => each.nodes)).size +
        1;
      const needed = request.maxCpus / threads;
      // What is kept for those who share is a core of each of their nodes at most, one for the host, and what remains of a core that is cut in two.
      const cut = mayIdle && threads > 1 ? host.nodes.length * (threads - 1) : 0;
      expect(wide - kept).toBeLessThan(needed);
      if (mayIdle) expect(sizes.size - kept - cut).toBeLessThan(request.maxCpus);
      expect(dedicated.size).toBeLessThanOrEqual(host.cpus.length);
    });
  });

  it('is never so for its vCPUs alone, where it shares and pins nothing', () => {
    ifRefused(({ code }, request) => {
      if (!request.dedicated) expect(code).toMatch(/^host\.insufficient_/);
    });
  });

  it('is told the sums and a next step', () => {
    ifRefused(({ message, hint, details }) => {
      expect(message).toMatch(/^web .*\d.*\.$/);
      expect(hint).toContain('`');
      expect(Object.keys(details)).not.toEqual([]);
    });
  });
});

describe('the largest host', () => {
  it('places 500 guests, and none of them on what another has for itself', () => {
    const holdings: Holding[] = [];
    for (const at of upTo(500)) {
      const request = requestOf({
        name: `g${at}`,
        cpus: 1 + (at % 4),
        memoryMib: 16_384,
        dedicated: at % 8 === 0,
      });
      const result = planPlacement(request, { host: hosts.largest, holdings });
      if (result.kind === 'refused') throw new Error(result.refusal.message);
      expect(result.placement.nodes).toHaveLength(1);
      holdings.push(holdingOf(request, result.placement));
    }
    const own = holdings.flatMap(({ dedicated }) => dedicated);
    expect(new Set(own).size).toBe(own.length);
    const vcpusOn = (node: number): number =>
      total(holdings.filter(({ nodes }) => nodes.includes(node)).map(({ vcpus }) => vcpus));
    const perNode = upTo(64).map(vcpusOn);
    expect(Math.max(...perNode) - Math.min(...perNode)).toBeLessThanOrEqual(4);
  });
});
