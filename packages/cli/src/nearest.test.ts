import { describe, expect, it } from 'vitest';
import { nearest, slipsBetween } from './nearest.ts';

const known = ['run', 'ls', 'show', 'start', 'stop', 'restart', 'reset', 'resume', 'rename', 'rm', 'console'];

describe('the nearest command', () => {
  it.each([
    ['rnu', 'run'],
    ['strat', 'start'],
    ['stpo', 'stop'],
    ['consle', 'console'],
    ['cons', 'console'],
    ['shwo', 'show'],
  ])('for %s is %s', (typed, meant) => {
    expect(nearest(typed, known)).toBe(meant);
  });

  it('is none for something else altogether', () => {
    expect(nearest('frobnicate', known)).toBeUndefined();
    expect(nearest('x', known)).toBeUndefined();
  });

  it('counts a swap of neighbours as one slip', () => {
    expect([slipsBetween('ab', 'ba'), slipsBetween('', 'abc'), slipsBetween('kitten', 'sitting')]).toEqual([
      1, 3, 3,
    ]);
  });
});
