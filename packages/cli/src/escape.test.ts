import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isUnsafe, visible, visibleJson } from './escape.ts';

describe('text from a guest', () => {
  it('cannot move the cursor, set the title, break the line or turn the direction', () => {
    expect(visible('a\x1b[2Jb')).toBe('a\\x1b[2Jb');
    expect(visible('\x9b2J')).toBe('\\x9b2J');
    expect(visible('one\r\ntwo\t.')).toBe('one\\r\\ntwo\\t.');
    expect(visible('\u202egnp.exe\u2066')).toBe('\\u{202e}gnp.exe\\u{2066}');
    expect(visible('\u2028\u200b')).toBe('\\u{2028}\\u{200b}');
    expect(visible('Grüße 世界')).toBe('Grüße 世界');
  });

  it('is safe whatever it was', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(isUnsafe(visible(text))).toBe(false);
      }),
    );
  });

  it('stays the same value in JSON', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const json = visibleJson(JSON.stringify({ text }, null, 2));
        expect(JSON.parse(json)).toEqual({ text });
        expect(isUnsafe(json.replaceAll('\n', ''))).toBe(false);
      }),
    );
  });
});
