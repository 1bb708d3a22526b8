// Sets of nodes against every set there is, on hosts of few nodes.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Candidate, chooseNodes } from './node-set.ts';

function candidates(
  ...given: readonly (readonly [cores: number, units: number, vcpusHeld?: number])[]
): Candidate[] {
  return given.map(([cores, units, vcpusHeld = 0]) => ({
    cores,
    units,
    vcpusHeld,
    cpus: Math.max(1, cores),
  }));
}

const flat = (): number => 20;
const inLine = (from: number, to: number): number => 10 + Math.abs(from - to);

const problem = fc
  .record({
    nodes: fc.array(fc.tuple(fc.nat(6), fc.nat(9)), { minLength: 1, maxLength: 7 }),
    cores: fc.integer({ min: 1, max: 24 }),
    units: fc.integer({ min: 1, max: 36 }),
  })
  .map(({ nodes, ...need }) => ({ nodes: candidates(...nodes), need }));

type Problem = typeof problem extends fc.Arbitrary<infer T> ? T : never;

const holds = ({ nodes, need }: Problem, members: readonly number[]): boolean =>
  members.reduce((sum, at) => sum + nodes[at]!.cores, 0) >= need.cores &&
  members.reduce((sum, at) => sum + nodes[at]!.units, 0) >= need.units;

/** Of all sets that hold it. */
function fewest(asked: Problem): number | undefined {
  const all = Array.from({ length: 2 ** asked.nodes.length }, (_, bits) =>
    asked.nodes.map((__, at) => at).filter((at) => (bits >> at) & 1),
  );
  const sizes = all.filter((members) => holds(asked, members)).map((members) => members.length);
  return sizes.length === 0 ? undefined : Math.min(...sizes);
}

/** If only one of the two were needed: never more than the fewest. */
function ofLargest(nodes: readonly Candidate[], key: 'cores' | 'units', whole: number): number {
  const sizes = nodes.map((node) => node[key]).sort((a, b) => b - a);
  let left = whole;
  return sizes.filter((size) => {
    left -= size;
    return left + size > 0;
  }).length;
}

describe('a set of nodes', () => {
  it('holds what is asked, and is found whenever there is one', () => {
    fc.assert(
      fc.property(problem, (asked) => {
        const found = chooseNodes(asked.nodes, asked.need, [], flat);
        expect(found === undefined).toBe(fewest(asked) === undefined);
        if (found !== undefined) expect(holds(asked, found)).toBe(true);
      }),
    );
  });

  it('has no node to spare, and hardly ever one more than the fewest', () => {
    let more = 0;
    fc.assert(
      fc.property(problem, (asked) => {
        const found = chooseNodes(asked.nodes, asked.need, [], inLine) ?? [];
        const least = fewest(asked) ?? 0;
        if (found.length > least) more += 1;
        expect(found.length).toBeLessThanOrEqual(least <= 2 ? least : least + 1);
        if (found.length > 1)
          for (const at of found)
            expect(
              holds(
                asked,
                found.filter((each) => each !== at),
              ),
            ).toBe(false);
      }),
      { numRuns: 1000, seed: 6 },
    );
    expect(more).toBeLessThan(10);
  });

  it('has none to spare on a large and uneven host either, and not many more than could ever do', () => {
    const large = fc.array(fc.tuple(fc.nat(20), fc.oneof(fc.nat(50), fc.nat(1000))), {
      minLength: 48,
      maxLength: 64,
    });
    let taken = 0;
    let needed = 0;
    fc.assert(
      fc.property(
        large,
        fc.integer({ min: 1, max: 50 }),
        fc.integer({ min: 1, max: 50 }),
        (given, cores, units) => {
          const nodes = candidates(...given);
          const share = (key: 'cores' | 'units', percent: number): number =>
            1 + Math.floor((nodes.reduce((sum, node) => sum + node[key], 0) * percent) / 101);
          const need = { cores: share('cores', cores), units: share('units', units) };
          const sockets = (from: number, to: number): number => (from >> 3 === to >> 3 ? 12 : 32);
          const found = chooseNodes(nodes, need, [], sockets) ?? [];
          expect(holds({ nodes, need }, found)).toBe(true);
          if (found.length > 1) {
            for (const at of found)
              expect(
                holds(
                  { nodes, need },
                  found.filter((each) => each !== at),
                ),
              ).toBe(false);
          }
          taken += found.length;
          needed += Math.max(ofLargest(nodes, 'cores', need.cores), ofLargest(nodes, 'units', need.units));
        },
      ),
      { numRuns: 150, seed: 6 },
    );
    expect(taken / needed).toBeLessThan(1.2);
  });

  it('is the closest of those with as few nodes', () => {
    const nodes = candidates([4, 4], [4, 4], [1, 1], [4, 4], [1, 1]);
    expect(chooseNodes(nodes, { cores: 8, units: 8 }, [], inLine)).toEqual([0, 1]);
    expect(chooseNodes(nodes, { cores: 8, units: 8 }, [3], inLine)).toEqual([1, 3]);
  });

  it('takes far nodes that have much rather than many near ones that have little', () => {
    const nodes = candidates([4, 4], [1, 1], [1, 1], [1, 1], [1, 1], [4, 4], [4, 4]);
    expect(chooseNodes(nodes, { cores: 12, units: 12 }, [], inLine)).toEqual([0, 5, 6]);
  });

  it('takes near nodes that suffice rather than far ones that have more', () => {
    const nodes = candidates(
      [3, 3],
      [3, 3],
      [3, 3],
      [0, 0],
      [0, 0],
      [4, 4],
      [0, 0],
      [0, 0],
      [0, 0],
      [0, 0],
      [4, 4],
    );
    expect(chooseNodes(nodes, { cores: 9, units: 9 }, [], inLine)).toEqual([0, 1, 2]);
  });

  it('is the least loaded, then the one with the least left over, then the lowest', () => {
    expect(
      chooseNodes(candidates([4, 4, 2], [4, 9, 1], [4, 8, 1], [4, 8, 1]), { cores: 2, units: 2 }, [], flat),
    ).toEqual([2]);
  });

  it('is the base where that suffices, and grows from it where not', () => {
    const nodes = candidates([4, 4], [2, 2], [4, 4]);
    expect(chooseNodes(nodes, { cores: 2, units: 2 }, [1], inLine)).toEqual([1]);
    expect(chooseNodes(nodes, { cores: 6, units: 1 }, [1], inLine)).toEqual([0, 1]);
  });

  it('is found among sixty-four nodes too, where all are needed', () => {
    const nodes = candidates(...Array.from({ length: 64 }, (_, at) => [1 + (at % 3), 1] as const));
    expect(chooseNodes(nodes, { cores: 1, units: 64 }, [], inLine)).toHaveLength(64);
    expect(chooseNodes(nodes, { cores: 1, units: 65 }, [], inLine)).toBeUndefined();
    expect(chooseNodes(nodes, { cores: 1, units: 40 }, [], inLine)).toHaveLength(40);
  });
});
