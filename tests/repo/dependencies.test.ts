// docs/decisions/0013-dependencies.md has a row for every npm package that a manifest of the repository names, and for no
// other; what was looked at and not taken is prose there.
import { describe, expect, it } from 'vitest';
import { inlineCode, markdownTables } from './markdown.ts';
import { listFiles, readText } from './tree.ts';

interface Manifest {
  readonly dependencies?: Record<string, string>;
  readonly devDependencies?: Record<string, string>;
  readonly optionalDependencies?: Record<string, string>;
}

const manifests = listFiles()
  .filter((path) => /(^|\/)package\.json$/.test(path) && !path.startsWith('tests/repo/fixtures/'))
  .map((path) => JSON.parse(readText(path)) as Manifest);

describe('the decision on dependencies', () => {
  it('gives a reason for every package in use, and for no other', () => {
    const used = manifests.flatMap(({ dependencies, devDependencies, optionalDependencies }) =>
      Object.keys({ ...dependencies, ...devDependencies, ...optionalDependencies }),
    );
    const foreign = [...new Set(used)].filter((name) => !name.startsWith('@wirt/')).sort();
    const text = readText('docs/decisions/0013-dependencies.md');
    const shown = markdownTables(text)
      .filter(({ head }) => head[0] === 'package')
      .flatMap(({ rows }) => rows.flatMap(([names = '']) => inlineCode(names)));
    expect(shown.sort()).toEqual(foreign);
  });
});
