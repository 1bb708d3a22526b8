// Hosts as they really are, written down from what their kernels told: holes in the numbers of nodes, processors and cores, nodes without memory or
// without processors, uneven ones, and distances of several levels. Where a recording says nothing of something, that is left unknown. None is as large
// as the largest that is promised: that one is made by rule, in topology.fixture.ts.
import { parseCpuList } from '@wirt/api';
import type { HostCpu, HostNode, HostTopology } from './topology.ts';

type NodeRecord = readonly [cpus: string, totalMib: number, freeMib?: number];

interface Recording {
  /** By id. Without free memory told, all is free. */
  readonly nodes: Readonly<Record<number, NodeRecord>>;
  /** A row for each node, as the kernel writes it; absent: not recorded. */
  readonly distances?: readonly string[];
  readonly core: (cpu: number) => number;
  readonly socket?: (node: number, cpu: number) => number;
}

/** Threads of a core are so far from each other. */
const apart =
  (distance: number) =>
  (cpu: number): number =>
    cpu % distance;
/** Threads of a core are numbered after each other. */
const together =
  (threads: number) =>
  (cpu: number): number =>
    Math.floor(cpu / threads);
const single = together(1);
const nodesPerSocket =
  (count: number) =>
  (node: number): number =>
    Math.floor(node / count);

function hostOf({ nodes, distances = [], core, socket = () => 0 }: Recording): HostTopology {
  const records = Object.entries(nodes).map(([id, record]) => ({ id: Number(id), record }));
  const cpus = records.flatMap(({ id: node, record: [list] }) =>
    (parseCpuList(list) ?? []).map((id): HostCpu => ({ id, node, socket: socket(node, id), core: core(id) })),
  );
  return {
    cpus: cpus.sort((a, b) => a.id - b.id),
    nodes: records.map(({ id, record: [, totalMib, freeMib = totalMib] }, at): HostNode => {
      const row = distances[at]?.split(' ').map(Number) ?? [];
      const told = row.map((distance, to) => [records[to]?.id, distance]);
      return { id, totalMib, freeMib, distances: Object.fromEntries(told), hugePages: [] };
    }),
  };
}

