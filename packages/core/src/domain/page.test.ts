import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { pageOf } from './page.ts';
import { SortedIds } from './sorted-ids.ts';

describe('pages', () => {
  it('show every match once and in order, whatever their size and whatever is added or removed before', () => {
    const changes = fc.array(fc.record({ id: fc.stringMatching(/^[a-f]{1,3}$/), add: fc.boolean() }));
    fc.assert(
      fc.property(changes, fc.integer({ min: 1, max: 5 }), (list, limit) => {
        const ids = new SortedIds();
        const model = new Set<string>();
        for (const { id, add } of list) {
          if (add) ids.add(id);
          else ids.delete(id);
          if (add) model.add(id);
          else model.delete(id);
        }
        const matches = ({ id }: { id: string }): boolean => !id.includes('b');
        const seen: string[] = [];
        let cursor: string | undefined;
        do {
          const records = [...ids.after(cursor)].map((id) => ({ id }));
          const page = pageOf(records, limit, matches);
          expect(page.items.length).toBeLessThanOrEqual(limit);
          seen.push(...page.items.map(({ id }) => id));
          cursor = page.next;
        } while (cursor !== undefined);
        expect(seen).toEqual([...model].filter((id) => matches({ id })).sort());
      }),
    );
  });
});
