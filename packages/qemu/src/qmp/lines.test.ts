import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createLineSplitter, LineTooLong } from './lines.ts';

function collect(maxLineBytes = 1024): { lines: string[]; splitter: ReturnType<typeof createLineSplitter> } {
  const lines: string[] = [];
  return { lines, splitter: createLineSplitter({ maxLineBytes, onLine: (line) => void lines.push(line) }) };
}

/** Cuts `bytes` at the places given, in any order. */
function cut(bytes: Uint8Array, places: number[]): Uint8Array[] {
  const at = [0, ...places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  return at.slice(1).map((end, i) => bytes.subarray(at[i], end));
}

describe('the line splitter', () => {
  test('gives lines without their newline, and drops one carriage return', () => {
    const { lines, splitter } = collect();
    splitter.push(Buffer.from('a\r\nb\n\nc\r\r\nd'));
    expect(lines).toEqual(['a', 'b', '', 'c\r']);
    expect(splitter.bufferedBytes).toBe(1);
    splitter.push(Buffer.from('\n'));
    expect(lines.at(-1)).toBe('d');
  });

  test('takes a line of exactly the maximum and no longer one, in whatever pieces', () => {
    for (const pieces of [[10], [4, 6], [1, 1, 8]]) {
      const { lines, splitter } = collect(10);
      for (const size of pieces) splitter.push(Buffer.alloc(size, 'x'));
      splitter.push(Buffer.from('\n'));
      expect(lines).toEqual(['x'.repeat(10)]);
    }
    for (const chunks of [['xxxxxxxxxxx'], ['xxxxx', 'xxxxxx'], ['xxxxxxxxxxx\n'], ['xxxxx', 'xxxxxx\n']]) {
      const { splitter } = collect(10);
      expect(() => {
        for (const chunk of chunks) splitter.push(Buffer.from(chunk));
      }).toThrow(LineTooLong);
    }
  });

  test('forgets the unfinished line when reset', () => {
    const { lines, splitter } = collect();
    splitter.push(Buffer.from('half'));
    splitter.reset();
    splitter.push(Buffer.from('whole\n'));
    expect(lines).toEqual(['whole']);
  });

  test('gives the same lines for the same bytes in any chunks', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.constant(0x0a), fc.integer({ min: 0, max: 255 })), { maxLength: 300 }),
        fc.array(fc.nat(), { maxLength: 20 }),
        (numbers, places) => {
          const bytes = Uint8Array.from(numbers);
          const whole = collect();
          whole.splitter.push(bytes);
          const pieces = collect();
          for (const chunk of cut(bytes, places)) pieces.splitter.push(chunk);
          expect(pieces.lines).toEqual(whole.lines);
          const text = Buffer.from(bytes).toString('latin1').split('\n').slice(0, -1);
          const expected = text.map((line) =>
            Buffer.from(line.replace(/\r$/, ''), 'latin1').toString('utf8'),
          );
          expect(whole.lines).toEqual(expected);
        },
      ),
    );
  });

  test('never holds more than the maximum, whatever comes', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 40 }), (chunks) => {
        const { lines, splitter } = collect(32);
        try {
          for (const chunk of chunks) {
            splitter.push(chunk);
            expect(splitter.bufferedBytes).toBeLessThanOrEqual(32);
          }
        } catch (error) {
          expect(error).toBeInstanceOf(LineTooLong);
        }
        for (const line of lines) expect(line.length).toBeLessThanOrEqual(32);
      }),
    );
  });
});
