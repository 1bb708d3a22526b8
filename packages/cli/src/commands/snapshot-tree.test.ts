import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { treeLines } from './snapshot-tree.ts';

const drawn = (items: readonly (readonly [id: string, parent?: string])[]): string[] =>
  treeLines(items.map(([id, parent]) => ({ id, parent }))).map(({ item, lead }) => lead + item.id);

describe('a tree of snapshots', () => {
  it('has each below its parent, in the order given', () => {
    expect(
      drawn([
        ['installed'],
        ['patched', 'installed'],
        ['configured', 'patched'],
        ['tried', 'configured'],
        ['other', 'installed'],
        ['tuned', 'patched'],
        ['alone'],
      ]),
    ).toEqual([
      'installed',
      '├─ patched',
      '│  ├─ configured',
      '│  │  └─ tried',
      '│  └─ tuned',
      '└─ other',
      'alone',
    ]);
  });

  it('takes what has lost its parent for a root, and shows a circle once', () => {
    expect(drawn([['b', 'gone']])).toEqual(['b']);
    expect(
      drawn([
        ['a', 'b'],
        ['b', 'a'],
      ]),
    ).toEqual(['a', '└─ b']);
    expect(drawn([['a', 'a']])).toEqual(['a']);
    expect(drawn([])).toEqual([]);
  });

  it('stands a chain that is longer than the stack', () => {
    const chain = Array.from({ length: 2000 }, (_, at) => ({ id: String(at), parent: String(at - 1) }));
    expect(treeLines(chain)).toHaveLength(2000);
  });

  it('has every snapshot exactly once, and a child only below its parent', () => {
    const anyParents = fc.array(fc.option(fc.nat({ max: 20 }), { nil: undefined }), { maxLength: 20 });
    fc.assert(
      fc.property(anyParents, (parents) => {
        const items = parents.map((parent, at) => ({ id: String(at), parent: parent?.toString() }));
        const lines = treeLines(items);
        expect(lines.map(({ item }) => item.id).toSorted()).toEqual(items.map(({ id }) => id).toSorted());
        lines.forEach(({ item, lead }, at) => {
          if (lead === '') return;
          const depth = lead.length / 3;
          const above = lines.slice(0, at).findLast((line) => line.lead.length / 3 === depth - 1);
          expect(above?.item.id).toBe(item.parent);
        });
      }),
    );
  });
});
