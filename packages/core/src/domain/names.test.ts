import { expect, it } from 'vitest';
import { namesOf } from './names.ts';

it('the names of records are told up to the fifth, and the others counted', () => {
  const records = Array.from({ length: 7 }, (_, index) => ({ name: `n${index}` }));
  expect(namesOf(records.slice(0, 1))).toBe('n0');
  expect(namesOf(records.slice(0, 5))).toBe('n0, n1, n2, n3, n4');
  expect(namesOf(records)).toBe('n0, n1, n2, n3, n4 and 2 more');
});
