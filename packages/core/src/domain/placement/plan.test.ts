// Where guests are placed, and why they are refused, told on hosts of known shapes.
import { describe, expect, it } from 'vitest';
import type { Holding, Placement, PlacementRequest, Refusal } from './placement.ts';
import { planPlacement } from './plan.ts';
import { sharedCpus } from './survey.ts';
import { holding, hostOf, hosts, hybridHost, requestOf } from './topology.fixture.ts';
import type { HostTopology } from './topology.ts';

function placed(
  host: HostTopology,
  part: Partial<PlacementRequest> = {},
  holdings: Holding[] = [],
): Placement {
  const result = planPlacement(requestOf(part), { host, holdings });
  if (result.kind === 'refused') throw new Error(result.refusal.message);
  return result.placement;
}

function refused(
  host: HostTopology,
  part: Partial<PlacementRequest> = {},
  holdings: Holding[] = [],
): Refusal {
  const result = planPlacement(requestOf(part), { host, holdings });
  if (result.kind === 'placed') throw new Error(`placed: ${result.placement.reasons.join(' ')}`);
  return result.refusal;
}

const ids = (first: number, last: number): number[] =>
  Array.from({ length: last - first + 1 }, (_, at) => first + at);

describe('a guest with placement none', () => {
  it('runs anywhere, on one node of its own', () => {
    expect(placed(hosts.twoSockets, { placement: 'none', cpus: 2 })).toEqual({
      nodes: [],
      vcpuPins: {},
      dedicated: [],
      guestNodes: [{ memoryMib: 1024, vcpus: [0, 1], cpuNodes: [], distances: [10] }],
      topology: { sockets: 1, cores: 2, threads: 1 },
      reasons: [
        'It runs wherever the kernel likes, as asked for.',
        'The guest sees 1 socket of 2 cores of 1 thread.',
      ],
    });
  });

  it('keeps its pins', () => {
    const pins = { vcpus: { 1: [3] }, emulator: [0] };
    const { vcpuPins, emulatorPins, groupCpus } = placed(hosts.twoSockets, { placement: 'none', pins });
    expect({ vcpuPins, emulatorPins, groupCpus }).toEqual({
      vcpuPins: { 1: [3] },
      emulatorPins: [0],
      groupCpus: undefined,
    });
  });

  it('gets processors of its own on request, and memory from anywhere', () => {
    const { nodes, dedicated, guestNodes } = placed(hosts.twoSockets, {
      placement: 'none',
      dedicated: true,
      cpus: 2,
    });
    expect(nodes).toEqual([]);
    expect(dedicated).toEqual([1, 17]);
    expect(guestNodes).toMatchObject([{ vcpus: [0, 1], memoryMib: 1024 }]);
    expect(guestNodes[0]).not.toHaveProperty('hostNode');
  });

  it('is refused where the whole host has too few huge pages', () => {
    const { code } = refused(hosts.twoSockets, { placement: 'none', pageSizeKib: 2048 });
    expect(code).toBe('host.insufficient_huge_pages');
  });
});

