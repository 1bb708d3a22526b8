/** Says why a guest was placed as it was: one sentence for each decision, for `wirt show --tuning`. */
import { printCpuList } from '@wirt/api';
import type { Shape } from './cores.ts';
import type { Fit, NodeShare } from './fit.ts';
import type { MemoryNeed } from './memory.ts';
import type { Placement, PlacementRequest } from './placement.ts';

export function memoryReasons(
  { memoryMib }: PlacementRequest,
  { units, unitMib, pageSizeKib }: MemoryNeed,
): string[] {
  const given = units * unitMib;
  if (pageSizeKib === undefined || given === memoryMib) return [];
  return [
    `Its memory is ${given} MiB and not ${memoryMib}: rounded up to whole pages of ${pageSizeKib} KiB.`,
  ];
}

export function nodeReasons(request: PlacementRequest, fit: Fit, nodeCount: number): string[] {
  const { shares, isWider, view } = fit;
  const ids = printCpuList(shares.map(({ survey }) => survey.node.id));
  const what = `${counted(request.maxCpus, 'vCPU')} and ${request.memoryMib} MiB`;
  const isPinned = Object.keys(request.pins.vcpus).length > 0;
  const reasons: string[] = [];
  if (isWider) {
    reasons.push(
      `It has more vCPUs than the host has processors to share, and is on all nodes that have any: ${ids}.`,
    );
  } else if (isPinned) {
    reasons.push(
      `It is on nodes ${ids}: those of the processors that it is pinned to, and what else its memory needs.`,
    );
  } else if (shares.length === 1) {
    const choice = nodeCount === 1 ? 'the only one of the host' : `which holds ${what} alone`;
    reasons.push(`It is on node ${ids}, ${choice}.`);
  } else {
    reasons.push(`It is on nodes ${ids}: no single node holds ${what}, and these are near each other.`);
  }
  return [
    ...reasons,
    ...deviceReasons(request, shares, nodeCount),
    ...viewReasons(view),
    ...shares.flatMap((share) => shareReasons(share)),
  ];
}

/** Where there is a choice of nodes. */
function deviceReasons(
  { near = {} }: PlacementRequest,
  shares: readonly NodeShare[],
  nodeCount: number,
): string[] {
  const wanted = Object.keys(near).map(Number);
  if (wanted.length === 0 || nodeCount === 1) return [];
  const met = wanted.filter((id) => shares.some(({ survey }) => survey.node.id === id));
  return met.length === 0
    ? [
        `Its devices of the host are on node ${printCpuList(wanted)}, which cannot hold it: they reach its memory by a detour.`,
      ]
    : [`Devices of the host that it asks for are on node ${printCpuList(met)}: that was preferred.`];
}

function viewReasons(view: Fit['view']): string[] {
  switch (view) {
    case 'free':
      return [];
    case 'reserve':
      return ['Huge pages are made of free memory on its nodes, since too few are free.'];
    case 'total':
      return ['Its nodes have less memory free than it may take: it was started with overcommit.'];
    case 'beyond':
      return [
        'It has more memory than the host, and is spread over the nodes as theirs is: it was started with overcommit.',
      ];
  }
}

function shareReasons({ survey, cores, units }: NodeShare): string[] {
  const { id } = survey.node;
  if (cores === 0) {
    return [
      `Node ${id} gives memory and no processors: those with processors for it have too little memory.`,
    ];
  }
  return units === 0
    ? [`vCPUs on node ${id} have their memory on the nearest other node: it has none to give.`]
    : [];
}

export function topologyReasons(
  request: PlacementRequest,
  placement: Pick<Placement, 'topology' | 'guestNodes'>,
): string[] {
  const { topology, guestNodes } = placement;
  const { sockets, cores, threads } = topology;
  const shape = `${counted(sockets, 'socket')} of ${counted(cores, 'core')} of ${counted(threads, 'thread')}`;
  const nodes = guestNodes.filter(({ vcpus }) => vcpus.length > 0).length;
  if (request.topology !== undefined) {
    const note =
      nodes > 1 && sockets % nodes !== 0 ? `, although that does not divide among its ${nodes} nodes` : '';
    return [`The guest sees ${shape}, as asked for${note}.`];
  }
  if (nodes <= 1) return [`The guest sees ${shape}.`];
  return sockets === nodes
    ? [`The guest sees ${shape}: a socket for each node that its vCPUs are on.`]
    : [`The guest sees ${shape}: its vCPUs do not divide into ${nodes} equal sockets, one for each node.`];
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}

export function cpuReasons(request: PlacementRequest, { perCore }: Shape, placement: Placement): string[] {
  const { pins, dedicated: isDedicated, cpus, maxCpus } = request;
  const { dedicated, vcpuPins, emulatorPins, guestNodes, groupCpus } = placement;
  const reasons: string[] = [];
  if (isDedicated) {
    const used = new Set(Object.values(vcpuPins).flat()).size;
    const idle = dedicated.length - used;
    const siblings = idle > 0 ? `; ${idle} of them idle, as siblings in the same cores` : '';
    reasons.push(`Processors ${printCpuList(dedicated)} are its own, as whole cores${siblings}.`);
    if (maxCpus > cpus)
      reasons.push(`vCPUs that are not plugged in yet have their processors too: ${maxCpus - cpus}.`);
    if (perCore !== undefined && perCore > 1)
      reasons.push('Threads of a core of the guest are threads of a core of the host.');
    if (pins.emulator === undefined) {
      reasons.push(
        `QEMU's own threads run on ${printCpuList(emulatorPins ?? [])}, which it shares, and never on those of its vCPUs.`,
      );
    }
  } else if (guestNodes.length > 1) {
    reasons.push("vCPUs of each guest node run on the processors of the host's node that has their memory.");
  } else if (groupCpus !== undefined) {
    reasons.push(
      `It runs on processors ${printCpuList(groupCpus)}: those of its node that no guest has to itself.`,
    );
  }
  if (Object.keys(pins.vcpus).length > 0)
    reasons.push(`Pinned as asked for: ${counted(Object.keys(pins.vcpus).length, 'vCPU')}.`);
  if (pins.emulator !== undefined)
    reasons.push(`QEMU's own threads are pinned to ${printCpuList(pins.emulator)}, as asked for.`);
  if (pins.iothreads !== undefined)
    reasons.push(`Its iothreads are pinned to ${printCpuList(pins.iothreads)}, as asked for.`);
  return reasons;
}
