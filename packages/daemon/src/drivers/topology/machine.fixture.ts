// Machines of any shape as the kernel shows them, and what must be read of them. Of the recorded ones only the shape is
// taken: which processors and nodes there are, and how they are numbered.
import { printCpuList } from '@wirt/api';
import type { HostNode, HostTopology, HugePages } from '@wirt/core';

export interface CpuShape {
  readonly id: number;
  /** As firmware numbers it; undefined: it does not say. */
  readonly socket: number | undefined;
  readonly die?: number;
  readonly coreId: number | undefined;
  /** Of all that share the core, whether online or not. */
  readonly siblings: readonly number[];
  readonly node: number;
  readonly online?: boolean;
}

export interface NodeShape {
  readonly id: number;
  readonly totalMib: number;
  readonly freeMib: number;
  readonly hugePages?: readonly HugePages[];
  readonly online?: boolean;
}

export interface Machine {
  readonly cpus: readonly CpuShape[];
  readonly nodes: readonly NodeShape[];
  readonly distance: (from: number, to: number) => number;
  /** False: a kernel without NUMA, whose one node is the host. */
  readonly numa?: boolean;
}

const isOnline = ({ online }: { readonly online?: boolean }): boolean => online !== false;
const idsOf = (items: readonly { readonly id: number }[]): number[] =>
  items.map(({ id }) => id).toSorted((a, b) => a - b);

const kernelList = (ids: readonly number[]): string => `${printCpuList(ids)}\n`;

/** The files of /sys and /proc. */
export function filesOfMachine(machine: Machine): Record<string, string> {
  const online = machine.cpus.filter(isOnline);
  const onlineIds = idsOf(online);
  const isOnlineId = new Set(onlineIds);
  const files: Record<string, string> = {
    '/sys/devices/system/cpu/online': kernelList(onlineIds),
    '/sys/devices/system/cpu/cpufreq/': '',
  };
  // One that is offline keeps its directory, without a topology.
  for (const { id } of machine.cpus) files[`/sys/devices/system/cpu/cpu${id}/`] = '';
  for (const cpu of online) Object.assign(files, filesOfCpu(cpu, isOnlineId));
  const nodes = machine.nodes.filter(isOnline);
  if (machine.numa === false) {
    for (const node of nodes)
      Object.assign(
        files,
        { '/proc/meminfo': meminfo('', node) },
        filesOfPools('/sys/kernel/mm', node.hugePages ?? []),
      );
    return files;
  }
  files['/sys/devices/system/node/online'] = kernelList(idsOf(nodes));
  files['/sys/devices/system/node/has_cpu'] = kernelList([]);
  for (const node of nodes) {
    const path = `/sys/devices/system/node/node${node.id}`;
    const cpus = idsOf(online.filter((cpu) => cpu.node === node.id));
    Object.assign(files, filesOfPools(path, node.hugePages ?? []), {
      [`${path}/cpulist`]: kernelList(cpus),
      [`${path}/meminfo`]: meminfo(`Node ${node.id} `, node),
      [`${path}/distance`]: `${idsOf(nodes)
        .map((to) => machine.distance(node.id, to))
        .join(' ')}\n`,
    });
  }
  return files;
}

function filesOfCpu({ id, socket, die, coreId, siblings }: CpuShape, online: ReadonlySet<number>) {
  const path = `/sys/devices/system/cpu/cpu${id}/topology`;
  return {
    [`${path}/physical_package_id`]: `${socket ?? -1}\n`,
    [`${path}/core_id`]: `${coreId ?? -1}\n`,
    [`${path}/thread_siblings_list`]: kernelList(siblings.filter((each) => online.has(each))),
    ...(die === undefined ? {} : { [`${path}/die_id`]: `${die}\n` }),
  };
}