describe('a guest that fits on one node', () => {
  it('is on one, with its processors and its memory', () => {
    const { nodes, groupCpus, guestNodes, vcpuPins } = placed(hosts.twoSockets, { cpus: 4, memoryMib: 8192 });
    expect(nodes).toEqual([0]);
    expect(groupCpus).toEqual([...ids(0, 7), ...ids(16, 23)]);
    expect(guestNodes).toEqual([
      { memoryMib: 8192, vcpus: [0, 1, 2, 3], hostNode: 0, cpuNodes: [0], distances: [10] },
    ]);
    expect(vcpuPins).toEqual({});
  });

  it('is on the node with the fewest vCPUs already', () => {
    expect(placed(hosts.twoSockets, {}, [holding({ nodes: [0], memoryMib: { 0: 1024 } })]).nodes).toEqual([
      1,
    ]);
  });

  it('is on the node that it fills best, among equally loaded ones', () => {
    const host = hostOf({
      nodes: 3,
      coresPerNode: 4,
      threads: 1,
      mibPerNode: 8192,
      freeMib: { 1: 4000, 2: 3000 },
    });
    expect(placed(host, { memoryMib: 2048 }).nodes).toEqual([2]);
    expect(placed(host, { memoryMib: 3500 }).nodes).toEqual([1]);
  });

  it('is on the node of its devices, however loaded, and it is said so', () => {
    const held = [holding({ nodes: [1], memoryMib: { 1: 1024 } })];
    const { nodes, reasons } = placed(hosts.twoSockets, { near: { 1: 1 } }, held);
    expect(nodes).toEqual([1]);
    expect(reasons).toContain('Devices of the host that it asks for are on node 1: that was preferred.');
    expect(placed(hosts.twoSockets, { near: { 0: 1, 1: 2 } }).nodes).toEqual([1]);
  });

  it('is away from its devices where their node cannot hold it, and it is said so', () => {
    const host = hostOf({ nodes: 2, coresPerNode: 4, threads: 1, mibPerNode: 8192, freeMib: { 1: 512 } });
    const { nodes, reasons } = placed(host, { memoryMib: 4096, near: { 1: 1 } });
    expect(nodes).toEqual([0]);
    expect(reasons).toContain(
      'Its devices of the host are on node 1, which cannot hold it: they reach its memory by a detour.',
    );
  });

  it('on several nodes has those of its devices among them', () => {
    const host = hostOf({ nodes: 4, coresPerNode: 4, threads: 1, mibPerNode: 8192 });
    const wide = { cpus: 8, maxCpus: 8, memoryMib: 12_288 };
    expect(placed(host, wide).nodes).toEqual([0, 1]);
    expect(placed(host, { ...wide, near: { 3: 1 } }).nodes).toContain(3);
    expect(placed(host, { ...wide, near: { 2: 1, 3: 1 } }).nodes).toEqual([2, 3]);
  });

  it('is not on a node whose memory is promised, though nobody has touched it yet', () => {
    const promised = holding({ memoryMib: { 0: 65_000 } });
    expect(placed(hosts.twoSockets, { memoryMib: 1024 }, [promised]).nodes).toEqual([1]);
  });

  it('is told that its memory was rounded up to whole pages', () => {
    const pool = { sizeKib: 1_048_576, total: 8, free: 8 };
    const host = hostOf({
      nodes: 1,
      coresPerNode: 4,
      threads: 1,
      mibPerNode: 32_768,
      hugePages: { 0: pool },
    });
    const { guestNodes, reasons } = placed(host, { memoryMib: 1500, pageSizeKib: 1_048_576 });
    expect(guestNodes[0]?.memoryMib).toBe(2048);
    expect(reasons).toContain(
      'Its memory is 2048 MiB and not 1500: rounded up to whole pages of 1048576 KiB.',
    );
  });
});

