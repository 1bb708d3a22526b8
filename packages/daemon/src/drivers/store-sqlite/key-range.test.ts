import fc from 'fast-check';
import { expect, it } from 'vitest';
import { endOfPrefix } from './key-range.ts';

const bytes = (text: string): Buffer => Buffer.from(text, 'utf8');
const someText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 4 }),
  fc.string({ unit: fc.constantFrom('a', '\u{d7ff}', '\u{e000}', '\u{10ffff}', '\u{7f}'), maxLength: 4 }),
);

it('puts exactly the keys with the prefix between the prefix and its end, in UTF-8 order', () => {
  fc.assert(
    fc.property(someText, fc.oneof(someText, fc.constant(undefined)), someText, (prefix, other, rest) => {
      const key = other ?? prefix + rest;
      const end = endOfPrefix(prefix);
      const within =
        Buffer.compare(bytes(key), bytes(prefix)) >= 0 &&
        (end === undefined || Buffer.compare(bytes(key), bytes(end)) < 0);
      expect(within).toBe(key.startsWith(prefix));
    }),
    { numRuns: 2_000 },
  );
});

it('has no end above the greatest keys, or above everything', () => {
  expect(endOfPrefix('')).toBeUndefined();
  expect(endOfPrefix('\u{10ffff}\u{10ffff}')).toBeUndefined();
  expect(endOfPrefix('a/')).toBe('a0');
});
