// The rules about the tree as a whole: names of files, one file name per noun in every layer, and nothing in the
// repository that is true of one machine only.
import { basename, posix } from 'node:path';
import type { Source } from './source-rules.ts';

const vagueWords = ['util', 'utils', 'helper', 'helpers', 'common', 'manager', 'misc', 'shared', 'stuff'];

/** Files and folders of code whose name says nothing about what is inside. */
export function vagueNames(paths: readonly string[]): string[] {
  return paths.filter((path) => {
    if (!/\.(ts|js|mjs|sh)$/.test(path)) return false;
    return path
      .split('/')
      .some((segment) => vagueWords.some((word) => segment.split(/[.\-_]/).includes(word)));
  });
}

/** Files called index.ts that no package's `exports` names: barrels. */
export function barrels(files: readonly Source[]): string[] {
  const entries = new Set<string>();
  for (const { path, text } of files) {
    if (basename(path) !== 'package.json') continue;
    const { exports } = JSON.parse(text) as { exports?: Record<string, string> };
    for (const target of Object.values(exports ?? {})) entries.add(posix.join(posix.dirname(path), target));
  }
  return files.map(({ path }) => path).filter((path) => basename(path) === 'index.ts' && !entries.has(path));
}

/** Where a noun's file lives in each layer, and which nouns have none there, with the reason. */
export const nounLayers: { folder: string; without: Record<string, string> }[] = [
  { folder: 'packages/core/src/actions', without: {} },
  { folder: 'packages/daemon/src/frontends/rest', without: {} },
  { folder: 'packages/cli/src/commands', without: {} },
];

/** Nouns of the contract that have no file of the same name in another layer. */
export function missingNouns(paths: readonly string[]): string[] {
  const known = new Set(paths);
  const routes = 'packages/api/src/routes/';
  const nouns = paths
    .filter((path) => path.startsWith(routes) && !path.endsWith('.test.ts'))
    .map((path) => basename(path, '.ts'));
  return nouns.flatMap((noun) =>
    nounLayers
      .filter(({ folder, without }) => !known.has(`${folder}/${noun}.ts`) && !(noun in without))
      .map(
        ({ folder }) =>
          `${routes}${noun}.ts has no ${folder}/${noun}.ts: the same noun has the same file name`,
      ),
  );
}

// Written in pieces, so that this file does not break its own rule.
const machineWords: [RegExp, string][] = [
  [new RegExp(`(^|[^\\w.])/${'work'}/`), 'a path of one machine'],
  [new RegExp(`(^|[^\\w.])/(${'home'}|${'Users'})/[a-z]+/`), "a path in somebody's home"],
  [new RegExp(['deb', 'debian', 'org'].join('\\.')), 'a package mirror'],
  [new RegExp(['registry', '(npmjs|yarnpkg)', ''].join('\\.')), 'a package registry'],
  [new RegExp(`"${'resolved'}": "http`), 'a download address'],
];

/** Lines that name a machine's own path or a mirror. Prose (docs, .md) may name mirrors. */
export function machineAddresses(files: readonly Source[]): string[] {
  return files.flatMap(({ path, text }) => {
    if (path.endsWith('.md') || path.startsWith('docs/')) return [];
    return text.split('\n').flatMap((line, index) => {
      const hit = machineWords.find(([pattern]) => pattern.test(line));
      return hit ? [`${path}:${index + 1} names ${hit[1]}`] : [];
    });
  });
}