describe('a guest that is too large for one node', () => {
  it('is on nodes near each other, and sees a socket for each', () => {
    const busy = [0, 4].map((node) => holding({ nodes: [node], vcpus: 30, memoryMib: { [node]: 60_000 } }));
    const { nodes, topology, guestNodes, vcpuPins } = placed(
      hosts.eightNodes,
      { cpus: 64, memoryMib: 65_536 },
      busy,
    );
    expect(nodes).toEqual([1, 2]);
    expect(topology).toEqual({ sockets: 2, cores: 32, threads: 1 });
    expect(
      guestNodes.map(({ memoryMib, hostNode, distances }) => ({ memoryMib, hostNode, distances })),
    ).toEqual([
      { memoryMib: 32_768, hostNode: 1, distances: [10, 12] },
      { memoryMib: 32_768, hostNode: 2, distances: [12, 10] },
    ]);
    expect(vcpuPins[0]).toEqual([...ids(16, 31), ...ids(144, 159)]);
    expect(vcpuPins[63]).toEqual([...ids(32, 47), ...ids(160, 175)]);
  });

  it('takes what each node has, where it cannot be divided evenly', () => {
    const host = hostOf({
      nodes: 2,
      coresPerNode: 8,
      threads: 1,
      mibPerNode: 16_384,
      freeMib: { 0: 4000, 1: 12_000 },
    });
    const { guestNodes, topology, reasons } = placed(host, { cpus: 9, memoryMib: 15_000 });
    expect(guestNodes.map(({ memoryMib, vcpus }) => [memoryMib, vcpus.length])).toEqual([
      [4000, 4],
      [11_000, 5],
    ]);
    expect(topology).toEqual({ sockets: 1, cores: 9, threads: 1 });
    expect(reasons.join(' ')).toContain('do not divide into 2 equal sockets');
  });

  it('uses nodes with fewer sockets where its vCPUs divide among some of them only', () => {
    const host = hostOf({ nodes: 4, coresPerNode: 3, threads: 1, mibPerNode: 16_384 });
    const { topology, guestNodes } = placed(host, { cpus: 10, memoryMib: 40_960 });
    expect(guestNodes.map(({ vcpus }) => vcpus.length)).toEqual([2, 3, 2, 3]);
    expect(topology).toEqual({ sockets: 2, cores: 5, threads: 1 });
  });

  it('has sockets of one size, also where its nodes give different numbers of processors', () => {
    const host = hostOf({ nodes: 4, coresPerNode: 3, threads: 1, mibPerNode: 16_384, offline: [3, 9] });
    const { topology, guestNodes } = placed(host, { cpus: 10 });
    expect(guestNodes.map(({ vcpus }) => vcpus.length)).toEqual([3, 2, 3, 2]);
    expect(topology).toEqual({ sockets: 2, cores: 5, threads: 1 });
  });

  it('never has a core of its own on two nodes, where it is asked for with threads', () => {
    const host = hostOf({ nodes: 2, coresPerNode: 5, threads: 1, mibPerNode: 16_384 });
    const { guestNodes } = placed(host, { cpus: 8, topology: { sockets: 1, cores: 4, threads: 2 } });
    expect(guestNodes.map(({ vcpus }) => vcpus)).toEqual([
      [0, 1, 2, 3],
      [4, 5, 6, 7],
    ]);
  });

  it('is on all nodes where it has more vCPUs than the host has processors, as they have them', () => {
    const host = hostOf({ nodes: 2, coresPerNode: 4, threads: 1, mibPerNode: 16_384, offline: [5, 6, 7] });
    const { nodes, guestNodes, reasons } = placed(host, { cpus: 10 });
    expect(nodes).toEqual([0, 1]);
    expect(guestNodes.map(({ vcpus }) => vcpus.length)).toEqual([8, 2]);
    expect(reasons[0]).toContain('more vCPUs than the host has processors');
  });

  it('larger than the host is refused with the sum, and placed with overcommit', () => {
    const refusal = refused(hosts.small, { cpus: 64, memoryMib: 2_097_152 });
    expect(refusal).toMatchObject({
      code: 'host.insufficient_memory',
      message: 'web needs 2097152 MiB, and the nodes have 24576 MiB free of other guests: node 0: 24576.',
      details: { neededMib: 2_097_152, free: 24_576, node0: 24_576 },
    });
    expect(refusal.hint).toContain('--overcommit');
    const { guestNodes, reasons } = placed(hosts.small, { cpus: 64, memoryMib: 2_097_152, overcommit: true });
    expect(guestNodes).toMatchObject([{ memoryMib: 2_097_152, hostNode: 0 }]);
    expect(reasons.join(' ')).toContain('more memory than the host');
  });

  it('with overcommit is placed also where the host tells of no memory, or has set all aside', () => {
    const untold = hostOf({ nodes: 1, coresPerNode: 2, threads: 1, mibPerNode: 0 });
    expect(placed(untold, { overcommit: true }).nodes).toEqual([]);
    const pool = { sizeKib: 2048, total: 4096, free: 4096 };
    const aside = hostOf({ nodes: 1, coresPerNode: 2, threads: 1, mibPerNode: 8192, hugePages: { 0: pool } });
    expect(placed(aside, { overcommit: true }).nodes).toEqual([0]);
    expect(refused(aside).code).toBe('host.insufficient_memory');
  });

  it('with overcommit is first looked at as if without', () => {
    const host = hostOf({ nodes: 2, coresPerNode: 4, threads: 1, mibPerNode: 8192, freeMib: { 0: 100 } });
    expect(placed(host, { memoryMib: 4096, overcommit: true }).nodes).toEqual([1]);
    const { nodes, reasons } = placed(host, { memoryMib: 8192, overcommit: true }, [
      holding({ memoryMib: { 1: 8000 } }),
    ]);
    expect(nodes).toHaveLength(1);
    expect(reasons.join(' ')).toContain('less memory free than it may take');
  });
});

