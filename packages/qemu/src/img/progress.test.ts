import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createProgressReader } from './progress.ts';

function read(pieces: string[]): number[] {
  const seen: number[] = [];
  const reader = createProgressReader((percent) => seen.push(percent));
  for (const piece of pieces) reader(piece);
  return seen;
}

test('progress grows from mark to mark', () => {
  const text = '    (0.00/100%)\r    (12.50/100%)\r    (12.50/100%)\r    (3.00/100%)\r    (100.00/100%)\r\n';
  expect(read([text])).toEqual([0, 12.5, 100]);
});

test('marks are found in whatever pieces, between whatever text', () => {
  const text = '    (0.00/100%)\rnoise (x/100%) (((\r    (50.01/100%)\r    (999.99/100%)\r';
  fc.assert(
    fc.property(fc.array(fc.nat({ max: text.length }), { maxLength: 10 }), (places) => {
      const at = [0, ...places.sort((a, b) => a - b), text.length];
      expect(read(at.slice(1).map((end, i) => text.slice(at[i], end)))).toEqual([0, 50.01, 100]);
    }),
  );
});

test('text without marks is no progress', () => {
  fc.assert(
    fc.property(fc.array(fc.string()), (pieces) => {
      for (const percent of read(pieces)) expect(percent).toBeLessThanOrEqual(100);
    }),
  );
});