/** A third of what is free is pages of files, which the kernel gives up. */
function meminfo(prefix: string, { totalMib, freeMib }: NodeShape): string {
  const cachedKib = Math.floor(freeMib / 3) * 1024;
  const rows = {
    MemTotal: totalMib * 1024 + 1023,
    MemFree: freeMib * 1024 - 2 * cachedKib,
    Active: 4096 + cachedKib,
    'Active(file)': cachedKib,
    'Inactive(file)': cachedKib / 2,
    SReclaimable: cachedKib,
    HugePages_Total: 3,
  };
  return Object.entries(rows)
    .map(([name, kib]) => `${prefix}${name}:${String(kib).padStart(15)} kB\n`)
    .join('');
}

function filesOfPools(path: string, pools: readonly HugePages[]): Record<string, string> {
  const entries = pools.map(({ sizeKib, total, free }) => {
    const pool = `${path}/hugepages/hugepages-${sizeKib}kB`;
    return { [`${pool}/nr_hugepages`]: `${total}\n`, [`${pool}/free_hugepages`]: `${free}\n` };
  });
  return Object.assign({ [`${path}/hugepages/`]: '' }, ...entries);
}

/** What placement must be told, worked out from the shape and not from the files. */
export function topologyOfMachine(machine: Machine): HostTopology {
  const online = machine.cpus.filter(isOnline).toSorted((a, b) => a.id - b.id);
  const nodes = machine.nodes.filter(isOnline).toSorted((a, b) => a.id - b.id);
  const toNode = (node: NodeShape): HostNode => ({
    id: node.id,
    totalMib: node.totalMib,
    freeMib: node.freeMib,
    distances: Object.fromEntries(nodes.map(({ id }) => [id, machine.distance(node.id, id)])),
    hugePages: (node.hugePages ?? []).toSorted((a, b) => a.sizeKib - b.sizeKib),
  });
  const groups = [...new Set(online.map(({ siblings }) => siblings))].toSorted((a, b) => {
    const [left, right] = [a, b].map((group) => online.find(({ siblings }) => siblings === group));
    return (
      (left?.socket ?? 0) - (right?.socket ?? 0) ||
      (left?.die ?? 0) - (right?.die ?? 0) ||
      (left?.coreId ?? -1) - (right?.coreId ?? -1) ||
      Math.min(...a) - Math.min(...b)
    );
  });
  return {
    cpus: online.map(({ id, socket, node, siblings }) => ({
      id,
      node,
      socket: socket ?? 0,
      core: groups.indexOf(siblings),
    })),
    nodes: nodes.map(toNode),
  };
}

/** Sockets of dies of cores with threads, one node for so many dies; the second threads are numbered after all first ones. */
export function regularMachine(shape: {
  readonly sockets: number;
  readonly diesPerSocket: number;
  readonly coresPerDie: number;
  readonly threads: number;
  readonly diesPerNode: number;
  readonly memoryMib: number;
  readonly hugePages?: readonly HugePages[];
}): Machine {
  const dies = shape.sockets * shape.diesPerSocket;
  const cores = dies * shape.coresPerDie;
  const cpus = Array.from({ length: cores }, (_, core): readonly CpuShape[] => {
    const siblings = Array.from({ length: shape.threads }, (__, thread) => thread * cores + core);
    const die = Math.floor(core / shape.coresPerDie);
    const seat = {
      socket: Math.floor(die / shape.diesPerSocket),
      die: die % shape.diesPerSocket,
      coreId: core % shape.coresPerDie,
      node: Math.floor(die / shape.diesPerNode),
      siblings,
    };
    return siblings.map((id) => ({ id, ...seat }));
  }).flat();
  const nodes = Array.from({ length: Math.ceil(dies / shape.diesPerNode) }, (_, id) => ({
    id,
    totalMib: shape.memoryMib,
    freeMib: shape.memoryMib - 100 * (id + 1),
    hugePages: shape.hugePages ?? [],
  }));
  const nodesPerSocket = Math.max(1, shape.diesPerSocket / shape.diesPerNode);
  const socketOf = (node: number): number => Math.floor(node / nodesPerSocket);
  const distance = (from: number, to: number): number =>
    from === to ? 10 : socketOf(from) === socketOf(to) ? 12 : 32;
  return { cpus, nodes, distance };
}
