import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createLineReader } from './line-reader.ts';

function read(chunks: readonly Uint8Array[], maxLineBytes?: number): string[] {
  const lines: string[] = [];
  const reader = createLineReader((line) => lines.push(line), maxLineBytes);
  for (const chunk of chunks) reader.push(chunk);
  reader.end();
  return lines;
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

describe('the line reader', () => {
  it('gives lines without their ends, the last one too when it has none', () => {
    expect(read([bytes('one\r\n\ntwo\nthree')])).toEqual(['one', '', 'two', 'three']);
  });

  it('cuts a line at the cap and goes on with the next one', () => {
    expect(read([bytes('abcdef'), bytes('ghi\nxy\n')], 4)).toEqual(['abcd', 'xy']);
  });

  it('gives the same lines however the bytes are split', () => {
    const line = fc.string({ unit: 'grapheme' }).map((text) => text.replaceAll(/[\r\n]/gu, ''));
    fc.assert(
      fc.property(
        fc.array(line),
        fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1 }),
        (lines, sizes) => {
          const all = bytes(lines.map((text) => `${text}\n`).join(''));
          const chunks: Uint8Array[] = [];
          for (let at = 0, turn = 0; at < all.length; turn += 1) {
            const size = sizes[turn % sizes.length] ?? 1;
            chunks.push(all.subarray(at, at + size));
            at += size;
          }
          expect(read(chunks)).toEqual(lines);
        },
      ),
    );
  });
});