describe('nodes that lack something', () => {
  const memoryOnly = hostOf({ nodes: 3, coresPerNode: 4, threads: 1, mibPerNode: 8192, memoryOnly: [2] });

  it('without processors are left alone while others have memory, even if those are farther', () => {
    const host = hostOf({
      nodes: 3,
      coresPerNode: 4,
      threads: 1,
      mibPerNode: 8192,
      nodesPerSocket: 2,
      memoryOnly: [1],
    });
    expect(placed(host, { memoryMib: 12_288 }).nodes).toEqual([0, 2]);
  });

  it('without processors give memory when nothing else is left, and the guest sees them as such', () => {
    const { guestNodes, nodes, reasons } = placed(memoryOnly, { cpus: 8, memoryMib: 20_480 });
    expect(nodes).toEqual([0, 1, 2]);
    expect(guestNodes.map(({ vcpus, hostNode }) => [hostNode, vcpus.length])).toEqual([
      [0, 4],
      [1, 4],
      [2, 0],
    ]);
    expect(reasons.join(' ')).toContain('Node 2 gives memory and no processors');
  });

  it('without memory give processors, and their vCPUs are where the nearest memory is', () => {
    const host = hostOf({
      nodes: 3,
      coresPerNode: 4,
      threads: 1,
      mibPerNode: 8192,
      nodesPerSocket: 2,
      totalMib: { 1: 0 },
    });
    const { nodes, guestNodes, groupCpus } = placed(host, { cpus: 7 }, [holding({ nodes: [2], vcpus: 8 })]);
    expect(nodes).toEqual([0, 1]);
    expect(guestNodes).toEqual([
      { memoryMib: 1024, vcpus: ids(0, 6), hostNode: 0, cpuNodes: [0, 1], distances: [10] },
    ]);
    expect(groupCpus).toEqual(ids(0, 7));
  });
});

