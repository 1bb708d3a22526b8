/**
 * Chooses the nodes of a host that hold a guest: the fewest, then those that most of its devices hang on, then the closest together, then the least
 * loaded, then those with the least memory left over, then the lowest numbers. Exact for one node and for two; for more, sets are grown from every node, so that they are near the fewest and not
 * always the fewest. Whenever all nodes together hold the guest, a set is found.
 */

/** A node that may be chosen, by its place in the list. `cores` and `units` are what it can give, in the same sizes as the need. */
export interface Candidate {
  readonly cores: number;
  readonly units: number;
  /** Of guests that are there. */
  readonly vcpusHeld: number;
  readonly cpus: number;
  /** Of the guest’s devices, how many hang on it; absent: none. */
  readonly devices?: number;
}

export interface Need {
  readonly cores: number;
  readonly units: number;
}

interface Grown {
  readonly members: readonly number[];
  /** Between each two of them, there and back. */
  readonly distance: number;
  readonly devices: number;
  readonly load: number;
  readonly unitsLeft: number;
}

interface Field {
  readonly candidates: readonly Candidate[];
  readonly need: Need;
  /** There and back, row after row. */
  readonly distances: Float64Array;
}

type Growth = 'nearest' | 'largest';

/** Places in `candidates`, ascending; undefined where all of them together are too small. `base` is in the set in any case. */
export function chooseNodes(
  candidates: readonly Candidate[],
  need: Need,
  base: readonly number[],
  distanceOf: (from: number, to: number) => number,
): readonly number[] | undefined {
  const everyone = candidates.map((_, at) => at);
  if (!holds(sumOf(candidates, everyone), need)) return undefined;
  const alone = base.length > 0 ? undefined : bestAlone(candidates, need);
  if (alone !== undefined) return [alone];
  const field: Field = { candidates, need, distances: distancesOf(candidates.length, distanceOf) };
  const starts = base.length > 0 ? [base] : startsOf(candidates, need);
  let best: Grown | undefined;
  for (const start of starts) {
    for (const growth of ['nearest', 'largest'] as const) {
      const members = grow(field, start, growth, best?.members.length ?? Number.POSITIVE_INFINITY);
      if (members === undefined) continue;
      const grown = measure(field, withoutSpare(field, members, base));
      if (best === undefined || compare(grown, best) < 0) best = grown;
    }
  }
  return best?.members;
}

function bestAlone(candidates: readonly Candidate[], need: Need): number | undefined {
  let best: number | undefined;
  let bestRank: readonly number[] = [];
  for (const [at, candidate] of candidates.entries()) {
    if (!holds(candidate, need)) continue;
    const rank = [-(candidate.devices ?? 0), loadOf(candidate), candidate.units];
    if (best !== undefined && compareRanks(rank, bestRank) >= 0) continue;
    best = at;
    bestRank = rank;
  }
  return best;
}

function distancesOf(count: number, distanceOf: (from: number, to: number) => number): Float64Array {
  const distances = new Float64Array(count * count);
  for (let a = 0; a < count; a++) {
    for (let b = a + 1; b < count; b++) {
      const both = distanceOf(a, b) + distanceOf(b, a);
      distances[a * count + b] = both;
      distances[b * count + a] = both;
    }
  }
  return distances;
}

/** Every node that gives anything; of a set that is sure to be large only some, the largest first: its start matters little, and its growth takes long. */
function startsOf(candidates: readonly Candidate[], need: Need): number[][] {
  const gains = candidates.map((candidate) => gain(candidate, need));
  const givers = candidates.map((_, at) => at).filter((at) => (gains[at] ?? 0) > 0);
  const fewest = Math.max(
    fewestFor(
      need.cores,
      candidates.map(({ cores }) => cores),
    ),
    fewestFor(
      need.units,
      candidates.map(({ units }) => units),
    ),
  );
  const count = Math.max(4, Math.floor(growthBudget / fewest));
  if (givers.length <= count) return givers.map((at) => [at]);
  return givers
    .sort((a, b) => (gains[b] ?? 0) - (gains[a] ?? 0) || a - b)
    .slice(0, count)
    .map((at) => [at]);
}

/** Nodes that sets may grow by in all, over all starts: a bound of the time, of about a millisecond on 64 nodes. */
const growthBudget = 256;

/** How many of the largest it takes, at least. */
function fewestFor(whole: number, given: readonly number[]): number {
  let left = whole;
  let count = 0;
  for (const each of [...given].sort((a, b) => b - a)) {
    if (left <= 0) break;
    left -= each;
    count += 1;
  }
  return Math.max(1, count);
}

function sumOf(candidates: readonly Candidate[], members: readonly number[]): Need {
  let cores = 0;
  let units = 0;
  for (const at of members) {
    cores += candidates[at]?.cores ?? 0;
    units += candidates[at]?.units ?? 0;
  }
  return { cores, units };
}

