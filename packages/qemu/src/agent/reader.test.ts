import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ReplyReader } from './reader.ts';

const byte = fc.oneof(fc.constantFrom(0xff, 0x0a, 0x7b), fc.integer({ min: 0, max: 255 }));
const chunks = fc.array(
  fc.array(byte, { maxLength: 30 }).map((bytes) => Uint8Array.from(bytes)),
  { maxLength: 30 },
);

test('a synchronisation is found behind any bytes in any chunks', () => {
  fc.assert(
    fc.property(chunks, fc.nat({ max: 8 }), (noise, cut) => {
      const reader = new ReplyReader();
      let found = 0;
      reader.expect({
        kind: 'sync',
        maxBytes: 64,
        onLine: (line) => {
          if (line === '{"return": 42}') found += 1;
          return line === '{"return": 42}';
        },
      });
      for (const chunk of noise) reader.push(chunk);
      const answer = Buffer.from('\u00ff{"return": 42}\n', 'latin1');
      reader.push(answer.subarray(0, cut));
      reader.push(answer.subarray(cut));
      expect(found).toBe(1);
    }),
    { numRuns: 1000 },
  );
});

test('a reply is given once, no longer than allowed, whatever comes', () => {
  fc.assert(
    fc.property(chunks, (noise) => {
      const reader = new ReplyReader();
      let ends = 0;
      reader.expect({
        kind: 'reply',
        maxBytes: 20,
        onLine: (line) => {
          ends += 1;
          expect(line.length).toBeLessThanOrEqual(20);
        },
        onTooLong: () => {
          ends += 1;
        },
      });
      for (const chunk of noise) reader.push(chunk);
      expect(ends).toBeLessThanOrEqual(1);
      const bytes = Buffer.concat(noise);
      if (bytes.length > 20 || bytes.includes(0x0a)) expect(ends).toBe(1);
    }),
    { numRuns: 1000 },
  );
});

test('bytes that nobody expects are noticed and not kept', () => {
  const reader = new ReplyReader();
  expect(reader.sawStray).toBe(false);
  reader.push(Buffer.from('{"return": 1}\n'));
  expect(reader.sawStray).toBe(true);
  const lines: string[] = [];
  reader.expect({ kind: 'reply', maxBytes: 20, onLine: (line) => lines.push(line), onTooLong: () => {} });
  expect(reader.sawStray).toBe(false);
  reader.push(Buffer.from('{}\n'));
  expect(lines).toEqual(['{}']);
});