export const recordedHosts = {
  // A virtual machine with two processors of an EPYC, from its /sys.
  smallVirtualMachine: hostOf({
    nodes: { 0: ['0-1', 24_105, 21_931] },
    distances: ['10'],
    core: single,
  }),

  // A virtual machine with four uneven nodes, none as far from another as from a third; `numactl -H` in a mail to netdev of December 2022.
  unevenVirtualMachine: hostOf({
    nodes: {
      0: ['0-3', 3869, 3740],
      1: ['4-5', 1969, 1937],
      2: ['6-7', 1967, 1873],
      3: ['8-15', 7842, 7723],
    },
    distances: ['10 50 30 70', '50 10 70 30', '30 70 10 50', '70 30 50 10'],
    core: single,
    socket: (node) => node,
  }),

  // A notebook with a Core i7-1370P, six cores of two threads and eight of one; hwloc's test of hybrid processors.
  notebook: hostOf({
    nodes: { 0: ['0-19', 31_744] },
    distances: ['10'],
    core: (cpu) => (cpu < 12 ? cpu >> 1 : cpu - 6),
  }),

  // Two Xeons E5-2680 v3 with node 0 and processors 0 to 3 and 21 to 23 offline; hwloc's test of that. All that is left is counted to node 1.
  withoutNode0: hostOf({
    nodes: { 1: ['4-20', 65_536] },
    distances: ['10'],
    core: single,
    socket: (_, cpu) => cpu % 2,
  }),

  // Two Xeons of 18 cores, cut into two nodes each; `numactl -H` in a published collection of measurements.
  subNuma: hostOf({
    nodes: {
      0: ['0-8,36-44', 32_062, 31_304],
      1: ['9-17,45-53', 32_231, 31_807],
      2: ['18-26,54-62', 32_252, 32_059],
      3: ['27-35,63-71', 32_251, 32_012],
    },
    distances: ['10 21 31 31', '21 10 31 31', '31 31 10 21', '31 31 21 10'],
    core: apart(36),
    socket: nodesPerSocket(2),
  }),

  // Four Xeons of 28 cores in a ring, with more memory free than they have; `numactl -H` in a pull request of avocado's libvirt tests.
  ring: hostOf({
    nodes: {
      0: ['0-27,112-139', 180_929, 186_808],
      1: ['28-55,140-167', 182_941, 189_421],
      2: ['56-83,168-195', 183_335, 189_533],
      3: ['84-111,196-223', 183_078, 187_727],
    },
    distances: ['10 16 16 24', '16 10 24 16', '16 24 10 16', '24 16 16 10'],
    core: apart(112),
    socket: (node) => node,
  }),

  // Two Kunpeng 920 of 48 cores, whose four nodes see different distances; `numactl -H` in a published comparison of processors.
  kunpeng: hostOf({
    nodes: {
      0: ['0-23', 192_832, 146_830],
      1: ['24-47', 193_533, 175_354],
      2: ['48-71', 193_533, 175_718],
      3: ['72-95', 193_532, 183_643],
    },
    distances: ['10 12 20 22', '12 10 22 24', '20 22 10 12', '22 24 12 10'],
    core: single,
    socket: nodesPerSocket(2),
  }),

  // A Threadripper 3960X, half of whose nodes have no memory; `numactl -H` in an issue of numactl.
  threadripper: hostOf({
    nodes: {
      0: ['0-5,24-29', 0],
      1: ['6-11,30-35', 64_307, 19_214],
      2: ['12-17,36-41', 64_472, 27_945],
      3: ['18-23,42-47', 0],
    },
    distances: ['10 12 12 12', '12 10 12 12', '12 12 10 12', '12 12 12 10'],
    core: apart(24),
  }),

  // Two EPYC 7742 in the mode of four nodes each; `numactl -H` in the documentation of a computing centre.
  eightNodes: hostOf({
    nodes: {
      0: ['0-15,128-143', 63_733, 62_780],
      1: ['16-31,144-159', 64_502, 61_774],
      2: ['32-47,160-175', 64_456, 63_385],
      3: ['48-63,176-191', 64_490, 62_613],
      4: ['64-79,192-207', 64_502, 63_897],
      5: ['80-95,208-223', 64_502, 63_769],
      6: ['96-111,224-239', 64_502, 63_870],
      7: ['112-127,240-255', 64_428, 63_712],
    },
    distances: [
      '10 12 12 12 32 32 32 32',
      '12 10 12 12 32 32 32 32',
      '12 12 10 12 32 32 32 32',
      '12 12 12 10 32 32 32 32',
      '32 32 32 32 10 12 12 12',
      '32 32 32 32 12 10 12 12',
      '32 32 32 32 12 12 10 12',
      '32 32 32 32 12 12 12 10',
    ],
    core: apart(128),
    socket: nodesPerSocket(4),
  }),

  // Two EPYC 7401 with memory on one node of each; processors are numbered across the nodes. `numactl --hardware` in a report to linux-mm, without distances.
  memoryOnTwoOfEight: hostOf({
    nodes: {
      0: ['0,8,16,24,32,40,48,56,64,72,80,88', 0],
      1: ['2,10,18,26,34,42,50,58,66,74,82,90', 31_584, 30_397],
      2: ['4,12,20,28,36,44,52,60,68,76,84,92', 0],
      3: ['6,14,22,30,38,46,54,62,70,78,86,94', 0],
      4: ['1,9,17,25,33,41,49,57,65,73,81,89', 0],
      5: ['3,11,19,27,35,43,51,59,67,75,83,91', 32_214, 31_625],
      6: ['5,13,21,29,37,45,53,61,69,77,85,93', 0],
      7: ['7,15,23,31,39,47,55,63,71,79,87,95', 0],
    },
    core: apart(48),
    socket: nodesPerSocket(4),
  }),

  // Two EPYC 9654 as one node, read from the processors alone, which do not tell of memory; hwloc's test of them.
  withoutMemory: hostOf({
    nodes: { 0: ['0-383', 0] },
    core: apart(192),
    socket: (_, cpu) => Math.floor((cpu % 192) / 96),
  }),

  // Eight sockets of ten cores with three levels of distance; `numactl --hardware` in a mail to linux-kernel about its scheduler, of 2019.
  eightSockets: hostOf({
    nodes: {
      0: ['0-9,80-89', 126_928, 126_452],
      1: ['10-19,90-99', 129_019, 128_813],
      2: ['20-29,100-109', 129_019, 128_875],
      3: ['30-39,110-119', 129_019, 128_850],
      4: ['40-49,120-129', 128_993, 128_862],
      5: ['50-59,130-139', 129_019, 128_872],
      6: ['60-69,140-149', 129_019, 128_852],
      7: ['70-79,150-159', 112_889, 112_720],
    },
    distances: [
      '10 12 17 17 19 19 19 19',
      '12 10 17 17 19 19 19 19',
      '17 17 10 12 19 19 19 19',
      '17 17 12 10 19 19 19 19',
      '19 19 19 19 10 12 17 17',
      '19 19 19 19 12 10 17 17',
      '19 19 19 19 17 17 10 12',
      '19 19 19 19 17 17 12 10',
    ],
    core: apart(80),
    socket: (node) => node,
  }),

  // Cores of four threads, and fast memory in nodes of its own, which are numbered backwards and give no processors; hwloc's test of such memory.
  fastMemory: hostOf({
    nodes: {
      0: ['0-3,16-19,32-35,48-51', 1024],
      1: ['4-7,20-23,36-39,52-55', 1024],
      2: ['8-11,24-27,40-43,56-59', 1024],
      3: ['12-15,28-31,44-47,60-63', 1024],
      4: ['', 2048],
      5: ['', 2048],
      6: ['', 2048],
      7: ['', 2048],
    },
    core: apart(16),
  }),

  // Two POWER8 with one thread of eight online in each core, and memory on every other node; `numactl -H` in a question about it.
  power8: hostOf({
    nodes: {
      0: ['0,8,16,24,32', 30_359, 26_501],
      1: ['40,48,56,64,72', 0],
      2: ['80,88,96,104,112', 30_425, 27_884],
      3: ['120,128,136,144,152', 0],
    },
    distances: ['10 20 40 40', '20 10 40 40', '40 40 10 20', '40 40 20 10'],
    core: together(8),
    socket: nodesPerSocket(2),
  }),

  // Two POWER9 with the memory of four accelerators as nodes far away in number and distance; `numactl -H` in a guide to a computing centre’s machines.
  power9: hostOf({
    nodes: {
      0: ['0-63', 257_716, 239_932],
      8: ['64-127', 261_728, 244_415],
      252: ['', 32_256, 30_807],
      253: ['', 32_256, 30_823],
      254: ['', 32_256, 30_808],
      255: ['', 32_256, 30_823],
    },
    distances: [
      '10 40 80 80 80 80',
      '40 10 80 80 80 80',
      '80 80 10 80 80 80',
      '80 80 80 10 80 80',
      '80 80 80 80 10 80',
      '80 80 80 80 80 10',
    ],
    core: together(4),
    socket: (node) => node >> 3,
  }),
} as const satisfies Record<string, HostTopology>;
