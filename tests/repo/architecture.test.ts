// ARCHITECTURE.md shows the import table of layers.json; the two say the same, or this fails with the table to paste.
import { describe, expect, it } from 'vitest';
import type { LayerTable } from './layers/table.ts';
import { markdownTables } from './markdown.ts';
import { missingPaths } from './markdown-paths.ts';
import { readText } from './tree.ts';

const table = JSON.parse(readText('layers.json')) as LayerTable;

/** The rows that ARCHITECTURE.md must have, one for each layer in the order of the file. */
function expectedRows({ layers, testFiles }: LayerTable): string[][] {
  const list = (words: readonly string[]): string =>
    words.length === 0 ? '–' : words.map((word) => `\`${word}\``).join(', ');
  const rows = layers.map(({ name, folder, files, imports, node, npm }) => [
    `\`${name}\``,
    `\`${folder === '' ? '.' : folder}\`${files === undefined ? '' : ` (${files.join(', ')})`}`,
    list(imports),
    node ? 'yes' : 'no',
    list(npm),
  ]);
  const suffixes = testFiles.suffixes.map((suffix) => `*${suffix}`).join(', ');
  const also = [list(testFiles.imports), testFiles.node ? 'yes' : 'no', list(testFiles.npm)];
  return [...rows, ['test files', `${suffixes}, beyond their layer`, ...also]];
}

describe('ARCHITECTURE.md', () => {
  it('shows the import table of layers.json, row by row', () => {
    const shown = markdownTables(readText('ARCHITECTURE.md')).find(({ head }) => head[0] === 'layer');
    expect(shown?.head).toEqual(['layer', 'folder', 'may import', '`node:`', 'npm packages']);
    expect(shown?.rows).toEqual(expectedRows(table));
  });

  it('names no file or folder of the repository that is not there', () => {
    expect(missingPaths('ARCHITECTURE.md')).toEqual([]);
  });
});
