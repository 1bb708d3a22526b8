// Links between the pages of the repository lead somewhere: to a file that is there and, with a fragment, to a heading of
// it. And every page of docs/ can be reached from docs/README.md.
import { posix } from 'node:path';
import { describe, expect, it } from 'vitest';
import { anchorOf, headings, links } from './markdown.ts';
import { listFiles, readText } from './tree.ts';

const files = listFiles();
const pages = files.filter((path) => path.endsWith('.md') && !path.startsWith('tests/repo/fixtures/'));
const known = new Set([...files, ...files.flatMap((path) => foldersOf(path))]);

function foldersOf(path: string): string[] {
  const folder = posix.dirname(path);
  return folder === '.' ? [] : [folder, ...foldersOf(folder)];
}

interface Target {
  readonly path: string;
  readonly fragment: string | undefined;
}

/** Where a link leads within the repository; undefined for one that leads out of it. */
function targetOf(page: string, link: string): Target | undefined {
  if (/^[a-z][a-z0-9+.-]*:/i.test(link)) return undefined;
  const [path = '', fragment] = link.split('#', 2);
  return { path: path === '' ? page : posix.normalize(posix.join(posix.dirname(page), path)), fragment };
}

/** Why the link is broken; undefined when it is not. */
function problemOf({ path, fragment }: Target): string | undefined {
  const name = path.replace(/\/$/, '');
  if (!known.has(name)) return 'is not there';
  if (fragment === undefined || !name.endsWith('.md')) return undefined;
  const anchors = headings(readText(name)).map(({ text }) => anchorOf(text));
  return anchors.includes(fragment) ? undefined : 'has no such heading';
}

describe('links between pages', () => {
  it('lead to a file, and to a heading, that is there', () => {
    const broken = pages.flatMap((page) =>
      links(readText(page)).flatMap(({ line, target }) => {
        const found = targetOf(page, target);
        const problem = found === undefined ? undefined : problemOf(found);
        return problem === undefined ? [] : [`${page}:${line}: ${target} ${problem}`];
      }),
    );
    expect(broken).toEqual([]);
  });

  it('lead from docs/README.md, over any number of steps, to every page of docs', () => {
    const reached = new Set<string>();
    const waiting = ['docs/README.md'];
    for (let page = waiting.pop(); page !== undefined; page = waiting.pop()) {
      if (reached.has(page) || !pages.includes(page)) continue;
      reached.add(page);
      for (const { target } of links(readText(page))) {
        const found = targetOf(page, target);
        if (found !== undefined) waiting.push(found.path);
      }
    }
    const lost = pages.filter((page) => page.startsWith('docs/') && !reached.has(page));
    expect(lost).toEqual([]);
  });

  it('are told from links in code, and broken ones are found', () => {
    const page = '[a](no-such.md) `[b](x.md)`\n```\n[c](y.md)\n```\n[`d`](../README.md#no-such-heading)';
    expect(links(page).map(({ target }) => target)).toEqual(['no-such.md', '../README.md#no-such-heading']);
    expect(problemOf({ path: 'docs/no-such.md', fragment: undefined })).toBe('is not there');
    expect(problemOf({ path: 'layers.json', fragment: undefined })).toBeUndefined();
    expect(problemOf({ path: 'packages/qemu/README.md', fragment: 'no-such' })).toBe('has no such heading');
    expect(problemOf({ path: 'packages/qemu/README.md', fragment: 'good-to-know' })).toBeUndefined();
  });
});
