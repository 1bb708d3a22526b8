// NUMA nodes that are online, with their processors, memory, distances and huge pages; a kernel without NUMA has one, of
// everything. A node that goes while it is read is left out.
import { parseCpuList } from '@wirt/api';
import type { HostNode, HugePages } from '@wirt/core';
import type { HostFiles } from '../../platform/host-files.ts';

const nodeDirectory = '/sys/devices/system/node';
const wholeHost = '/sys/kernel/mm/hugepages';

export interface ReadNode extends HostNode {
  readonly cpus: readonly number[];
}

/** Numbers of the nodes that are online, ascending; undefined where the kernel knows no nodes. */
async function nodeIds(files: HostFiles): Promise<readonly number[] | undefined> {
  const present = (await files.list(nodeDirectory)).flatMap((name) => /^node(\d+)$/.exec(name)?.[1] ?? []);
  if (present.length === 0) return undefined;
  const ids = present.map(Number).toSorted((a, b) => a - b);
  const online = parseCpuList((await files.line(`${nodeDirectory}/online`)) ?? '');
  return online === undefined || online.length === 0 ? ids : ids.filter((id) => online.includes(id));
}

/** Where the pools of each node are; without nodes, those of the host are node 0's. */
export async function poolDirectories(
  files: HostFiles,
): Promise<readonly { readonly node: number; readonly directory: string }[]> {
  const ids = await nodeIds(files);
  if (ids === undefined) return [{ node: 0, directory: wholeHost }];
  return ids.map((node) => ({ node, directory: `${nodeDirectory}/node${node}/hugepages` }));
}

export async function readNodes(
  files: HostFiles,
  onlineCpus: readonly number[],
): Promise<readonly ReadNode[]> {
  const ids = await nodeIds(files);
  if (ids === undefined) return [await readWhole(files, onlineCpus)];
  const read = await Promise.all(ids.map((id) => readNode(files, id, ids)));
  return read.filter((node) => node !== undefined);
}

async function readWhole(files: HostFiles, cpus: readonly number[]): Promise<ReadNode> {
  const memory = memoryOf((await files.text('/proc/meminfo')) ?? '');
  return { id: 0, ...memory, distances: { 0: 10 }, hugePages: await readPools(files, wholeHost), cpus };
}

async function readNode(files: HostFiles, id: number, ids: readonly number[]): Promise<ReadNode | undefined> {
  const path = `${nodeDirectory}/node${id}`;
  const [meminfo, cpulist, distance, hugePages] = await Promise.all([
    files.text(`${path}/meminfo`),
    files.line(`${path}/cpulist`),
    files.line(`${path}/distance`),
    readPools(files, `${path}/hugepages`),
  ]);
  if (meminfo === undefined && cpulist === undefined) return undefined;
  return {
    id,
    ...memoryOf(meminfo ?? ''),
    distances: distancesOf(distance ?? '', ids),
    hugePages,
    cpus: parseCpuList(cpulist ?? '') ?? [],
  };
}

/** The kernel writes one number for each node that is online, in their order. Read while that changes, none is known. */
function distancesOf(text: string, ids: readonly number[]): Record<number, number> {
  const values = text.split(/\s+/).filter(Boolean).map(Number);
  if (values.length !== ids.length) return {};
  return Object.fromEntries(ids.map((id, at) => [id, values[at] ?? 0]));
}

/**
 * Free is what a guest can be given at once: as `MemAvailable` of the whole host, also pages of files, which the kernel drops
 * when memory is asked for, and half of the slabs that it says it can.
 */
function memoryOf(meminfo: string): { totalMib: number; freeMib: number } {
  const rows = new Map<string, number>();
  for (const [, name = '', kib] of meminfo.matchAll(/^(?:Node \d+ )?([\w()]+):\s+(\d+)/gm))
    rows.set(name, Number(kib));
  const kib = (name: string): number => rows.get(name) ?? 0;
  const free = kib('MemFree') + kib('Active(file)') + kib('Inactive(file)') + kib('SReclaimable') / 2;
  return { totalMib: Math.floor(kib('MemTotal') / 1024), freeMib: Math.floor(free / 1024) };
}

/** Sizes that have a pool there, ascending. */
export async function poolSizes(files: HostFiles, directory: string): Promise<readonly number[]> {
  const sizes = (await files.list(directory)).flatMap((name) => /^hugepages-(\d+)kB$/.exec(name)?.[1] ?? []);
  return sizes.map(Number).toSorted((a, b) => a - b);
}

/** Surplus is absent where the kernel keeps none. A pool that goes while it is read is undefined. */
export async function readPool(
  files: HostFiles,
  directory: string,
  sizeKib: number,
): Promise<(HugePages & { readonly surplus: number }) | undefined> {
  const path = `${directory}/hugepages-${sizeKib}kB`;
  const [total, free, surplus] = await Promise.all([
    files.number(`${path}/nr_hugepages`),
    files.number(`${path}/free_hugepages`),
    files.number(`${path}/surplus_hugepages`),
  ]);
  return total === undefined ? undefined : { sizeKib, total, free: free ?? 0, surplus: surplus ?? 0 };
}

async function readPools(files: HostFiles, directory: string): Promise<readonly HugePages[]> {
  const sizes = await poolSizes(files, directory);
  const pools = await Promise.all(sizes.map((size) => readPool(files, directory, size)));
  return pools.flatMap((pool) =>
    pool === undefined ? [] : [{ sizeKib: pool.sizeKib, total: pool.total, free: pool.free }],
  );
}