function holds(given: Need, need: Need): boolean {
  return given.cores >= need.cores && given.units >= need.units;
}

/** How much of what is still needed a node gives: 2 is all of both. */
function gain(candidate: Candidate | undefined, left: Need): number {
  if (candidate === undefined) return 0;
  const cores = left.cores > 0 ? Math.min(1, candidate.cores / left.cores) : 0;
  const units = left.units > 0 ? Math.min(1, candidate.units / left.units) : 0;
  return cores + units;
}

/** Adds node after node; as soon as one of them completes the set, the best of those that do. Undefined above `limit` nodes. */
function grow(field: Field, start: readonly number[], growth: Growth, limit: number): number[] | undefined {
  const { candidates, need, distances } = field;
  const count = candidates.length;
  const members = [...start];
  const near = new Float64Array(count);
  const isIn = new Uint8Array(count);
  const join = (member: number): void => {
    isIn[member] = 1;
    for (let at = 0; at < count; at++) near[at] = (near[at] ?? 0) + (distances[member * count + at] ?? 0);
  };
  for (const member of members) join(member);
  let given = sumOf(candidates, members);
  if (members.length > limit) return undefined;
  for (;;) {
    if (holds(given, need)) return members;
    if (members.length >= limit) return undefined;
    const left = {
      cores: Math.max(0, need.cores - given.cores),
      units: Math.max(0, need.units - given.units),
    };
    const next = bestNext(field, left, near, isIn, growth);
    if (next === undefined) return undefined;
    members.push(next);
    join(next);
    const { cores = 0, units = 0 } = candidates[next] ?? {};
    given = { cores: given.cores + cores, units: given.units + units };
  }
}

/** More than all distances of a set together. */
const deviceWorth = 1e9;

/** Runs for every node of every set that is tried, so it makes no objects. */
function bestNext(
  { candidates }: Field,
  left: Need,
  near: Float64Array,
  isIn: Uint8Array,
  growth: Growth,
): number | undefined {
  let best: number | undefined;
  let bestCompletes = false;
  let bestFirst = 0;
  let bestSecond = 0;
  for (let at = 0; at < candidates.length; at++) {
    const candidate = candidates[at];
    if (isIn[at] === 1 || candidate === undefined) continue;
    const gained = gain(candidate, left);
    if (gained === 0) continue;
    const completes = holds(candidate, left);
    if (bestCompletes && !completes) continue;
    // A node with devices of the guest is nearer than any other.
    const away = (near[at] ?? 0) - (candidate.devices ?? 0) * deviceWorth;
    const isNearFirst = completes || growth === 'nearest';
    const other = completes ? loadOf(candidate) : -gained;
    const first = isNearFirst ? away : other;
    const second = isNearFirst ? other : away;
    const isBetter =
      best === undefined ||
      (completes && !bestCompletes) ||
      first < bestFirst ||
      (first === bestFirst && second < bestSecond);
    if (!isBetter) continue;
    best = at;
    bestCompletes = completes;
    bestFirst = first;
    bestSecond = second;
  }
  return best;
}

/** Without members that are not needed: the first choices of a set may be made superfluous by its last. */
function withoutSpare(field: Field, members: readonly number[], base: readonly number[]): number[] {
  const { candidates, need } = field;
  let kept = [...members];
  for (const member of members) {
    if (base.includes(member)) continue;
    const rest = kept.filter((at) => at !== member);
    if (rest.length > 0 && holds(sumOf(candidates, rest), need)) kept = rest;
  }
  return kept.sort((a, b) => a - b);
}

function loadOf({ vcpusHeld, cpus }: Pick<Candidate, 'vcpusHeld' | 'cpus'>): number {
  return cpus > 0 ? vcpusHeld / cpus : 0;
}

function measure({ candidates, need, distances }: Field, members: readonly number[]): Grown {
  const whole = { vcpusHeld: 0, cpus: 0 };
  let distance = 0;
  let devices = 0;
  for (const a of members) {
    devices += candidates[a]?.devices ?? 0;
    whole.vcpusHeld += candidates[a]?.vcpusHeld ?? 0;
    whole.cpus += candidates[a]?.cpus ?? 0;
    for (const b of members) distance += distances[a * candidates.length + b] ?? 0;
  }
  const unitsLeft = sumOf(candidates, members).units - need.units;
  return { members, distance, devices, load: loadOf(whole), unitsLeft };
}

function compare(a: Grown, b: Grown): number {
  const rank = ({ members, distance, devices, load, unitsLeft }: Grown): number[] => [
    members.length,
    -devices,
    distance,
    load,
    unitsLeft,
    ...members,
  ];
  return compareRanks(rank(a), rank(b));
}

function compareRanks(a: readonly number[], b: readonly number[]): number {
  for (let at = 0; at < Math.max(a.length, b.length); at++) {
    const difference = (a[at] ?? 0) - (b[at] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
