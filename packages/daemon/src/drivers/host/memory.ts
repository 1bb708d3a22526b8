// Memory: totals, NUMA nodes, huge page pools, transparent huge pages and same-page merging.
import type { Host } from '@wirt/api';
import type { HostFiles } from '../../platform/host-files.ts';

/** `MemTotal:  24576000 kB` and so on, in KiB by name; a node's file has `Node 0 ` before each. */
export function parseMeminfo(text: string): ReadonlyMap<string, number> {
  const rows = text.matchAll(/^(?:Node \d+ )?([\w()]+):\s+(\d+)/gm);
  return new Map([...rows].map(([, name, value]) => [name ?? '', Number(value)]));
}

const toMib = (kib: number | undefined): number => Math.floor((kib ?? 0) / 1024);

export async function readMemory(
  files: HostFiles,
): Promise<Host['memory'] & { readonly hugePagesMib: number }> {
  const rows = parseMeminfo((await files.text('/proc/meminfo')) ?? '');
  return {
    totalMib: toMib(rows.get('MemTotal')),
    availableMib: toMib(rows.get('MemAvailable')),
    swapTotalMib: toMib(rows.get('SwapTotal')),
    // Pages of all sizes (filesystems/proc.rst).
    hugePagesMib: toMib(rows.get('Hugetlb')),
  };
}

export async function readNuma(files: HostFiles): Promise<Host['numa']> {
  const directory = '/sys/devices/system/node';
  const nodes = (await files.list(directory)).flatMap((name) => /^node(\d+)$/.exec(name)?.[1] ?? []);
  const read = await Promise.all(
    nodes.map(async (node) => {
      const rows = parseMeminfo((await files.text(`${directory}/node${node}/meminfo`)) ?? '');
      return {
        node: Number(node),
        cpus: (await files.line(`${directory}/node${node}/cpulist`)) ?? '',
        memoryMib: toMib(rows.get('MemTotal')),
        freeMib: toMib(rows.get('MemFree')),
      };
    }),
  );
  return read.toSorted((a, b) => a.node - b.node);
}

export async function readHugePages(files: HostFiles): Promise<Host['hugePages']> {
  const directory = '/sys/kernel/mm/hugepages';
  const sizes = (await files.list(directory)).flatMap((name) => /^hugepages-(\d+)kB$/.exec(name)?.[1] ?? []);
  const read = await Promise.all(
    sizes.map(async (size) => ({
      sizeKib: Number(size),
      total: (await files.number(`${directory}/hugepages-${size}kB/nr_hugepages`)) ?? 0,
      free: (await files.number(`${directory}/hugepages-${size}kB/free_hugepages`)) ?? 0,
    })),
  );
  return read.toSorted((a, b) => a.sizeKib - b.sizeKib);
}

/** The choice in brackets: `always [madvise] never`. */
export function parseChoice(text: string | undefined): string | undefined {
  return /\[([\w+]+)\]/.exec(text ?? '')?.[1];
}

export interface PageFacts {
  /** `always`, `madvise`, `never`, or `absent`. */
  readonly thp: string;
  /** The same for guests' memory, which is shared; `deny` where the host forbids it for all shared memory. */
  readonly shmemThp: 'advise' | 'never' | 'deny';
  /** 1 merges, 0 and 2 do not; undefined where the kernel cannot. */
  readonly ksmRun: number | undefined;
  readonly numaBalancing: number | undefined;
}

export async function readPages(
  files: HostFiles,
  memoryFiles: { usable(): Promise<boolean> },
): Promise<PageFacts> {
  const directory = '/sys/kernel/mm/transparent_hugepage';
  // The other values are of memfds, and of what programs share without a file.
  const isDenied = parseChoice(await files.line(`${directory}/shmem_enabled`)) === 'deny';
  const isUsable = await memoryFiles.usable();
  return {
    thp: parseChoice(await files.line(`${directory}/enabled`)) ?? 'absent',
    shmemThp: isDenied ? 'deny' : isUsable ? 'advise' : 'never',
    ksmRun: await files.number('/sys/kernel/mm/ksm/run'),
    numaBalancing: await files.number('/proc/sys/kernel/numa_balancing'),
  };
}
