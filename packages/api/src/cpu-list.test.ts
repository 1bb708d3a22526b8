// The kernel's list format: what is read, what is refused, and that nothing is lost on the way.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseCpuList, printCpuList } from './cpu-list.ts';

describe('a list of processors', () => {
  it.each<[string, number[]]>([
    ['0-3,8,10-11', [0, 1, 2, 3, 8, 10, 11]],
    ['0-3,8,10-11\n', [0, 1, 2, 3, 8, 10, 11]],
    ['5', [5]],
    ['', []],
    ['\n', []],
    ['3,1-2,2', [1, 2, 3]],
    ['65535', [65_535]],
  ])('%j is read as the kernel means it', (text, ids) => {
    expect(parseCpuList(text)).toEqual(ids);
  });

  it.each([
    ' 1',
    '1 ',
    '1,',
    ',1',
    '1,,2',
    '-1',
    '1-',
    '3-1',
    '0x1',
    '1.5',
    '1e3',
    'all',
    '0-31:2/4',
    '65536',
    '0-4294967295',
    '1\n\n',
    '１',
    '9'.repeat(400),
  ])('%j is refused', (text) => {
    expect(parseCpuList(text)).toBeUndefined();
  });

  it('of more text than any host writes is refused before it is read', () => {
    expect(parseCpuList('1,'.repeat(1 << 20))).toBeUndefined();
  });

  it('is printed in the shortest form', () => {
    expect(printCpuList([])).toBe('');
    expect(printCpuList([11, 0, 1, 2, 3, 8, 10, 3])).toBe('0-3,8,10-11');
  });

  it('comes back from its text as it was', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.oneof(fc.nat(40), fc.nat(65_535)), { maxLength: 80 }), (ids) => {
        const sorted = [...ids].sort((a, b) => a - b);
        expect(parseCpuList(printCpuList(ids))).toEqual(sorted);
      }),
    );
  });

  it('never throws, whatever the text, and reads to something that prints and reads the same', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[0-9, \n-]{0,12}$/), (text) => {
        const ids = parseCpuList(text);
        if (ids !== undefined) expect(parseCpuList(printCpuList(ids))).toEqual(ids);
      }),
    );
  });
});
