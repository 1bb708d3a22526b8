// docs/reference/errors.md describes every error code of the catalogue and no other, with the status and title that the
// catalogue has, when it happens, and what to do.
import { errorCatalogue } from '@wirt/api';
import { describe, expect, it } from 'vitest';
import { headings } from './markdown.ts';
import { readText } from './tree.ts';

const text = readText('docs/reference/errors.md');
const described = headings(text)
  .filter(({ level }) => level === 3)
  .map((heading) => heading.text.replaceAll('`', ''));

/** The text below a code's heading, up to the next one. */
function section(code: string): string {
  return text.split(`\n### \`${code}\`\n`)[1]?.split(/\n##+ /)[0] ?? '';
}

describe('docs/reference/errors.md', () => {
  it('describes every code of the catalogue, in its order, and no other', () => {
    expect(described).toEqual(Object.keys(errorCatalogue));
  });

  it('gives each code the status and the title of the catalogue', () => {
    const wrong = Object.entries(errorCatalogue)
      .filter(([code, { status, title }]) => !section(code).includes(`${title} HTTP ${status}.`))
      .map(([code, { status, title }]) => `${code}: ${title} HTTP ${status}.`);
    expect(wrong).toEqual([]);
  });

  it('says of each code when it happens and what to do', () => {
    const silent = Object.keys(errorCatalogue).filter(
      (code) =>
        !/\n\*When:\* \S.{20}/.test(section(code)) || !/\n\*What to do:\* \S.{10}/.test(section(code)),
    );
    expect(silent).toEqual([]);
  });
});
