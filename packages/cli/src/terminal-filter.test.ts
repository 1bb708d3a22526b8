import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isUnsafe } from './escape.ts';
import { createTerminalFilter } from './terminal-filter.ts';

const filtered = (...chunks: string[]): string => {
  const filter = createTerminalFilter();
  return chunks.map(filter).join('');
};

describe('a log on a terminal', () => {
  it('keeps text and colours', () => {
    expect(filtered('\x1b[0;32m[  OK  ]\x1b[0m Started\r\n')).toBe('\x1b[0;32m[  OK  ]\x1b[0m Started\r\n');
  });

  it.each([
    ['clears the screen', 'a\x1b[2Jb', 'ab'],
    ['asks the terminal to answer', 'a\x1b[6nb\x1bZ', 'ab'],
    ['sets the title', 'a\x1b]0;evil\x07b', 'ab'],
    ['writes the clipboard', 'a\x1b]52;c;ZXZpbA==\x1b\\b', 'ab'],
    ['sends a device control string', 'a\x1bP$q"p\x1b\\b', 'ab'],
    ['uses 8-bit introducers', 'a\x9b2Jb\x9d0;x\x9cc', 'abc'],
    ['changes the character set', 'a\x1b(0b', 'ab'],
    ['hides colours that are none', 'a\x1b[>4mb', 'ab'],
    ['rings and shifts', 'a\x07\x0eb', 'ab'],
    ['turns the direction', 'a\u202eb', 'ab'],
  ])('lets nothing pass that %s', (_, text, safe) => {
    expect(filtered(text)).toBe(safe);
  });

  it('does not lose the rest of the log to a string that never ends', () => {
    expect(filtered('\x1b]0;title\nnext line\n')).toBe('\nnext line\n');
  });

  it('filters the same over every chunk border, and passes nothing but text and colours', () => {
    const pieces = fc.constantFrom(
      '\x1b',
      '[',
      ']',
      '2',
      ';',
      'm',
      'J',
      '\\',
      '\x07',
      '\x9b',
      'P',
      'x',
      '\n',
      '(',
    );
    fc.assert(
      fc.property(fc.array(pieces), fc.nat(), (characters, at) => {
        const text = characters.join('');
        const split = at % (text.length + 1);
        const whole = filtered(text);
        expect(filtered(text.slice(0, split), text.slice(split))).toBe(whole);
        const rest = whole.replaceAll(new RegExp(`${'\x1b'}\\[[0-9;:]*m`, 'g'), '');
        expect(isUnsafe(rest.replaceAll('\n', ''))).toBe(false);
      }),
    );
  });
});
