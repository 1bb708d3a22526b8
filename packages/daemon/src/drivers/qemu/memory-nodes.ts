// A guest's memory and nodes → QEMU's command line; pure. Memory is shared, so that huge pages, NUMA policy and forking are the same
// mechanism; only what is to be merged is private, since the kernel merges no shared memory (admin-guide/mm/ksm.rst).
// Source: QEMU qemu-options.hx (-object memory-backend-file, memory-backend-memfd, -numa), hw/core/numa.c.
import { printCpuList } from '@wirt/api';
import type { LaunchPlan } from '@wirt/core';
import { inheritedFds } from './inherited-fds.ts';

export type MemoryPlan = Pick<
  LaunchPlan,
  'machine' | 'memoryMib' | 'maxMemoryMib' | 'placement' | 'mergeable' | 'cpus'
>;

const mib = 1024 * 1024;

/** Of a guest with one node of memory; those of more have an object for each. */
const onlyMemory = 'ram0';

/** Linux takes new memory up in blocks of 128 MiB, and of up to 2 GiB in a guest that has 64 GiB at its start. */
const bigGuestMib = 65_536;

/** As many threads touch the pages of a guest at its start; more wait for the kernel's zeroing of the same memory. */
const mostPreallocThreads = 16;

/** What `-m` must leave room for; none for a guest that has all its memory from the start. */
export function memoryRegionMib({ machine, memoryMib, maxMemoryMib }: MemoryPlan): number {
  if (machine !== 'q35' || maxMemoryMib <= memoryMib) return 0;
  const step = memoryMib >= bigGuestMib ? 2048 : 128;
  return Math.ceil((maxMemoryMib - memoryMib) / step) * step;
}

/** Where shared memory lies: in files that QEMU inherits, or in memfds. */
export type SharedMemory = 'files' | 'memfd';

/** How many files a guest's shared memory is made of: one for each node, and one for what is plugged in later. */
export function memoryFileCount(plan: MemoryPlan): number {
  return sharedNodeCount(plan) + (plan.mergeable !== true && memoryRegionMib(plan) > 0 ? 1 : 0);
}

function sharedNodeCount({ placement, mergeable = false }: MemoryPlan): number {
  return mergeable || placement?.pageSizeKib !== undefined ? 0 : Math.max(1, placement?.nodes.length ?? 0);
}

/** The memory that is plugged in later, as QEMU's properties: never of huge pages that are set aside, and the guest's first node's. */
export function pluggedBackend(plan: MemoryPlan, shared: SharedMemory) {
  const hostNode = plan.placement?.nodes[0]?.hostNode;
  return {
    ...(plan.mergeable === true ? mergedBackend : sharedBackend(shared, sharedNodeCount(plan))),
    ...(hostNode === undefined ? {} : { 'host-nodes': [hostNode], policy: 'preferred' }),
  };
}

const mergedBackend = { 'qom-type': 'memory-backend-ram', merge: true } as const;

/** What the kernel maps huge begins where a huge page does (x86: 2 MiB). */
function sharedBackend(shared: SharedMemory, file: number) {
  switch (shared) {
    case 'files':
      return {
        'qom-type': 'memory-backend-file',
        'mem-path': `/proc/self/fd/${inheritedFds.memory + file}`,
        align: 2 * mib,
        share: true,
      };
    case 'memfd':
      return { 'qom-type': 'memory-backend-memfd', share: true };
  }
}

export function memoryObjects(plan: MemoryPlan, shared: SharedMemory): string[] {
  const { placement, memoryMib } = plan;
  const nodes = placement?.nodes ?? [];
  if (nodes.length <= 1) {
    const [node] = nodes;
    const size = { memoryMib: node?.memoryMib ?? memoryMib, hostNode: node?.hostNode };
    return object(plan, shared, { id: onlyMemory, file: 0, ...size });
  }
  return [
    ...nodes.flatMap(({ memoryMib: nodeMib, hostNode }, number) =>
      object(plan, shared, { id: nodeMemory(number), file: number, memoryMib: nodeMib, hostNode }),
    ),
    ...nodes.flatMap(({ vcpus }, number) => [
      '-numa',
      [
        'node',
        `nodeid=${number}`,
        // Each range is a word of its own; of memory alone there is none.
        ...printCpuList(vcpus)
          .split(',')
          .flatMap((range) => (range === '' ? [] : `cpus=${range}`)),
        `memdev=${nodeMemory(number)}`,
      ].join(','),
    ]),
    ...nodes.flatMap(({ distances }, from) =>
      distances.flatMap((value, to) =>
        from === to ? [] : ['-numa', `dist,src=${from},dst=${to},val=${value}`],
      ),
    ),
  ];
}

/** What `-machine` says of memory. */
export function machineMemory({ placement }: MemoryPlan): string[] {
  return (placement?.nodes.length ?? 0) > 1 ? [] : [`memory-backend=${onlyMemory}`];
}

function nodeMemory(number: number): string {
  return `node${number}`;
}

interface NodeMemory {
  readonly id: string;
  /** Which of the files it is in. */
  readonly file: number;
  readonly memoryMib: number;
  readonly hostNode: number | undefined;
}

function object(
  plan: MemoryPlan,
  shared: SharedMemory,
  { id, file, memoryMib, hostNode }: NodeMemory,
): string[] {
  const isTaken = plan.placement?.pageSizeKib !== undefined;
  const properties = {
    ...backend(plan, shared, file),
    id,
    size: memoryMib * mib,
    // What is there already stays on its node; what is touched later is better far away than not at all, for which the kernel would kill the guest.
    ...(hostNode === undefined ? {} : { 'host-nodes': [hostNode], policy: isTaken ? 'bind' : 'preferred' }),
  };
  return ['-object', JSON.stringify(properties)];
}

function backend({ placement, mergeable = false, cpus }: MemoryPlan, shared: SharedMemory, file: number) {
  const { pageSizeKib } = placement ?? {};
  if (mergeable) return mergedBackend;
  if (pageSizeKib === undefined) return sharedBackend(shared, file);
  // Where a page is not there when it is touched the guest is killed: all are taken before it runs.
  return {
    ...sharedBackend('memfd', file),
    hugetlb: true,
    hugetlbsize: pageSizeKib * 1024,
    prealloc: true,
    'prealloc-threads': Math.min(cpus, mostPreallocThreads),
  };
}