describe('a guest with dedicated processors', () => {
  it('has whole cores, with threads as the host has them, and QEMU runs beside them', () => {
    const { dedicated, vcpuPins, topology, emulatorPins, groupCpus, reasons } = placed(hosts.twoSockets, {
      cpus: 4,
      dedicated: true,
    });
    expect(dedicated).toEqual([1, 2, 17, 18]);
    expect(vcpuPins).toEqual({ 0: [1], 1: [17], 2: [2], 3: [18] });
    expect(topology).toEqual({ sockets: 1, cores: 2, threads: 2 });
    expect(emulatorPins).toEqual([0, ...ids(3, 7), 16, ...ids(19, 23)]);
    expect(groupCpus).toEqual([...ids(0, 7), ...ids(16, 23)]);
    expect(reasons.join(' ')).toContain("QEMU's own threads run on 0,3-7,16,19-23");
  });

  it('lets siblings idle where the number of its vCPUs is odd', () => {
    const { dedicated, vcpuPins, topology, reasons } = placed(hosts.twoSockets, { cpus: 3, dedicated: true });
    expect(dedicated).toEqual([1, 2, 3, 17, 18, 19]);
    expect(vcpuPins).toEqual({ 0: [1], 1: [2], 2: [3] });
    expect(topology.threads).toBe(1);
    expect(reasons.join(' ')).toContain('3 of them idle');
  });

  it('has one thread of each core where it is asked for so', () => {
    const topology = { sockets: 1, cores: 4, threads: 1 };
    expect(placed(hosts.twoSockets, { cpus: 4, dedicated: true, topology }).vcpuPins).toEqual({
      0: [1],
      1: [2],
      2: [3],
      3: [4],
    });
  });

  it('has cores with two threads where there are any, and single ones where they do not suffice', () => {
    expect(placed(hybridHost(4, 8), { cpus: 6, dedicated: true }).dedicated).toEqual(ids(2, 7));
    expect(placed(hybridHost(2, 8), { cpus: 8, dedicated: true }).topology.threads).toBe(1);
  });

  it('is refused for memory where that is what it lacks, though pairs of threads are too few as well', () => {
    expect(refused(hybridHost(2, 8), { cpus: 8, dedicated: true, memoryMib: 65_536 }).code).toBe(
      'host.insufficient_memory',
    );
  });

  it('has processors for vCPUs that are not plugged in yet', () => {
    expect(placed(hosts.twoSockets, { cpus: 2, maxCpus: 8, dedicated: true }).dedicated).toHaveLength(8);
  });

  it('is not on cores of others, nor on those that others are pinned to', () => {
    const others = [
      holding({ name: 'db', dedicated: [1, 17] }),
      holding({ name: 'ci', pinned: [18], vcpus: 1 }),
      holding({ name: 'far', nodes: [1], vcpus: 16 }),
    ];
    const { dedicated } = placed(hosts.twoSockets, { cpus: 2, dedicated: true }, others);
    expect(dedicated).toEqual([3, 19]);
  });

  it('is refused with the cores that each node has left', () => {
    const all = holding({ dedicated: ids(1, 15).flatMap((cpu) => [cpu, cpu + 16]) });
    expect(refused(hosts.twoSockets, { cpus: 4, dedicated: true }, [all])).toMatchObject({
      code: 'host.cpus_taken',
      message:
        'web needs 2 whole cores of 2 threads for 4 vCPUs with dedicated processors, and the nodes have 1 that can be had: node 0: 1, node 1: 0.',
      details: { neededCores: 2, free: 1, node0: 1, node1: 0 },
    });
  });

  it('is refused where the host itself would have none left', () => {
    expect(refused(hosts.small, { cpus: 2, dedicated: true })).toMatchObject({ code: 'host.cpus_taken' });
    expect(placed(hosts.small, { cpus: 1, dedicated: true }).dedicated).toEqual([1]);
  });

  it('is not blamed for a node that had nothing left before', () => {
    const before = [
      holding({ name: 'first', nodes: [0] }),
      holding({ name: 'db', dedicated: [...ids(0, 7), ...ids(16, 23)], nodes: [0] }),
    ];
    expect(placed(hosts.twoSockets, { dedicated: true }, before).nodes).toEqual([1]);
  });

  it('leaves a core on a node that others share', () => {
    const sharing = [0, 1].map((node) => holding({ nodes: [node] }));
    const { nodes, dedicated } = placed(
      hosts.twoSockets,
      { cpus: 16, dedicated: true, memoryMib: 4096 },
      sharing,
    );
    expect(nodes).toEqual([0, 1]);
    expect(dedicated).toHaveLength(16);
    const pins = {
      vcpus: Object.fromEntries([...ids(0, 7), ...ids(16, 23)].map((cpu, vcpu) => [vcpu, [cpu]])),
    };
    expect(refused(hosts.twoSockets, { cpus: 16, dedicated: true, pins }, sharing).message).toContain(
      'leave none for the guests that share node 0',
    );
  });
});

