// A guest's memory and nodes → QEMU's command line; pure. Memory is shared (memfd), so that huge pages, NUMA policy and forking are the same
// mechanism; only what is to be merged is private, since the kernel merges no shared memory (admin-guide/mm/ksm.rst).
// Source: QEMU qemu-options.hx (-object memory-backend-memfd, -numa), hw/core/numa.c.
import { printCpuList } from '@wirt/api';
import type { LaunchPlan } from '@wirt/core';

type Plan = Pick<LaunchPlan, 'memoryMib' | 'placement' | 'mergeable' | 'cpus'>;

/** Of a guest with one node of memory; those of more have an object for each. */
const onlyMemory = 'ram0';

/** As many threads touch the pages of a guest at its start; more wait for the kernel's zeroing of the same memory. */
const mostPreallocThreads = 16;

export function memoryObjects(plan: Plan): string[] {
  const { placement, memoryMib } = plan;
  const nodes = placement?.nodes ?? [];
  if (nodes.length <= 1) {
    const [node] = nodes;
    return object(plan, {
      id: onlyMemory,
      memoryMib: node?.memoryMib ?? memoryMib,
      hostNode: node?.hostNode,
    });
  }
  return [
    ...nodes.flatMap(({ memoryMib: nodeMib, hostNode }, number) =>
      object(plan, { id: nodeMemory(number), memoryMib: nodeMib, hostNode }),
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
  { placement, mergeable = false, cpus }: Plan,
  {
    id,
    memoryMib,
    hostNode,
  }: { readonly id: string; readonly memoryMib: number; readonly hostNode: number | undefined },
): string[] {
  const { pageSizeKib } = placement ?? {};
  const kind = mergeable ? 'memory-backend-ram' : 'memory-backend-memfd';
  const words = [
    kind,
    `id=${id}`,
    `size=${memoryMib}M`,
    ...(mergeable ? ['merge=on'] : ['share=on']),
    // Where a page is not there when it is touched the guest is killed: all are taken before it runs.
    ...(pageSizeKib === undefined
      ? []
      : [
          'hugetlb=on',
          `hugetlbsize=${pageSizeKib}K`,
          'prealloc=on',
          `prealloc-threads=${Math.min(cpus, mostPreallocThreads)}`,
        ]),
    // What is there already stays on its node; what is touched later is better far away than not at all, for which the kernel would kill the guest.
    ...(hostNode === undefined
      ? []
      : [`host-nodes=${hostNode}`, `policy=${pageSizeKib === undefined ? 'preferred' : 'bind'}`]),
  ];
  return ['-object', words.join(',')];
}
