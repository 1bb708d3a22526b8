// SPECIFICATION.md names, for each promise and figure, the test or bench that holds it: each must be there, each name of
// a test must be one of that file's, and a promise without a holder must say that it is not held.
import { describe, expect, it } from 'vitest';
import { inlineCode, markdownTables } from './markdown.ts';
import { missingPaths } from './markdown-paths.ts';
import { readText } from './tree.ts';

const page = 'SPECIFICATION.md';
const text = readText(page);
const promises = markdownTables(text).filter(({ head }) => head.at(-1) === 'held by');

describe('SPECIFICATION.md', () => {
  it('has promises and figures', () => {
    expect(promises.length).toBeGreaterThan(5);
    expect(promises.every(({ rows }) => rows.length > 0)).toBe(true);
  });

  it('names no test, bench or source that is not there', () => {
    expect(missingPaths(page)).toEqual([]);
  });

  it('says for every promise what holds it, or that nothing does', () => {
    const unheld = promises.flatMap(({ heading, rows }) =>
      rows
        .filter((row) => {
          const holder = row.at(-1) ?? '';
          const files = inlineCode(holder).filter((code) =>
            /\.(test|contract)\.ts$|^tests\/bench\//.test(code),
          );
          return files.length === 0 && !/\bnot held\b/.test(holder);
        })
        .map((row) => `${heading}: ${row[0]}`),
    );
    expect(unheld).toEqual([]);
  });

  it('gives a row as many cells as its table has columns', () => {
    const uneven = promises.flatMap(({ head, rows }) => rows.filter((row) => row.length !== head.length));
    expect(uneven).toEqual([]);
  });
});
