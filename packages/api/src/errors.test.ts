import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { causeText, type ErrorCode, errorCatalogue, WirtError } from './errors.ts';
import { problemSchema, toProblem } from './problem.ts';

// Object.keys loses the key type; the catalogue is a literal.
const codes = Object.keys(errorCatalogue) as ErrorCode[];

describe('the error catalogue', () => {
  it.each(codes)('%s has a noun, an error status and a sentence', (code) => {
    const { status, title } = errorCatalogue[code];
    expect(code).toMatch(/^([a-z]+\.[a-z_]+|internal)$/);
    expect(status).toBeGreaterThanOrEqual(400);
    expect(status).toBeLessThan(600);
    expect(title).toMatch(/^([A-Z]|wirtd ).*\.$/);
  });
});

describe('a problem', () => {
  it('carries everything of a Wirt error, and fits its schema', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...codes),
        fc.string(),
        fc.option(fc.string(), { nil: undefined }),
        fc.option(fc.dictionary(fc.string(), fc.jsonValue()), { nil: undefined }),
        (code, message, hint, details) => {
          const error = new WirtError(code, message, {
            ...(hint === undefined ? {} : { hint }),
            ...(details === undefined ? {} : { details }),
          });
          const problem = toProblem(error);
          expect(problem).toMatchObject({ code, detail: message, status: errorCatalogue[code].status });
          expect(problem.hint).toBe(hint);
          expect(problem.details).toEqual(details);
          expect(problemSchema.safeParse(JSON.parse(JSON.stringify(problem))).success).toBe(true);
        },
      ),
    );
  });

  it('of anything else says nothing of its inside', () => {
    for (const thrown of [new Error('secret'), 'secret', { secret: 1 }, undefined, null]) {
      const problem = toProblem(thrown);
      expect(problem.code).toBe('internal');
      expect(JSON.stringify(problem)).not.toContain('secret');
    }
  });
});

describe('the text of causes', () => {
  it('joins the sentences from the outside in', () => {
    const inner = new Error('no such file');
    const outer = new Error('could not open', { cause: inner });
    expect(causeText(new WirtError('internal', 'x', { cause: outer }))).toBe('could not open: no such file');
    expect(causeText(new WirtError('internal', 'x', { cause: 'a word' }))).toBe('a word');
    expect(causeText(new WirtError('internal', 'x'))).toBeUndefined();
  });

  it('ends, also where causes go round in a circle', () => {
    const one = new Error('one');
    one.cause = new Error('two', { cause: one });
    expect(causeText(one)?.split(': ')).toHaveLength(5);
  });
});
