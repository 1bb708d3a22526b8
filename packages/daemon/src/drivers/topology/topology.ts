// Reads the host's processors and memory nodes for placement. What is offline is left out, and what goes while it is read
// is no error. Where a processor sits is read again only when others are online than before: on 4096 of them that is
// twelve thousand files, and a placement is asked for at every start. For the same reason the list of processors stays the
// same array while nothing in it changed: the planner keeps what it has sorted by that.
import { parseCpuList } from '@wirt/api';
import type { HostCpu, HostTopology } from '@wirt/core';
import type { HostFiles } from '../../platform/host-files.ts';
import { onlineCpus, readCpus, type SeatedCpu } from './cpus.ts';
import { type ReadNode, readNodes } from './nodes.ts';

export interface TopologyReader {
  read(signal: AbortSignal): Promise<HostTopology>;
}

export function createTopologyReader(files: HostFiles): TopologyReader {
  let last: { readonly online: string; readonly seats: readonly SeatedCpu[] } | undefined;
  let known: readonly HostCpu[] = [];
  return {
    async read(signal) {
      signal.throwIfAborted();
      const own = await allowedHere(files);
      const ids = (await onlineCpus(files)).filter((id) => own.cpus?.has(id) ?? true);
      const online = ids.join();
      const seats = last?.online === online ? last.seats : await readCpus(files, ids);
      // One that went meanwhile is looked for again.
      last = seats.length === ids.length ? { online, seats } : undefined;
      signal.throwIfAborted();
      const nodes = (await readNodes(files, ids)).filter(({ id }) => own.nodes?.has(id) ?? true);
      signal.throwIfAborted();
      const cpus = seatOnNodes(seats, nodes);
      if (!areSame(cpus, known)) known = cpus;
      return {
        cpus: known,
        nodes: nodes.map(({ cpus: _, ...node }) => node),
      };
    },
  };
}

/** What wirtd itself may use, as in a container: guests have no more. Undefined where it is not told. Source: proc_pid_status(5). */
async function allowedHere(files: HostFiles): Promise<{
  readonly cpus: ReadonlySet<number> | undefined;
  readonly nodes: ReadonlySet<number> | undefined;
}> {
  const status = (await files.text('/proc/self/status')) ?? '';
  const of = (name: string): ReadonlySet<number> | undefined => {
    const ids = parseCpuList(new RegExp(`^${name}:\\t(.*)$`, 'm').exec(status)?.[1] ?? '');
    return ids === undefined || ids.length === 0 ? undefined : new Set(ids);
  };
  return { cpus: of('Cpus_allowed_list'), nodes: of('Mems_allowed_list') };
}

/** Once, for whoever asks rarely. */
export function readTopology(files: HostFiles, signal: AbortSignal): Promise<HostTopology> {
  return createTopologyReader(files).read(signal);
}

/**
 * A processor whose node is offline (its memory is taken away or broken) is in no node's list; its memory then comes from
 * elsewhere. It is counted to the node of its socket's other processors, or else to the first one.
 */
function seatOnNodes(seats: readonly SeatedCpu[], nodes: readonly ReadNode[]): readonly HostCpu[] {
  const nodeOf = new Map(nodes.flatMap(({ id, cpus }) => cpus.map((cpu) => [cpu, id] as const)));
  const nodeOfSocket = new Map<number, number>();
  for (const { id, socket } of seats) {
    const node = nodeOf.get(id);
    if (node !== undefined && !nodeOfSocket.has(socket)) nodeOfSocket.set(socket, node);
  }
  const first = nodes[0]?.id ?? 0;
  return seats.map(({ id, socket, core }) => ({
    id,
    node: nodeOf.get(id) ?? nodeOfSocket.get(socket) ?? first,
    socket,
    core,
  }));
}

function areSame(some: readonly HostCpu[], others: readonly HostCpu[]): boolean {
  return some.length === others.length && some.every((cpu, at) => isSame(cpu, others[at]));
}

function isSame(cpu: HostCpu, other: HostCpu | undefined): boolean {
  const { id, node, socket, core } = other ?? {};
  return cpu.id === id && cpu.node === node && cpu.socket === socket && cpu.core === core;
}
