// A guest's memory and nodes → QEMU's command line; pure. Memory is shared, so that huge pages, NUMA policy and forking are the same
// mechanism; only what is to be merged is private, since the kernel merges no shared memory (admin-guide/mm/ksm.rst).
// Source: QEMU qemu-options.hx (-object memory-backend-file, memory-backend-memfd, -numa), hw/core/numa.c.
import { printCpuList } from '@wirt/api';
import type { LaunchPlan } from '@wirt/core';
import { inheritedFds } from './inherited-fds.ts';

type Plan = Pick<LaunchPlan, 'memoryMib' | 'placement' | 'mergeable' | 'cpus'>;

const mib = 1024 * 1024;

/** Of a guest with one node of memory; those of more have an object for each. */
const onlyMemory = 'ram0';

/** As many threads touch the pages of a guest at its start; more wait for the kernel's zeroing of the same memory. */
const mostPreallocThreads = 16;

/** Where shared memory lies: in files of the directory that QEMU inherits, or in memfds. */
export type SharedMemory = 'files' | 'memfd';

/** A backend of shared memory, as QEMU's properties. What the kernel maps huge begins where a huge page does (x86: 2 MiB). */
export function sharedBackend(shared: SharedMemory) {
  switch (shared) {
    case 'files':
      return {
        'qom-type': 'memory-backend-file',
        'mem-path': `/proc/self/fd/${inheritedFds.memory}`,
        align: 2 * mib,
        share: true,
      };
    case 'memfd':
      return { 'qom-type': 'memory-backend-memfd', share: true };
  }
}

export function memoryObjects(plan: Plan, shared: SharedMemory): string[] {
  const { placement, memoryMib } = plan;
  const nodes = placement?.nodes ?? [];
  if (nodes.length <= 1) {
    const [node] = nodes;
    return object(plan, shared, {
      id: onlyMemory,
      memoryMib: node?.memoryMib ?? memoryMib,
      hostNode: node?.hostNode,
    });
  }
  return [
    ...nodes.flatMap(({ memoryMib: nodeMib, hostNode }, number) =>
      object(plan, shared, { id: nodeMemory(number), memoryMib: nodeMib, hostNode }),
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
export function machineMemory({ placement }: Plan): string[] {
  return (placement?.nodes.length ?? 0) > 1 ? [] : [`memory-backend=${onlyMemory}`];
}

function nodeMemory(number: number): string {
  return `node${number}`;
}

function object(
  plan: Plan,
  shared: SharedMemory,
  {
    id,
    memoryMib,
    hostNode,
  }: { readonly id: string; readonly memoryMib: number; readonly hostNode: number | undefined },
): string[] {
  const isTaken = plan.placement?.pageSizeKib !== undefined;
  const properties = {
    ...backend(plan, shared),
    id,
    size: memoryMib * mib,
    // What is there already stays on its node; what is touched later is better far away than not at all, for which the kernel would kill the guest.
    ...(hostNode === undefined ? {} : { 'host-nodes': [hostNode], policy: isTaken ? 'bind' : 'preferred' }),
  };
  return ['-object', JSON.stringify(properties)];
}

function backend({ placement, mergeable = false, cpus }: Plan, shared: SharedMemory) {
  const { pageSizeKib } = placement ?? {};
  if (mergeable) return { 'qom-type': 'memory-backend-ram', merge: true };
  if (pageSizeKib === undefined) return sharedBackend(shared);
  // Where a page is not there when it is touched the guest is killed: all are taken before it runs.
  return {
    ...sharedBackend('memfd'),
    hugetlb: true,
    hugetlbsize: pageSizeKib * 1024,
    prealloc: true,
    'prealloc-threads': Math.min(cpus, mostPreallocThreads),
  };
}
