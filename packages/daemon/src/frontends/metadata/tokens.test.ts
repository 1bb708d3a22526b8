import fc from 'fast-check';
import { expect, it } from 'vitest';
import { createTokens } from './tokens.ts';

it('takes a token from its guest until it expires, and says what is left', () => {
  let nowMs = 5_000;
  const tokens = createTokens(() => nowMs);
  const token = tokens.issue('one', 60);
  expect(token).toMatch(/^[A-Za-z0-9_-]{56}$/);
  expect(tokens.secondsLeft('one', token)).toBe(60);
  nowMs += 59_500;
  expect(tokens.secondsLeft('one', token)).toBe(0);
  nowMs += 500;
  expect(tokens.secondsLeft('one', token)).toBeUndefined();
});

it('takes it from no other guest, and none of another run of wirtd', () => {
  const tokens = createTokens(() => 0);
  const token = tokens.issue('one', 60);
  expect(tokens.secondsLeft('two', token)).toBeUndefined();
  expect(createTokens(() => 0).secondsLeft('one', token)).toBeUndefined();
});

it('takes none with a letter changed, cut off or added', () => {
  const tokens = createTokens(() => 0);
  const token = tokens.issue('one', 60);
  const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  for (let at = 0; at < token.length; at += 1)
    for (const letter of letters) {
      const other = token.slice(0, at) + letter + token.slice(at + 1);
      if (other !== token) expect(tokens.secondsLeft('one', other), `${letter} at ${at}`).toBeUndefined();
    }
  for (const other of [token.slice(1), `${token}A`, `${token}=`, ''])
    expect(tokens.secondsLeft('one', other)).toBeUndefined();
});

it('takes nothing that was made up', () => {
  const tokens = createTokens(() => 0);
  const made = fc.oneof(fc.string(), fc.base64String(), fc.string({ minLength: 56, maxLength: 56 }));
  fc.assert(fc.property(made, (text) => tokens.secondsLeft('one', text) === undefined));
});
