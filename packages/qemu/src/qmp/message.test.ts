import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { QmpProtocolError } from './errors.ts';
import { parseQmpLine } from './message.ts';

describe('a line of a QMP server', () => {
  test('becomes a message or a protocol error, whatever it is', () => {
    const name = fc.constantFrom(
      'return',
      'error',
      'event',
      'QMP',
      'id',
      'data',
      'timestamp',
      'class',
      '__proto__',
    );
    const nearlyQmp = fc.dictionary(name, fc.jsonValue()).map((value) => JSON.stringify(value));
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json(), nearlyQmp, fc.string({ unit: 'binary' })), (line) => {
        let message: ReturnType<typeof parseQmpLine>;
        try {
          message = parseQmpLine(line);
        } catch (error) {
          expect(error).toBeInstanceOf(QmpProtocolError);
          expect((error as Error).message.length).toBeLessThan(1000);
          return;
        }
        expect(['greeting', 'return', 'error', 'event']).toContain(message.kind);
      }),
      { numRuns: 2000 },
    );
  });

  test('may be nested 1024 levels deep and no deeper', () => {
    const nested = (depth: number): string => `{"return":${'['.repeat(depth - 1)}${']'.repeat(depth - 1)}}`;
    expect(parseQmpLine(nested(1024)).kind).toBe('return');
    expect(() => parseQmpLine(nested(1025))).toThrow('nested over 1024 levels');
  });
});
