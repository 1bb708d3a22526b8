// What QEMU has of a guest's disks at this moment: which are plugged in, with which layers, and which nodes and iothreads are
// left over from work that failed or was cut short. QEMU is asked each time; nothing is remembered.
// Source: QEMU qapi/block-core.json (query-blockstats tells nodes by their place in the chain).
import { setTimeout as delay } from 'node:timers/promises';
import { type Ask, isRefusal, noAbort } from './control.ts';
import { diskOfDevice, diskOfIothread, maxDiskNumber, parseNodeName } from './disk-names.ts';

export interface Drive {
  readonly disk: string;
  /** From the base on; none in an empty CD drive. */
  readonly layers: readonly string[];
  /**
   * The node of the uppermost layer, the throttle above it where there is one (`below` is what it lies on: a job's own filter may be in
   * between), and the number in the names of its nodes; undefined for an empty drive.
   */
  readonly top:
    | { readonly node: string; readonly throttle: Throttling | undefined; readonly number: number }
    | undefined;
}

export interface Throttling {
  readonly node: string;
  readonly below: string;
}

export interface BlockState {
  readonly drives: ReadonlyMap<string, Drive>;
  /** Names of nodes that a device uses, directly or below others. */
  readonly used: ReadonlySet<string>;
  /** A device is gone by its name and still holds its disk for a moment. */
  readonly releasing: boolean;
}

/** For a device that QEMU calls gone. */
const releaseMs = 1_000;
const releasePauseMs = 10;

export async function readBlockState(ask: Ask, signal: AbortSignal): Promise<BlockState> {
  const drives = new Map<string, Drive>();
  const used = new Set<string>();
  let releasing = false;
  for (const stats of await ask('query-blockstats', {}, signal)) {
    addNames(stats, used);
    const disk = diskOfDevice(stats.qdev ?? '');
    if (disk !== undefined) drives.set(disk, driveOf(disk, stats));
    else releasing ||= parseNodeName(stats['node-name'] ?? '') !== undefined;
  }
  return { drives, used, releasing };
}

async function readSettled(ask: Ask): Promise<BlockState> {
  for (let waitedMs = 0; ; waitedMs += releasePauseMs) {
    const state = await readBlockState(ask, noAbort);
    if (!state.releasing || waitedMs >= releaseMs) return state;
    await delay(releasePauseMs);
  }
}

/** A node with what it lies on, as query-blockstats tells it. */
interface NodeStats {
  readonly 'node-name'?: string;
  readonly parent?: NodeStats;
  readonly backing?: NodeStats;
}

function addNames(stats: NodeStats, names: Set<string>): void {
  if (stats['node-name'] !== undefined) names.add(stats['node-name']);
  if (stats.parent !== undefined) addNames(stats.parent, names);
  if (stats.backing !== undefined) addNames(stats.backing, names);
}

function driveOf(disk: string, stats: NodeStats): Drive {
  const layers: string[] = [];
  let top: Drive['top'];
  let throttle: Throttling | undefined;
  for (let at: NodeStats | undefined = stats; at !== undefined; at = at.backing) {
    const node: string = at['node-name'] ?? '';
    const name = parseNodeName(node);
    // A job's own filter has a name that QEMU made.
    if (name === undefined) continue;
    if (name.kind === 'throttle') {
      throttle = { node, below: at.backing?.['node-name'] ?? '' };
      continue;
    }
    top ??= { node, throttle, number: name.number };
    layers.unshift(name.layer);
  }
  return { disk, layers, top };
}

/** A number for the names of a disk's nodes that no node has. */
export async function freeNumber(ask: Ask, signal: AbortSignal): Promise<number> {
  const taken = new Set((await diskNodeNames(ask, signal)).map((name) => parseNodeName(name)?.number));
  for (let number = 0; number <= maxDiskNumber; number += 1) if (!taken.has(number)) return number;
  throw new Error('QEMU has more disks than a guest can have.');
}

async function diskNodeNames(ask: Ask, signal: AbortSignal): Promise<string[]> {
  const nodes = await ask('query-named-block-nodes', { flat: true }, signal);
  return nodes.map((node) => node['node-name'] ?? '').filter((name) => parseNodeName(name) !== undefined);
}

/**
 * Closes what no device uses. Whatever QEMU does not let go of stays until the next time. Throws when QEMU does not answer.
 */
export async function dropUnused(ask: Ask): Promise<void> {
  const { drives, used } = await readSettled(ask);
  let left = (await diskNodeNames(ask, noAbort)).filter((name) => !used.has(name));
  // A node goes when nothing lies on it any more, so that each round sets others free.
  for (let before = Number.POSITIVE_INFINITY; left.length > 0 && left.length < before; ) {
    before = left.length;
    const kept: string[] = [];
    for (const name of left) if (!(await drop(ask, name))) kept.push(name);
    left = kept;
  }
  for (const { id } of await ask('query-iothreads', {}, noAbort)) {
    const disk = diskOfIothread(id);
    if (disk !== undefined && !drives.has(disk))
      await ask('object-del', { id }, noAbort).catch(ignoreRefusal);
  }
}

async function drop(ask: Ask, node: string): Promise<boolean> {
  return ask('blockdev-del', { 'node-name': node }, noAbort).then(
    () => true,
    (error: unknown) => {
      ignoreRefusal(error);
      return false;
    },
  );
}

function ignoreRefusal(error: unknown): void {
  if (!isRefusal(error)) throw error;
}
