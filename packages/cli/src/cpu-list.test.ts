import { printCpuList } from '@wirt/api/cpu-list';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseCpuList, parseCpuTopology } from './cpu-list.ts';

describe('a list of processors', () => {
  it('is taken as the kernel writes it', () => {
    for (const text of ['0', '2-3', '0-3,8', '0,2,4-4095']) expect(parseCpuList(text)).toBe(text);
  });

  it.each([
    ['3-2', 'write 2-3'],
    ['a', 'such as 2-3'],
    ['0-', 'such as 2-3'],
    ['0, 1', 'such as 2-3'],
    [Array.from({ length: 600 }, () => '1').join(','), '1024 characters at most'],
  ])('is refused when it is %s', (text, reason) => {
    expect(() => parseCpuList(text)).toThrow(reason);
  });

  it('is written with ranges, and holds the same processors', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat(99)), (numbers) => {
        const text = printCpuList(numbers);
        const read = text.split(',').flatMap((part) => {
          const [first = 0, last = first] = part.split('-').map(Number);
          return part === '' ? [] : Array.from({ length: last - first + 1 }, (_, at) => first + at);
        });
        expect(read).toEqual(numbers.toSorted((a, b) => a - b));
        expect(text.split(',').length).toBe(
          numbers.filter((each) => !numbers.includes(each - 1)).length || 1,
        );
      }),
    );
    expect(printCpuList([3, 1, 2, 8, 8])).toBe('1-3,8');
  });
});

describe('a topology', () => {
  it('is sockets, cores and threads', () => {
    expect(parseCpuTopology('1,4,2')).toEqual({ sockets: 1, cores: 4, threads: 2 });
  });

  it.each([
    ['4', 'SOCKETS,CORES,THREADS'],
    ['1,4', 'SOCKETS,CORES,THREADS'],
    ['0,4,2', '1 to 4096 sockets'],
    ['1,5000,2', '1 to 4096 cores'],
    ['1,4,32', '1 to 16 threads'],
  ])('is refused when it is %s', (text, reason) => {
    expect(() => parseCpuTopology(text)).toThrow(reason);
  });
});
