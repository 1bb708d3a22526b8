import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { editDistance, nearest } from './nearest.ts';

describe('the distance of two words', () => {
  it.each([
    ['', '', 0],
    ['abc', 'abc', 0],
    ['abc', '', 3],
    ['memroy', 'memory', 1],
    ['kitten', 'sitting', 3],
    ['wiat', 'wait', 1],
  ])('%j and %j is %i', (a, b, distance) => {
    expect(editDistance(a, b)).toBe(distance);
  });

  it('is symmetric, and never more than the longer word', () => {
    const word = fc.string({ maxLength: 20 });
    fc.assert(
      fc.property(word, word, (a, b) => {
        expect(editDistance(a, b)).toBe(editDistance(b, a));
        expect(editDistance(a, b)).toBeLessThanOrEqual(Math.max(a.length, b.length));
        expect(editDistance(a, b) === 0).toBe(a === b);
      }),
    );
  });
});

describe('the nearest known word', () => {
  const known = ['image', 'cpus', 'memoryMib', 'machine', 'accelerator', 'restart', 'autostart'];

  it.each([
    ['memroyMib', 'memoryMib'],
    ['memorymib', 'memoryMib'],
    ['memory', 'memoryMib'],
    ['cpu', 'cpus'],
    ['IMAGE', 'image'],
    ['accel', 'accelerator'],
    ['zebra', undefined],
    ['x', undefined],
    ['', undefined],
    ['m'.repeat(1000), undefined],
  ])('to %j is %j', (word, expected) => {
    expect(nearest(word, known)).toBe(expected);
  });

  it('is one of the known, whatever is asked', () => {
    fc.assert(
      fc.property(fc.string(), fc.array(fc.string()), (word, words) => {
        const found = nearest(word, words);
        expect(found === undefined || words.includes(found)).toBe(true);
      }),
    );
  });
});
