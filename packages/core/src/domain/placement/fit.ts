/** Which nodes hold a guest, and how much each of them gives: processors and memory looked at together. Pure. */
import type { Shape } from './cores.ts';
import type { Core } from './host-index.ts';
import { type MemoryNeed, type MemoryView, roomOf } from './memory.ts';
import { chooseNodes } from './node-set.ts';
import { sum } from './refuse.ts';
import { shareOut } from './split.ts';
import { distanceBetween, type NodeSurvey, type Survey } from './survey.ts';

export interface Wanted {
  readonly shape: Shape;
  /** Cores of the guest that are pinned, and the node of each. */
  readonly homes: ReadonlyMap<number, number>;
  /** Cores of the host that may be dedicated to it; undefined: it shares. */
  readonly own?: ReadonlyMap<number, readonly Core[]>;
  readonly memory: MemoryNeed;
  /** Of its devices, by node of the host. */
  readonly near: Readonly<Record<number, number>>;
}

export interface NodeShare {
  readonly survey: NodeSurvey;
  /** Of the guest. */
  readonly cores: number;
  readonly units: number;
}

export interface Fit {
  readonly view: MemoryView;
  readonly shares: readonly NodeShare[];
  /** It has more vCPUs than all nodes have processors to share. */
  readonly isWider: boolean;
}

interface CoreRoom {
  /** By node: with those that are pinned there. */
  readonly room: readonly number[];
  readonly homed: readonly number[];
  readonly isWider: boolean;
}

/** Cores of the guest that each node has room for. A guest that shares is never too wide: it gets more than one vCPU a processor, and all nodes. */
export function coreRoom({ shape, homes, own }: Wanted, { nodes }: Survey): CoreRoom {
  const { threads, cores, perCore = threads } = shape;
  const homed = nodes.map(() => 0);
  const placeOf = new Map(nodes.map(({ node }, at) => [node.id, at]));
  for (const node of homes.values()) {
    const at = placeOf.get(node);
    if (at !== undefined) homed[at] = (homed[at] ?? 0) + 1;
  }
  const rest = cores - homes.size;
  const free = nodes.map(({ node, cpus }, at) => {
    const hostCores = own?.get(node.id)?.length ?? 0;
    const count =
      own === undefined ? Math.floor(cpus.length / threads) : Math.floor((hostCores * perCore) / threads);
    return Math.max(0, count - (homed[at] ?? 0));
  });
  const whole = sum(nodes.map(({ cpus }) => cpus.length));
  const isWider = own === undefined && sum(free) < rest && whole > 0;
  const spread = isWider ? nodes.map(({ cpus }) => Math.ceil((cpus.length * rest) / whole)) : free;
  return { room: spread.map((count, at) => count + (homed[at] ?? 0)), homed, isWider };
}

/** A processor that a guest has for itself is as much load as a vCPU that shares. */
function loadOf(survey: NodeSurvey | undefined): { readonly vcpusHeld: number; readonly cpus: number } {
  const { vcpusHeld, onlineCount, cpus } = survey ?? { vcpusHeld: 0, onlineCount: 0, cpus: [] };
  return { vcpusHeld: vcpusHeld + onlineCount - cpus.length, cpus: onlineCount };
}

/** Undefined where it does not fit with memory looked at like this. */
export function fitOn(wanted: Wanted, survey: Survey, view: MemoryView): Fit | undefined {
  const { nodes } = survey;
  const { room, homed, isWider } = coreRoom(wanted, survey);
  const units = roomOf(nodes, wanted.memory, view);
  const everyone = nodes.map((_, at) => at);
  const base = everyone.filter((at) => (homed[at] ?? 0) > 0 || (isWider && (room[at] ?? 0) > 0));
  const choose = (among: readonly number[]): readonly number[] | undefined => {
    const candidates = among.map((at) => ({
      cores: (room[at] ?? 0) - (homed[at] ?? 0),
      units: units[at] ?? 0,
      devices: wanted.near[nodes[at]?.node.id ?? -1] ?? 0,
      ...loadOf(nodes[at]),
    }));
    const need = { cores: wanted.shape.cores - sum(homed), units: wanted.memory.units };
    const start = base.map((at) => among.indexOf(at));
    const distance = (from: number, to: number): number => {
      const [a, b] = [nodes[among[from] ?? 0], nodes[among[to] ?? 0]];
      return a === undefined || b === undefined ? 0 : distanceBetween(a.node, b.node);
    };
    return chooseNodes(candidates, need, start, distance)?.flatMap((place) => among[place] ?? []);
  };
  // Memory far from every vCPU is the last resort.
  const chosen = choose(everyone.filter((at) => (room[at] ?? 0) > 0)) ?? choose(everyone);
  if (chosen === undefined) return undefined;
  const cores = shareOut(
    wanted.shape.cores,
    chosen.map((at) => ({ room: room[at] ?? 0, taken: homed[at] ?? 0 })),
  );
  const memory = shareOut(
    wanted.memory.units,
    chosen.map((at) => ({ room: units[at] ?? 0, taken: 0 })),
    [...new Set([Math.max(1, Math.floor(nodeGrainMib / wanted.memory.unitMib)), 1])],
  );
  const shares = chosen.flatMap((at, place) => {
    const found = nodes[at];
    return found === undefined ? [] : { survey: found, cores: cores[place] ?? 0, units: memory[place] ?? 0 };
  });
  return { view, shares: shares.filter((share) => share.cores > 0 || share.units > 0), isWider };
}

/** Guests' kernels divide memory in sections of this size on x86; a node that ends in the middle of one costs them. */
const nodeGrainMib = 128;