describe('pins by hand', () => {
  it('decide the nodes, and memory follows them', () => {
    const pins = { vcpus: { 0: [8], 1: [24], 2: [9], 3: [25] } };
    const { nodes, vcpuPins, guestNodes } = placed(hosts.twoSockets, { cpus: 4, pins });
    expect(nodes).toEqual([1]);
    expect(vcpuPins).toEqual(pins.vcpus);
    expect(guestNodes).toMatchObject([{ hostNode: 1, vcpus: [0, 1, 2, 3] }]);
  });

  it('on two nodes make two nodes of the guest, each with the vCPUs that are there', () => {
    const pins = { vcpus: { 0: [8], 1: [0], 2: [9] } };
    const { guestNodes, vcpuPins } = placed(hosts.twoSockets, { cpus: 4, pins });
    expect(guestNodes.map(({ hostNode, vcpus }) => ({ hostNode, vcpus }))).toEqual([
      { hostNode: 0, vcpus: [1, 3] },
      { hostNode: 1, vcpus: [0, 2] },
    ]);
    expect(vcpuPins).toEqual({ ...pins.vcpus, 3: [...ids(0, 7), ...ids(16, 23)] });
  });

  it('of dedicated processors take their whole cores', () => {
    const pins = { vcpus: { 0: [4], 1: [5] }, emulator: [0] };
    const { dedicated, emulatorPins, groupCpus } = placed(hosts.twoSockets, { dedicated: true, pins });
    expect(dedicated).toEqual([4, 5, 20, 21]);
    expect(emulatorPins).toEqual([0]);
    expect(groupCpus).toContain(0);
  });

  const taken = [holding({ name: 'db', dedicated: [4, 20] }), holding({ name: 'ci', pinned: [21] })];

  it.each<[string, Partial<PlacementRequest>, Refusal['code'], RegExp]>([
    [
      'a processor that is not there',
      { pins: { vcpus: { 0: [99] } } },
      'host.no_such_cpu',
      /processor 99.*has 0-31/,
    ],
    [
      'a processor of another',
      { pins: { vcpus: { 0: [4] } } },
      'host.cpus_taken',
      /processor 4, which db has/,
    ],
    [
      'the emulator to one of another',
      { pins: { vcpus: {}, emulator: [20] } },
      'host.cpus_taken',
      /emulator.*db/,
    ],
    [
      'the iothreads nowhere',
      { pins: { vcpus: {}, iothreads: [] } },
      'instance.invalid_topology',
      /no processor/,
    ],
    [
      'a vCPU that it does not have',
      { pins: { vcpus: { 2: [1] } } },
      'instance.invalid_topology',
      /vCPU 2.*0 to 1/,
    ],
    [
      'a core whose sibling another is pinned to, for itself',
      { dedicated: true, pins: { vcpus: { 0: [5], 1: [6] } } },
      'host.cpus_taken',
      /whole core, processor 21, which ci/,
    ],
    [
      'only some of its vCPUs, dedicated',
      { dedicated: true, pins: { vcpus: { 0: [5] } } },
      'instance.invalid_topology',
      /1 of its 2/,
    ],
    [
      'two vCPUs to one dedicated processor',
      { dedicated: true, pins: { vcpus: { 0: [6], 1: [6] } } },
      'instance.invalid_topology',
      /vCPUs 0 and 1 both to processor 6/,
    ],
  ])('of %s are refused', (_what, part, code, message) => {
    const refusal = refused(hosts.twoSockets, { cpus: 2, ...part }, taken);
    expect(refusal.code).toBe(code);
    expect(refusal.message).toMatch(message);
    expect(refusal.hint).not.toBe('');
  });

  it('of a processor that is offline are refused', () => {
    const host = hostOf({ nodes: 1, coresPerNode: 4, threads: 1, mibPerNode: 8192, offline: [2] });
    expect(refused(host, { pins: { vcpus: { 0: [2] } } }).message).toContain('it has 0-1,3');
  });
});

describe('a topology by hand', () => {
  it('that is not as large as the guest is refused with the product', () => {
    const topology = { sockets: 2, cores: 2, threads: 2 };
    expect(refused(hosts.twoSockets, { cpus: 4, topology })).toMatchObject({
      code: 'instance.invalid_topology',
      details: { product: 8, maxCpus: 4 },
    });
  });

  it('is kept, and a division that does not match the nodes is said', () => {
    const host = hostOf({ nodes: 2, coresPerNode: 4, threads: 1, mibPerNode: 8192 });
    const topology = { sockets: 1, cores: 8, threads: 1 };
    const placement = placed(host, { cpus: 8, topology });
    expect(placement.topology).toEqual(topology);
    expect(placement.reasons.join(' ')).toContain('does not divide among its 2 nodes');
  });
});

it('the processors that guests share are those that nobody has for himself', () => {
  const holdings = [holding({ dedicated: [1, 17] }), holding({ pinned: [2] })];
  expect(sharedCpus({ host: hosts.twoSockets, holdings })).toEqual([0, ...ids(2, 16), ...ids(18, 31)]);
});
