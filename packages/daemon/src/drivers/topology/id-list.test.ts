import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseIdList } from './id-list.ts';
import { kernelList } from './machine.fixture.ts';

describe('a list of numbers', () => {
  it('is read as the kernel writes it', () => {
    expect(parseIdList('0-3,8,10-11\n')).toEqual([0, 1, 2, 3, 8, 10, 11]);
    expect(parseIdList('\n')).toEqual([]);
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat(5000)), (ids) => {
        expect(parseIdList(kernelList(ids))).toEqual(ids.toSorted((a, b) => a - b));
      }),
    );
  });

  it('that is no list is nothing, and not half of one', () => {
    for (const text of ['0-', '-3', 'a', '0 1', '0-3-5', '1,x', '99999999999'])
      expect(parseIdList(text)).toBeUndefined();
  });
});
