import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { exceedsDepth, excerpt } from './json.ts';

function depthOf(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  return 1 + Math.max(0, ...Object.values(value).map(depthOf));
}

describe('JSON of a stranger', () => {
  test('is measured in depth as it would be parsed, brackets in strings left out', () => {
    fc.assert(
      fc.property(fc.json(), fc.nat({ max: 6 }), (json, maxDepth) => {
        // Short texts cannot be deep and are passed without a look.
        const padded = `${json}${' '.repeat(10)}`;
        expect(exceedsDepth(padded, maxDepth)).toBe(depthOf(JSON.parse(json)) > maxDepth);
      }),
      { numRuns: 1000 },
    );
  });

  test('is shown short and without control characters', () => {
    expect(excerpt(`\u001b[2J${'x'.repeat(1000)}`)).toMatch(/^"\\u001b\[2Jx{70,80}\.\.\."$/);
  });
});
