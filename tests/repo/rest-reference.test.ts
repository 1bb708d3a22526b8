// docs/reference/rest.md lists every route of the contract and no other, each with its summary.
import { type Route, routes } from '@wirt/api';
import { describe, expect, it } from 'vitest';
import { markdownTables } from './markdown.ts';
import { readText } from './tree.ts';

describe('docs/reference/rest.md', () => {
  it('lists every route of the contract with its summary and its row of the state table, and no other', () => {
    const shown = markdownTables(readText('docs/reference/rest.md'))
      .filter(({ head }) => head[0] === 'route')
      .flatMap(({ rows }) => rows);
    const wanted = Object.entries<Route>(routes).map(([key, route]) => [
      `\`${key}\``,
      route.summary,
      route.can === undefined ? '–' : `\`${route.can}\``,
    ]);
    expect(shown).toEqual(wanted);
  });
});
